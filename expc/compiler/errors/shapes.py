"""E03xx: shapes and types."""

from typing import ClassVar

from expc.diagnostics import Problem
from expc.frozen import dataclass


@dataclass(frozen=True, kw_only=True)
class SizeMismatch(Problem):
    """Two sizes that must be equal are not.

    An operator was given a tensor in which one dimension has another size than its settings or its other inputs ask
    for. The notes show the trail along which the size arose.

    ```exp wrong
    model Net(x: f32[N, 8]) -> f32[N, 2] {
      a = Linear(4)
      b = Linear(5)
      both = cat([a, b], dim=0)
      return both -> Linear(2)
    }
    ```

    ```exp right
    model Net(x: f32[N, 8]) -> f32[N, 2] {
      a = Linear(4)
      b = Linear(5)
      both = cat([a, b], dim=1)
      return both -> Linear(2)
    }
    ```
    """

    code: ClassVar[str] = "E0301"
    name: ClassVar[str] = "size-mismatch"
    template: ClassVar[str] = "`{operator}`: {what} must be {expected}, but is {found}"

    operator: str
    what: str
    expected: str
    found: str


@dataclass(frozen=True, kw_only=True)
class RankMismatch(Problem):
    """A tensor has more or fewer dimensions than the operator takes.

    ```exp wrong
    model Net(x: f32[N, 64]) -> f32[N, 8, 6] {
      Conv2d(8, 3)
    }
    ```

    ```exp right
    model Net(x: f32[N, 1, 8, 8]) -> f32[N, 8, 6, 6] {
      Conv2d(8, 3)
    }
    ```
    """

    code: ClassVar[str] = "E0302"
    name: ClassVar[str] = "rank-mismatch"
    template: ClassVar[str] = "`{operator}` takes {expected}, but gets {found}"

    operator: str
    expected: str
    """In words: `a tensor of 4 dimensions [N, C, H, W]`."""
    found: str


@dataclass(frozen=True, kw_only=True)
class DtypeMismatch(Problem):
    """A tensor has a dtype that the operator does not take.

    ```exp wrong
    model Net(tokens: i64[N, T]) -> f32[N, 8] {
      Linear(8)
    }
    ```

    ```exp right
    model Net(tokens: i64[N, T]) -> f32[N, T, 8] {
      Embedding(100, 16) -> Linear(8)
    }
    ```
    """

    code: ClassVar[str] = "E0303"
    name: ClassVar[str] = "dtype-mismatch"
    template: ClassVar[str] = "`{operator}` takes {expected}, but gets {found}"

    operator: str
    expected: str
    """In words: `whole numbers (i64 or i32)`."""
    found: str


@dataclass(frozen=True, kw_only=True)
class InferredSettingContradicted(Problem):
    """A setting that follows from the input was written, and says something else.

    Sizes of inputs are inferred in expc. Writing them by name is allowed and checked.

    ```exp wrong
    model Net(x: f32[N, 8]) -> f32[N, 2] {
      Linear(2, in_features=16)
    }
    ```

    ```exp right
    model Net(x: f32[N, 8]) -> f32[N, 2] {
      Linear(2, in_features=8)
    }
    ```
    """

    code: ClassVar[str] = "E0304"
    name: ClassVar[str] = "in-features-mismatch"
    template: ClassVar[str] = "`{operator}`: {what} is written as {expected}, but the input has {found}"

    operator: str
    what: str
    expected: str
    found: str


@dataclass(frozen=True, kw_only=True)
class BroadcastMismatch(Problem):
    """Two tensors in one operation have sizes that do not broadcast.

    Counted from the last dimension, two sizes must be equal or one of them 1, as in PyTorch.

    ```exp wrong
    model Net(x: f32[N, 8]) -> f32[N, 8] {
      flow + (Linear(4) -> ReLU)
    }
    ```

    ```exp right
    model Net(x: f32[N, 8]) -> f32[N, 8] {
      flow + (Linear(8) -> ReLU)
    }
    ```
    """

    code: ClassVar[str] = "E0305"
    name: ClassVar[str] = "broadcast-mismatch"
    template: ClassVar[str] = (
        "`{operator}` cannot combine {left} with {right}: {left_size} against {right_size} in dimension {axis}"
    )

    operator: str
    left: str
    right: str
    left_size: str
    right_size: str
    axis: int
    """Counted from the front where both have as many dimensions, else from the end: -1 is the last."""


@dataclass(frozen=True, kw_only=True)
class NotDivisible(Problem):
    """A size is not a multiple of a number that must divide it.

    ```exp wrong
    model Net(x: f32[N, 10, H, W]) -> f32[N, 10, H, W] {
      GroupNorm(4)
    }
    ```

    ```exp right
    model Net(x: f32[N, 10, H, W]) -> f32[N, 10, H, W] {
      GroupNorm(5)
    }
    ```
    """

    code: ClassVar[str] = "E0306"
    name: ClassVar[str] = "not-divisible"
    template: ClassVar[str] = "`{operator}`: {what} is {size}, which {divisor} does not divide"

    operator: str
    what: str
    size: str
    divisor: str


