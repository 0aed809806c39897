"""Why a token fits nowhere, in words, and what was surely meant.

Each rule looks at the place where the grammar stopped; the first that recognises the mistake names it. Where it is
plain what was meant, the rule mends the tokens as well, and the statement is read again, so that what is intact in it
is checked.
"""

from collections.abc import Callable, Iterator
from functools import cached_property

from expc.diagnostics import Edit, Fix, Problem, Source, Span
from expc.frozen import dataclass
from expc.spec.brackets import SECTIONS
from expc.spec.driver import Place
from expc.spec.errors.syntax import BadTarget, Foreign, Misplaced, NotASetting, Reserved, Unexpected
from expc.spec.lexing import SOFT, Token
from expc.spec.suggest import nearest
from expc.spec.tables import END, NEWLINE, tables

_VALUES = frozenset({"NAME", "NUMBER", "STRING", "true", "false", "none", "[", "(", "not"})
"""What a value may start with."""

_ENDS = frozenset({"NAME", "NUMBER", "STRING", "true", "false", "none", "]", ")", "}"})
"""What a value may end with."""

_DECLARATIONS = ("let", "fn", "block", "model", "extern", "import", "from")
_STEPS = ("repeat", "for", "if", "param", "buffer", "init", "return")
_WORDS = {"file": _DECLARATIONS, "body": _STEPS, "section": ("for", "if", "init"), "header": ()}
"""The words that a statement may start with, by context."""

_SYNONYMS = {
    "const": "let",
    "var": "let",
    "func": "fn",
    "function": "fn",
    "module": "block",
    "network": "model",
    "net": "model",
    "loop": "repeat",
    "while": "repeat",
    "parameter": "param",
}

_PYTHON = {
    "def": "functions are written `fn NAME(params) = expr`, and pieces of a model `block NAME(params) { ... }`",
    "class": "a network is written `model NAME(inputs) { ... }`, and a piece of one `block NAME(params) { ... }`",
    "lambda": "functions are declared at top level, `fn NAME(params) = expr`",
    "with": "precision, devices and gradients are settings of `train` and `distributed`",
    "try": "there are no exceptions; say what is meant",
    "async": "everything runs in the order of the text",
    "del": "names end with their body",
    "assert": "`-> as f32[N, C]` asserts a type, and `where` a condition",
}

Mend = Callable[[], None]
Finding = tuple[Problem, Mend | None]


@dataclass(frozen=True)
class _Stop:
    """The place where the grammar stopped, and what the rules ask of it."""

    source: Source
    place: Place

    @property
    def token(self) -> Token:
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

    def accepts(self, kind: str) -> bool:
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


def explain(source: Source, place: Place, complain: Callable[[Problem], None]) -> bool:
    """Report what is wrong at `place`; true if tokens were mended and the statement shall be read again."""
    stop = _Stop(source, place)
    problem, mend = next(finding for rule in _RULES if (finding := rule(stop)) is not None)
    complain(problem)
    if mend is None:
        return False
    mend()
    return True


# ---------------------------------------------------------------------------------------------------- other languages


def _python_statement(stop: _Stop) -> Finding | None:
    for token in (stop.region[0], stop.previous or stop.token, stop.token):
        if token.text in _PYTHON and token.kind in ("NAME", "class") and not _is_name(stop, token):
            return Foreign(span=stop.span(token), written=token.text, advice=_PYTHON[token.text]), None
    if stop.previous is not None and stop.previous.kind in ("import", "from") and stop.token.kind == "NAME":
        advice = 'torch is always there; `import` takes another `.exp` file, in quotes: `import "blocks.exp"`'
        return Foreign(span=stop.span(), written=f"{stop.previous.text} {stop.token.text}", advice=advice), None
    return None


def _is_name(stop: _Stop, token: Token) -> bool:
    """Whether a word that Python reserves is used as an ordinary name: `with = 3`."""
    tokens = stop.place.tokens
    follower = tokens[tokens.index(token, stop.place.first) + 1].kind if token.kind != END else END
    return token.kind == "NAME" and follower in ("=", ",", ".", "(", ")")


def _unpacking(stop: _Stop) -> Finding | None:
    if stop.token.kind in ("*", "**") and stop.accepts("NUMBER"):
        advice = "arguments cannot be unpacked; write them out"
        return Foreign(span=stop.span(), written=stop.token.text, advice=advice), None
    return None


