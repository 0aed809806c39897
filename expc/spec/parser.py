"""A source to its syntax tree.

`lex` makes tokens, `balance` repairs brackets, `lay_out` settles line breaks, the driver runs the grammar and a
`Builder` makes the nodes. Any text gives a tree: what cannot be read is reported once and stands in the tree as
`Missing`.
"""

from collections.abc import Iterator
from dataclasses import replace
from functools import lru_cache
from typing import Any

from expc.diagnostics import Problem, Report, Source, Span
from expc.spec import syntax
from expc.spec.brackets import balance, doubtful
from expc.spec.build import Builder
from expc.spec.driver import DEPTH_LIMIT, Driver, Place
from expc.spec.errors.brackets import Mismatched, Surplus, Unclosed
from expc.spec.errors.syntax import MoreFollow, TooDeep
from expc.spec.layout import lay_out
from expc.spec.lexing import Token, control_character, lex, lex_part
from expc.spec.mistakes import explain
from expc.spec.salvage import salvage
from expc.spec.tables import END, NEWLINE, tables

LONGEST_KEPT = 50_000
"""The trees of the last few texts are kept, of so many characters at most: a file is often checked again, and so are
those that it imports."""

PROBLEM_LIMIT = 25
"""How many problems one file is told at once."""


def parse(source: Source, report: Report) -> syntax.File:
    """The tree of a whole file; what is wrong with the text goes to `report`."""
    tree, problems = _known(source) if len(source.text) <= LONGEST_KEPT else _parse(source)
    for problem in problems:
        report.add(problem)
    return tree


def _parse(source: Source) -> tuple[syntax.File, tuple[Problem, ...]]:
    report = Report()
    found = _Complaints()
    tokens = _tokens(source, found)
    file = _file(source, tokens, first := found.copy())
    if first.problems and doubtful(tokens):
        # A bracket missing here and one too many there balance: see whether that explains it better.
        other = _file(source, _tokens(source, _Complaints()), second := found.copy(), doubt=True)
        if len(second.problems) <= len(first.problems) + 1:
            file, first = other, second
    first.tell(report)
    return replace(file, broken=tuple(first.broken)), report.problems


_known = lru_cache(maxsize=32)(_parse)


@lru_cache(maxsize=32)
def _kept(name: str, text: str, home: str) -> Source:
    return Source(name, text, home)


def source_of(name: str, text: str, home: str = "") -> Source:
    """The source with this name and text: the same one for a while, so that what was read of it is known again.

    `home` is the path of the file that it is a copy of, if it is one.
    """
    return _kept(name, text, home) if len(text) <= LONGEST_KEPT else Source(name, text, home)


def parse_value(source: Source, report: Report) -> syntax.Expr:
    """The tree of a lone value, such as the right side of `--set lr=2e-3`; `Missing` after a complaint."""
    complaints = _Complaints()
    span = Span(source, 0, len(source.text))
    tokens = _tokens(source, complaints)
    value = syntax.Missing(span=span) if complaints.problems else _value(source, complaints, tokens, span)
    complaints.tell(report)
    return syntax.Missing(span=span) if complaints.problems else value


def _tokens(source: Source, complaints: "_Complaints") -> list[Token]:
    """The tokens of a text; of one that is no text, none."""
    binary = control_character(source)
    if binary is not None:
        complaints.add(binary)
        return []
    tokens, comments = lex(source)
    for comment in comments:
        if comment.problem is not None:
            complaints.add(comment.problem)
    return tokens


def _file(source: Source, tokens: list[Token], complaints: "_Complaints", *, doubt: bool = False) -> syntax.File:
    """The tree; with `doubt`, brackets are not believed even where they balance."""
    end = len(source.text)
    laid_out = lay_out(balance(tokens, source, complaints.add, doubt=doubt), source)
    file = _Reader(source, complaints).read(laid_out, "file", end)
    return file if isinstance(file, syntax.File) else syntax.File((), span=Span(source, 0, end))


