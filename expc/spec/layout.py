"""Line breaks: which of them end a statement.

A line break inside `()` or `[]` does not, nor does one before a line that goes on: with `->`, a binary operator or
`else`. Inside braces that stand in parentheses line breaks count again.
"""

from expc.spec.brackets import CLOSERS, CONTINUES, OPENERS
from expc.spec.lexing import Token
from expc.spec.tables import NEWLINE


def lay_out(tokens: list[Token]) -> list[Token]:
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
        elif token.kind == "NAME" or token.text.isidentifier():
            _free(token, tokens, index, opened)
        token.depth = len(opened)
        if token.kind in OPENERS:
            opened.append(token.kind)
        result.append(token)
    return result


def _free(token: Token, tokens: list[Token], index: int, opened: list[str]) -> None:
    """Let a reserved word name an argument, as torch's `PReLU(init=0.25)` has it."""
    if opened and opened[-1] == "(" and tokens[index + 1].kind == "=":
        token.kind = "NAME"
