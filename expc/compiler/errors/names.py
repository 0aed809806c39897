"""E022x-E024x: names, arguments and values at compile time."""

from typing import ClassVar

from expc.diagnostics import Problem
from expc.frozen import dataclass


@dataclass(frozen=True, kw_only=True)
class UnknownName(Problem):
    """A name that nothing declares: not in this body or file, and not one of PyTorch's.

    ```exp wrong
    model Net(x: f32[N, 8]) -> f32[N, 2] { Linera(2) }
    ```

    ```exp right
    model Net(x: f32[N, 8]) -> f32[N, 2] { Linear(2) }
    ```
    """

    code: ClassVar[str] = "E0220"
    name: ClassVar[str] = "unknown-name"
    template: ClassVar[str] = "`{word}` is not defined{hint}"

    word: str
    hint: str = ""


@dataclass(frozen=True, kw_only=True)
class DuplicateName(Problem):
    """A name is bound twice in one body, or declared twice in one file.

    Names, labels and inputs of a body share one namespace, and a file's names are never those of PyTorch.

    ```exp wrong
    model Net(x: f32[N, 8]) -> f32[N, 2] {
      h = Linear(4)
      h = h -> ReLU
      h -> Linear(2)
    }
    ```

    ```exp right
    model Net(x: f32[N, 8]) -> f32[N, 2] {
      h = Linear(4) -> ReLU
      h -> Linear(2)
    }
    ```
    """

    code: ClassVar[str] = "E0221"
    name: ClassVar[str] = "duplicate-name"
    template: ClassVar[str] = "`{word}` {reason}"

    word: str
    reason: str = "is defined twice"


@dataclass(frozen=True, kw_only=True)
class UnusedName(Problem):
    """What is bound must be used: a forgotten branch is an error and not a silence. `_` takes what nobody needs.

    ```exp wrong
    model Net(x: f32[N, 8]) -> f32[N, 2] {
      skip = Linear(2)
      x -> Linear(2)
    }
    ```

    ```exp right
    model Net(x: f32[N, 8]) -> f32[N, 2] {
      skip = Linear(2)
      x -> Linear(2) -> add(skip)
    }
    ```
    """

    code: ClassVar[str] = "E0222"
    name: ClassVar[str] = "unused-name"
    template: ClassVar[str] = "`{word}` is bound, but nothing uses it"

    word: str


@dataclass(frozen=True, kw_only=True)
class BadExpression(Problem):
    """An expression that has no value: a division by zero or with a remainder, an operation on the wrong kinds.

    ```exp wrong
    let width = 10 / 4
    model Net(x: f32[N, 8]) -> f32[N, width] { Linear(width) }
    ```

    ```exp right
    let width = 10 / 5
    model Net(x: f32[N, 8]) -> f32[N, width] { Linear(width) }
    ```
    """

    code: ClassVar[str] = "E0229"
    name: ClassVar[str] = "bad-expression"
    template: ClassVar[str] = "{reason}"

    reason: str


@dataclass(frozen=True, kw_only=True)
class Recursion(Problem):
    """A definition that needs itself. Every program ends, so nothing may.

    ```exp wrong
    block Deep(width: int) { Linear(width) -> Deep(width) }
    model Net(x: f32[N, 8]) -> f32[N, 8] { Deep(8) }
    ```

    ```exp right
    block Deep(width: int) { repeat 3 { Linear(width) } }
    model Net(x: f32[N, 8]) -> f32[N, 8] { Deep(8) }
    ```
    """

    code: ClassVar[str] = "E0230"
    name: ClassVar[str] = "recursion"
    template: ClassVar[str] = "`{word}` needs itself"

    word: str


@dataclass(frozen=True, kw_only=True)
class TooLarge(Problem):
    """A number or an unrolled program past what is sensible: sizes fit 64 bits, and programs take 250,000 steps.

    ```exp wrong
    model Net(x: f32[N, 8]) -> f32[N, 8] { repeat 10_000_000 { ReLU } }
    ```

    ```exp right
    model Net(x: f32[N, 8]) -> f32[N, 8] { repeat 10 { ReLU } }
    ```
    """

    code: ClassVar[str] = "E0231"
    name: ClassVar[str] = "too-large"
    template: ClassVar[str] = "{what} is too large: {limit}"

    what: str
    limit: str


@dataclass(frozen=True, kw_only=True)
class ImportRefused(Problem):
    """A file cannot be imported: it is missing, has errors, imports itself, or lacks the name.

    ```exp wrong
    from "missing.exp" import Net
    ```

    ```exp right
    let width = 8
    ```
    """

    code: ClassVar[str] = "E0233"
    name: ClassVar[str] = "import-refused"
    template: ClassVar[str] = "cannot import {what}: {reason}"

    what: str
    reason: str


