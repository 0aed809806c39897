"""What is left of a broken statement: the names that it would have defined, so that nobody misses them."""

from itertools import pairwise

from expc.diagnostics import Source, Span
from expc.spec import syntax
from expc.spec.driver import Place
from expc.spec.lexing import Token
from expc.spec.tables import NEWLINE


def salvage(source: Source, place: Place) -> syntax.Node | None:
    """The statement that stands in the tree for the broken one at `place`; none if nothing is missed.

    A broken setting or binding keeps its names, a broken declaration its name, a broken chain its labels; any other
    step of a body or line of a section becomes a `Flow` whose value is `Missing`.
    """
    return _Salvage(source, place).statement()


class _Salvage:
    def __init__(self, source: Source, place: Place) -> None:
        self._source = source
        self._context = place.context
        self._tokens = [token for token in place.region if token.kind != NEWLINE] or [place.token]
        self._depth = self._tokens[0].depth
        self._span = Span(source, self._tokens[0].start, self._tokens[-1].end)
        self._missing = syntax.Missing(span=self._span)

    def statement(self) -> syntax.Node | None:
        first = self._tokens[0]
        if self._context == "header":
            return self._missing
        if self._context == "file":
            return self._declaration()
        if first.kind == "init":
            return None
        if first.kind == "return":
            return syntax.Return(self._missing, span=self._span)
        target = self._target()
        if target is not None:
            return syntax.Bind(target, self._missing, span=self._span)
        return syntax.Flow(self._labelled(), span=self._span)

    def _declaration(self) -> syntax.Statement | None:
        first = self._tokens[0]
        name = first
        if first.kind in ("let", "fn", "block", "model", "extern"):
            position = 2 if first.kind == "extern" else 1
            name = self._tokens[min(position, len(self._tokens) - 1)]
        if name.kind != "NAME":
            return None
        if first.kind == "NAME" and len(self._tokens) > 1 and self._tokens[1].kind != "=":
            # Most likely a section: that something is missing in it must not look like a missing section.
            step = syntax.Flow(self._missing, span=self._span)
            return syntax.Section(name.text, None, (step,), span=self._span, name_span=self._at(name))
        if first.kind == "model":
            return syntax.ModelOf(name.text, self._missing, span=self._span, name_span=self._at(name))
        return syntax.Let(name.text, self._missing, span=self._span, name_span=self._at(name))

    def _target(self) -> syntax.Pattern | None:
        """The names left of `=`, if that is what the statement was about."""
        equal = next((i for i, t in enumerate(self._tokens) if t.kind == "=" and t.depth == self._depth), None)
        first = self._tokens[0]
        if first.kind in ("param", "buffer", "let") and len(self._tokens) > 1 and self._tokens[1].kind == "NAME":
            return self._pattern(self._tokens[1])
        guessed = self._context == "body" and any(token.repaired for token in self._tokens)
        left = [] if equal is None or guessed else self._tokens[:equal]
        if left and all(token.kind in ("NAME", ",", "(", ")") for token in left):
            names = tuple(self._pattern(token) for token in left if token.kind == "NAME")
            if len(names) == 1:
                return names[0]
            return syntax.Pattern(None, names, span=self._span) if names else None
        if self._context == "section" and first.kind == "NAME":
            return self._pattern(first)
        return None

    def _labelled(self) -> syntax.Expr:
        """The labels of the chain, each with nothing known behind it."""
        tokens = self._tokens
        stages = [
            syntax.Labelled(syntax.Constant(token.text, span=self._at(token)), self._missing, span=self._at(token))
            for index, (token, colon) in enumerate(pairwise(tokens))
            if token.kind == "NAME" and colon.kind == ":" and token.depth == self._depth
            if index == 0 or tokens[index - 1].kind == "->"
        ]
        return syntax.Chain((self._missing, *stages), span=self._span) if stages else self._missing

    def _pattern(self, token: Token) -> syntax.Pattern:
        return syntax.Pattern(token.text, span=self._at(token))

    def _at(self, token: Token) -> Span:
        return Span(self._source, token.start, token.end)
