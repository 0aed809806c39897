"""Why a token fits nowhere, in words, and what was surely meant.

Each rule looks at the place where the grammar stopped; the first that recognises the mistake names it. Where it is
plain what was meant, the rule mends the tokens as well, and the statement is read again, so that what is intact in it
is checked.
"""

from collections.abc import Callable

from expc.diagnostics import Edit, Fix, Problem, Source, Span
from expc.spec.brackets import SECTIONS
from expc.spec.driver import Place
from expc.spec.errors.characters import Foreign, Reserved, UnknownUnit
from expc.spec.errors.syntax import BadTarget, Misplaced, NotASetting, Unexpected
from expc.spec.lexing import SOFT, Token
from expc.spec.stop import ENDS, VALUES, Finding, Stop, expected, found
from expc.spec.suggest import nearest
from expc.spec.tables import END, NEWLINE, tables
from expc.spec.units import UNITS_ADVICE

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


def explain(source: Source, place: Place, complain: Callable[[Problem], None]) -> bool:
    """Report what is wrong at `place`; true if tokens were mended and the statement shall be read again."""
    stop = Stop(source, place)
    problem, mend = next(finding for rule in _RULES if (finding := rule(stop)) is not None)
    complain(problem)
    if mend is None:
        return False
    mend()
    return True


# ---------------------------------------------------------------------------------------------------- other languages


def _python_statement(stop: Stop) -> Finding | None:
    for token in (stop.region[0], stop.previous or stop.token, stop.token):
        if token.text in _PYTHON and token.kind in ("NAME", "class") and not _is_name(stop, token):
            return Foreign(span=stop.span(token), written=token.text, advice=_PYTHON[token.text]), None
    if stop.previous is not None and stop.previous.kind in ("import", "from") and stop.token.kind == "NAME":
        advice = 'torch is always there; `import` takes another `.exp` file, in quotes: `import "blocks.exp"`'
        return Foreign(span=stop.span(), written=f"{stop.previous.text} {stop.token.text}", advice=advice), None
    return None


def _is_name(stop: Stop, token: Token) -> bool:
    """Whether a word that Python reserves is used as an ordinary name: `with = 3`."""
    tokens = stop.place.tokens
    follower = tokens[tokens.index(token, stop.place.first) + 1].kind if token.kind != END else END
    return token.kind == "NAME" and follower in ("=", ",", ".", "(", ")")


def _unpacking(stop: Stop) -> Finding | None:
    if stop.token.kind in ("*", "**") and stop.accepts("NUMBER"):
        advice = "arguments cannot be unpacked; write them out"
        return Foreign(span=stop.span(), written=stop.token.text, advice=advice), None
    return None


def _colon(stop: Stop) -> Finding | None:
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


def _setting(stop: Stop, key: Token, wrong: Token) -> Finding:
    fix = Fix("write `=`", (Edit(stop.span(wrong), "=" if wrong.kind == "==" else " ="),), "safe")
    problem = NotASetting(span=stop.span(wrong), key=key.text.strip('"'), fixes=(fix,))
    return problem, stop.turn(wrong, "=") if key.kind == "NAME" else None


# ---------------------------------------------------------------------------------------------------- = and ==


def _equality(stop: Stop) -> Finding | None:
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


def _one_for_other(stop: Stop, token: Token, right: str, advice: str) -> Finding:
    fix = Fix(f"write `{right}`", (Edit(stop.span(token), right),), "safe")
    problem = Unexpected(
        span=stop.span(token), expected=f"`{right}`", found=f"`{token.text}`", notes=(advice,), fixes=(fix,)
    )
    return problem, stop.turn(token, right)


# ---------------------------------------------------------------------------------------------------- words


def _misspelt_word(stop: Stop) -> Finding | None:
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


def _reserved(stop: Stop) -> Finding | None:
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


def _names(stop: Stop, token: Token) -> bool:
    """Whether `token` stands as the name of something."""
    before = stop.previous.kind if stop.previous is not None else NEWLINE
    after = stop.following.kind if stop.following is not None else END
    if token.kind in _DECLARATIONS + _STEPS and stop.at == 0:
        return after in ("=", ":", ",")
    return before in (*_DECLARATIONS, "param", "buffer", "for", "as") or after not in VALUES - {"("}


def _else(stop: Stop) -> Finding | None:
    if stop.token.kind == "if" and stop.accepts("NUMBER"):
        problem = Unexpected(
            span=stop.span(), expected="a value", found="`if`", notes=("a choice of values is `a if condition else b`",)
        )
        return problem, None
    if stop.token.kind == "else":
        return Unexpected(span=stop.span(), expected=expected(stop), found="`else`, which has no `if`"), None
    return None


