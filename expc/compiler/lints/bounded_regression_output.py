"""`bounded-regression-output`: numbers that the output can never be."""

from collections.abc import Iterator
from typing import ClassVar, Final

from expc.compiler.lints.loss_task_mismatch import REGRESSION, classifying, is_one_hot
from expc.compiler.lints.wires import MOVED, dropping, plain
from expc.compiler.program import Program
from expc.diagnostics import Label, Problem, Severity
from expc.frozen import dataclass

_BOUNDED: Final = {
    "sigmoid": "from 0 to 1",
    "hardsigmoid": "from 0 to 1",
    "relu": "of 0 or more",
    "relu6": "from 0 to 6",
}


@dataclass(frozen=True, kw_only=True)
class BoundedRegressionOutput(Problem):
    """A regression ends with an activation that keeps its output from values that targets may have.

    Below 0 a ReLU has no gradient either: an output that starts there stays. torch says nothing. Where targets are
    positive, `Softplus` has a gradient everywhere; where they are from 0 to 1, allow the sigmoid. Nothing is said of
    images, of what the model also gets as its input, and of losses for counts or probabilities.

    ```exp wrong
    data { train = Csv("a.csv") -> as (x: f32[8], y: f32[1]), batch = 10 }
    model Net(x: f32[N, 8]) -> f32[N, 1] { Linear(16) -> ReLU -> Linear(1) -> ReLU }
    train { epochs = 1, loss = MSELoss, optimizer = SGD(lr=0.1) }
    ```

    ```exp right
    data { train = Csv("a.csv") -> as (x: f32[8], y: f32[1]), batch = 10 }
    model Net(x: f32[N, 8]) -> f32[N, 1] { Linear(16) -> ReLU -> Linear(1) }
    train { epochs = 1, loss = MSELoss, optimizer = SGD(lr=0.1) }
    ```
    """

    code: ClassVar[str] = "W0535"
    name: ClassVar[str] = "bounded-regression-output"
    severity: ClassVar[Severity] = "warning"
    template: ClassVar[str] = "`{activation}` only gives numbers {bounds}, and `{loss}` compares them with `{target}`"

    activation: str
    bounds: str
    loss: str
    target: str


def check(program: Program) -> Iterator[Problem]:
    """A bounded activation whose result is compared with plain numbers of the data."""
    wires = program.wires
    for loss in wires.loss_nodes(REGRESSION):
        made = wires.source(loss.tensor("input"), MOVED)
        target = wires.field(loss.tensor("target"))
        bounds = _BOUNDED.get(plain(made.name)) if made is not None else None
        if made is None or bounds is None or target is None or not _is_plain(program, target):
            continue
        yield BoundedRegressionOutput(
            span=made.span,
            activation=made.name,
            bounds=bounds,
            loss=loss.name,
            target=target,
            labels=(Label(loss.span, "the loss"),),
            fixes=dropping(made.span),
        )


def _is_plain(program: Program, target: str) -> bool:
    """Whether a field is a few numbers of which nothing is known: no image, no input, no choice of classes."""
    plan = program.data.get("train")
    field = next((field for field in plan.fields if field.name == target), None) if plan is not None else None
    if plan is None or field is None or field.type.rank > 1 or is_one_hot(plan, target):
        return False
    return target not in program.inputs.values() and not any(classifying(program, target))
