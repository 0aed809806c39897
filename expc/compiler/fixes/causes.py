"""One mistake, one problem: what is surely only a consequence of another problem is left out.

The checker goes on after an error, and values that it does not know agree with everything. What is left are mistakes
that show in several places: a misspelt definition at each of its uses, a binding that failed where its names are used.
"""

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from typing import Final

from expc.compiler.errors.arguments import WrongArgument
from expc.compiler.errors.experiment import FieldMismatch, NotData
from expc.compiler.errors.names import DuplicateName, SelectorMatchesNothing, UnknownName, UnusedName
from expc.compiler.errors.shapes import ConditionNeeded, DtypeMismatch, RankMismatch, ResultMismatch
from expc.compiler.errors.stages import CannotUnpack, UnusedFlow
from expc.compiler.names import names_in
from expc.diagnostics import Edit, Fix, Label, Problem, Span
from expc.spec import syntax
from expc.spec.errors.brackets import Surplus
from expc.spec.errors.names import MissingKey, UndefinedInSetting
from expc.spec.errors.syntax import MoreFollow
from expc.spec.suggest import nearest

MOST_ERRORS: Final = 100
"""How many errors are told at once."""

_UNBINDS: Final = (CannotUnpack, DuplicateName, NotData)
"""Problems after which a name that was meant to be bound is not."""
_COMPLETE: Final = (ConditionNeeded, ResultMismatch, UnusedFlow, UnusedName, SelectorMatchesNothing)
"""Errors that leave every module of a model in its place."""

_NAMELESS: Final = re.compile(r"((let|fn|block|model|import|from|extern\s+\w+)\b\s*)?(=|\(|$)|,|.*(,|->)\s*[,:]")
"""Broken text that was meant to give a name to something, and does not say which."""


def without_consequences(problems: Sequence[Problem], tree: syntax.File) -> list[Problem]:
    """The problems less those that another one explains."""
    if not problems:
        return []
    if any(isinstance(problem, Surplus) for problem in problems):
        from expc.compiler.fixes.headless import joined

        problems = joined(problems, tree)
    told = _once(_first(problems), tree)
    errors = [(problem, _home(problem, tree)) for problem in told if problem.severity == "error"]
    return [problem for problem in told if not _is_explained(problem, errors, tree)]


def _first(problems: Sequence[Problem]) -> Sequence[Problem]:
    """The problems, or where those that are errors are too many to look at, only the first of these."""
    errors = [problem for problem in problems if problem.severity == "error"]
    if len(errors) <= MOST_ERRORS:
        return problems
    beyond = errors[MOST_ERRORS]
    rest = {id(problem) for problem in errors[MOST_ERRORS:]}
    return [*(p for p in problems if id(p) not in rest), MoreFollow(span=beyond.span, shown=MOST_ERRORS)]


def _is_explained(
    problem: Problem, errors: Iterable[tuple[Problem, syntax.Statement | None]], tree: syntax.File
) -> bool:
    """Whether another error, each given with its home, says what went wrong here."""
    home = _home(problem, tree)
    if not problem.code.startswith("E01") and any(_is_broken(problem, home, region) for region in tree.broken):
        return True
    others = [(error, place) for error, place in errors if error is not problem]
    here = [error for error, place in others if place is home]
    if any(error.code.startswith("E01") and error.span == problem.span for error, _ in others):
        return True
    match problem:
        case UnusedName() | UnusedFlow():
            in_body = not isinstance(home, syntax.Section)
            return in_body and any(not isinstance(error, UnusedName | UnusedFlow) for error in here)
        case UnknownName() | UndefinedInSetting():
            return any(isinstance(error, _UNBINDS) for error in here)
        case SelectorMatchesNothing():
            return any(
                not isinstance(error, _COMPLETE) and not isinstance(place, syntax.Section) for error, place in others
            )
        case ResultMismatch():
            return any(isinstance(error, ConditionNeeded) and error.of_batch for error in here)
        case DtypeMismatch() | RankMismatch():
            return any(isinstance(error, FieldMismatch) and error.expected == problem.found for error, _ in others)
    return False


