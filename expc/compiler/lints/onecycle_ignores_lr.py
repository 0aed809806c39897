"""`onecycle-ignores-lr`: a learning rate that the schedule replaces from the first step on."""

from collections.abc import Iterator
from typing import ClassVar

from expc.compiler.lints.given import OWN_RATES, chains, optimizers, places, without
from expc.compiler.program import Program
from expc.diagnostics import Label, Problem, Severity
from expc.frozen import dataclass
from expc.spec.values import Setting


@dataclass(frozen=True, kw_only=True)
class OnecycleIgnoresLr(Problem):
    """`OneCycleLR` and `CyclicLR` set the learning rate of every parameter, whatever the optimizer or a group says.

    Whoever changes the optimizer's learning rate later wonders why nothing changes. torch says nothing.

    ```exp wrong
    data { train = CIFAR10("data") -> ToTensor, batch = 100 }
    model Net(x: f32[N, 3, 32, 32]) -> f32[N, 10] { Flatten -> Linear(10) }
    train {
      epochs = 3, loss = CrossEntropyLoss, optimizer = SGD(lr=0.01, momentum=0.9)
      schedule = OneCycleLR(0.1)
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

    code: ClassVar[str] = "W0513"
    name: ClassVar[str] = "onecycle-ignores-lr"
    severity: ClassVar[Severity] = "hint"
    template: ClassVar[str] = "this learning rate is not used: `{schedule}` sets its own, up to `max_lr`"

    schedule: str


def check(program: Program) -> Iterator[Problem]:
    """Learning rates of the optimizers and groups where every part of every schedule has its own."""
    train = program.train
    listed = chains(program)
    if train is None or not all(parts and all(part.use.name in OWN_RATES for part in parts) for parts in listed):
        return
    first = train.schedule[0].use
    if first.declaration.python is not None or program.experiment.train is None:
        return
    labels = (Label(first.span, "the schedule"),)
    for use in optimizers(program):
        if use.declaration.python is None and "lr" in (written := places(use)):
            yield OnecycleIgnoresLr(span=written["lr"], schedule=first.name, labels=labels, fixes=without(use, "lr"))
    for table in program.experiment.train.groups:
        for item in table.settings:
            if isinstance(item, Setting) and item.key == "lr":
                yield OnecycleIgnoresLr(span=item.span, schedule=first.name, labels=labels)
