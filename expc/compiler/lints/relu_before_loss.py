"""`relu-before-loss`: scores that cannot be negative."""

from collections.abc import Iterator
from typing import ClassVar, Final

from expc.compiler.lints.wires import SAME, dropping, plain
from expc.compiler.program import Program
from expc.diagnostics import Label, Problem, Severity
from expc.frozen import dataclass

_LOSSES: Final = (
    *("CrossEntropyLoss", "cross_entropy", "BCEWithLogitsLoss", "binary_cross_entropy_with_logits"),
    *("MultiLabelSoftMarginLoss", "multilabel_soft_margin_loss", "MultiMarginLoss", "multi_margin_loss"),
)


@dataclass(frozen=True, kw_only=True)
class ReluBeforeLoss(Problem):
    """The loss takes scores of any sign; a ReLU makes every negative one 0, and stops its gradient.

    A class whose score is negative for every sample never learns. torch says nothing. Where pooling follows the ReLU,
    or the loss wants positive numbers (`PoissonNLLLoss(log_input=false)`), nothing is said.

    ```exp wrong
    data { train = MNIST("data") -> ToTensor }
    model Net(x: f32[N, 1, 28, 28]) -> f32[N, 10] { Flatten -> Linear(10) -> ReLU }
    train { epochs = 1, loss = CrossEntropyLoss, optimizer = SGD(lr=0.1) }
    ```

    ```exp right
    data { train = MNIST("data") -> ToTensor }
    model Net(x: f32[N, 1, 28, 28]) -> f32[N, 10] { Flatten -> Linear(10) }
    train { epochs = 1, loss = CrossEntropyLoss, optimizer = SGD(lr=0.1) }
    ```
    """

    code: ClassVar[str] = "W0537"
    name: ClassVar[str] = "relu-before-loss"
    severity: ClassVar[Severity] = "warning"
    template: ClassVar[str] = "`{activation}` comes before `{loss}`, which takes scores of any sign"

    activation: str
    loss: str


def check(program: Program) -> Iterator[Problem]:
    """A ReLU whose result reaches a loss of scores unchanged."""
    wires = program.wires
    for loss in wires.loss_nodes(_LOSSES):
        made = wires.source(loss.tensor("input"), SAME)
        if made is not None and plain(made.name) in ("relu", "relu6"):
            labels = (Label(loss.span, "the loss"),)
            yield ReluBeforeLoss(
                span=made.span, activation=made.name, loss=loss.name, labels=labels, fixes=dropping(made.span)
            )
