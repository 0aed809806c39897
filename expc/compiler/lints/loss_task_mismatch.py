"""`loss-task-mismatch`: a loss for numbers on classes, or a metric for classes on numbers."""

from collections.abc import Iterator
from typing import ClassVar, Final

from expc.compiler.lints.wires import MOVED, plain
from expc.compiler.program import DataPlan, Fields, MetricPlan, Program, Step
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
    (E0502). The other way round, the accuracy of numbers that a squared error compares says nothing of them.

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
    template: ClassVar[str] = "{reason}"

    reason: str


def check(program: Program) -> Iterator[Problem]:
    """A loss of numbers whose target is a field that `OneHot` made, and metrics of classes beside such a loss."""
    plan = program.data.get("train")
    if plan is None:
        return
    wires = program.wires
    for loss in wires.loss_nodes(REGRESSION):
        target = wires.field(loss.tensor("target"))
        made = wires.source(loss.tensor("input"), MOVED)
        if target is None or (made is not None and plain(made.name) in ("softmax", "sigmoid")):
            continue  # softmax-before-mse-or-bce says it; a sigmoid with a squared error is Brier's score
        if is_one_hot(plan, target):
            reason = f"`{loss.name}` compares numbers, but `{target}` is a choice of classes: take `CrossEntropyLoss`"
            yield LossTaskMismatch(span=loss.span, reason=reason, labels=(Label(plan.span, "the data"),))
            continue
        for metric in classifying(program, target):
            reason = f"`{metric.name}` is for classes, but `{loss.name}` compares `{target}` as numbers"
            yield LossTaskMismatch(span=metric.span, reason=reason, labels=(Label(loss.span, "the loss"),))


def classifying(program: Program, target: str) -> Iterator[MetricPlan]:
    """The metrics that take a field for classes."""
    for metric in program.train.metrics if program.train is not None else ():
        if metric.target == target and metric.torchmetrics_class.startswith("classification."):
            yield metric


def is_one_hot(plan: DataPlan, field: str) -> bool:
    """Whether the last transform that writes a field of the data is `OneHot`."""
    name: str | None = field
    for stage in reversed(plan.stages):
        if isinstance(stage, Fields):
            name = next((old for new, old in stage.kept if new == name), None)
        elif isinstance(stage, Step) and name in stage.writes:
            return stage.use.name == "OneHot"
    return False
