"""`parts-run-twice`: a loss that is no sum over samples, of a batch that is computed in parts."""

from collections.abc import Iterator
from typing import ClassVar

from expc.compiler.plans.parts import in_parts
from expc.compiler.program import Program
from expc.diagnostics import Problem, Severity
from expc.frozen import dataclass


@dataclass(frozen=True, kw_only=True)
class PartsRunTwice(Problem):
    """`accumulate` gives the gradients of the whole batch for every loss, and for some it runs the network twice.

    A loss that is a sum or a mean over samples, or a sum of such, is added up part by part. Any other needs the outputs
    of all parts at once: a root of a mean, a product of two, samples that are compared with each other, what is written
    in Python. Then the parts run once without gradients and once with them. It takes about a third more
    time, and as little memory. Where the loss can be written as a sum, it is quicker.

    ```exp wrong
    data { train = Tensors("points") -> as (x: f32[8], y: f32[4]), batch = 32 }
    model Net(x: f32[N, 8]) -> f32[N, 4] { Linear(4) }
    train { epochs = 1, loss = sqrt(mse_loss(output, y)), optimizer = SGD(lr=0.1), accumulate = 4 }
    ```

    ```exp right
    data { train = Tensors("points") -> as (x: f32[8], y: f32[4]), batch = 32 }
    model Net(x: f32[N, 8]) -> f32[N, 4] { Linear(4) }
    train { epochs = 1, loss = mse_loss(output, y), optimizer = SGD(lr=0.1), accumulate = 4 }
    ```
    """

    code: ClassVar[str] = "W0540"
    name: ClassVar[str] = "parts-run-twice"
    severity: ClassVar[Severity] = "hint"
    template: ClassVar[str] = "this loss is no sum over samples: each of the {parts} parts of a batch runs twice"

    parts: int


def check(program: Program) -> Iterator[Problem]:
    """Each loss of a run in parts."""
    train, plan = program.experiment.train, program.train
    if train is None or plan is None or train.accumulate == 1 or "train" not in program.data:
        return
    data = frozenset(field.name for field in program.data["train"].fields)
    for loss in plan.losses:
        if in_parts(loss, data) is None:
            yield PartsRunTwice(span=loss.body.span, parts=train.accumulate)
