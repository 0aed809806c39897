"""What stands between quotes: escapes, and `{expr}`."""

import re
from collections.abc import Callable, Iterator

from expc.diagnostics import Edit, Fix, Problem, Source, Span
from expc.frozen import dataclass
from expc.spec import syntax
from expc.spec.errors.characters import BadText

_ESCAPES = {"n": "\n", "t": "\t", '"': '"', "\\": "\\"}
_PIECE = re.compile(r'\\(?P<escape>.)|(?P<doubled>\{\{|\}\})|\{(?P<inner>[^{}"]*)\}|(?P<brace>[{}])|[^\\{}]+')


@dataclass(frozen=True)
class Text:
    """A text with its quotes, which starts at `start` of `source`."""

    source: Source
    written: str
    start: int

    @property
    def span(self) -> Span:
        """Where it stands, with its quotes."""
        return Span(self.source, self.start, self.start + len(self.written))


def read_text(
    text: Text, complain: Callable[[Problem], None], parse_part: Callable[[int, int], syntax.Expr]
) -> syntax.Constant | syntax.Template:
    """The value of a text: a constant, or a template if it holds `{expr}`."""
    parts: list[str | syntax.Expr] = []
    for piece in _pieces(text, complain, parse_part):
        if isinstance(piece, str) and parts and isinstance(parts[-1], str):
            parts[-1] += piece
        else:
            parts.append(piece)
    if all(isinstance(part, str) for part in parts):
        return syntax.Constant("".join(map(str, parts)), span=text.span)
    return syntax.Template(tuple(parts), span=text.span)


def _pieces(
    text: Text, complain: Callable[[Problem], None], parse_part: Callable[[int, int], syntax.Expr]
) -> Iterator[str | syntax.Expr]:
    for match in _PIECE.finditer(text.written, 1, len(text.written) - 1):
        span = Span(text.source, text.start + match.start(), text.start + match.end())
        if match["escape"]:
            if match["escape"] not in _ESCAPES:
                complain(_doubled(span, f"`{match[0]}` is no escape", f"\\{match[0]}"))
            yield _ESCAPES.get(match["escape"], match[0])
        elif match["doubled"]:
            yield match["doubled"][0]
        elif match["brace"]:
            complain(_doubled(span, f"`{match[0]}` stands alone in this text", match[0] * 2))
            yield match[0]
        elif match["inner"] is None:
            yield match[0]
        elif match["inner"].strip():
            yield parse_part(span.start + 1, span.end - 1)
        else:
            complain(BadText(span=span, what="these braces are empty", advice="write `{name}`, or `{{}}` for braces"))
            yield match[0]


def _doubled(span: Span, what: str, right: str) -> Problem:
    fix = Fix(f"write `{right}`", (Edit(span, right),))
    return BadText(span=span, what=what, advice=f"write `{right}` for the character itself", fixes=(fix,))
