"""`class-axis-misplaced`: the classes stand last, and the sizes hide it."""

from collections.abc import Iterator
from typing import ClassVar, Final

from expc.compiler.lints.wires import SAME, following
from expc.compiler.program import Program
from expc.compiler.types import TensorType
from expc.diagnostics import Label, Problem
from expc.frozen import dataclass

_ELEMENTWISE: Final = SAME - {"Flatten", "flatten", "reshape", "view", "squeeze", "unsqueeze", "ravel"} | {
    *("LogSoftmax", "log_softmax", "Softmax", "softmax")
}


@dataclass(frozen=True, kw_only=True)
class ClassAxisMisplaced(Problem):
    """Cross entropy takes the classes in dimension 1, but `Linear` puts them last, and both sizes are equal here.

    With sizes that differ, it is an error of shapes (E0503). With equal ones torch says nothing, and learns the classes
    of other places.

    ```exp wrong
    data { train = Csv("a.csv") -> as (x: f32[10, 8], y: class(10)[10]), batch = 4 }
    model Net(x: f32[N, 10, 8]) -> f32[N, 10, 10] { Linear(10) }
    train { epochs = 1, loss = CrossEntropyLoss, optimizer = SGD(lr=0.1) }
    ```

    ```exp right
    data { train = Csv("a.csv") -> as (x: f32[10, 8], y: class(10)[10]), batch = 4 }
    model Net(x: f32[N, 10, 8]) -> f32[N, 10, 10] { Linear(10) -> transpose(1, 2) }
    train { epochs = 1, loss = CrossEntropyLoss, optimizer = SGD(lr=0.1) }
    ```
    """

    code: ClassVar[str] = "E0524"
    name: ClassVar[str] = "class-axis-misplaced"
    template: ClassVar[str] = "`{loss}` takes the classes in dimension 1, but `{layer}` puts them last in {found}"

    loss: str
    layer: str
    found: str


def check(program: Program) -> Iterator[Problem]:
    """A loss of classes whose scores come from `Linear` with more than two dimensions."""
    wires = program.wires
    for loss in wires.loss_nodes(("CrossEntropyLoss", "cross_entropy", "NLLLoss", "nll_loss")):
        scores, target = loss.tensor("input"), loss.tensor("target")
        if scores is None or target is None or not isinstance(scores.type, TensorType) or scores.type.rank < 3:
            continue
        made = wires.source(scores, _ELEMENTWISE)
        if made is None or made.name not in ("Linear", "linear") or made.type != scores.type:
            continue
        if isinstance(target.type, TensorType) and target.type.rank == scores.type.rank - 1:
            yield ClassAxisMisplaced(
                span=loss.span,
                loss=loss.name,
                layer=made.name,
                found=str(scores.type),
                labels=(Label(made.span, "the classes are last here"),),
                fixes=following(made.span, "transpose(1, -1)"),
            )
