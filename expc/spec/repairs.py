"""What was probably meant by a setting whose value does not fit."""

from collections.abc import Callable, Iterator
from typing import Any

from expc.diagnostics import Edit, Fix, Safety, Span
from expc.spec.suggest import nearest
from expc.spec.values import UNITS_OF_TIME, Given, Quantity, Recipe, Watched, Word, show

_TRUTHS = {"yes": True, "on": True, "true": True, "no": False, "off": False, "false": False}

Guess = tuple[str, Any, Safety]
"""Text to write instead, its value, and how sure it is that this was meant."""


def repairs(key: str, value: Any, span: Span, choices: tuple[str, ...], fits: Callable[[Any], bool]) -> tuple[Fix, ...]:
    """Changes of the value of `key` at `span`; each was tried with `fits`, which says whether a value would do."""
    found = (guess for guess in _guesses(key, value, span, choices) if fits(guess[1]))
    return tuple(Fix(f"write `{text}`", (Edit(span, text),), safety) for text, _, safety in found)


def _guesses(key: str, value: Any, span: Span, choices: tuple[str, ...]) -> Iterator[Guess]:
    match value:
        case Word(name) | str(name) if choices:
            near = name if name in choices else nearest(name, choices)
            if near is not None:
                yield near, near, "safe"
        case Word(name) if name.casefold() in _TRUTHS:
            truth = _TRUTHS[name.casefold()]
            yield show(truth), truth, "safe"
        case str():
            yield from _unquoted(value)
            if value.isidentifier() and value[0].isupper():
                yield value, Recipe(value), "safe"
            yield f"[{span.text}]", (value,), "safe"
        case bool():
            return
        case int() | float():
            yield from _of_number(key, value, span)
        case Quantity(number, unit):
            yield show(number), number, "safe" if key == f"{unit}s" else "unsafe"
        case Watched():
            for direction in ("min", "max") if value.name.endswith("loss") else ("max", "min"):
                yield f"{direction}({span.text})", Recipe(direction, (Given(None, value, span=span),)), "unsafe"
                watched = (Given(None, value, span=span), Given("patience", 5, span=span))
                yield f"{direction}({span.text}, patience=5)", Recipe(direction, watched), "unsafe"
        case Recipe():
            yield f"[{span.text}]", (value,), "safe"


def _of_number(key: str, value: float, span: Span) -> Iterator[Guess]:
    if isinstance(value, float) and value.is_integer():
        yield show(int(value)), int(value), "safe"
    if value in (0, 1):
        yield show(bool(value)), bool(value), "safe"
    for unit in UNITS_OF_TIME[:2]:
        quantity = Quantity(value, unit)
        yield f"{span.text} {unit}s", quantity, "unsafe"
    if key == "clip":
        yield f"norm({span.text})", Recipe("norm", (Given(None, value, span=span),)), "unsafe"


def _unquoted(text: str) -> Iterator[Guess]:
    if text.casefold() in _TRUTHS:
        truth = _TRUTHS[text.casefold()]
        yield show(truth), truth, "safe"
    for number in (int, float):
        try:
            yield text, number(text), "safe"
        except ValueError:
            continue
        return
