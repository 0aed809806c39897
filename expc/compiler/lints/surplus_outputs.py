"""`surplus-outputs`: more outputs than classes."""

from collections.abc import Iterator
from typing import ClassVar

from expc.compiler.lints.wires import at
from expc.compiler.program import Program
from expc.compiler.types import TensorType
from expc.diagnostics import Label, Problem, Severity
from expc.frozen import dataclass

_LOSSES = ("CrossEntropyLoss", "cross_entropy", "NLLLoss", "nll_loss")


@dataclass(frozen=True, kw_only=True)
class SurplusOutputs(Problem):
    """The model scores more classes than the data has.

    It runs: the scores that no sample belongs to are only ever pushed down. Mostly the number is left from another data
    set. torch says nothing.

    ```exp wrong
    data { train = MNIST("data") -> ToTensor }
    model Net(x: f32[N, 1, 28, 28]) -> f32[N, 100] { Flatten -> Linear(100) }
    train { epochs = 1, loss = CrossEntropyLoss, optimizer = SGD(lr=0.1) }
    ```

    ```exp right
    data { train = MNIST("data") -> ToTensor }
    model Net(x: f32[N, 1, 28, 28]) -> f32[N, 10] { Flatten -> Linear(10) }
    train { epochs = 1, loss = CrossEntropyLoss, optimizer = SGD(lr=0.1) }
    ```
    """

    code: ClassVar[str] = "W0502"
    name: ClassVar[str] = "surplus-outputs"
    severity: ClassVar[Severity] = "warning"
    template: ClassVar[str] = "`{loss}` gets {outputs} scores for {classes} classes"

    loss: str
    outputs: int
    classes: int


def check(program: Program) -> Iterator[Problem]:
    """Cross entropy whose class axis is wider than the target has classes."""
    for loss in program.wires.loss_nodes(_LOSSES):
        scores, target = loss.tensor("input"), loss.tensor("target")
        if scores is None or target is None or not isinstance(scores.type, TensorType):
            continue
        width = at(scores.type, min(1, scores.type.rank - 1))
        classes = target.type.classes if isinstance(target.type, TensorType) else None
        if isinstance(width, int) and isinstance(classes, int) and width > classes:
            labels = (Label(scores.span, f"this has {width} outputs"),)
            yield SurplusOutputs(span=loss.span, loss=loss.name, outputs=width, classes=classes, labels=labels)