def _colon(stop: _Stop) -> Finding | None:
    """`if x:` for `if x {`, and `epochs: 5` for `epochs = 5`."""
    region = stop.region
    follower = stop.following
    if stop.token.kind == ":" and stop.accepts("{") and follower is not None and follower.kind in ("{", NEWLINE):
        mend = stop.drop() if follower.kind == "{" else None
        fixes = (Fix("drop the `:`", (Edit(stop.span(), ""),), "safe"),) if mend else ()
        advice = "a body stands in braces, `{ ... }`, without `:`"
        return Foreign(span=stop.span(), written=":", advice=advice, fixes=fixes), mend
    colon = region[1] if len(region) > 1 else None
    named = region[0].kind in ("NAME", "STRING") and stop.place.context in ("section", "file")
    return _setting(stop, region[0], colon) if named and colon is not None and colon.kind == ":" else None


def _setting(stop: _Stop, key: Token, wrong: Token) -> Finding:
    fix = Fix("write `=`", (Edit(stop.span(wrong), "=" if wrong.kind == "==" else " ="),), "safe")
    problem = NotASetting(span=stop.span(wrong), key=key.text.strip('"'), fixes=(fix,))
    return problem, stop.turn(wrong, "=") if key.kind == "NAME" else None


# ---------------------------------------------------------------------------------------------------- = and ==


def _equality(stop: _Stop) -> Finding | None:
    region = stop.region
    if stop.place.context == "section" and stop.at == 1 and stop.token.kind == "==" and region[0].kind == "NAME":
        return _setting(stop, region[0], stop.token)
    if stop.token.kind == "==" and stop.accepts("="):
        return _one_for_other(stop, stop.token, "=", "a name is given a value with `=`; `==` compares")
    if stop.token.kind != "=" or not stop.accepts("=="):
        return None
    conditional = any(token.kind in ("if", "where") for token in region[: stop.at])
    if stop.place.context == "header" or conditional:
        return _one_for_other(stop, stop.token, "==", "`==` compares; `=` gives a name a value")
    return Unexpected(span=stop.span(), expected="one `=` in a statement", found="a second"), None


def _one_for_other(stop: _Stop, token: Token, right: str, advice: str) -> Finding:
    fix = Fix(f"write `{right}`", (Edit(stop.span(token), right),), "safe")
    problem = Unexpected(
        span=stop.span(token), expected=f"`{right}`", found=f"`{token.text}`", notes=(advice,), fixes=(fix,)
    )
    return problem, stop.turn(token, right)


# ---------------------------------------------------------------------------------------------------- words


def _misspelt_word(stop: _Stop) -> Finding | None:
    """`modle Net(...)`: a statement that starts with something like a word of the language."""
    first = stop.region[0]
    if first.kind != "NAME" or not 1 <= stop.at <= 2 or stop.second.kind in ("=", "==", ",", ".", "(", ":"):
        return None
    words = _WORDS[stop.place.context]
    word = _SYNONYMS.get(first.text) or nearest(first.text, words)
    if word not in words:
        return None
    fix = Fix(f"write `{word}`", (Edit(stop.span(first), word),))
    problem = Foreign(span=stop.span(first), written=first.text, advice=f"did you mean `{word}`?", fixes=(fix,))
    return problem, stop.turn(first, word)


def _reserved(stop: _Stop) -> Finding | None:
    """A word of the language where a name is expected."""
    words = tables().words - SOFT
    token, first, previous = stop.token, stop.region[0], stop.previous
    if token.kind in words and previous is not None and previous.kind == token.kind:
        return Unexpected(span=stop.span(), expected="a name", found=f"`{token.kind}` again"), stop.drop()
    if token.kind in words and stop.accepts("NAME") and _names(stop, token):
        return Reserved(span=stop.span(), word=token.text), stop.turn(token, "NAME")
    if first.kind in words and first is previous and token.kind in ("=", ","):
        return Reserved(span=stop.span(first), word=first.text), None
    return None


def _names(stop: _Stop, token: Token) -> bool:
    """Whether `token` stands as the name of something."""
    before = stop.previous.kind if stop.previous is not None else NEWLINE
    after = stop.following.kind if stop.following is not None else END
    if token.kind in _DECLARATIONS + _STEPS and stop.at == 0:
        return after in ("=", ":", ",")
    return before in (*_DECLARATIONS, "param", "buffer", "for", "as") or after not in _VALUES - {"("}


