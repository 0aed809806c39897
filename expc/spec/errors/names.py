"""E0201-E0219: the settings of a file and the options that change them."""

from typing import ClassVar

from expc.diagnostics import Problem
from expc.frozen import dataclass


@dataclass(frozen=True, kw_only=True)
class UnknownKey(Problem):
    """A section has a setting that the language does not know.

    Most often the key is misspelt. Nothing is ever skipped silently: a setting without effect would be a mistake that
    nobody sees.

    ```exp wrong
    log { evry = 10 steps }
    ```

    ```exp right
    log { every = 10 steps }
    ```
    """

    code: ClassVar[str] = "E0201"
    name: ClassVar[str] = "unknown-key"
    template: ClassVar[str] = "`{section}` has no setting `{key}`{advice}"

    section: str
    key: str
    advice: str = ""


@dataclass(frozen=True, kw_only=True)
class DuplicateKey(Problem):
    """A setting is given twice in one section.

    Which of the two would count is nothing that a reader should have to know: keep one.

    ```exp wrong
    log {
      every  = 10 steps
      images = 4
      every  = 50 steps
    }
    ```

    ```exp right
    log {
      every  = 50 steps
      images = 4
    }
    ```
    """

    code: ClassVar[str] = "E0202"
    name: ClassVar[str] = "duplicate-key"
    template: ClassVar[str] = "`{key}` is set twice in `{section}`"

    section: str
    key: str


@dataclass(frozen=True, kw_only=True)
class MissingKey(Problem):
    """A section lacks a setting that it cannot do without.

    `train` needs a loss, an optimizer, and either `epochs` or `steps`. Where groups have a loss or an
    optimizer of their own, `train` itself needs none.

    ```exp wrong
    data {
      train = MNIST("data", download=true) -> ToTensor
      batch = 64
    }
    model Net(x: f32[N, 1, 28, 28]) -> f32[N, 10] { Flatten -> Linear(10) }
    train {
      epochs = 1
      loss   = CrossEntropyLoss
    }
    ```

    ```exp right
    data {
      train = MNIST("data", download=true) -> ToTensor
      batch = 64
    }
    model Net(x: f32[N, 1, 28, 28]) -> f32[N, 10] { Flatten -> Linear(10) }
    train {
      epochs    = 1
      loss      = CrossEntropyLoss
      optimizer = AdamW(lr=1e-3)
    }
    ```
    """

    code: ClassVar[str] = "E0203"
    name: ClassVar[str] = "missing-key"
    template: ClassVar[str] = "`{section}` needs {keys}"

    section: str
    keys: str


@dataclass(frozen=True, kw_only=True)
class WrongType(Problem):
    """A setting has a value of another type than it takes.

    Types are strict: `1` is not `true`, `"5"` is not `5`, and a single metric is not a list of one.

    ```exp wrong
    checkpoint { keep = "2" }
    ```

    ```exp right
    checkpoint { keep = 2 }
    ```
    """

    code: ClassVar[str] = "E0204"
    name: ClassVar[str] = "wrong-type"
    template: ClassVar[str] = "`{key}` must be {expected}, but is {found}"

    key: str
    expected: str
    found: str


@dataclass(frozen=True, kw_only=True)
class OutOfRange(Problem):
    """A setting has a value of the right type that is too small or too large.

    ```exp wrong
    checkpoint { keep = 0 }
    ```

    ```exp right
    checkpoint { keep = 1 }
    ```
    """

    code: ClassVar[str] = "E0205"
    name: ClassVar[str] = "out-of-range"
    template: ClassVar[str] = "`{key}` must be {expected}, but is {found}"

    key: str
    expected: str
    found: str


@dataclass(frozen=True, kw_only=True)
class WrongChoice(Problem):
    """A setting that chooses among a few words has another value.

    The words stand without quotes.

    ```exp wrong
    distributed { strategy = dp }
    ```

    ```exp right
    distributed { strategy = ddp }
    ```
    """

    code: ClassVar[str] = "E0206"
    name: ClassVar[str] = "wrong-choice"
    template: ClassVar[str] = "`{key}` must be {expected}, but is {found}{advice}"

    key: str
    expected: str
    found: str
    advice: str = ""


