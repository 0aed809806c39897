"""Text to tokens.

Comes in: a source. Goes out: its tokens, line breaks among them, and its comments. Always true: tokens are in the
order of the text and do not overlap; nothing fails. What is wrong with a piece of text is noted on its token, and
reported by whoever reads that token: a `BAD` one fits nowhere, any other is read as what was surely meant.
"""

import re
from collections.abc import Callable
from functools import cache

from expc.diagnostics import Edit, Fix, Problem, Source, Span
from expc.frozen import dataclass
from expc.spec.errors.characters import BadNumber, Foreign, NotText, StrangeCharacter, UnclosedText
from expc.spec.tables import NEWLINE, tables
from expc.spec.units import SPELLINGS, looks_like_unit

BAD = "BAD"

SOFT = frozenset({"where", "training"})
"""Words that are names wherever the grammar does not ask for them; `where` is also a function of torch."""

LONGEST_NUMBER = 100
"""How many characters a number may have: Python itself refuses to read many thousand."""

REPAIR_LIMIT = 200
"""How many odd pieces of a text are looked at; the others fit nowhere, and nobody is told more about them."""

_FOREIGN_WORDS = {"True": "true", "False": "false", "None": "none", "elif": "else if"}
_FOREIGN_OPERATORS = {
    "&&": "and",
    "||": "or",
    "=>": "->",
    "|>": "->",
    "===": "==",
    ":=": "=",
    "<>": "!=",
    "→": "->",
    "×": "*",
    "·": "*",
    "÷": "/",
    "−": "-",
    "–": "-",
    "≤": "<=",
    "≥": ">=",
    "≠": "!=",
    "^": "**",
    "!": "not",
}


@dataclass(slots=True)
class Token:
    """A piece of text. `kind` is a terminal of the grammar, or `BAD`; `depth` counts the brackets around it.

    `repaired`: a bracket was added or dropped here, and that is reported.
    """

    kind: str
    text: str
    start: int
    end: int
    problem: Problem | None = None
    depth: int = 0
    repaired: bool = False


@dataclass(frozen=True)
class Comment:
    """`# text`; `alone` says that nothing else stands on its line."""

    span: Span
    alone: bool
    problem: Problem | None = None


@cache
def _pattern() -> re.Pattern[str]:
    terminals = tables()
    operators = [re.escape(word) for word in terminals.literals | _FOREIGN_OPERATORS.keys() if not word.isidentifier()]
    # Words two by two are prose: nothing of the language reads so, save a number and its unit, or its own words.
    own = "|".join(sorted(terminals.words))
    prose = rf"//(?=[^\n]{{0,80}}?\b(?!(?:{own})\b)[^\W\d]\w{{0,40}} {{1,9}}(?!(?:{own})\b)[^\W\d])[^\n]*"
    groups = {
        "space": r"(?:[^\S\n]|[\ufeff\u200b\u2060])+",
        "NEWLINE": r"\n",
        "comment": r"#[^\n]*",
        "slashes": rf"/\*[\s\S]{{0,500}}?\*/|{prose}",
        "NAME": terminals.patterns["NAME"],
        "NUMBER": terminals.patterns["NUMBER"] + r"(?![\w.])",
        "number": r"\.?\d(?:[eE][+-](?=\d)|[\w.])*",
        "STRING": terminals.patterns["STRING"],
        "quoted": r"“[^”\n]*”|„[^“”\n]*[“”]|‘[^’\n]*’|'[^'\n]*'|`[^`\n]*`",
        "unclosed": r"[\"“„‘'`][^\n]*",
        "operator": "|".join(sorted(operators, key=len, reverse=True)),
        "strange": r"(?P<one>[^\w\s#\"'()\[\]{}])(?P=one)*|[\s\S]",
    }
    return re.compile("|".join(f"(?P<{name}>{pattern})" for name, pattern in groups.items()))


def lex(source: Source) -> tuple[list[Token], list[Comment]]:
    """The tokens and the comments of a whole text; a comment may carry a problem too."""
    comments: list[Comment] = []
    tokens: list[Token] = []
    for token in _tokens(source, 0, len(source.text)):
        if token.kind == "comment":
            alone = not tokens or tokens[-1].kind == NEWLINE
            comments.append(Comment(Span(source, token.start, token.end), alone, token.problem))
        else:
            tokens.append(token)
    return tokens, comments


def lex_part(source: Source, start: int, end: int) -> list[Token]:
    """The tokens of the expression in a text, `"layer{i}"`."""
    return [token for token in _tokens(source, start, end) if token.kind not in ("comment", NEWLINE)]


def control_character(source: Source) -> Problem | None:
    """A complaint about text that is no text."""
    found = re.search(r"[\x00-\x08\x0e-\x1f\x7f\ufffe\uffff\ud800-\udfff]", source.text)
    if found is None:
        return None
    return NotText(span=Span(source, found.start(), found.end()), character=f"U+{ord(found[0]):04X}")


