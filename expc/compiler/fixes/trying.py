"""Fixes are tried on the text and checked again: those that do not mend their problem are left out."""

from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Final

from expc.compiler.model.declarations import Read
from expc.diagnostics import Fix, Problem, Source

MOST_CHECKED_AGAIN: Final = 200_000
"""How many characters may be checked again to see whether fixes mend their problems."""

LONGEST: Final = 50_000
"""A longer text is not checked again at all: its fixes are left out."""

MOST_FIXES: Final = 3
"""So many ways to mend one problem are shown."""

Check = Callable[[str, Read | None], Sequence[Problem]]
"""The problems of a text, with what gives the text of the files that it imports."""


class Trial:
    """Tries the fixes of the problems of one text, until as much was checked again as may be."""

    def __init__(self, source: Source, problems: Sequence[Problem], read: Read | None, check: Check) -> None:
        self._source, self._read, self._check = source, read, check
        self._before = Counter((problem.code, problem.message) for problem in problems)
        length = len(source.text) + 1
        self._effort = MOST_CHECKED_AGAIN // length if length <= LONGEST else 0

    def mending(self, problem: Problem) -> Problem:
        """`problem` with those of its fixes that mend it.

        Fixes that only bring another mistake to light are there where no other fix is.
        """
        good: list[Fix] = []
        fair: list[Fix] = []
        for fix in {fix.edits: fix for fix in reversed(problem.fixes)}.values().__reversed__():
            if len(good) == MOST_FIXES or self._effort <= 0:
                break
            new = self._brings(problem, fix)
            if new is not None:
                (fair if new else good).append(fix)
        return replace(problem, fixes=tuple(good or fair[:MOST_FIXES])) if problem.fixes else problem

    def _brings(self, problem: Problem, fix: Fix) -> bool | None:
        """Whether a fix that mends a problem brings others; none where it does not mend it."""
        self._effort -= 1
        again = self._check(patched(self._source.text, fix, self._source), self._reading(fix))
        found = Counter((other.code, other.message) for other in again)
        this = (problem.code, problem.message)
        new = {entry for entry in found - self._before if entry[0].startswith("E")}
        if found[this] >= self._before[this] or new - _deeper(problem, again):
            return None
        return bool(new)

    def _reading(self, fix: Fix) -> Read | None:
        """What gives imported files as they are after a fix."""
        read = self._read
        changed = {edit.span.source.name: edit.span.source for edit in fix.edits}
        if read is None:
            return None

        def reading(path: str) -> str:
            return patched(changed[path].text, fix, changed[path]) if path in changed else read(path)

        return reading


def _deeper(problem: Problem, again: Sequence[Problem]) -> set[tuple[str, str]]:
    """Problems that a fix lets come to light elsewhere: what was unknown after the first error is known now.

    Broken text is never among them: all of it was seen the first time.
    """
    return {
        (other.code, other.message)
        for other in again
        if other.span.line != problem.span.line and not other.code.startswith("E01")
    }


def patched(text: str, fix: Fix, source: Source | None = None) -> str:
    """The text with the edits of a fix; with `source`, those in that source only."""
    edits = [edit for edit in fix.edits if source is None or edit.span.source is source]
    for edit in sorted(edits, key=lambda edit: edit.span.start, reverse=True):
        text = text[: edit.span.start] + edit.text + text[edit.span.end :]
    return text
