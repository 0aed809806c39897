"""`cross-entropy-one-output`: one score has nothing to be compared with."""

from collections.abc import Iterator
from typing import ClassVar

from expc.compiler.lints.wires import at
from expc.compiler.program import Program
from expc.compiler.types import TensorType
from expc.diagnostics import Label, Problem, Severity
from expc.frozen import dataclass


@dataclass(frozen=True, kw_only=True)
class CrossEntropyOneOutput(Problem):
    """Cross entropy of one score is always 0: nothing is learnt.

    Two classes take two outputs, or one with `BCEWithLogitsLoss`. Where the number of classes is known, too few outputs
    are an error (E0501).

    ```exp wrong
    data { train = Csv("a.csv") -> as (x: f32[8], y: f32[1]), batch = 10 }
    model Net(x: f32[N, 8]) -> f32[N, 1] { Linear(1) }
    train { epochs = 1, loss = CrossEntropyLoss, optimizer = SGD(lr=0.1) }
    ```

    ```exp right
    data { train = Csv("a.csv") -> as (x: f32[8], y: f32[1]), batch = 10 }
    model Net(x: f32[N, 8]) -> f32[N, 1] { Linear(1) }
    train { epochs = 1, loss = BCEWithLogitsLoss, optimizer = SGD(lr=0.1) }
    ```
    """

    code: ClassVar[str] = "W0534"
    name: ClassVar[str] = "cross-entropy-one-output"
    severity: ClassVar[Severity] = "warning"
    template: ClassVar[str] = (
        "`{loss}` of one score is always 0: write `BCEWithLogitsLoss`, or give every class an output"
    )

    loss: str


def check(program: Program) -> Iterator[Problem]:
    """A cross entropy whose dimension of classes is 1."""
    for loss in program.wires.loss_nodes(("CrossEntropyLoss", "cross_entropy")):
        scores = loss.tensor("input")
        if scores is None or not isinstance(scores.type, TensorType):
            continue
        if at(scores.type, min(1, scores.type.rank - 1)) == 1:
            labels = (Label(scores.span, "the score"),)
            yield CrossEntropyOneOutput(span=loss.span, loss=loss.name, labels=labels)
