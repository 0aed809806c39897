"""What is left of a broken statement: the names that it would have defined, so that nobody misses them."""

from expc.diagnostics import Source, Span
from expc.spec import syntax
from expc.spec.driver import Place
from expc.spec.lexing import Token
from expc.spec.tables import NEWLINE


def salvage(source: Source, place: Place) -> syntax.Node | None:
    """The statement that stands in the tree for the broken one at `place`; none if nothing is missed."""
    tokens = [token for token in place.region if token.kind != NEWLINE]
    first = tokens[0] if tokens else place.token
    span = Span(source, first.start, max(first.start, tokens[-1].end if tokens else first.start))
    missing = syntax.Missing(span=span)
    match place.context:
        case "header":
            return missing
        case "file":
            return _declaration(source, tokens, missing)
        case "section":
            return _binding(source, tokens, missing) or _setting(source, tokens, missing)
        case _:
            return _binding(source, tokens, missing) or _step(source, tokens, missing)


def _declaration(source: Source, tokens: list[Token], missing: syntax.Missing) -> syntax.Statement | None:
    kind = tokens[0].kind if tokens else ""
    position = 2 if kind == "extern" else 1
    if kind in ("let", "fn", "block", "model", "extern") and len(tokens) > position:
        name = tokens[position]
        if name.kind == "NAME":
            place = Span(source, name.start, name.end)
            if kind == "model":
                return syntax.ModelOf(name.text, missing, span=missing.span, name_span=place)
            return syntax.Let(name.text, missing, span=missing.span, name_span=place)
    return None


def _setting(source: Source, tokens: list[Token], missing: syntax.Missing) -> syntax.Statement:
    if tokens and tokens[0].kind == "NAME":
        target = syntax.Pattern(tokens[0].text, span=Span(source, tokens[0].start, tokens[0].end))
        return syntax.Bind(target, missing, span=missing.span)
    return syntax.Flow(missing, span=missing.span)


def _step(source: Source, tokens: list[Token], missing: syntax.Missing) -> syntax.Statement | None:
    return syntax.Flow(missing, span=missing.span)


def _binding(source: Source, tokens: list[Token], missing: syntax.Missing) -> syntax.Bind | None:
    return None
