"""Brackets: make them balance, and say where one is missing or too many.

Indentation means nothing in the language, so a file whose brackets balance is taken as it is. Only where they do not,
the way people indent tells which bracket was forgotten: a body ends where a line stands as far left as the line that
opened it, a declaration at the left edge ends everything, and what is open in `()` or `[]` ends with its lines.
"""

from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass

from expc.diagnostics import Edit, Fix, Label, Problem, Source, Span
from expc.spec.errors.syntax import Mismatched, Surplus, TooDeep, Unclosed
from expc.spec.lexing import BAD, Token
from expc.spec.tables import NEWLINE

OPENERS = {"(": ")", "[": "]", "{": "}"}
CLOSERS = {closer: opener for opener, closer in OPENERS.items()}

NESTING_LIMIT = 100
"""How many brackets may stand inside each other."""

SECTIONS = frozenset({"data", "train", "distributed", "checkpoint", "log", "quantize", "prune", "export"})

CONTINUES = frozenset(
    {"->", "+", "-", "*", "/", "//", "%", "@", "**", "==", "!=", "<", "<=", ">", ">=", "and", "or", "else"}
)
"""What a line may start with that goes on with the line before."""

_DECLARES = frozenset({"let", "fn", "block", "model", "extern", "import", "from"})


def balance(tokens: list[Token], source: Source, complain: Callable[[Problem], None]) -> list[Token]:
    """The tokens with every bracket closed by its own kind, and none nested deeper than `NESTING_LIMIT`."""
    if _balanced(tokens):
        return tokens
    shallow = _without_depths(tokens, source)
    return shallow if _balanced(shallow) else _Repair(shallow, source, complain).run()


def _balanced(tokens: list[Token]) -> bool:
    opened: list[str] = []
    for token in tokens:
        if token.kind in OPENERS:
            opened.append(token.kind)
            if len(opened) > NESTING_LIMIT:
                return False
        elif token.kind in CLOSERS and (not opened or opened.pop() != CLOSERS[token.kind]):
            return False
    return not opened


def _without_depths(tokens: list[Token], source: Source) -> list[Token]:
    """The tokens less every top-level statement that is nested too deep, of which the beginning stays."""
    result: list[Token] = []
    depth = 0
    head = 0  # how much of the result stands before the first bracket of the statement at hand
    cutting = False
    for index, token in enumerate(tokens):
        if depth and declares(tokens, index):
            depth, cutting = 0, False
        if token.kind in OPENERS:
            if not depth:
                head = len(result)
            depth += 1
            if depth > NESTING_LIMIT and not cutting:
                cutting = True
                span = Span(source, token.start, token.end)
                del result[head:]
                result.append(Token(BAD, "", token.start, token.end, TooDeep(span=span, limit=NESTING_LIMIT)))
        elif token.kind in CLOSERS:
            depth = max(0, depth - 1)
            if cutting and not depth:
                cutting = False
                continue
        if not cutting:
            result.append(token)
    return result


def declares(tokens: list[Token], index: int) -> bool:
    """Whether a top-level declaration or section starts with this token, at the left edge."""
    token = tokens[index]
    if index and (tokens[index - 1].kind != NEWLINE or tokens[index - 1].end != token.start):
        return False
    opens = index + 1 < len(tokens) and tokens[index + 1].kind == "{"
    return token.kind in _DECLARES or (token.kind == "NAME" and token.text in SECTIONS and opens)


@dataclass
class _Open:
    """A bracket that is not closed yet, and how its line and the first line after it are indented."""

    token: Token
    indent: int
    line: int
    inner: int | None = None

    @property
    def kind(self) -> str:
        return self.token.kind

    @property
    def shows(self) -> bool:
        """Whether what it holds is indented, so that indentation can tell where it ends."""
        return self.inner is not None and self.inner > self.indent