def _is_broken(problem: Problem, home: syntax.Statement | None, region: Span) -> bool:
    """Whether a problem stands in text that could not be read, or misses what such text would have given."""
    if region.source is not problem.span.source:
        return False
    if region.start <= problem.span.end and problem.span.start <= region.end:
        return True
    match problem:
        case UnknownName(word=word) | UndefinedInSetting(word=word):
            named = re.search(rf"\b{re.escape(word)}", region.text)
            return named is not None or _NAMELESS.match(region.text) is not None
        case MissingKey() | UnusedName():
            return home is not None and home.span.start <= region.start < home.span.end
    return False


def _home(problem: Problem, tree: syntax.File) -> syntax.Statement | None:
    """The declaration or section of the file in which a problem stands."""
    for statement in tree.statements:
        span = statement.span
        if span.source is problem.span.source and span.start <= problem.span.start < span.end:
            return statement
    return None


def _once(problems: Sequence[Problem], tree: syntax.File) -> list[Problem]:
    """The problems in the order of the text, those with one cause told once."""
    lets = {statement.name: statement for statement in tree.statements if isinstance(statement, syntax.Let)}
    unused = {problem.word: problem.span for problem in problems if isinstance(problem, UnusedName)}
    unused |= {name: lets[name].name_span for name in lets.keys() - set(names_in(tree.statements))}
    causes: dict[object, list[Problem]] = {}
    for problem in problems:
        causes.setdefault(_cause(problem, lets) or id(problem), []).append(problem)
    told = [_told(same, lets, unused) for same in causes.values()]
    return sorted(told, key=lambda problem: (problem.span.source.name, problem.span.start, problem.span.end))


def _cause(problem: Problem, lets: Mapping[str, syntax.Let]) -> object:
    """What two problems share when they have one cause; none where a problem stands for itself."""
    match problem:
        case UnknownName(word=word) | UndefinedInSetting(word=word):
            return "name", word, problem.span.source.name
        case WrongArgument(expected=expected) if (name := _let(problem, lets)) is not None:
            return "let", name, expected
    return None


def _let(problem: Problem, lets: Mapping[str, syntax.Let]) -> str | None:
    """The `let` that an argument consists of."""
    name = problem.span.text.rpartition("=")[2].strip()
    return name if name in lets else None


def _told(same: Sequence[Problem], lets: Mapping[str, syntax.Let], unused: Mapping[str, Span]) -> Problem:
    """Problems with one cause as one: where its definition is surely wrong, there, else where it shows first."""
    first = same[0]
    match first:
        case WrongArgument() if (name := _let(first, lets)) is not None:
            return _wrong_constant(same, name, lets[name].value.span)
        case UnknownName(word=word) if len(same) > 1 and (near := nearest(word, unused)) is not None:
            labels = tuple(Label(problem.span, f"`{word}` is used here") for problem in same)
            fix = Fix(f"write `{word}`", (Edit(unused[near], word),))
            hint = f"; did you mean it by `{near}`, which nothing uses?"
            return UnknownName(span=unused[near], word=word, hint=hint, labels=labels, fixes=(fix,))
    return _everywhere(same)


def _wrong_constant(same: Sequence[Problem], name: str, value: Span) -> Problem:
    """A constant that is refused; where that is in several places, it is the constant that is wrong."""
    first = same[0]
    fixes = tuple(replace(fix, edits=(Edit(value, fix.edits[0].text),)) for fix in first.fixes)
    if len(same) == 1:
        return replace(first, labels=(*first.labels, Label(value, f"`{name}` is this")), fixes=fixes)
    labels = tuple(Label(problem.span, f"`{name}` is used here") for problem in same)
    return replace(first, span=value, labels=labels, fixes=fixes)


def _everywhere(same: Sequence[Problem]) -> Problem:
    """A problem with all the places where it shows: a change of all of them mends it."""
    first, *others = same
    labels = (*first.labels, *(Label(problem.span, "and here") for problem in others))
    if any([fix.title for fix in problem.fixes] != [fix.title for fix in first.fixes] for problem in others):
        return replace(first, labels=labels, fixes=())
    changes = zip(*(problem.fixes for problem in same), strict=True)
    fixes = tuple(replace(fixes[0], edits=tuple(edit for fix in fixes for edit in fix.edits)) for fixes in changes)
    return replace(first, labels=labels, fixes=fixes)
