"""What is checked, and cannot be run yet: refused, and never passed over in silence."""

from typing import ClassVar

from expc.compiler.program import Program
from expc.diagnostics import Problem
from expc.frozen import dataclass
from expc.runtime.errors import RunError


def refuse_what_comes_later(program: Program) -> None:
    """Raises `RunError` (E0208) where the experiment asks for what this version cannot carry out."""
    for what in program.later:
        raise RunError(NotAvailableYet(span=what.span, what=what.what, reason=what.reason))


@dataclass(frozen=True, kw_only=True)
class NotAvailableYet(Problem):
    """A setting or a section belongs to the language and is checked, but this version of expc cannot carry it out.

    `expc check` says so with a hint. To run the rest as if it were not there would give another
    experiment than the one that is written.

    ```exp wrong
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
    prune { amount = 0.3 }
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

    code: ClassVar[str] = "E0208"
    name: ClassVar[str] = "not-available-yet"
    template: ClassVar[str] = "`{what}` is part of the language, but this version cannot carry it out: {reason}"

    what: str
    reason: str
