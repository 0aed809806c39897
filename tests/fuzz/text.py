"""Texts that are hardly programs: bytes, words in any order, cut examples, deep nestings, giant numbers."""

import re
from collections.abc import Callable, Sequence
from functools import cache
from pathlib import Path

from fuzz.draw import Draw

ROOT = Path(__file__).parents[2]

TOKEN = re.compile(r'"[^"\n]*"|[A-Za-z_]\w*|\d[\w.]*|->|\*\*|//|[<>=!]=|\s+|.', re.DOTALL)


@cache
def sources() -> tuple[str, ...]:
    """The examples, and the programs in the language's book."""
    found = [path.read_text("utf-8") for path in sorted((ROOT / "examples").rglob("*.exp"))]
    for page in sorted((ROOT / "tests" / "language").glob("*.md")):
        found += re.findall(r"```exp[^\n]*\n(.*?)```", page.read_text("utf-8"), re.DOTALL)
    return tuple(found)


@cache
def words() -> tuple[str, ...]:
    """What a program is written with: the grammar's own words, names of the table, numbers, and what examples say."""
    grammar = (ROOT / "expc" / "spec" / "grammar.lark").read_text("utf-8")
    own = set(re.findall(r'"([^"\s]+)"', grammar))
    from expc.compiler.ops.table import operators

    examples = {token for text in sources() for token in TOKEN.findall(text) if token.strip()}
    numbers = {"0", "1", "-1", "3.5", "1e9", "1e400", "9" * 30, "10_000_000", "0.1", "1e-3"}
    return tuple(sorted(own | set(operators()) | examples | numbers))


def bytes_(d: Draw) -> str:
    """Any bytes, as a file may hold them."""
    raw = bytes(d.integer(0, 255) for _ in range(d.integer(0, 120)))
    return raw.decode(d.choice(("latin-1", "utf-8", "utf-16")), "replace")


def characters(d: Draw) -> str:
    """Characters that mean something, in any order."""
    alphabet = "(){}[]->=+*/%@,;:.#\"'\\\n\t _aZ0159éλ\u0000\u2028\U0001f600"
    return "".join(d.choice(alphabet) for _ in range(d.integer(1, 150)))


def tokens(d: Draw) -> str:
    """Words of the grammar and of the table, in any order."""
    return "".join(d.choice(words()) + d.choice((" ", " ", " ", "\n", "")) for _ in range(d.integer(1, 60)))


def cut(d: Draw) -> str:
    """A program that ends, or begins, anywhere."""
    text = d.choice(sources())
    at = d.integer(0, len(text))
    return text[:at] if d.chance(0.7) else text[at:]


def spliced(d: Draw) -> str:
    """The beginning of one program and the end of another."""
    first, second = d.choice(sources()), d.choice(sources())
    return first[: d.integer(0, len(first))] + second[d.integer(0, len(second)) :]


def changed(d: Draw) -> str:
    """A program with some words exchanged, doubled, left out or swapped."""
    parts = TOKEN.findall(d.choice(sources()))
    for _ in range(d.integer(1, 4)):
        at, other = d.integer(0, len(parts) - 1), d.integer(0, len(parts) - 1)
        match d.integer(0, 4):
            case 0:
                parts[at] = d.choice(words())
            case 1:
                parts.insert(at, parts[other])
            case 2:
                parts[at] = ""
            case 3:
                parts[at], parts[other] = parts[other], parts[at]
            case _:
                parts[at] = d.choice(("\n", "9" * d.integer(1, 40), "(" * d.integer(1, 9), "}", "\u00a0", "->", " = "))
    return "".join(parts)


NESTED: Sequence[tuple[str, str, str]] = (
    ("(", "x", ")"),
    ("[", "1", "]"),
    ("{ ", "x", " }"),
    ("-", "1", ""),
    ("not ", "true", ""),
    ("1 + ", "1", ""),
    ("2 ** ", "2", ""),
    ("1 if true else ", "1", ""),
    ("ReLU -> ", "ReLU", ""),
    ("repeat 1 { ", "ReLU", " }"),
    ("a: { ", "ReLU", " }"),
    ("if true { ", "ReLU", " }"),
    ("f(", "1", ")"),
    ("x[", "0", "]"),
    ("(ReLU -> ", "ReLU", ")"),
    ('"{', "1", '}"'),
    ("Linear(", "1", ")"),
    ("max(1, ", "1", ")"),
)


