"""E01xx: characters, numbers and words that are not of the language."""

from expc.diagnostics import Problem
from expc.frozen import dataclass


@dataclass(frozen=True, kw_only=True)
class UnclosedText(Problem):
    """A text in quotes does not end on its line.

    ```exp wrong
    data { train = MNIST("data) }
    ```

    ```exp right
    data { train = MNIST("data") }
    ```
    """

    code = "E0105"
    name = "unclosed-text"
    template = "this text has no closing quote on its line"


@dataclass(frozen=True, kw_only=True)
class StrangeCharacter(Problem):
    """A character has no meaning in the language, outside texts and comments.

    ```exp wrong
    let width = $64
    ```

    ```exp right
    let width = 64
    ```
    """

    code = "E0106"
    name = "strange-character"
    template = "{character} means nothing here"

    character: str


@dataclass(frozen=True, kw_only=True)
class BadNumber(Problem):
    """Numbers are decimal: `3`, `60_000`, `0.1`, `1e-3`, and a unit stands apart: `30 min`.

    ```exp wrong
    let p = .5
    ```

    ```exp right
    let p = 0.5
    ```
    """

    code = "E0107"
    name = "bad-number"
    template = "`{text}` is not a number; {advice}"

    text: str
    advice: str


@dataclass(frozen=True, kw_only=True)
class BadText(Problem):
    r"""A text in quotes holds a brace or a backslash that means nothing.

    `{expr}` puts a value into the text, `{{` and `}}` are plain braces; `\n`, `\t`, `\"` and `\\` are the escapes.

    ```exp wrong
    let name = "layer{1"
    ```

    ```exp right
    let name = "layer{1}"
    ```
    """

    code = "E0108"
    name = "bad-text"
    template = "{what}; {advice}"

    what: str
    advice: str


@dataclass(frozen=True, kw_only=True)
class UnknownUnit(Problem):
    """A quantity has a unit that the language does not know.

    The units are `steps`, `epochs`, `s`, `min`, `h`, `B`, `KiB`, `MiB` and `GiB`.

    ```exp wrong
    checkpoint { every = 10 stepps }
    ```

    ```exp right
    checkpoint { every = 10 steps }
    ```
    """

    code = "E0109"
    name = "unknown-unit"
    template = "`{unit}` is no unit; {advice}"

    unit: str
    advice: str


@dataclass(frozen=True, kw_only=True)
class Reserved(Problem):
    """A word of the language stands where a name is expected.

    ```exp wrong
    let model = 3
    ```

    ```exp right
    let size = 3
    ```
    """

    code = "E0110"
    name = "reserved-word"
    template = "`{word}` is a word of the language and cannot be a name; choose another one{hint}"

    word: str
    hint: str = ""


@dataclass(frozen=True, kw_only=True)
class Foreign(Problem):
    """Something is written as in another language.

    ```exp wrong
    model Net(x: f32[N, 8]) { Linear(10, bias=False) }
    ```

    ```exp right
    model Net(x: f32[N, 8]) { Linear(10, bias=false) }
    ```
    """

    code = "E0111"
    name = "foreign-spelling"
    template = "`{written}` is not of this language: {advice}"

    written: str
    advice: str


@dataclass(frozen=True, kw_only=True)
class NotText(Problem):
    """The file holds control characters that no text holds: it is binary, or in another encoding than UTF-8.

    Save it as UTF-8 text. This example has no wrong form that could be shown here.

    ```exp right
    let width = 64
    ```
    """

    code = "E0114"
    name = "not-text"
    template = "this is not text: it holds the control character {character}"

    character: str
