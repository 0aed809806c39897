"""`onecycle-overrun`: a cycle that is over before the run is."""

from collections.abc import Iterator
from typing import ClassVar

from expc.compiler.lints.given import without
from expc.compiler.lints.lengths import lengths
from expc.compiler.program import Program
from expc.diagnostics import Problem
from expc.frozen import dataclass


@dataclass(frozen=True, kw_only=True)
class OnecycleOverrun(Problem):
    """`OneCycleLR` refuses a step beyond its `total_steps`: torch stops the run when the cycle is over.

    Leave `total_steps` out: it follows from the run.

    ```exp wrong
    data { train = CIFAR10("data") -> ToTensor, batch = 100 }
    model Net(x: f32[N, 3, 32, 32]) -> f32[N, 10] { Flatten -> Linear(10) }
    train {
      epochs = 3, loss = CrossEntropyLoss, optimizer = SGD(lr=0.1, momentum=0.9)
      schedule = OneCycleLR(0.1, total_steps=1000)
    }
    ```

    ```exp right
    data { train = CIFAR10("data") -> ToTensor, batch = 100 }
    model Net(x: f32[N, 3, 32, 32]) -> f32[N, 10] { Flatten -> Linear(10) }
    train {
      epochs = 3, loss = CrossEntropyLoss, optimizer = SGD(momentum=0.9)
      schedule = OneCycleLR(0.1)
    }
    ```
    """

    code: ClassVar[str] = "E0530"
    name: ClassVar[str] = "onecycle-overrun"
    template: ClassVar[str] = (
        "`total_steps` is {said}, and `OneCycleLR` lasts {lasts}: torch stops the run when the cycle is over"
    )

    said: str
    lasts: str


def check(program: Program) -> Iterator[Problem]:
    """A `OneCycleLR` that is moved on more often than it allows."""
    for length in lengths(program):
        use = length.part.use
        if use.name != "OneCycleLR" or length.whole is None or length.has_other_unit:
            continue
        # A part that another follows is not moved on after its last step.
        spare = 0 if length.part.duration is None or length.said.unit == "epoch" else 1
        if length.said.number < length.whole - spare:
            yield OnecycleOverrun(
                span=length.span, said=str(length.said), lasts=length.shown, fixes=without(use, "total_steps")
            )
