"""Mending a text: the safe fixes of its problems, applied until none is left."""

from collections.abc import Iterator, Sequence
from collections.abc import Set as AbstractSet
from typing import Final

from expc.compiler.fixes.trying import patched
from expc.compiler.model.declarations import Read
from expc.compiler.session import Checked, check_text
from expc.diagnostics import Edit, Fix, Problem, Source
from expc.frozen import dataclass

_MOST_ROUNDS: Final = 20
"""A fix may bring another problem to light, which has a fix; so often, and no more."""


@dataclass(frozen=True)
class Fixed:
    """A text after its safe fixes: `mended` are the problems that it had, each with the fix that was applied."""

    text: str
    mended: tuple[tuple[Problem, Fix], ...]
    checked: Checked


def fix_text(
    text: str,
    name: str = "input.exp",
    overrides: Sequence[str] = (),
    read: Read | None = None,
    lints: AbstractSet[str] = frozenset(),
) -> Fixed:
    """Apply every safe fix of `text`; of several for one problem, the first. Takes what `check_text` takes.

    Each fix was tried on the text and mends its problem. Applied together they must not make anything worse: where
    they do, they are applied one by one.
    """
    mended: list[tuple[Problem, Fix]] = []
    checked = check_text(text, name, overrides, read, lints)
    for _ in range(_MOST_ROUNDS):
        found = list(_safe(checked))
        for chosen in (list(_apart(found)), *([one] for one in found)):
            edits = tuple({_place(edit): edit for _, fix in chosen for edit in fix.edits}.values())
            after = patched(text, Fix("", edits))
            again = check_text(after, name, overrides, read, lints)
            if chosen and _left(again) < _left(checked):
                text, checked = after, again
                mended += chosen
                break
        else:
            break
    return Fixed(text, tuple(mended), checked)


def _left(checked: Checked) -> tuple[int, int]:
    """How many errors a text has, and how many problems: a lint may come to light where an error was."""
    return sum(problem.severity == "error" for problem in checked.problems), len(checked.problems)


def _safe(checked: Checked) -> Iterator[tuple[Problem, Fix]]:
    """The problems that have a safe fix in the text itself, each with the first such."""
    for problem in checked.problems:
        for fix in problem.fixes:
            if fix.safety == "safe" and all(edit.span.source is checked.source for edit in fix.edits):
                yield problem, fix
                break


def _apart(found: Sequence[tuple[Problem, Fix]]) -> Iterator[tuple[Problem, Fix]]:
    """Those whose edits touch none of the ones before, or are the same."""
    taken: dict[tuple[Source, int, int, str], Edit] = {}
    for problem, fix in found:
        new = [edit for edit in fix.edits if _place(edit) not in taken]
        if all(_clear(edit, other) for edit in new for other in taken.values()):
            taken |= {_place(edit): edit for edit in new}
            yield problem, fix


def _place(edit: Edit) -> tuple[Source, int, int, str]:
    return edit.span.source, edit.span.start, edit.span.end, edit.text


def _clear(a: Edit, b: Edit) -> bool:
    return a.span.end < b.span.start or b.span.end < a.span.start
