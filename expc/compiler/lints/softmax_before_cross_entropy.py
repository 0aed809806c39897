"""`softmax-before-cross-entropy`: the loss takes the softmax itself."""

from collections.abc import Iterator
from typing import ClassVar, Final

from expc.compiler.lints.wires import MOVED, dropping, plain
from expc.compiler.program import Program
from expc.diagnostics import Label, Problem, Severity
from expc.frozen import dataclass

_LOSSES: Final = ("CrossEntropyLoss", "cross_entropy")
_SOFTMAX: Final = ("softmax", "log_softmax", "softmax2d", "softmin")


@dataclass(frozen=True, kw_only=True)
class SoftmaxBeforeCrossEntropy(Problem):
    """Cross entropy takes raw scores and applies the softmax itself.

    Done twice, everything runs and learns slowly: the gradients are squashed. torch says nothing.

    ```exp wrong
    data { train = MNIST("data") -> ToTensor }
    model Net(x: f32[N, 1, 28, 28]) -> f32[N, 10] { Flatten -> Linear(10) -> Softmax(1) }
    train { epochs = 1, loss = CrossEntropyLoss, optimizer = SGD(lr=0.1) }
    ```

    ```exp right
    data { train = MNIST("data") -> ToTensor }
    model Net(x: f32[N, 1, 28, 28]) -> f32[N, 10] { Flatten -> Linear(10) }
    train { epochs = 1, loss = CrossEntropyLoss, optimizer = SGD(lr=0.1) }
    ```
    """

    code: ClassVar[str] = "W0501"
    name: ClassVar[str] = "softmax-before-cross-entropy"
    severity: ClassVar[Severity] = "warning"
    template: ClassVar[str] = "`{squash}` comes before `{loss}`, which takes raw scores and applies the softmax itself"

    squash: str
    loss: str


def check(program: Program) -> Iterator[Problem]:
    """A softmax whose result reaches cross entropy unchanged."""
    wires = program.wires
    for loss in wires.loss_nodes(_LOSSES):
        made = wires.source(loss.tensor("input"), MOVED)
        if made is not None and plain(made.name) in _SOFTMAX:
            yield SoftmaxBeforeCrossEntropy(
                span=made.span,
                squash=made.name,
                loss=loss.name,
                labels=(Label(loss.span, "the loss"),),
                fixes=dropping(made.span),
            )
