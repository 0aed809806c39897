"""One mistake, one problem: what is surely only a consequence of another problem is left out.

The checker goes on after an error, and values that it does not know agree with everything. What is left are mistakes
that show in several places: a misspelt definition at each of its uses, a binding that failed where its names are used.
"""

from collections.abc import Iterable, Sequence
from dataclasses import replace
from typing import Final

from expc.compiler.errors.experiment import FieldMismatch, NotData
from expc.compiler.errors.names import (
    CannotUnpack,
    DuplicateName,
    SelectorMatchesNothing,
    UnknownName,
    UnusedName,
    WrongArgument,
)
from expc.compiler.errors.shapes import ConditionNeeded, DtypeMismatch, RankMismatch, ResultMismatch
from expc.diagnostics import Fix, Label, Problem
from expc.spec import syntax
from expc.spec.errors.names import UndefinedInSetting

_UNBINDS: Final = (CannotUnpack, DuplicateName, NotData)
"""Problems after which a name that was meant to be bound is not."""
_COMPLETE: Final = (ConditionNeeded, ResultMismatch, UnusedName, SelectorMatchesNothing)
"""Errors that leave every module of a model in its place."""


def without_consequences(problems: Sequence[Problem], tree: syntax.File) -> list[Problem]:
    """The problems less those that another one explains."""
    told = _once(problems, tree)
    errors = [problem for problem in told if problem.severity == "error"]
    return [problem for problem in told if not _is_explained(problem, errors, tree)]


def _is_explained(problem: Problem, errors: Iterable[Problem], tree: syntax.File) -> bool:
    """Whether another error says what went wrong here."""
    home = _home(problem, tree)
    others = [error for error in errors if error is not problem]
    here = [error for error in others if _home(error, tree) is home]
    match problem:
        case UnusedName():
            in_body = not isinstance(home, syntax.Section)
            return in_body and any(not isinstance(error, UnusedName) for error in here)
        case UnknownName() | UndefinedInSetting():
            return any(isinstance(error, _UNBINDS) for error in here)
        case SelectorMatchesNothing():
            return any(
                not isinstance(error, _COMPLETE) and not isinstance(_home(error, tree), syntax.Section)
                for error in others
            )
        case DtypeMismatch() | RankMismatch():
            return any(isinstance(error, FieldMismatch) and error.expected == problem.found for error in others)
    return False


def _home(problem: Problem, tree: syntax.File) -> syntax.Statement | None:
    """The declaration or section of the file in which a problem stands."""
    for statement in tree.statements:
        span = statement.span
        if span.source is problem.span.source and span.start <= problem.span.start < span.end:
            return statement
    return None


def _once(problems: Sequence[Problem], tree: syntax.File) -> list[Problem]:
    """The problems, those with one cause told where it shows first."""
    lets = {statement.name: statement for statement in tree.statements if isinstance(statement, syntax.Let)}
    first: dict[object, int] = {}
    told: list[Problem] = []
    for problem in problems:
        key = _cause(problem, lets)
        if key is None:
            told.append(problem)
        elif key not in first:
            first[key] = len(told)
            told.append(_with_definition(problem, lets))
        else:
            told[first[key]] = _and(told[first[key]], problem)
    return told


def _cause(problem: Problem, lets: dict[str, syntax.Let]) -> object:
    """What two problems share when they have one cause; none where a problem stands for itself."""
    match problem:
        case UnknownName(word=word) | UndefinedInSetting(word=word):
            return "name", word, problem.span.source.name
        case WrongArgument(expected=expected) if (name := _let(problem, lets)) is not None:
            return "let", name, expected
    return None


def _let(problem: Problem, lets: dict[str, syntax.Let]) -> str | None:
    """The `let` that an argument consists of."""
    name = problem.span.text.rpartition("=")[2].strip()
    return name if name in lets else None


def _with_definition(problem: Problem, lets: dict[str, syntax.Let]) -> Problem:
    """A refused argument with the `let` that it names."""
    name = _let(problem, lets) if isinstance(problem, WrongArgument) else None
    if name is None:
        return problem
    return replace(problem, labels=(*problem.labels, Label(lets[name].value.span, f"`{name}` is this")))


def _and(problem: Problem, again: Problem) -> Problem:
    """A problem that shows in one more place: a change of both mends both."""
    if not problem.fixes or [fix.title for fix in problem.fixes] != [fix.title for fix in again.fixes]:
        return replace(problem, fixes=())
    both = zip(problem.fixes, again.fixes, strict=True)
    return replace(problem, fixes=tuple(Fix(a.title, (*a.edits, *b.edits), a.safety) for a, b in both))
