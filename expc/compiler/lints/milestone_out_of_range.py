"""`milestone-out-of-range`: a change of the learning rate after the end of the run."""

from collections.abc import Iterator
from typing import ClassVar

from expc.compiler.lints.lengths import Length, lengths
from expc.compiler.program import Program
from expc.diagnostics import Problem, Severity
from expc.frozen import dataclass


@dataclass(frozen=True, kw_only=True)
class MilestoneOutOfRange(Problem):
    """A milestone of `MultiStepLR`, or the first step of `StepLR`, that the run never gets to.

    Mostly the schedule is left from a longer run. torch says nothing. A milestone at the very end counts too: no step
    is taken after it. In a chain, milestones count from the start of their own part.

    ```exp wrong
    data { train = CIFAR10("data") -> ToTensor, batch = 100 }
    model Net(x: f32[N, 3, 32, 32]) -> f32[N, 10] { Flatten -> Linear(10) }
    train {
      epochs = 30, loss = CrossEntropyLoss, optimizer = SGD(lr=0.1)
      schedule = MultiStepLR([15, 40])
    }
    ```

    ```exp right
    data { train = CIFAR10("data") -> ToTensor, batch = 100 }
    model Net(x: f32[N, 3, 32, 32]) -> f32[N, 10] { Flatten -> Linear(10) }
    train {
      epochs = 30, loss = CrossEntropyLoss, optimizer = SGD(lr=0.1)
      schedule = MultiStepLR([15, 25])
    }
    ```
    """

    code: ClassVar[str] = "W0512"
    name: ClassVar[str] = "milestone-out-of-range"
    severity: ClassVar[Severity] = "warning"
    template: ClassVar[str] = "`{schedule}` lasts {lasts}, so the change after {said} never comes"

    schedule: str
    lasts: str
    said: str


def check(program: Program) -> Iterator[Problem]:
    """The first milestone that is not reached, of each schedule that has one."""
    seen: set[int] = set()
    listed = list(lengths(program))
    other = {id(length.part) for length in listed if length.has_other_unit}
    for length in listed:
        part = id(length.part)
        if not _is_change(length) or part in seen or part in other:
            continue
        if length.whole is not None and length.said.number >= length.whole:
            seen.add(part)
            schedule = length.part.use.name
            yield MilestoneOutOfRange(span=length.span, schedule=schedule, lasts=length.shown, said=str(length.said))


def _is_change(length: Length) -> bool:
    return (length.part.use.name, length.setting) in (("MultiStepLR", "milestones"), ("StepLR", "step_size"))