@dataclass(frozen=True, kw_only=True)
class SelectorMatchesNothing(Problem):
    """A selector of parameters matches no parameter.

    A glob matches whole keys, as `state_dict` has them, relative to the block that it stands in. A class matches the
    layers that the file names: a layer that PyTorch makes of several is one, so `Conv2d.weight` does not reach into
    `Conv2dNormActivation`, nor `Linear.weight` into `TransformerEncoderLayer`; a glob does. What a selector reaches in
    Python code is known only when the model is built.

    ```exp wrong
    model Net(x: f32[N, 8]) -> f32[N, 2] {
      fc: Linear(2)
      init "*.wieght" = zeros
    }
    ```

    ```exp wrong
    model Net(x: f32[N, 3, 8, 8]) -> f32[N, 4, 8, 8] {
      stem: Conv2dNormActivation(4)
      init Conv2d.weight = kaiming_normal(mode="fan_out")
    }
    ```

    ```exp right
    model Net(x: f32[N, 8]) -> f32[N, 2] {
      fc: Linear(2)
      init "*.weight" = zeros
    }
    ```

    ```exp right
    model Net(x: f32[N, 3, 8, 8]) -> f32[N, 4, 8, 8] {
      stem: Conv2dNormActivation(4)
      init "stem.0.weight" = kaiming_normal(mode="fan_out")
    }
    ```
    """

    code: ClassVar[str] = "E0234"
    name: ClassVar[str] = "selector-matches-nothing"
    template: ClassVar[str] = "`{selector}` matches no parameter"

    selector: str


@dataclass(frozen=True, kw_only=True)
class NotYet(Problem):
    """A part of the language that this version parses but does not compile yet.

    It is refused rather than skipped, so that nothing is silently left out of an experiment.

    What `weights` selects for a penalty, for one, must be known when the file is checked, and the parameters of Python
    code are not.

    ```exp wrong
    extern layer Gate(): f32[N, C] -> f32[N, C] = "my.layers:Gate"
    data { train = MNIST("data") -> ToTensor }
    model Net(x: f32[N, 1, 28, 28]) -> f32[N, 10] { Flatten -> head: Linear(10) -> Gate }
    train {
      epochs = 9, optimizer = SGD(lr=0.1)
      loss = cross_entropy(output, label) + 1e-5 * l1(weights("*.weight"))
    }
    ```

    ```exp right
    extern layer Gate(): f32[N, C] -> f32[N, C] = "my.layers:Gate"
    data { train = MNIST("data") -> ToTensor }
    model Net(x: f32[N, 1, 28, 28]) -> f32[N, 10] { Flatten -> head: Linear(10) -> Gate }
    train {
      epochs = 9, optimizer = SGD(lr=0.1)
      loss = cross_entropy(output, label) + 1e-5 * l1(weights("head.weight"))
    }
    ```
    """

    code: ClassVar[str] = "E0236"
    name: ClassVar[str] = "not-yet"
    template: ClassVar[str] = "{what} is part of the language, but this version cannot compile it yet"

    what: str


@dataclass(frozen=True, kw_only=True)
class ModelAmbiguous(Problem):
    """An experiment trains one model, and the file does not say which.

    ```exp wrong
    data { train = MNIST("data") -> ToTensor }
    model Small(x: f32[N, 1, 28, 28]) -> f32[N, 10] { Flatten -> Linear(10) }
    model Large(x: f32[N, 1, 28, 28]) -> f32[N, 10] { Flatten -> Linear(64) -> ReLU -> Linear(10) }
    train { epochs = 1, loss = CrossEntropyLoss, optimizer = SGD(lr=0.1) }
    ```

    ```exp right
    data { train = MNIST("data") -> ToTensor }
    model Large(x: f32[N, 1, 28, 28]) -> f32[N, 10] { Flatten -> Linear(64) -> ReLU -> Linear(10) }
    train { epochs = 1, loss = CrossEntropyLoss, optimizer = SGD(lr=0.1) }
    ```
    """

    code: ClassVar[str] = "E0237"
    name: ClassVar[str] = "model-ambiguous"
    template: ClassVar[str] = "{reason}"

    reason: str


@dataclass(frozen=True, kw_only=True)
class WrongDeclaredType(Problem):
    """A type that cannot stand where it does: an unknown dtype, or a lower-case dimension that nothing declares.

    ```exp wrong
    model Net(x: float[N, 8]) -> f32[N, 8] { Linear(8) }
    ```

    ```exp right
    model Net(x: f32[N, 8]) -> f32[N, 8] { Linear(8) }
    ```
    """

    code: ClassVar[str] = "E0238"
    name: ClassVar[str] = "wrong-declared-type"
    template: ClassVar[str] = "{reason}"

    reason: str
