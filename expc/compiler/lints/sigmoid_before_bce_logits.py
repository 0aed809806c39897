"""`sigmoid-before-bce-logits`: the loss takes the sigmoid itself."""

from collections.abc import Iterator
from typing import ClassVar, Final

from expc.compiler.lints.wires import MOVED, dropping, plain
from expc.compiler.program import Program
from expc.diagnostics import Label, Problem, Severity
from expc.frozen import dataclass

_LOSSES: Final = (
    *("BCEWithLogitsLoss", "binary_cross_entropy_with_logits"),
    *("MultiLabelSoftMarginLoss", "multilabel_soft_margin_loss"),
)


@dataclass(frozen=True, kw_only=True)
class SigmoidBeforeBceLogits(Problem):
    """`BCEWithLogitsLoss` takes raw scores and applies the sigmoid itself.

    Done twice, everything runs, and no probability can get below one half. torch says nothing. Drop the sigmoid, or
    take `BCELoss`.

    ```exp wrong
    data { train = FakeData(100, image_size=[1, 8, 8]) -> ToTensor -> { label = label -> OneHot }, batch = 10 }
    model Net(image: f32[N, 1, 8, 8]) -> f32[N, 10] { Flatten -> Linear(10) -> Sigmoid }
    train { epochs = 1, loss = BCEWithLogitsLoss, optimizer = SGD(lr=0.1) }
    ```

    ```exp right
    data { train = FakeData(100, image_size=[1, 8, 8]) -> ToTensor -> { label = label -> OneHot }, batch = 10 }
    model Net(image: f32[N, 1, 8, 8]) -> f32[N, 10] { Flatten -> Linear(10) }
    train { epochs = 1, loss = BCEWithLogitsLoss, optimizer = SGD(lr=0.1) }
    ```
    """

    code: ClassVar[str] = "W0530"
    name: ClassVar[str] = "sigmoid-before-bce-logits"
    severity: ClassVar[Severity] = "warning"
    template: ClassVar[str] = "`{squash}` comes before `{loss}`, which takes raw scores and applies the sigmoid itself"

    squash: str
    loss: str


def check(program: Program) -> Iterator[Problem]:
    """A sigmoid or softmax whose result reaches the loss unchanged."""
    wires = program.wires
    for loss in wires.loss_nodes(_LOSSES):
        made = wires.source(loss.tensor("input"), MOVED)
        if made is not None and plain(made.name) in ("sigmoid", "softmax", "hardsigmoid", "softmax2d"):
            labels = (Label(loss.span, "the loss"),)
            fixes = dropping(made.span)
            yield SigmoidBeforeBceLogits(span=made.span, squash=made.name, loss=loss.name, labels=labels, fixes=fixes)