def _value(source: Source, complaints: "_Complaints", tokens: list[Token], span: Span) -> syntax.Expr:
    laid_out = lay_out(balance(tokens, source, complaints.add), source)
    value = _Reader(source, complaints).read(laid_out, "chain", span.end)
    return value if isinstance(value, syntax.Expr) else syntax.Missing(span=span)


class _Complaints:
    """What was found wrong so far, each thing once."""

    def __init__(self) -> None:
        self.problems: dict[tuple[str, int, int], Problem] = {}
        self.broken: list[Span] = []

    def copy(self) -> "_Complaints":
        """The same complaints, to which others may be added apart."""
        other = _Complaints()
        other.problems.update(self.problems)
        other.broken += self.broken
        return other

    def add(self, problem: Problem) -> None:
        """Remember `problem`."""
        self.problems.setdefault((problem.code, problem.span.start, problem.span.end), problem)
        self.broken.append(problem.span)

    @property
    def enough(self) -> bool:
        """Whether so much is wrong that it is not worth reading on: all that, and more, will not be told anyway."""
        return len(self.problems) > 2 * PROBLEM_LIMIT

    def tell(self, report: Report) -> None:
        """Report the first few in the order of the text."""
        ordered = sorted(self.problems.values(), key=lambda problem: problem.span.start)
        ordered = list(_without_echoes(ordered))
        for problem in ordered[:PROBLEM_LIMIT]:
            report.add(problem)
        for problem in ordered[PROBLEM_LIMIT : PROBLEM_LIMIT + 1]:
            report.add(MoreFollow(span=problem.span, shown=PROBLEM_LIMIT))


def _without_echoes(problems: list[Problem]) -> Iterator[Problem]:
    """Of a line whose brackets do not fit, only the first that is wrong with them: the rest follows from it."""
    brackets: dict[int, Problem] = {}
    for problem in problems:
        if isinstance(problem, Unclosed | Surplus | Mismatched):
            brackets.setdefault(problem.span.line, problem)
    for problem in problems:
        if brackets.get(problem.span.line, problem) is problem:
            yield problem


class _Reader:
    """What the driver asks while it reads one source."""

    def __init__(self, source: Source, complaints: _Complaints) -> None:
        self._source = source
        self._complaints = complaints
        self._builder = Builder(source, complaints.add, self._part)

    def read(self, tokens: list[Token], start: str, end: int) -> Any:
        """What the grammar makes of `tokens` by rule `start`; none if that is nothing."""
        return Driver(tables(), self, [*tokens, Token(END, "", end, end)], start).run()

    def build(self, rule: str, parts: list[Any], start: int, end: int) -> Any:
        """The node that a rule makes of its parts."""
        return self._builder.build(rule, parts, start, end)

    def complain(self, problem: Problem) -> None:
        """Report a problem."""
        self._complaints.add(problem)

    @property
    def enough(self) -> bool:
        """Whether so much is wrong that it is not worth reading on."""
        return self._complaints.enough

    def too_deep(self, start: int, end: int) -> None:
        """Report what stands there as nested too deep."""
        self.complain(TooDeep(span=Span(self._source, start, end), limit=DEPTH_LIMIT))

    def explain(self, place: Place) -> bool:
        """Report the token that does not fit. True: tokens were mended, read the statement again."""
        self._breaks(place)
        return explain(self._source, place, self.complain)

    def salvage(self, place: Place) -> Any:
        """What is left of a broken statement."""
        self._breaks(place)
        return salvage(self._source, place)

    def _breaks(self, place: Place) -> None:
        first = max(0, place.first - 2) if place.context == "header" else place.first  # with its word and its name
        tokens = [t for t in place.tokens[first : place.last] if t.kind != NEWLINE] or [place.token]
        self._complaints.broken.append(Span(self._source, tokens[0].start, tokens[-1].end))

    def _part(self, start: int, end: int) -> syntax.Expr:
        return _value(
            self._source, self._complaints, lex_part(self._source, start, end), Span(self._source, start, end)
        )
