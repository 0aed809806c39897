"""E022x-E024x: what flows, and what stands where something should flow."""

from typing import ClassVar

from expc.diagnostics import Problem
from expc.frozen import dataclass


@dataclass(frozen=True, kw_only=True)
class NotAStage(Problem):
    """Something stands after an arrow, or as a statement, that takes no tensor.

    ```exp wrong
    model Net(x: f32[N, 8]) -> f32[N, 8] { x -> 3 }
    ```

    ```exp right
    model Net(x: f32[N, 8]) -> f32[N, 8] { x -> Linear(8) }
    ```
    """

    code: ClassVar[str] = "E0227"
    name: ClassVar[str] = "not-a-stage"
    template: ClassVar[str] = "{what} cannot stand here: {reason}"

    what: str
    reason: str


@dataclass(frozen=True, kw_only=True)
class StageInArithmetic(Problem):
    """A stage that takes the flow stands in arithmetic without parentheses.

    ```exp wrong
    model Net(x: f32[N, 8]) -> f32[N, 8] { ReLU - Dropout(0.5) }
    ```

    ```exp right
    model Net(x: f32[N, 8]) -> f32[N, 8] { ReLU -> Dropout(0.5) }
    ```
    """

    code: ClassVar[str] = "E0228"
    name: ClassVar[str] = "stage-in-arithmetic"
    template: ClassVar[str] = "`{stage}` would take the flow here: in arithmetic a stage stands in parentheses"

    stage: str


@dataclass(frozen=True, kw_only=True)
class CannotUnpack(Problem):
    """The left side of `=` has another number of names than there are values.

    ```exp wrong
    model Net(x: f32[N, 8]) -> f32[N, 4] {
      a, b, c = x -> chunk(2, dim=1)
      a + b + c
    }
    ```

    ```exp right
    model Net(x: f32[N, 8]) -> f32[N, 4] {
      a, b = x -> chunk(2, dim=1)
      a + b
    }
    ```
    """

    code: ClassVar[str] = "E0232"
    name: ClassVar[str] = "cannot-unpack"
    template: ClassVar[str] = "{expected} stand on the left, but {found} on the right"

    expected: str
    found: str


@dataclass(frozen=True, kw_only=True)
class Misplaced(Problem):
    """A construct stands where it means nothing: `return` before the end, a label on something without a module.

    ```exp wrong
    model Net(x: f32[N, 8]) -> f32[N, 8] {
      return x -> ReLU
      Linear(8)
    }
    ```

    ```exp right
    model Net(x: f32[N, 8]) -> f32[N, 8] {
      Linear(8)
      return flow -> ReLU
    }
    ```
    """

    code: ClassVar[str] = "E0235"
    name: ClassVar[str] = "misplaced"
    template: ClassVar[str] = "{what}"

    what: str


@dataclass(frozen=True, kw_only=True)
class UnusedFlow(Problem):
    """What a statement gives must be used: the next one takes it, mentions `flow`, or it is bound to a name.

    `cat`, `stack` and whatever is given all its tensors do not take the flow. `_ = ...` computes what nobody needs.

    ```exp wrong
    model Net(x: f32[N, 8]) -> f32[N, 16] {
      Linear(8) -> ReLU
      cat([x, x], dim=1)
    }
    ```

    ```exp right
    model Net(x: f32[N, 8]) -> f32[N, 16] {
      Linear(8) -> ReLU
      cat([x, flow], dim=1)
    }
    ```
    """

    code: ClassVar[str] = "E0239"
    name: ClassVar[str] = "unused-flow"
    template: ClassVar[str] = "nothing uses what this gives: the next statement does not take it, nor mention `flow`"


@dataclass(frozen=True, kw_only=True)
class NotKnownYet(Problem):
    """What a `buffer` or `param` starts as is computed once, when the model is built, before anything has come in.

    It is made of numbers, sizes that are known, functions that make tensors (`arange`, `ones`, `linspace`, `eye`),
    functions and operators on those, and, for a buffer, the buffers declared before it in the same body.

    ```exp wrong
    model Net(x: f32[N, 8]) -> f32[N, 8] {
      buffer shift: f32[8] = x[0] * 0.5
      x + shift
    }
    ```

    ```exp right
    model Net(x: f32[N, 8]) -> f32[N, 8] {
      buffer shift: f32[8] = arange(8) * 0.5
      x + shift
    }
    ```
    """

    code: ClassVar[str] = "E0240"
    name: ClassVar[str] = "not-known-yet"
    template: ClassVar[str] = (
        "{reason}; what a {kind} starts as is computed when the model is built, "
        "of numbers, known sizes and tensors made from them, such as `arange(8) * 0.5`"
    )

    reason: str
    kind: str