def nested(d: Draw) -> str:
    """One thing in itself, many times, closed or not."""
    depth = d.choice((3, 30, 300, 3000, 20_000))
    opening, inside, closing = d.choice(NESTED)
    text = opening * depth + inside + closing * (depth if d.chance(0.8) else d.integer(0, depth))
    return d.choice(
        (
            f"let a = {text}\n",
            f"model M(x: f32[N, 8]) {{ {text} }}\n",
            f"model M(x: f32[N, {text}]) {{ ReLU }}\n",
            f"fn f(v) = {text}\nlet b = f(1)\nmodel M(x: f32[N, 8]) {{ Linear(b) }}\n",
            f"train {{ loss = {text}, epochs = {text} }}\n",
            text,
        )
    )


GIANT: Sequence[str] = (
    "9" * 5000,
    "10_000_000",
    "2 ** 10_000_000",
    "2 ** 2 ** 2 ** 2 ** 2 ** 2",
    "10 ** 100",
    "1e400",
    "-1e308 * 10",
    "9223372036854775807 + 1",
    "(2 ** 63)",
    "2.5 ** 100_000",
    "1 // 0",
    "1 % 0",
    "len(range(10_000_000_000))",
    'len("ab" * 1_000_000_000)',
    "len([0] * 1_000_000_000)",
    "sum(range(1_000_000_000))",
    "1" + "0" * 300 + ".5",
    "round(1e400)",
    "sqrt(-1)",
    "log(0)",
    "exp(100000)",
)


def giant(d: Draw) -> str:
    """Numbers that no machine holds, where numbers stand."""
    number = d.choice(GIANT)
    return d.choice(
        (
            f"let a = {number}\nmodel M(x: f32[N, 8]) {{ Linear(a) }}\n",
            f"model M(x: f32[N, 8]) {{ repeat {number} {{ Linear(8) }} }}\n",
            f"model M(x: f32[N, 8]) {{ for i in range({number}) {{ Linear(8) }} }}\n",
            f"model M(x: f32[N, {number}]) {{ Linear(8) }}\n",
            f"model M(x: f32[N, 8]) {{ Linear({number}) -> Linear({number}) }}\n",
            f"model M(x: f32[N, 3, H, W]) {{ Conv2d({number}, 3, padding={number}) }}\n",
            f"model M(x: f32[N, 8]) {{ x * ({number}) -> reshape(N, {number}) }}\n",
            f"model M(x: f32[N, 8]) {{ x[:, {number}] }}\n",
            f"model M(x: f32[N, 8]) {{ chunk({number}, 1) }}\n",
            f"model M(x: f32[N, 8]) {{ zeros({number}, {number}) -> flatten }}\n",
            f"model M(x: f32[N, 8]) where N % {number} == 0 {{ Linear(8) }}\n",
            f"data {{ train = FakeData(size={number}), batch = {number} }}\n",
            f"train {{ epochs = {number}, loss = MSELoss, optimizer = SGD(lr={number}) }}\n",
            f'let t = "{{{number}}}"\nmodel M(x: f32[N, 8]) {{ "{{t}}": Linear(8) }}\n',
        )
    )


KINDS: dict[str, Callable[[Draw], str]] = {
    "bytes": bytes_,
    "characters": characters,
    "tokens": tokens,
    "cut": cut,
    "spliced": spliced,
    "changed": changed,
    "nested": nested,
    "giant": giant,
}


def text(d: Draw, number: int) -> tuple[str, str]:
    """The text of that number, and of which kind it is; the kinds take turns."""
    kind = list(KINDS)[number % len(KINDS)]
    return kind, KINDS[kind](d)
