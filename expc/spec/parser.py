"""A source to its syntax tree.

`lex` makes tokens, `balance` repairs brackets, `lay_out` settles line breaks, the driver runs the grammar and a
`Builder` makes the nodes. Any text gives a tree: what cannot be read is reported once and stands in the tree as
`Missing`.
"""

from collections.abc import Callable
from typing import Any

from expc.diagnostics import Problem, Report, Source, Span
from expc.spec import syntax
from expc.spec.brackets import balance
from expc.spec.build import Builder
from expc.spec.driver import DEPTH_LIMIT, Driver, Place
from expc.spec.errors.syntax import MoreFollow, TooDeep
from expc.spec.layout import lay_out
from expc.spec.lexing import Token, control_character, lex, lex_part
from expc.spec.mistakes import explain
from expc.spec.salvage import salvage
from expc.spec.tables import END, tables

PROBLEM_LIMIT = 25
"""How many problems one file is told at once."""


def parse(source: Source, report: Report) -> syntax.File:
    """The tree of a whole file; what is wrong with the text goes to `report`."""
    whole = Span(source, 0, len(source.text))
    complain = _limited(report)
    binary = control_character(source)
    if binary is not None:
        complain(binary)
        return syntax.File((), span=whole)
    tokens, comments = lex(source)
    for comment in comments:
        if comment.problem is not None:
            complain(comment.problem)
    laid_out = lay_out(balance(tokens, source, complain))
    file = _Reader(source, complain).read(laid_out, "file", len(source.text))
    return file if isinstance(file, syntax.File) else syntax.File((), span=whole)


def parse_value(source: Source, report: Report) -> syntax.Expr:
    """The tree of a lone value, such as the right side of `--set lr=2e-3`; `Missing` after a complaint."""
    complain = _limited(report)
    binary = control_character(source)
    if binary is not None:
        complain(binary)
        return syntax.Missing(span=Span(source, 0, len(source.text)))
    return _value(source, complain, lex(source)[0], Span(source, 0, len(source.text)))


def _value(source: Source, complain: Callable[[Problem], None], tokens: list[Token], span: Span) -> syntax.Expr:
    laid_out = lay_out(balance(tokens, source, complain))
    value = _Reader(source, complain).read(laid_out, "chain", span.end)
    return value if isinstance(value, syntax.Expr) else syntax.Missing(span=span)


def _limited(report: Report) -> Callable[[Problem], None]:
    """Reports each problem once, and the first few only."""
    seen: set[tuple[str, int, int]] = set()

    def complain(problem: Problem) -> None:
        key = (problem.code, problem.span.start, problem.span.end)
        if key in seen or len(seen) > PROBLEM_LIMIT:
            return
        seen.add(key)
        if len(seen) > PROBLEM_LIMIT:
            report.add(MoreFollow(span=problem.span, shown=PROBLEM_LIMIT))
        else:
            report.add(problem)

    return complain


class _Reader:
    """What the driver asks while it reads one source."""

    def __init__(self, source: Source, complain: Callable[[Problem], None]) -> None:
        self._source = source
        self.complain = complain
        self.build: Callable[[str, list[Any], int, int], Any] = Builder(source, complain, self._part).build

    def read(self, tokens: list[Token], start: str, end: int) -> Any:
        """What the grammar makes of `tokens` by rule `start`; none if that is nothing."""
        return Driver(tables(), self, [*tokens, Token(END, "", end, end)], start).run()

    def too_deep(self, start: int, end: int) -> None:
        """Report what stands there as nested too deep."""
        self.complain(TooDeep(span=Span(self._source, start, end), limit=DEPTH_LIMIT))

    def explain(self, place: Place) -> bool:
        """Report the token that does not fit. True: tokens were mended, read the statement again."""
        return explain(self._source, place, self.complain)

    def salvage(self, place: Place) -> Any:
        """What is left of a broken statement."""
        return salvage(self._source, place)

    def _part(self, start: int, end: int) -> syntax.Expr:
        return _value(self._source, self.complain, lex_part(self._source, start, end), Span(self._source, start, end))
