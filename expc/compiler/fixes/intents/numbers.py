"""Numbers that do not divide others, and shapes that fit some batches only: what the text around a problem tells."""

import re
from collections.abc import Iterator, Sequence
from dataclasses import replace
from typing import Final

from expc.compiler.errors.shapes import ConditionNeeded, NotDivisible
from expc.compiler.fixes.intents.sizes import flattened
from expc.compiler.fixes.intents.text import number, shown
from expc.diagnostics import Fix, Problem, Span

_FURTHEST: Final = 1 << 16
"""So large a size is looked at for its divisors."""


def completed(problem: Problem) -> Problem:
    """`problem` with what may have been meant in the place of a number in it."""
    match problem:
        case NotDivisible():
            places = [problem.span, *(label.span for label in problem.labels)]
            fixes = tuple(_divisors(problem, places))
        case ConditionNeeded():
            fixes = tuple(fix for label in problem.labels for fix in flattened(label.span))
            return replace(problem, fixes=tuple(dict.fromkeys((*fixes, *problem.fixes))))
        case _:
            return problem
    return replace(problem, fixes=(*problem.fixes, *dict.fromkeys(fixes)))


def _divisors(problem: NotDivisible, places: Sequence[Span]) -> Iterator[Fix]:
    """Another divisor near the one that is written, then another size."""
    if not (problem.size.isdigit() and problem.divisor.isdigit()) or int(problem.size) > _FURTHEST:
        return
    size, divisor = int(problem.size), int(problem.divisor)
    if not divisor:
        return
    for place in places:
        for written in _literals(place):
            if written > 1 and divisor % written == 0:
                rest = divisor // written
                good = [other for other in range(1, size + 1) if size % (other * rest) == 0 and other != written]
                for other in sorted(good, key=lambda other: abs(other - written))[:2]:
                    yield from _replaced(place, written, other)
    for place in places:
        for written in _literals(place):
            if written and written % divisor and size % written == 0:
                nearest = max(1, round(written / divisor)) * divisor
                yield from _replaced(place, written, nearest)


def _literals(place: Span) -> list[int]:
    """The whole numbers in a text, each once."""
    return [int(word) for word in dict.fromkeys(re.findall(r"(?<![\w.])\d{1,9}(?![\w.])", place.text))]


def _replaced(place: Span, written: int, other: int) -> Iterator[Fix]:
    """A number in the text at `place` replaced, once for each place where it stands."""
    for edit in number(place, str(written), str(other)):
        start = edit.span.start - place.start
        text = place.text[:start] + edit.text + place.text[start + len(edit.span.text) :]
        title = f"write `{text}`" if "\n" not in text and len(text) <= 60 else f"write {other} in `{shown(place)}`"
        yield Fix(title, (edit,))
