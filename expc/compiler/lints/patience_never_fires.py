"""`patience-never-fires`: a patience that outlasts the run."""

from collections.abc import Iterator
from typing import ClassVar

from expc.compiler.lints.given import chains, places
from expc.compiler.lints.lengths import part_length
from expc.compiler.model.arguments import value_place
from expc.compiler.plans.run_length import RunLength, run_length
from expc.compiler.program import Program, SchedulePart
from expc.diagnostics import Problem, Severity, Span
from expc.frozen import dataclass


@dataclass(frozen=True, kw_only=True)
class PatienceNeverFires(Problem):
    """The run is over before patience can be.

    `early_stop` and `ReduceLROnPlateau` wait for a number of measurements that are no better, and there is one
    after each epoch. The first is always the best so far, so with `patience = p` an early stop needs p + 2
    epochs to save one, and a plateau p + 3, since torch changes the rate when more than p were no better.

    ```exp wrong
    data { train, val = CIFAR10("data") -> split(0.9) -> ToTensor, batch = 100 }
    model Net(x: f32[N, 3, 32, 32]) -> f32[N, 10] { Flatten -> Linear(10) }
    train {
      epochs = 10, loss = CrossEntropyLoss, optimizer = SGD(lr=0.1)
      early_stop = min(val.loss, patience=20)
    }
    ```

    ```exp right
    data { train, val = CIFAR10("data") -> split(0.9) -> ToTensor, batch = 100 }
    model Net(x: f32[N, 3, 32, 32]) -> f32[N, 10] { Flatten -> Linear(10) }
    train {
      epochs = 10, loss = CrossEntropyLoss, optimizer = SGD(lr=0.1)
      early_stop = min(val.loss, patience=3)
    }
    ```
    """

    code: ClassVar[str] = "W0514"
    name: ClassVar[str] = "patience-never-fires"
    severity: ClassVar[Severity] = "warning"
    template: ClassVar[str] = "`patience` is {patience}, and {what} has {measurements}: it never {effect}"

    patience: int
    what: str
    measurements: str
    effect: str


def check(program: Program) -> Iterator[Problem]:
    """An early stop that never stops, and a plateau schedule that never changes the learning rate."""
    if program.train is None or program.experiment.train is None:
        return
    run = run_length(program)
    stop, written = program.train.early_stop, program.experiment.train.early_stop
    if stop is not None and written is not None and run.validations is not None:
        patience = stop.settings["patience"]
        if patience + 2 > run.validations:
            given = next(argument for argument in written.arguments if argument.name == "patience")
            yield _problem(value_place(given), patience, "the run", run.validations, "stops early")
    for parts in chains(program):
        yield from _plateaus(run, parts)


def _plateaus(run: RunLength, parts: tuple[SchedulePart, ...]) -> Iterator[Problem]:
    for index, part in enumerate(parts):
        if part.use.name != "ReduceLROnPlateau" or part.use.declaration.python is not None:
            continue
        epochs = part_length(run, parts, index, "epoch")
        # A part that does not start with an epoch, or does not end with one, may see one validation more.
        validations = None if epochs is None else -int(-epochs // 1) + (len(parts) > 1)
        patience = part.use.settings["patience"]
        if validations is not None and patience + 3 > validations:
            span = places(part.use).get("patience", part.use.span)
            yield _problem(span, patience, "this schedule", validations, "changes the learning rate")


def _problem(span: Span, patience: int, what: str, validations: int, effect: str) -> PatienceNeverFires:
    count = f"{validations} measurement{'s' * (validations != 1)}"
    return PatienceNeverFires(span=span, patience=patience, what=what, measurements=count, effect=effect)