# ---------------------------------------------------------------------------------------------------- wrong place


def _misplaced(stop: Stop) -> Finding | None:
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


def _misplaced_in_file(stop: Stop, first: Token) -> Finding | None:
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
    if first.kind in VALUES | {"{"} and (stop.at == 0 or goes_on):
        advice = "chains belong into the body of a `block` or `model`, settings into a section"
        return Misplaced(span=stop.span(first), what=f"`{first.text}`", where=where, advice=advice), None
    return None


def _not_a_setting(stop: Stop) -> Finding | None:
    """In a section: a value with no name, or a name and a value with nothing between."""
    region = stop.region
    if stop.place.context != "section" or any(token.kind == "=" for token in region[: stop.at]):
        return None
    if stop.token.kind == "." and stop.accepts("="):
        return BadTarget(span=stop.span(), advice="; a setting is written `name = value`"), None
    if region[0].kind == "NAME" and stop.second.kind in VALUES - {"("} and stop.at in (1, 2):
        fix = Fix("write `=`", (Edit(Span(stop.source, region[0].end, region[0].end), " ="),))
        problem = NotASetting(span=stop.span(region[0]), key=region[0].text, fixes=(fix,))
        return problem, stop.insert("=", stop.place.first + 1)
    if region[0].kind in VALUES | {"{", "-", "as"}:
        key = region[0].text if region[0].kind == "NAME" and stop.at_end else "name"
        return NotASetting(span=stop.span(region[0]), key=key), None
    return None


# ---------------------------------------------------------------------------------------------------- separators


def _brace_on_next_line(stop: Stop) -> Finding | None:
    if stop.token.kind == NEWLINE and stop.accepts("{") and stop.following is not None and stop.following.kind == "{":
        problem = Unexpected(span=stop.span(), expected="`{` on this line", found="it on the next one")
        return problem, stop.drop()
    return None


def _unit(stop: Stop) -> Finding | None:
    """In a setting: a word after a number, which is no unit."""
    number = stop.previous is not None and stop.previous.kind == "NUMBER"
    if not number or stop.token.kind != "NAME" or stop.place.context != "section":
        return None
    if stop.following is not None and stop.following.kind in ("=", "("):
        return None
    return UnknownUnit(span=stop.span(), unit=stop.token.text, advice=UNITS_ADVICE), None


def _side_by_side(stop: Stop) -> Finding | None:
    """Two values with nothing between."""
    previous, token = stop.previous, stop.token
    if previous is None or previous.kind not in ENDS or token.kind not in VALUES | {"{", *_STEPS, *_DECLARATIONS}:
        return None
    if previous.kind == "}" and stop.accepts(NEWLINE):
        problem = Unexpected(span=stop.span(), expected="a line break or `;` after `}`", found=found(stop))
        return problem, stop.insert(NEWLINE)
    another = stop.place.context == "section" and stop.following is not None and stop.following.kind == "="
    if stop.accepts(",") and (stop.bracket in ("(", "[") or stop.place.context == "header" or another):
        right = ":" if stop.accepts(":") and not stop.accepts("+") else ","
        fix = Fix(f"write `{right}`", (Edit(Span(stop.source, previous.end, previous.end), right),))
        problem = Unexpected(span=stop.span(), expected=expected(stop), found=found(stop), fixes=(fix,))
        # It may be an operator that is missing: only a name with `=` is surely another argument or setting.
        sure = stop.place.context == "header" or (stop.following is not None and stop.following.kind == "=")
        return problem, stop.insert(right) if sure else None
    return None


def _several(stop: Stop) -> Finding | None:
    """`return a, b` and `a, b` without parentheses."""
    region = stop.region
    commas = [token for token in region[: stop.at + 1] if token.kind == "," and token.depth == region[0].depth]
    if stop.place.context != "body" or not commas or not (stop.at_end or region[0].kind == "return"):
        return None
    problem = Unexpected(
        span=stop.span(commas[0]), expected="one value", found="several", notes=("write them as `(a, b)`",)
    )
    return problem, None


def _early_end(stop: Stop) -> Finding | None:
    previous = stop.previous
    if stop.token.kind != NEWLINE or previous is None or previous.kind in ENDS or not stop.accepts("NUMBER"):
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


def _anything(stop: Stop) -> Finding:
    return Unexpected(span=stop.span(), expected=expected(stop), found=found(stop)), None


_RULES: tuple[Callable[[Stop], Finding | None], ...] = (
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
    _unit,
    _side_by_side,
    _several,
    _early_end,
    _anything,
)
