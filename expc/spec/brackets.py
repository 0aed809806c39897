"""Brackets: make them balance, and say where one is missing or too many.

Indentation means nothing in the language, so a file whose brackets balance is taken as it is. Only where they do not,
the way people indent tells which bracket was forgotten: a body ends where a line stands as far left as the line that
opened it, a declaration at the left edge ends everything, and what is open in `()` or `[]` ends with its lines.
"""

from collections import Counter
from collections.abc import Callable

from expc.diagnostics import Edit, Fix, Label, Problem, Source, Span
from expc.frozen import dataclass
from expc.spec.errors.brackets import Mismatched, Surplus, Unclosed
from expc.spec.errors.characters import UnclosedText
from expc.spec.errors.syntax import TooDeep
from expc.spec.lexing import BAD, Token
from expc.spec.tables import NEWLINE

OPENERS = {"(": ")", "[": "]", "{": "}"}
CLOSERS = {closer: opener for opener, closer in OPENERS.items()}

NESTING_LIMIT = 100
"""How many brackets may stand inside each other."""

TOLD_LIMIT = 50
"""After how many bad brackets the rest of a text is left unread."""

SECTIONS = frozenset({"data", "train", "distributed", "checkpoint", "log", "quantize", "prune", "export"})

CONTINUES = frozenset(
    {"->", "+", "-", "*", "/", "//", "%", "@", "**", "==", "!=", "<", "<=", ">", ">=", "and", "or", "else"}
)
"""What a line may start with that goes on with the line before."""

LOOK_AHEAD = 300
"""How many tokens away a closing bracket is looked for."""

_HEADERS = frozenset({"block", "model", "for", "if", "repeat"})
_DECLARES = frozenset({"let", "fn", "block", "model", "extern", "import", "from"})


def balance(
    tokens: list[Token], source: Source, complain: Callable[[Problem], None], *, doubt: bool = False
) -> list[Token]:
    """The tokens with every bracket closed by its own kind, and none nested deeper than `NESTING_LIMIT`.

    `doubt`: repair them even if they balance, since one that is missing and one too many may do so.
    """
    if _balanced(tokens) and not doubt:
        return tokens
    shallow = _without_depths(tokens, source)
    return shallow if _balanced(shallow) and not doubt else _Repair(shallow, source, complain).run()


