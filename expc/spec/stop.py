"""The place where the grammar stopped: what stands there, what could, and how to mend it."""

from collections.abc import Callable, Iterator
from functools import cached_property

from expc.diagnostics import Problem, Source, Span
from expc.frozen import dataclass
from expc.spec.driver import Place
from expc.spec.lexing import Token
from expc.spec.tables import END, NEWLINE

VALUES = frozenset({"NAME", "NUMBER", "STRING", "true", "false", "none", "[", "(", "not"})
"""What a value may start with."""

ENDS = frozenset({"NAME", "NUMBER", "STRING", "true", "false", "none", "]", ")", "}"})
"""What a value may end with."""

Mend = Callable[[], None]
Finding = tuple[Problem, Mend | None]


@dataclass(frozen=True)
class Stop:
    """The place where the grammar stopped, and what the rules ask of it."""

    source: Source
    place: Place

    @property
    def token(self) -> Token:
        """The token that does not fit."""
        return self.place.token

    @cached_property
    def region(self) -> list[Token]:
        """The statement as far as it was read, and the token that does not fit."""
        return self.place.tokens[self.place.first : self.place.at + 1]

    @property
    def second(self) -> Token:
        """The token after the first of the statement, whatever it is."""
        return self.place.tokens[min(self.place.first + 1, len(self.place.tokens) - 1)]

    @property
    def at(self) -> int:
        """How many tokens of the statement were read."""
        return self.place.at - self.place.first

    @property
    def previous(self) -> Token | None:
        """The token before; none at the start of the text."""
        return self.place.tokens[self.place.at - 1] if self.place.at else None

    @property
    def following(self) -> Token | None:
        """The token after; none at the end of the text."""
        return self.place.tokens[self.place.at + 1] if self.token.kind != END else None

    @property
    def at_end(self) -> bool:
        """Whether the statement ends too early."""
        return self.token.kind in (NEWLINE, END, ";", "}") or self.place.at >= self.place.last

    @property
    def bracket(self) -> str | None:
        """The bracket that the token stands in, within its statement."""
        depth = 0
        for token in reversed(self.region[: self.at]):
            if token.kind in (")", "]", "}"):
                depth += 1
            elif token.kind in ("(", "[", "{"):
                if not depth:
                    return token.kind
                depth -= 1
        return None

    def accepts(self, kind: str) -> bool:
        """Whether a token of `kind` would have fitted."""
        return self.place.accepts(kind)

    def span(self, token: Token | None = None) -> Span:
        """Where `token` stands, or the one that does not fit; ends are where the last token ended."""
        token = token or self.token
        if token.kind in (NEWLINE, END) and self.previous is not None:
            return Span(self.source, self.previous.end, self.previous.end)
        return Span(self.source, token.start, token.end)

    def turn(self, token: Token, kind: str) -> Mend:
        """Read `token` as `kind`."""

        def mend() -> None:
            token.kind = kind

        return mend

    def insert(self, kind: str, before: int | None = None) -> Mend:
        """Read a `kind` before the token that does not fit, or before token `before` of the text."""
        index = self.place.at if before is None else before
        at = self.place.tokens[index].start
        depth = self.place.tokens[index].depth

        def mend() -> None:
            self.place.tokens.insert(index, Token(kind, kind, at, at, depth=depth))

        return mend

    def drop(self, index: int | None = None) -> Mend:
        """Read on without the token that does not fit, or without token `index` of the text."""

        def mend() -> None:
            del self.place.tokens[self.place.at if index is None else index]

        return mend


# ---------------------------------------------------------------------------------------------------- in words


def found(stop: Stop) -> str:
    """What stands there."""
    token = stop.token
    if token.kind == END:
        return "the end of the text"
    if token.kind == NEWLINE:
        return "the end of the line"
    if token.kind == "STRING":
        return f"the text {token.text if len(token.text) < 30 else token.text[:27] + '...'}"
    return f"`{token.text[:30]}`"


def expected(stop: Stop) -> str:
    """What could stand there instead."""
    *most, last = list(_expectations(stop)) or ["something else"]
    return f"{', '.join(most)} or {last}" if most else last


def _expectations(stop: Stop) -> Iterator[str]:
    """What could stand here, from what is most likely meant; operators, which may follow any value, are left out."""
    before = stop.previous.kind if stop.previous is not None else NEWLINE
    if stop.accepts("NUMBER"):
        yield "a stage" if before == "->" else "a value"
        return
    if stop.accepts("class"):
        yield "a type"
        return
    if stop.accepts("NAME") and before not in ENDS:
        yield "a name"
        return
    # After a value `:` would make it a label, and `=` would name it: neither is worth telling.
    after_value = stop.accepts("+")
    bracket = stop.bracket
    if bracket in ("(", "["):
        kinds = (",", ")" if bracket == "(" else "]") if after_value else (":", "=", ",", ")", "]")
        yield from (f"`{kind}`" for kind in kinds if stop.accepts(kind))
        return
    if stop.place.context == "section" and stop.accepts(",") and after_value:
        yield "`,`"
    if stop.accepts(NEWLINE):
        if stop.accepts("->"):
            yield "`->`"
        yield "the end of the line"
        return
    for kind in ("else", "in", "=", ":", "{", "STRING", "import"):
        if stop.accepts(kind) and not (after_value and kind == ":"):
            yield "a text in quotes" if kind == "STRING" else f"`{kind}`"
