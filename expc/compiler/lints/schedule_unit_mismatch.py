"""`schedule-unit-mismatch`: a length in epochs that is one in steps."""

from collections.abc import Iterator
from typing import ClassVar

from expc.compiler.lints.lengths import Length, lengths
from expc.compiler.program import Program
from expc.diagnostics import Edit, Fix, Problem, Severity
from expc.frozen import dataclass
from expc.spec.values import Quantity, show


@dataclass(frozen=True, kw_only=True)
class ScheduleUnitMismatch(Problem):
    """A number of epochs that the run does not have, and that fits it as a number of steps.

    In torch a schedule counts how often `step()` is called, in epochs or in steps as the loop has it. Here a bare
    number is one of epochs, except where torch's own name says steps, and `500 steps` says its unit.

    ```exp wrong
    data { train = CIFAR10("data") -> ToTensor, batch = 100 }
    model Net(x: f32[N, 3, 32, 32]) -> f32[N, 10] { Flatten -> Linear(10) }
    train {
      epochs = 10, loss = CrossEntropyLoss, optimizer = SGD(lr=0.1)
      schedule = StepLR(2500, gamma=0.5)
    }
    ```

    ```exp right
    data { train = CIFAR10("data") -> ToTensor, batch = 100 }
    model Net(x: f32[N, 3, 32, 32]) -> f32[N, 10] { Flatten -> Linear(10) }
    train {
      epochs = 10, loss = CrossEntropyLoss, optimizer = SGD(lr=0.1)
      schedule = StepLR(2500 steps, gamma=0.5)
    }
    ```
    """

    code: ClassVar[str] = "W0511"
    name: ClassVar[str] = "schedule-unit-mismatch"
    severity: ClassVar[Severity] = "warning"
    template: ClassVar[str] = (
        "`{setting}` counts epochs, and `{schedule}` lasts {lasts}: {number} steps were surely meant"
    )

    schedule: str
    setting: str
    number: str
    lasts: str


def check(program: Program) -> Iterator[Problem]:
    """Bare lengths that outlast the schedule as epochs and fit it as steps; one for each setting."""
    seen: set[tuple[int, str]] = set()
    for length in lengths(program):
        key = id(length.part), length.setting
        if not length.has_other_unit or key in seen:
            continue
        seen.add(key)
        yield ScheduleUnitMismatch(
            span=length.span,
            schedule=length.part.use.name,
            setting=length.setting,
            number=show(length.said.number),
            lasts=length.shown,
            fixes=_fixes(length),
        )


def _fixes(length: Length) -> tuple[Fix, ...]:
    value = length.part.use.settings[length.setting]
    if isinstance(value, list | tuple):
        text = show([item if isinstance(item, Quantity) else Quantity(item, "step") for item in value])
    else:
        text = str(Quantity(value, "step"))
    return (Fix(f"write `{text}`", (Edit(length.span, text),)),)
