"""`implausible-lr`: a learning rate far outside of what is in use for the optimizer."""

from collections.abc import Iterator
from typing import ClassVar, Final

from expc.compiler.lints.given import OWN_RATES, chains, optimizers, places
from expc.compiler.program import Program, SchedulePart, Use
from expc.diagnostics import Problem, Severity, Span
from expc.frozen import dataclass
from expc.spec.values import Setting

HIGHEST: Final = {
    **dict.fromkeys(("SGD", "ASGD", "Adagrad"), 2.0),
    **dict.fromkeys(("Adam", "AdamW", "Adamax", "NAdam", "RAdam", "SparseAdam", "RMSprop"), 0.3),
    **dict.fromkeys(("Adafactor", "Muon", "Rprop"), 1.0),
    "LBFGS": 10.0,
    "Adadelta": 20.0,
}
"""The highest learning rates that people publish, with some room."""
PER_SAMPLE: Final = 1 / 640
"""What SGD may take for each sample of a large batch: some times more than 0.1 for 256, the usual rule."""
SCALE_FREE: Final = ("Adam", "AdamW", "Adamax", "NAdam", "RAdam")
"""The optimizers whose steps are as large as the learning rate, whatever the loss is multiplied by."""
LOWEST: Final = 1e-8
"""Smaller steps than this are lost when they are added to weights of f32."""


@dataclass(frozen=True, kw_only=True)
class ImplausibleLr(Problem):
    """A learning rate that nobody uses with this optimizer: mostly a digit is lost, or it is that of another one.

    Above the limit the loss grows until it is not a number. The limit is 2 for SGD (more for batches above 1280), 0.3
    for Adam and its relatives; other optimizers have their own. Below 1e-8 the steps of Adam are lost in the rounding
    of f32, and at 0 nothing is learnt. Of a schedule that sets its own rates, `max_lr` counts. torch says nothing.

    ```exp wrong
    data { train = CIFAR10("data") -> ToTensor, batch = 100 }
    model Net(x: f32[N, 3, 32, 32]) -> f32[N, 10] { Flatten -> Linear(10) }
    train { epochs = 3, loss = CrossEntropyLoss, optimizer = SGD(lr=3.0) }
    ```

    ```exp right
    data { train = CIFAR10("data") -> ToTensor, batch = 100 }
    model Net(x: f32[N, 3, 32, 32]) -> f32[N, 10] { Flatten -> Linear(10) }
    train { epochs = 3, loss = CrossEntropyLoss, optimizer = SGD(lr=0.03) }
    ```
    """

    code: ClassVar[str] = "W0515"
    name: ClassVar[str] = "implausible-lr"
    severity: ClassVar[Severity] = "warning"
    template: ClassVar[str] = "a learning rate of {lr} is {why} for `{optimizer}`"

    lr: str
    why: str
    optimizer: str


def check(program: Program) -> Iterator[Problem]:
    """Learning rates of optimizers, groups and cycles."""
    train, data, written = program.train, program.experiment.data, program.experiment.train
    if train is None or data is None or written is None:
        return
    listed = chains(program)
    if any(part.use.declaration.python is not None for parts in listed for part in parts):
        return
    batch, used = data.batch, optimizers(program)
    cycles = [part.use for parts in listed for part in parts if part.use.name in OWN_RATES]
    for cycle in cycles if len(used) == 1 else ():
        # Short cycles go higher than a rate that stays: up to 3 for SGD, in the paper about them.
        yield from _high(used[0], cycle.settings["max_lr"], places(cycle).get("max_lr", cycle.span), batch, room=5)
    if cycles:
        return
    items = [item for table in written.groups for item in table.settings if isinstance(item, Setting)]
    rates = [item for item in items if item.key == "lr"]
    is_test = any(map(_may_be_a_test_of_rates, listed))
    for use in used:
        if use.declaration.python is not None or "lr" not in (places_of := places(use)):
            continue
        lr, span = use.settings["lr"], places_of["lr"]
        if lr == 0 and not rates:
            yield ImplausibleLr(span=span, lr="0", why="no rate", optimizer=use.name)
        if 0 < lr < LOWEST and use.name in SCALE_FREE:
            why = f"too small to change weights of f32 (from {LOWEST:g} on it can)"
            yield ImplausibleLr(span=span, lr=f"{lr:g}", why=why, optimizer=use.name)
        if not is_test:
            yield from _high(use, lr, span, batch)
    if len(used) == 1 and not is_test:
        for item in rates:
            yield from _high(used[0], item.value, item.span, batch)


def _high(use: Use, lr: float, span: Span, batch: int, room: float = 1) -> Iterator[Problem]:
    highest = HIGHEST.get(use.name) if use.declaration.python is None else None
    if highest is None:
        return
    highest *= room
    if use.name == "SGD":
        highest = max(highest, batch * PER_SAMPLE)
    if lr > highest:
        why = f"far above those in use (up to {highest:g})"
        yield ImplausibleLr(span=span, lr=f"{lr:g}", why=why, optimizer=use.name)


def _may_be_a_test_of_rates(parts: tuple[SchedulePart, ...]) -> bool:
    """Whether the schedule may keep the rate below what the optimizer says, or raise it to find the limit."""
    return len(parts) == 1 and parts[0].use.name in ("LinearLR", "ConstantLR", "ExponentialLR")