@dataclass(frozen=True, kw_only=True)
class OutOfBounds(Problem):
    """A size is too small or too large for the operator: a kernel larger than its input, a token outside a vocabulary.

    ```exp wrong
    model Net(x: f32[N, 1, 4, 4]) -> f32[N, 8, 1, 1] {
      Conv2d(8, 5)
    }
    ```

    ```exp right
    model Net(x: f32[N, 1, 5, 5]) -> f32[N, 8, 1, 1] {
      Conv2d(8, 5)
    }
    ```
    """

    code: ClassVar[str] = "E0307"
    name: ClassVar[str] = "size-out-of-bounds"
    template: ClassVar[str] = "`{operator}`: {what} must be {bound}, but is {size}"

    operator: str
    what: str
    bound: str
    """In words: `at least 1`."""
    size: str


@dataclass(frozen=True, kw_only=True)
class ConditionNeeded(Problem):
    """The graph is right only for some sizes, and does not say so.

    ```exp wrong
    model Net(x: f32[N, 8, H]) -> f32[N, 8, H] {
      half = MaxPool1d(2)
      return interpolate(half, scale_factor=2) + x
    }
    ```

    ```exp right
    model Net(x: f32[N, 8, H]) -> f32[N, 8, H] where H % 2 == 0 {
      half = MaxPool1d(2)
      return interpolate(half, scale_factor=2) + x
    }
    ```
    """

    code: ClassVar[str] = "E0308"
    name: ClassVar[str] = "condition-needed"
    template: ClassVar[str] = "right only when {condition}"

    condition: str
    of_batch: bool = False
    """Whether it is asked of the size of the batch, which is surely a mistake."""


@dataclass(frozen=True, kw_only=True)
class ResultMismatch(Problem):
    """A body gives another type than was declared for it.

    ```exp wrong
    model Net(x: f32[N, 8]) -> f32[N, 10] {
      Linear(12)
    }
    ```

    ```exp right
    model Net(x: f32[N, 8]) -> f32[N, 10] {
      Linear(10)
    }
    ```
    """

    code: ClassVar[str] = "E0309"
    name: ClassVar[str] = "result-mismatch"
    template: ClassVar[str] = "{what} is declared as {expected}, but is {found}"

    what: str
    expected: str
    found: str


@dataclass(frozen=True, kw_only=True)
class InputCountMismatch(Problem):
    """An operator or a block gets more or fewer tensors than it takes.

    ```exp wrong
    block Join(a: f32[N, C], b: f32[N, C]) { a + b }
    model Net(x: f32[N, 8]) -> f32[N, 8] {
      x -> Join
    }
    ```

    ```exp right
    block Join(a: f32[N, C], b: f32[N, C]) { a + b }
    model Net(x: f32[N, 8]) -> f32[N, 8] {
      (x, x) -> Join
    }
    ```
    """

    code: ClassVar[str] = "E0310"
    name: ClassVar[str] = "input-count-mismatch"
    template: ClassVar[str] = "`{operator}` takes {expected}, but gets {found}"

    operator: str
    expected: str
    found: str


@dataclass(frozen=True, kw_only=True)
class SettingRefused(Problem):
    """A setting is of the right type, but not possible here: a dimension that the tensor does not have, say.

    ```exp wrong
    model Net(x: f32[N, 8]) -> f32[N, 8] {
      Softmax(2)
    }
    ```

    ```exp right
    model Net(x: f32[N, 8]) -> f32[N, 8] {
      Softmax(1)
    }
    ```
    """

    code: ClassVar[str] = "E0311"
    name: ClassVar[str] = "setting-refused"
    template: ClassVar[str] = "`{operator}`: {reason}"

    operator: str
    reason: str


@dataclass(frozen=True, kw_only=True)
class TrainingOnly(Problem):
    """What a model gives in evaluation cannot depend on what it gives in training only.

    A result that is declared `in training`, such as the scores of an auxiliary classifier, is not computed in
    evaluation, nor is anything that is made from it. In a loss, the terms that need it count in training only.

    ```exp wrong
    block Body(x: f32[N, C]) -> (main: f32[N, C], aux: f32[N, 2] in training) {
      main = Linear(C) -> ReLU
      aux = main -> Linear(2)
    }
    model Net(x: f32[N, 8]) -> f32[N, 10] {
      main, aux = Body
      cat([main, aux], dim=1)
    }
    ```

    ```exp right
    block Body(x: f32[N, C]) -> (main: f32[N, C], aux: f32[N, 2] in training) {
      main = Linear(C) -> ReLU
      aux = main -> Linear(2)
    }
    model Net(x: f32[N, 8]) -> (main: f32[N, 8], aux: f32[N, 2] in training) {
      main, aux = Body
    }
    ```
    """

    code: ClassVar[str] = "E0312"
    name: ClassVar[str] = "training-only"
    template: ClassVar[str] = "{what} exists in training only, as `{origin}` does: {advice}"

    what: str
    origin: str
    advice: str
