"""`needless-find-unused`: a search in each step for parameters that the loss does not reach, where it reaches all."""

from collections.abc import Iterator
from typing import ClassVar

from expc.compiler.graph import has_python
from expc.compiler.lints import dead_branch
from expc.compiler.program import Program
from expc.diagnostics import Edit, Fix, Problem, Severity
from expc.frozen import dataclass


@dataclass(frozen=True, kw_only=True)
class NeedlessFindUnused(Problem):
    """`find_unused_parameters` walks the graph after each forward pass, and every parameter has a gradient anyway.

    What a model of this language does is the same in each step, so that the file shows which parameters the loss
    reaches. Leave the setting out. Where losses take turns, or something is frozen for a time, or the model has Python
    code, the rule says nothing.

    ```exp wrong
    data { train = CIFAR10("data") -> ToTensor, batch = 100 }
    model Net(x: f32[N, 3, 32, 32]) -> f32[N, 10] { Flatten -> Linear(10) }
    train { epochs = 3, loss = CrossEntropyLoss, optimizer = SGD(lr=0.1) }
    distributed { strategy = ddp, find_unused_parameters = true }
    ```

    ```exp right
    data { train = CIFAR10("data") -> ToTensor, batch = 100 }
    model Net(x: f32[N, 3, 32, 32]) -> f32[N, 10] { Flatten -> Linear(10) }
    train { epochs = 3, loss = CrossEntropyLoss, optimizer = SGD(lr=0.1) }
    distributed { strategy = ddp }
    ```
    """

    code: ClassVar[str] = "W0602"
    name: ClassVar[str] = "needless-find-unused"
    severity: ClassVar[Severity] = "hint"
    template: ClassVar[str] = "the loss reaches every parameter in each step, so there is nothing to look for"


def check(program: Program) -> Iterator[Problem]:
    """`find_unused_parameters` where the loss reaches all parameters that learn."""
    settings, train = program.experiment.distributed, program.train
    if settings is None or not settings.find_unused_parameters or train is None or program.model is None:
        return
    if train.turns or not train.losses or has_python(program.model.body):
        return
    if train.freeze is not None and train.freeze.duration is not None:
        return
    if any(dead_branch.check(program)):
        return
    span = program.experiment.places["distributed.find_unused_parameters"]
    fixes = (Fix("write `false`", (Edit(span, "false"),)),) if span.text == "true" else ()
    yield NeedlessFindUnused(span=span, fixes=fixes)