class _Repair:
    """Reads the tokens line by line, and adds or drops brackets where the lines say so."""

    def __init__(self, tokens: list[Token], source: Source, complain: Callable[[Problem], None]) -> None:
        self._tokens = tokens
        self._source = source
        self._complain = complain
        self._result: list[Token] = []
        self._open: list[_Open] = []
        self._line = 0
        self._indent = 0
        count = Counter(token.kind for token in tokens)
        self._lacking = Counter({opener: count[opener] - count[closer] for opener, closer in OPENERS.items()})

    def run(self) -> list[Token]:
        """The tokens, balanced."""
        line_start = 0
        fresh = True
        for index, token in enumerate(self._tokens):
            if token.kind == NEWLINE:
                line_start, fresh = token.end, True
                self._line += 1
                self._result.append(token)
                continue
            if fresh:
                self._indent = token.start - line_start
                self._start_line(index, token)
            if token.kind in OPENERS:
                self._open.append(_Open(token, self._indent, self._line))
                self._result.append(token)
            elif token.kind in CLOSERS:
                self._close(token, fresh)
            else:
                self._result.append(token)
            fresh = False
        while self._open:
            self._add_closer()
        return self._result

    def _start_line(self, index: int, token: Token) -> None:
        """Close what a line that starts with `token` shows to be over."""
        ends_all = declares(self._tokens, index)
        goes_on = token.kind in CONTINUES or token.kind in CLOSERS
        while self._open:
            top = self._open[-1]
            over = self._indent <= top.indent and not goes_on and self._lacking[top.kind] > 0
            if top.kind == "{":
                over = over and top.shows
            if not (ends_all or over):
                break
            self._add_closer()
        for opened in self._open:
            if opened.inner is None and not goes_on:
                opened.inner = self._indent

    def _close(self, token: Token, fresh: bool) -> None:
        opener = CLOSERS[token.kind]
        at = next((i for i in range(len(self._open) - 1, -1, -1) if self._open[i].kind == opener), None)
        if opener == "{" and fresh and self._lacking["{"] > 0:
            # Of several open braces, the one whose line stands as far left as this.
            at = next((i for i, top in enumerate(self._open) if top.kind == "{" and top.indent == self._indent), at)
        if at is None:
            self._fit_wrong_closer(token, fresh)
            return
        above = self._open[at + 1 :]
        if opener != "{" and any(top.kind == "{" and top.line < self._line for top in above):
            self._drop(token)
            return
        if opener == "{" and not above and self._lacking["{"] < 0 and self._stands_apart(fresh):
            self._surplus_brace(token, fresh)
            return
        if above and opener != "{" and above[-1].kind != "{" and self._lacking[above[-1].kind] <= 0:
            self._drop(token)
            return
        for _ in above:
            self._add_closer()
        self._open.pop()
        self._result.append(token)

    def _stands_apart(self, fresh: bool) -> bool:
        """Whether a closing brace, of which there are too many, does not look like that of the open one."""
        top = self._open[-1]
        return self._indent > top.indent if fresh else top.line < self._line

    def _fit_wrong_closer(self, token: Token, fresh: bool) -> None:
        """Deal with a closing bracket of a kind that is not open."""
        top = self._open[-1] if self._open else None
        if top is not None and top.kind != "{" and token.kind != "}" and self._lacking[top.kind] > 0:
            closer = OPENERS[top.kind]
            span = Span(self._source, token.start, token.end)
            self._complain(
                Mismatched(
                    span=span,
                    opener=top.kind,
                    closer=closer,
                    found=token.kind,
                    labels=(Label(self._at(top.token), "opened here"),),
                    fixes=(Fix(f"write `{closer}`", (Edit(span, closer),)),),
                )
            )
            self._lacking[top.kind] -= 1
            self._lacking[CLOSERS[token.kind]] += 1
            self._open.pop()
            self._result.append(Token(closer, closer, token.start, token.end, repaired=True))
        elif token.kind == "}":
            self._surplus_brace(token, fresh)
        else:
            self._drop(token)

    def _surplus_brace(self, token: Token, fresh: bool) -> None:
        """A `}` too many: either it is, or the `{` of an earlier line that stands as far left is missing."""
        header = self._header() if fresh else None
        if header is None:
            self._drop(token)
            return
        before = self._result[header - 1]
        span = Span(self._source, before.end, before.end)
        self._complain(
            Unclosed(
                span=span,
                missing="{",
                what=f"the `}}` of line {self._at(token).line}",
                verb="opened",
                labels=(Label(self._at(token), "closes what was never opened"),),
                fixes=(Fix("open it here", (Edit(span, " {"),)),),
            )
        )
        self._result.insert(header, Token("{", "{", before.end, before.end, repaired=True))
        self._lacking["{"] += 1
        self._result.append(token)

    def _header(self) -> int | None:
        """Where the `{` is missing: after the last line as far left as this one, if deeper lines follow it."""
        end = len(self._result)
        deeper = False
        while end:
            while end and self._result[end - 1].kind == NEWLINE:
                end -= 1
            start = end
            while start and self._result[start - 1].kind != NEWLINE:
                start -= 1
            if start == end:
                return None
            first = self._result[start]
            indent = self._source.position(first.start)[1] - 1
            if self._open and first.start <= self._open[-1].token.start:
                return None
            if indent <= self._indent:
                ends = self._result[end - 1].kind in ("{", "}")
                return end if deeper and indent == self._indent and not ends else None
            deeper = True
            end = start
        return None

    def _drop(self, token: Token) -> None:
        span = self._at(token)
        fixes = (Fix(f"drop the `{token.kind}`", (Edit(span, ""),)),)
        self._complain(Surplus(span=span, closer=token.kind, fixes=fixes))
        self._lacking[CLOSERS[token.kind]] += 1
        if self._result:
            self._result[-1].repaired = True

    def _add_closer(self) -> None:
        """Close the innermost bracket after the last token, and report that."""
        opened = self._open.pop()
        closer = OPENERS[opened.kind]
        self._lacking[opened.kind] -= 1
        at = len(self._result)
        while self._result[at - 1].kind == NEWLINE:
            at -= 1
        end = self._result[at - 1].end
        span = Span(self._source, end, end)
        line = self._at(opened.token).line
        text = closer if line == span.line else "\n" + " " * opened.indent + closer
        self._complain(
            Unclosed(
                span=span,
                missing=closer,
                what=f"the `{opened.kind}` of line {line}",
                verb="closed",
                labels=(Label(self._at(opened.token), "opened here"),),
                fixes=(Fix(f"add `{closer}`", (Edit(span, text),)),),
            )
        )
        added = [Token(closer, closer, end, end, repaired=True)]
        if opened.kind != "{":
            # Where exactly it should stand is a guess: nothing may be concluded from what it would then hold.
            added.insert(0, Token(BAD, "", end, end))
        self._result[at:at] = added

    def _at(self, token: Token) -> Span:
        return Span(self._source, token.start, token.end)
