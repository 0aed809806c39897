"""`loss-task-mismatch`: a loss for numbers on classes."""

from collections.abc import Iterator
from typing import ClassVar, Final

from expc.compiler.lints.wires import MOVED
from expc.compiler.program import DataPlan, Fields, Program, Step
from expc.diagnostics import Label, Problem, Severity
from expc.frozen import dataclass

REGRESSION: Final = (
    *("MSELoss", "mse_loss", "L1Loss", "l1_loss", "SmoothL1Loss", "smooth_l1_loss", "HuberLoss", "huber_loss"),
)


@dataclass(frozen=True, kw_only=True)
class LossTaskMismatch(Problem):
    """A squared or absolute error compares outputs with classes that `OneHot` made numbers of.

    It runs and learns slowly: the error of a score that is surely wrong counts hardly more than that of an unsure one.
    `CrossEntropyLoss` takes the classes as they are, `BCEWithLogitsLoss` takes numbers. Without `OneHot` it is an error
    (E0502), and so is the accuracy of a regression (E0511).

    ```exp wrong
    data { train = FakeData(100, image_size=[1, 8, 8]) -> ToTensor -> { label = label -> OneHot }, batch = 10 }
    model Net(image: f32[N, 1, 8, 8]) -> f32[N, 10] { Flatten -> Linear(10) }
    train { epochs = 1, loss = MSELoss, optimizer = SGD(lr=0.1) }
    ```

    ```exp right
    data { train = FakeData(100, image_size=[1, 8, 8]) -> ToTensor, batch = 10 }
    model Net(image: f32[N, 1, 8, 8]) -> f32[N, 10] { Flatten -> Linear(10) }
    train { epochs = 1, loss = CrossEntropyLoss, optimizer = SGD(lr=0.1) }
    ```
    """

    code: ClassVar[str] = "W0536"
    name: ClassVar[str] = "loss-task-mismatch"
    severity: ClassVar[Severity] = "warning"
    template: ClassVar[str] = (
        "`{loss}` compares numbers, but `{target}` is a choice of classes: take `CrossEntropyLoss`"
    )

    loss: str
    target: str


def check(program: Program) -> Iterator[Problem]:
    """A loss of numbers whose target is a field that `OneHot` made."""
    plan = program.data.get("train")
    if plan is None:
        return
    wires = program.wires
    for loss in wires.loss_nodes(REGRESSION):
        target = wires.field(loss.tensor("target"))
        softmax = wires.source(loss.tensor("input"), MOVED)
        if softmax is not None and softmax.name in ("Softmax", "softmax"):
            continue  # softmax-before-mse-or-bce says it
        if target is not None and is_one_hot(plan, target):
            labels = (Label(plan.span, "the data"),)
            yield LossTaskMismatch(span=loss.span, loss=loss.name, target=target, labels=labels)


def is_one_hot(plan: DataPlan, field: str) -> bool:
    """Whether the last transform that writes a field of the data is `OneHot`."""
    name: str | None = field
    for stage in reversed(plan.stages):
        if isinstance(stage, Fields):
            name = next((old for new, old in stage.kept if new == name), None)
        elif isinstance(stage, Step) and name in stage.writes:
            return stage.use.name == "OneHot"
    return False
