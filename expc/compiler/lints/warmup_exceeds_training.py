"""`warmup-exceeds-training`: a warm-up that is longer than the run."""

from collections.abc import Iterator
from typing import ClassVar

from expc.compiler.lints.lengths import lengths
from expc.compiler.program import Program, Use
from expc.diagnostics import Problem
from expc.frozen import dataclass


@dataclass(frozen=True, kw_only=True)
class WarmupExceedsTraining(Problem):
    """The learning rate is still on its way up when the run, or this part of the schedule, ends.

    So the optimizer's learning rate, which the file says, is never used. It is an error like a part that outlasts the
    run (E0514). torch says nothing.

    ```exp wrong
    data { train = CIFAR10("data") -> ToTensor, batch = 100 }
    model Net(x: f32[N, 3, 32, 32]) -> f32[N, 10] { Flatten -> Linear(10) }
    train {
      epochs = 3, loss = CrossEntropyLoss, optimizer = SGD(lr=0.1)
      schedule = LinearLR(start_factor=0.01, total_iters=2000 steps)
    }
    ```

    ```exp right
    data { train = CIFAR10("data") -> ToTensor, batch = 100 }
    model Net(x: f32[N, 3, 32, 32]) -> f32[N, 10] { Flatten -> Linear(10) }
    train {
      epochs = 3, loss = CrossEntropyLoss, optimizer = SGD(lr=0.1)
      schedule = LinearLR(start_factor=0.01) for 200 steps -> CosineAnnealingLR
    }
    ```
    """

    code: ClassVar[str] = "E0531"
    name: ClassVar[str] = "warmup-exceeds-training"
    template: ClassVar[str] = (
        "this warm-up takes {said}, and `{schedule}` lasts {lasts}: it never gets to the whole rate"
    )

    said: str
    schedule: str
    lasts: str


def check(program: Program) -> Iterator[Problem]:
    """A rising schedule whose own length is beyond that of its part."""
    for length in lengths(program):
        if length.too_long and _rises(length.part.use) and not length.has_other_unit:
            schedule = length.part.use.name
            yield WarmupExceedsTraining(span=length.span, said=str(length.said), schedule=schedule, lasts=length.shown)


def _rises(use: Use) -> bool:
    settings = use.settings
    return (use.name == "ConstantLR" and settings["factor"] < 1) or (
        use.name == "LinearLR" and settings["start_factor"] < settings["end_factor"]
    )