def _else(stop: _Stop) -> Finding | None:
    if stop.token.kind == "if" and stop.accepts("NUMBER"):
        problem = Unexpected(
            span=stop.span(), expected="a value", found="`if`", notes=("a choice of values is `a if condition else b`",)
        )
        return problem, None
    if stop.token.kind == "else":
        return Unexpected(span=stop.span(), expected=_expected(stop), found="`else`, which has no `if`"), None
    return None


# ---------------------------------------------------------------------------------------------------- wrong place


def _misplaced(stop: _Stop) -> Finding | None:
    first, context = stop.region[0], stop.place.context
    kind = first.kind
    if context == "file":
        return _misplaced_in_file(stop, first)
    where = "in a body" if context == "body" else "in a section"
    if context == "section" and kind in ("repeat", "param", "buffer", "return"):
        advice = "sections hold settings, `name = value`, and `for` and `if` around them"
        return Misplaced(span=stop.span(first), what=f"`{kind}`", where=where, advice=advice), None
    if context == "body" and first.text in SECTIONS and stop.at == 1 and stop.token.kind == "{":
        advice = "sections stand at top level"
        return Misplaced(span=stop.span(first), what=f"`{first.text}`", where=where, advice=advice), None
    if stop.token is not first or context == "header":
        return None
    if kind == "let" and context == "body":
        fix = Fix("drop `let`", (Edit(Span(stop.source, first.start, stop.second.start), ""),), "safe")
        advice = "a name is given a value by `name = value` alone"
        return Misplaced(span=stop.span(), what="`let`", where=where, advice=advice, fixes=(fix,)), stop.drop()
    if kind in _DECLARATIONS:
        advice = "move it out, to the top level of the file"
        return Misplaced(span=stop.span(), what=f"`{kind}`", where=where, advice=advice), None
    return None


def _misplaced_in_file(stop: _Stop, first: Token) -> Finding | None:
    where = "at top level"
    if first.kind == "NAME" and stop.at == 1 and stop.token.kind == "=":
        fix = Fix("write `let`", (Edit(Span(stop.source, first.start, first.start), "let "),))
        advice = f"write `let {first.text} = ...`, or move it into its section"
        problem = Misplaced(span=stop.span(first), what=f"`{first.text} =`", where=where, advice=advice, fixes=(fix,))
        return problem, stop.insert("let", stop.place.first)
    if first.kind in _STEPS and stop.at == 0:
        advice = "it belongs into the body of a `block` or `model`"
        return Misplaced(span=stop.span(), what=f"`{first.kind}`", where=where, advice=advice), None
    goes_on = stop.at == 1 and stop.token.kind in ("(", "->", "[", "+", "*", NEWLINE, END)
    if first.kind in _VALUES | {"{"} and (stop.at == 0 or goes_on):
        advice = "chains belong into the body of a `block` or `model`, settings into a section"
        return Misplaced(span=stop.span(first), what=f"`{first.text}`", where=where, advice=advice), None
    return None


def _not_a_setting(stop: _Stop) -> Finding | None:
    """In a section: a value with no name, or a name and a value with nothing between."""
    region = stop.region
    if stop.place.context != "section" or any(token.kind == "=" for token in region[: stop.at]):
        return None
    if stop.token.kind == "." and stop.accepts("="):
        return BadTarget(span=stop.span(), advice="; a setting is written `name = value`"), None
    if region[0].kind == "NAME" and stop.second.kind in _VALUES - {"("} and stop.at in (1, 2):
        fix = Fix("write `=`", (Edit(Span(stop.source, region[0].end, region[0].end), " ="),))
        problem = NotASetting(span=stop.span(region[0]), key=region[0].text, fixes=(fix,))
        return problem, stop.insert("=", stop.place.first + 1)
    if region[0].kind in _VALUES | {"{", "-", "as"}:
        key = region[0].text if region[0].kind == "NAME" and stop.at_end else "name"
        return NotASetting(span=stop.span(region[0]), key=key), None
    return None


# ---------------------------------------------------------------------------------------------------- separators


def _brace_on_next_line(stop: _Stop) -> Finding | None:
    if stop.token.kind == NEWLINE and stop.accepts("{") and stop.following is not None and stop.following.kind == "{":
        problem = Unexpected(span=stop.span(), expected="`{` on this line", found="it on the next one")
        return problem, stop.drop()
    return None


