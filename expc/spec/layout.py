"""Line breaks: which of them end a statement.

A line break inside `()` or `[]` does not, nor does one before a line that goes on: with `->`, a binary operator or
`else`. Inside braces that stand in parentheses line breaks count again.
"""

from expc.diagnostics import Edit, Fix, Source, Span
from expc.spec.brackets import CLOSERS, CONTINUES, OPENERS
from expc.spec.errors.syntax import Unexpected
from expc.spec.lexing import Token
from expc.spec.tables import NEWLINE


def lay_out(tokens: list[Token], source: Source) -> list[Token]:
    """The balanced `tokens` with only those line breaks that end something, and each token's depth noted on it."""
    result: list[Token] = []
    opened: list[str] = []
    for index, token in enumerate(tokens):
        if token.kind == NEWLINE:
            follower = tokens[index + 1].kind if index + 1 < len(tokens) else NEWLINE
            quiet = opened and opened[-1] != "{"
            if quiet or follower == NEWLINE or follower in CONTINUES:
                continue
        elif token.kind in CLOSERS:
            opened.pop()
        elif token.text.isidentifier() and opened and opened[-1] == "(" and tokens[index + 1].kind == "=":
            # The name of an argument may be a reserved word, as torch's `PReLU(init=0.25)` has it; after a number it
            # is no unit, and a comma is missing.
            token.kind = "NAME"
            if result[-1].kind == "NUMBER":
                result.append(_missing_comma(source, result[-1], len(opened)))
        token.depth = len(opened)
        if token.kind in OPENERS:
            opened.append(token.kind)
        result.append(token)
    return result


def _missing_comma(source: Source, number: Token, depth: int) -> Token:
    span = Span(source, number.end, number.end)
    fix = Fix("write `,`", (Edit(span, ","),))
    problem = Unexpected(span=span, expected="`,`", found="another argument", fixes=(fix,))
    return Token(",", ",", number.end, number.end, problem, depth)