@dataclass(frozen=True, kw_only=True)
class UndefinedInSetting(Problem):
    """A bare word stands where a setting takes a value, and nothing declares it.

    A constant is declared by `let`, and a text stands in double quotes.

    ```exp wrong
    let often = 10 steps
    log { every = ofen }
    ```

    ```exp right
    let often = 10 steps
    log { every = often }
    ```
    """

    code: ClassVar[str] = "E0207"
    name: ClassVar[str] = "undefined-name-in-setting"
    template: ClassVar[str] = "`{word}` is not defined{advice}"

    word: str
    advice: str = ""


@dataclass(frozen=True, kw_only=True)
class ContradictingKeys(Problem):
    """Two settings of a section contradict each other.

    A run is as long as `epochs` or `steps` says, so only one of them can be given.

    ```exp wrong
    data {
      train = MNIST("data", download=true) -> ToTensor
      batch = 64
    }
    model Net(x: f32[N, 1, 28, 28]) -> f32[N, 10] { Flatten -> Linear(10) }
    train {
      epochs    = 1
      steps     = 500
      loss      = CrossEntropyLoss
      optimizer = AdamW(lr=1e-3)
    }
    ```

    ```exp right
    data {
      train = MNIST("data", download=true) -> ToTensor
      batch = 64
    }
    model Net(x: f32[N, 1, 28, 28]) -> f32[N, 10] { Flatten -> Linear(10) }
    train {
      epochs    = 1
      loss      = CrossEntropyLoss
      optimizer = AdamW(lr=1e-3)
    }
    ```
    """

    code: ClassVar[str] = "E0209"
    name: ClassVar[str] = "contradicting-keys"
    template: ClassVar[str] = "`{key}` and `{other}` contradict each other: {reason}"

    key: str
    other: str
    reason: str


@dataclass(frozen=True, kw_only=True)
class UnknownSection(Problem):
    """A section has a name that the language does not know.

    ```exp wrong
    chekpoint { keep = 2 }
    ```

    ```exp right
    checkpoint { keep = 2 }
    ```
    """

    code: ClassVar[str] = "E0210"
    name: ClassVar[str] = "unknown-section"
    template: ClassVar[str] = "there is no section `{section}`{advice}"

    section: str
    advice: str = ""


@dataclass(frozen=True, kw_only=True)
class BadOverride(Problem):
    """An option `--set` does not say which value to set, or names one that cannot be set.

    `--set NAME=VALUE` sets a `let` of the file, `--set SECTION.KEY=VALUE` a setting, which the file need not have. The
    value is written as in a file: `--set train.optimizer='SGD(lr=0.1)'`. For a number that options are to change, the
    file has a `let`; here `--set width=128` makes a wider layer:

    ```exp right
    let width = 64
    model Net(x: f32[N, 1, 28, 28]) -> f32[N, 10] { Flatten -> Linear(width) -> ReLU -> Linear(10) }
    ```
    """

    code: ClassVar[str] = "E0211"
    name: ClassVar[str] = "bad-override"
    template: ClassVar[str] = "{reason}{advice}"

    reason: str
    advice: str = ""


@dataclass(frozen=True, kw_only=True)
class WrongUnit(Problem):
    """A quantity has a unit that does not fit the setting.

    Intervals are counted in steps and epochs, or measured in `s`, `min` and `h`.

    ```exp wrong
    checkpoint { every = 4 GiB }
    ```

    ```exp right
    checkpoint { every = 30 min }
    ```
    """

    code: ClassVar[str] = "E0212"
    name: ClassVar[str] = "wrong-unit"
    template: ClassVar[str] = "`{key}` must be {expected}, but is {found}"

    key: str
    expected: str
    found: str