def _tokens(source: Source, start: int, end: int) -> list[Token]:
    terminals = tables()
    hard = terminals.words - SOFT
    result: list[Token] = []
    repairs = 0
    previous = ""
    for match in _pattern().finditer(source.text, start, end):
        kind = match.lastgroup or "strange"
        text = match[0]
        if kind == "space":
            continue
        if kind == "NAME":
            kind = _word_kind(text, hard) if previous != "." else "NAME"
            if kind == "NAME" and result and result[-1].kind == "NUMBER" and looks_like_unit(text):
                kind = "UNIT"
        elif kind == "NUMBER" and len(text) > LONGEST_NUMBER:
            kind = "number"
        elif kind == "operator":
            kind = text if text in terminals.literals else "foreign"
        previous = text
        repair = _REPAIRS.get(kind)
        if repair is None:
            result.append(Token(kind, text, match.start(), match.end()))
            continue
        repairs += 1
        if repairs <= REPAIR_LIMIT:
            result += repair(text, Span(source, match.start(), match.end()))
        else:
            result.append(Token(BAD, text, match.start(), match.end()))
    return result


def _word_kind(text: str, hard: frozenset[str]) -> str:
    if text in hard:
        return text
    return "word" if text in _FOREIGN_WORDS else "NAME"


# ------------------------------------------------------------------------------- text that is not quite of the language


def _meant(span: Span, right: str, advice: str = "") -> Problem:
    """`span` is written as in another language; `right` is how it is written here."""
    return Foreign(
        span=span,
        written=span.text,
        advice=advice or f"write `{right}`",
        fixes=(Fix(f"write `{right}`", (Edit(span, right),), "safe"),),
    )


def _word(text: str, span: Span) -> list[Token]:
    first, *rest = _FOREIGN_WORDS[text].split()
    token = Token(first, first, span.start, span.end, _meant(span, _FOREIGN_WORDS[text]))
    return [token, *(Token(word, word, span.end, span.end) for word in rest)]


def _foreign(text: str, span: Span) -> list[Token]:
    right = _FOREIGN_OPERATORS[text]
    return [Token(right, right, span.start, span.end, _meant(span, right))]


def _slashes(text: str, span: Span) -> list[Token]:
    right = "#" + text[2:].removesuffix("*/").rstrip()
    multiline = "\n" in text
    fixes = () if multiline else (Fix("write `#`", (Edit(span, right),), "safe"),)
    problem = Foreign(span=span, written=text[:2], advice="a comment starts with `#`", fixes=fixes)
    return [Token("comment", text, span.start, span.end, problem)]


def _quoted(text: str, span: Span) -> list[Token]:
    # As long as what was written, so that places inside are places in the file.
    right = '"' + text[1:-1].replace('"', "'") + '"'
    return [Token("STRING", right, span.start, span.end, _meant(span, right, 'a text stands in double quotes, `"`'))]


def _unclosed(text: str, span: Span) -> list[Token]:
    return [Token(BAD, text, span.start, span.end, UnclosedText(span=span))]


def _number(text: str, span: Span) -> list[Token]:
    """A number that is none: read it all the same where it is clear what is meant."""
    if len(text) > LONGEST_NUMBER:
        problem = BadNumber(span=span, text=f"{text[:10]}...", advice="it has too many digits")
        return [Token(BAD, text, span.start, span.end, problem)]
    attached = re.fullmatch(tables().patterns["NUMBER"] + r"([^\W\d]+)", text)
    unit = attached[1] if attached else ""
    if unit in SPELLINGS:
        number = text[: -len(unit)]
        fix = Fix("put a space between", (Edit(span, f"{number} {unit}"),), "safe")
        problem = BadNumber(span=span, text=text, advice=f"a unit stands apart: `{number} {unit}`", fixes=(fix,))
        middle = span.end - len(unit)
        return [
            Token("NUMBER", number, span.start, middle, problem, repaired=True),
            Token("UNIT", unit, middle, span.end),
        ]
    right = _decimal(text)
    if right is None:
        problem = BadNumber(span=span, text=text, advice="numbers look like `3`, `60_000`, `0.1` or `1e-3`")
        return [Token(BAD, text, span.start, span.end, problem)]
    fix = Fix(f"write `{right}`", (Edit(span, right),), "safe")
    problem = BadNumber(span=span, text=text, advice=f"write `{right}`", fixes=(fix,))
    return [Token("NUMBER", right, span.start, span.end, problem, repaired=True)]


def _decimal(text: str) -> str | None:
    """How the language writes a number that Python reads."""
    try:
        return str(int(text, 0))
    except ValueError:
        pass
    right = re.sub(r"(?<!\d)\.(?=\d)", "0.", re.sub(r"(?<=\d)\.(?!\d)", ".0", text.replace("_", "")))
    return right if re.fullmatch(tables().patterns["NUMBER"], right) else None


def _strange(text: str, span: Span) -> list[Token]:
    shown = f"`{text}`" if text.isprintable() else f"the character U+{ord(text[0]):04X}"
    return [Token(BAD, text, span.start, span.end, StrangeCharacter(span=span, character=shown))]


_REPAIRS: dict[str, Callable[[str, Span], list[Token]]] = {
    "word": _word,
    "foreign": _foreign,
    "slashes": _slashes,
    "quoted": _quoted,
    "unclosed": _unclosed,
    "number": _number,
    "strange": _strange,
}
