"""`sigmoid-before-cross-entropy`: scores that the loss cannot tell apart."""

from collections.abc import Iterator
from typing import ClassVar

from expc.compiler.lints.wires import MOVED, dropping, plain
from expc.compiler.program import Program
from expc.diagnostics import Label, Problem, Severity
from expc.frozen import dataclass


@dataclass(frozen=True, kw_only=True)
class SigmoidBeforeCrossEntropy(Problem):
    """Cross entropy takes raw scores of any size; a sigmoid leaves them between 0 and 1, a tanh between -1 and 1.

    With ten classes no probability can then get above a quarter (after a tanh, a half), and the loss stays high
    whatever is learnt. torch says nothing.

    ```exp wrong
    data { train = MNIST("data") -> ToTensor }
    model Net(x: f32[N, 1, 28, 28]) -> f32[N, 10] { Flatten -> Linear(10) -> Sigmoid }
    train { epochs = 1, loss = CrossEntropyLoss, optimizer = SGD(lr=0.1) }
    ```

    ```exp right
    data { train = MNIST("data") -> ToTensor }
    model Net(x: f32[N, 1, 28, 28]) -> f32[N, 10] { Flatten -> Linear(10) }
    train { epochs = 1, loss = CrossEntropyLoss, optimizer = SGD(lr=0.1) }
    ```
    """

    code: ClassVar[str] = "W0531"
    name: ClassVar[str] = "sigmoid-before-cross-entropy"
    severity: ClassVar[Severity] = "warning"
    template: ClassVar[str] = "`{squash}` comes before `{loss}`, which takes raw scores of any size"

    squash: str
    loss: str


def check(program: Program) -> Iterator[Problem]:
    """A bounded activation whose result reaches cross entropy unchanged."""
    wires = program.wires
    for loss in wires.loss_nodes(("CrossEntropyLoss", "cross_entropy")):
        made = wires.source(loss.tensor("input"), MOVED)
        if made is not None and plain(made.name) in ("sigmoid", "hardsigmoid", "tanh", "hardtanh", "softsign"):
            labels = (Label(loss.span, "the loss"),)
            fixes = dropping(made.span)
            yield SigmoidBeforeCrossEntropy(
                span=made.span, squash=made.name, loss=loss.name, labels=labels, fixes=fixes
            )
