"""Comments and blank lines, which stand beside the tree and not in it.

Comes in: a source. Goes out: what of it means nothing to the grammar, by place. `# allow(rule-name): reason` silences
one lint rule on its line, or, alone on its line, on the next line that holds code.
"""

import re
from bisect import bisect_right

from expc.diagnostics import Source, Span
from expc.frozen import dataclass
from expc.spec.lexing import Comment, lex
from expc.spec.tables import NEWLINE

_ALLOW = re.compile(r"#\s*allow\(\s*(?P<rule>[^()\s]+)\s*\)\s*(?::\s*(?P<reason>.*\S))?")


@dataclass(frozen=True)
class Allowance:
    """`# allow(rule): reason`: the lint `rule` says nothing about `line`; `reason` is empty where none is given."""

    line: int
    rule: str
    reason: str
    span: Span


@dataclass(frozen=True)
class Trivia:
    """What stands beside the tree: comments in the order of the text, numbers of blank lines, allowed lints."""

    comments: tuple[Comment, ...]
    blank_lines: frozenset[int]
    allowances: tuple[Allowance, ...]


def trivia(source: Source) -> Trivia:
    """The comments and blank lines of a text, broken or not."""
    tokens, comments = lex(source)
    code = sorted({source.position(token.start)[0] for token in tokens if token.kind != NEWLINE})
    lines = range(1, len(source.line_starts) + (0 if source.text.endswith("\n") else 1))
    blank = frozenset(line for line in lines if not source.line(line).strip())
    return Trivia(tuple(comments), blank, tuple(_allowances(comments, code)))


def _allowances(comments: list[Comment], code: list[int]) -> list[Allowance]:
    found = []
    for comment in comments:
        match = _ALLOW.match(comment.span.text)
        if match is None:
            continue
        line = comment.span.line
        if comment.alone:
            line = code[bisect_right(code, line)] if code and line < code[-1] else line
        found.append(Allowance(line, match["rule"], match["reason"] or "", comment.span))
    return found