def doubtful(tokens: list[Token]) -> bool:
    """Whether a declaration starts at the left edge while brackets are open."""
    depth = 0
    for index, token in enumerate(tokens):
        depth += (token.kind in OPENERS) - (token.kind in CLOSERS)
        if depth > 0 and declares(tokens, index):
            return True
    return False


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
        self._told = 0
        count = Counter(token.kind for token in tokens)
        self._lacking = Counter({opener: count[opener] - count[closer] for opener, closer in OPENERS.items()})

    def run(self) -> list[Token]:
        """The tokens, balanced."""
        line_start = 0
        fresh = True
        header = False
        for index, token in enumerate(self._tokens):
            if self._told > TOLD_LIMIT:
                break  # nobody is told more, and the rest of such a text is not worth the time
            if token.kind == NEWLINE:
                line_start, fresh = token.end, True
                self._line += 1
                self._result.append(token)
                continue
            if fresh:
                self._indent = token.start - line_start
                self._start_line(index, token)
                header = token.kind in _HEADERS
            elif self._open and self._open[-1].inner is None and self._open[-1].line == self._line:
                self._open[-1].inner = self._indent + 1  # what follows on its line stands deeper, so to speak
            if token.kind in OPENERS:
                self._open_bracket(token, header=header)
            elif token.kind in CLOSERS:
                self._close(token, fresh)
            else:
                self._result.append(token)
                if isinstance(token.problem, UnclosedText):
                    self._close_swallowed(token)
            fresh = False
        while self._open:
            self._add_closer()
        return self._result

    def _start_line(self, index: int, token: Token) -> None:
        """Close what a line that starts with `token` shows to be over."""
        ends_all = declares(self._tokens, index)
        closes = token.kind in CLOSERS
        goes_on = token.kind in CONTINUES or closes
        # Inside parentheses lines are broken after a comma, an opening bracket or an operator.
        broken_off = not any(self._last.kind in kinds for kinds in (OPENERS, CONTINUES, (",", "=", ":")))
        while self._open:
            top = self._open[-1]
            left = self._indent <= top.indent and not goes_on
            if self._lacking[top.kind] <= 0:
                over = False
            elif top.kind == "{":
                over = left and top.shows
            else:
                over = left or (broken_off and not closes and not self._closed_later(index, top))
            if not (ends_all or over):
                break
            self._add_closer()
        for opened in self._open:
            if opened.inner is None and not goes_on:
                opened.inner = self._indent

    def _closed_later(self, index: int, opened: _Open) -> bool:
        """Whether the lines from token `index` on that stand deeper than that of `opened` close it."""
        inside = 0
        line_start = -1
        for token in self._tokens[index : index + LOOK_AHEAD]:
            if token.kind == NEWLINE:
                line_start = token.end
                continue
            if line_start >= 0 and token.start - line_start <= opened.indent and token.kind not in CLOSERS:
                return False
            line_start = -1
            inside += (token.kind in OPENERS) - (token.kind in CLOSERS)
            if inside < 0:
                return token.kind == OPENERS[opened.kind]
        return False

    def _open_bracket(self, token: Token, *, header: bool) -> None:
        before = self._result[-1] if self._result else None
        if token.kind == "{" and self._lacking["{"] > 0 and before is not None and before.kind == "{":
            self._lacking["{"] -= 1
            self._drop(token, "is one too many")
            return
        if token.kind == "{" and header:
            # The head of a `block` or an `if` holds no brace in its parentheses: they end before it.
            while self._open and self._open[-1].line == self._line and self._lacking[self._open[-1].kind] > 0:
                if self._open[-1].kind == "{":
                    break
                self._add_closer()
        self._open.append(_Open(token, self._indent, self._line))
        self._result.append(token)

    def _close_swallowed(self, text: Token) -> None:
        """Close what would have been closed by the rest of a line that a missing quote has made a text of."""
        for character in text.text:
            if self._open and OPENERS[self._open[-1].kind] == character:
                self._lacking[self._open.pop().kind] -= 1
                self._result.append(Token(character, character, text.end, text.end, repaired=True))

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
        beyond = opener != "{" and any(top.kind == "{" and top.line < self._line for top in above)
        if beyond or (above and opener != "{" and self._lacking[opener] < 0):
            self._drop(token, breaks=True)
            return
        if opener == "{" and self._lacking["{"] < 0 and self._stands_apart(self._open[at], fresh):
            self._surplus_brace(token, fresh)
            return
        if above and opener != "{" and above[-1].kind != "{" and self._lacking[above[-1].kind] <= 0:
            self._drop(token, breaks=True)
            return
        for _ in above:
            self._add_closer()
        self._open.pop()
        self._result.append(token)

    def _stands_apart(self, opened: _Open, fresh: bool) -> bool:
        """Whether a closing brace, of which there are too many, does not look like that of the open one."""
        return self._indent > opened.indent if fresh else opened.line < self._line

    def _fit_wrong_closer(self, token: Token, fresh: bool) -> None:
        """Deal with a closing bracket of a kind that is not open."""
        top = self._open[-1] if self._open else None
        if top is not None and top.kind != "{" and token.kind != "}" and self._lacking[top.kind] > 0:
            closer = OPENERS[top.kind]
            span = Span(self._source, token.start, token.end)
            self._tell(
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
            self._drop(token, breaks=True)

    def _surplus_brace(self, token: Token, fresh: bool) -> None:
        """A `}` too many: either it is, or the `{` of an earlier line that stands as far left is missing."""
        header = self._header() if fresh else None
        if header is None:
            self._drop(token, breaks=not fresh)
            return
        before = self._result[header - 1]
        span = Span(self._source, before.end, before.end)
        self._tell(
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

    def _drop(self, token: Token, what: str = "closes nothing", *, breaks: bool = False) -> None:
        """Leave out a bracket; what else does not fit on its line is part of the same mistake."""
        span = self._at(token)
        fixes = (Fix(f"drop the `{token.kind}`", (Edit(span, ""),)),)
        self._tell(Surplus(span=span, bracket=token.kind, what=what, fixes=fixes))
        if token.kind in CLOSERS:
            self._lacking[CLOSERS[token.kind]] += 1
        start = next((i for i in range(len(self._result), 0, -1) if self._result[i - 1].kind == NEWLINE), 0)
        for other in self._result[start:]:
            other.repaired = True
        if breaks:
            # It may be the other one that is missing: nothing may be concluded from what is left of the statement, of
            # which a comma outside all brackets is surely part.
            at = _outer_comma(self._result, start)
            before = self._result[at].start if at < len(self._result) else token.start
            self._result.insert(at, Token(BAD, "", before, before, repaired=True))

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
        self._tell(
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

    @property
    def _last(self) -> Token:
        """The last token before this line."""
        return next((token for token in reversed(self._result) if token.kind != NEWLINE), self._tokens[0])

    def _tell(self, problem: Problem) -> None:
        self._told += 1
        self._complain(problem)

    def _at(self, token: Token) -> Span:
        return Span(self._source, token.start, token.end)


def _outer_comma(tokens: list[Token], start: int) -> int:
    """The first comma outside all brackets from token `start` on; the end if there is none."""
    depth = 0
    for index in range(start, len(tokens)):
        kind = tokens[index].kind
        depth = max(0, depth + (kind in OPENERS) - (kind in CLOSERS))
        if kind == "," and not depth:
            return index
    return len(tokens)
