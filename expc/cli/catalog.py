"""Every problem that expc can report, and its page."""

import re
from importlib import import_module
from importlib.util import find_spec
from inspect import cleandoc
from pkgutil import iter_modules
from typing import Final

from expc.diagnostics import Problem
from expc.frozen import dataclass

_HOMES: Final = (
    "expc.spec.errors",
    "expc.compiler.errors",
    "expc.compiler.lints",
    "expc.runtime.errors",
    "expc.runtime.later",
)
"""Where problems are declared: modules, or packages of them. None of these imports torch."""

_FENCE: Final = re.compile(r"^```exp (wrong|right)\n(.*?)^```$", re.MULTILINE | re.DOTALL)


@dataclass(frozen=True)
class Page:
    """The docstring of a problem, taken apart: a sentence, what there is to say, and an example of each kind."""

    title: str
    text: str
    wrong: tuple[str, ...]
    right: tuple[str, ...]


def problems() -> dict[str, type[Problem]]:
    """Every class of problem by its code, in the order of the codes."""
    for home in _HOMES:
        if find_spec(home) is None:
            continue
        package = import_module(home)
        for module in iter_modules(getattr(package, "__path__", ())):
            import_module(f"{home}.{module.name}")
    declared = [kind for kind in _below(Problem) if kind.code and kind.__module__.startswith(_HOMES)]
    return {kind.code: kind for kind in sorted(declared, key=lambda kind: kind.code)}


def page(kind: type[Problem]) -> Page:
    """The page of one class of problem."""
    text = cleandoc(kind.__doc__ or "")
    examples = [(match[1], match[2]) for match in _FENCE.finditer(text)]
    title, _, rest = _FENCE.sub("", text).strip().partition("\n\n")
    return Page(
        title=" ".join(title.split()),
        text=rest.strip(),
        wrong=tuple(example for side, example in examples if side == "wrong"),
        right=tuple(example for side, example in examples if side == "right"),
    )


def _below(kind: type[Problem]) -> list[type[Problem]]:
    found: list[type[Problem]] = []
    for derived in kind.__subclasses__():
        found += [derived, *_below(derived)]
    return found