def _side_by_side(stop: _Stop) -> Finding | None:
    """Two values with nothing between."""
    previous, token = stop.previous, stop.token
    if previous is None or previous.kind not in _ENDS or token.kind not in _VALUES | {"{", *_STEPS, *_DECLARATIONS}:
        return None
    if previous.kind == "}" and stop.accepts(NEWLINE):
        problem = Unexpected(span=stop.span(), expected="a line break or `;` after `}`", found=_found(stop))
        return problem, stop.insert(NEWLINE)
    another = stop.place.context == "section" and stop.following is not None and stop.following.kind == "="
    if stop.accepts(",") and (_bracket(stop) in ("(", "[") or stop.place.context == "header" or another):
        right = ":" if stop.accepts(":") and not stop.accepts("+") else ","
        fix = Fix(f"write `{right}`", (Edit(Span(stop.source, previous.end, previous.end), right),))
        problem = Unexpected(span=stop.span(), expected=_expected(stop), found=_found(stop), fixes=(fix,))
        return problem, stop.insert(right)
    return None


def _several(stop: _Stop) -> Finding | None:
    """`return a, b` and `a, b` without parentheses."""
    region = stop.region
    commas = [token for token in region[: stop.at + 1] if token.kind == "," and token.depth == region[0].depth]
    if stop.place.context != "body" or not commas or not (stop.at_end or region[0].kind == "return"):
        return None
    problem = Unexpected(
        span=stop.span(commas[0]), expected="one value", found="several", notes=("write them as `(a, b)`",)
    )
    return problem, None


def _early_end(stop: _Stop) -> Finding | None:
    previous = stop.previous
    if stop.token.kind != NEWLINE or previous is None or previous.kind in _ENDS or not stop.accepts("NUMBER"):
        return None
    note = f"a line that starts with `{previous.text}` goes on with the line before"
    notes = (note,) if previous.kind in ("->", "+", "-", "*", "/", "//", "%", "@", "**", "and", "or") else ()
    problem = Unexpected(
        span=stop.span(),
        expected=f"a {'stage' if previous.kind == '->' else 'value'} after `{previous.text}`",
        found="the end of the line",
        notes=notes,
    )
    return problem, None


def _anything(stop: _Stop) -> Finding:
    return Unexpected(span=stop.span(), expected=_expected(stop), found=_found(stop)), None


_RULES: tuple[Callable[[_Stop], Finding | None], ...] = (
    _python_statement,
    _unpacking,
    _colon,
    _equality,
    _misspelt_word,
    _reserved,
    _else,
    _misplaced,
    _not_a_setting,
    _brace_on_next_line,
    _side_by_side,
    _several,
    _early_end,
    _anything,
)


# ---------------------------------------------------------------------------------------------------- in words


def _found(stop: _Stop) -> str:
    token = stop.token
    if token.kind == END:
        return "the end of the text"
    if token.kind == NEWLINE:
        return "the end of the line"
    if token.kind == "STRING":
        return f"the text {token.text if len(token.text) < 30 else token.text[:27] + '...'}"
    return f"`{token.text[:30]}`"


def _expected(stop: _Stop) -> str:
    *most, last = list(_expectations(stop)) or ["something else"]
    return f"{', '.join(most)} or {last}" if most else last


def _expectations(stop: _Stop) -> Iterator[str]:
    """What could stand here, from what is most likely meant; operators, which may follow any value, are left out."""
    before = stop.previous.kind if stop.previous is not None else NEWLINE
    if stop.accepts("NUMBER"):
        yield "a stage" if before == "->" else "a value"
        return
    if stop.accepts("class"):
        yield "a type"
        return
    if stop.accepts("NAME") and before not in _ENDS:
        yield "a name"
        return
    # After a value `:` would make it a label, and `=` would name it: neither is worth telling.
    after_value = stop.accepts("+")
    bracket = _bracket(stop)
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


def _bracket(stop: _Stop) -> str | None:
    """The bracket that the token stands in, within its statement."""
    depth = 0
    for token in reversed(stop.region[: stop.at]):
        if token.kind in (")", "]", "}"):
            depth += 1
        elif token.kind in ("(", "[", "{"):
            if not depth:
                return token.kind
            depth -= 1
    return None
