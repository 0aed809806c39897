"""`batchnorm-batch-of-one`: the last batch of an epoch has one sample, which batch normalisation refuses."""

from collections.abc import Iterator
from math import prod
from typing import ClassVar

from expc.compiler.lints.producers import applications, input_of
from expc.compiler.program import Program
from expc.compiler.types import TensorType
from expc.diagnostics import Label, Problem
from expc.frozen import dataclass


@dataclass(frozen=True, kw_only=True)
class BatchnormBatchOfOne(Problem):
    """Batch statistics of one value do not exist, so torch stops: at the end of the first epoch, when the last batch of
    one sample arrives.

    ```exp wrong
    data { train = FakeData(size=65, image_size=[1, 8, 8]) -> ToTensor, batch = 32 }
    model Net(x: f32[N, 1, 8, 8]) -> f32[N, 10] { Flatten -> Linear(16, bias=false) -> BatchNorm1d -> Linear(10) }
    train { epochs = 1, loss = CrossEntropyLoss, optimizer = SGD(lr=0.1) }
    ```

    ```exp right
    data { train = FakeData(size=65, image_size=[1, 8, 8]) -> ToTensor, batch = 32, drop_last = true }
    model Net(x: f32[N, 1, 8, 8]) -> f32[N, 10] { Flatten -> Linear(16, bias=false) -> BatchNorm1d -> Linear(10) }
    train { epochs = 1, loss = CrossEntropyLoss, optimizer = SGD(lr=0.1) }
    ```
    """

    code: ClassVar[str] = "E0521"
    name: ClassVar[str] = "batchnorm-batch-of-one"
    template: ClassVar[str] = (
        "`{norm}` needs more than one value per channel, but {why}; write `drop_last = true`, or another batch"
    )

    norm: str
    why: str


def check(program: Program) -> Iterator[Problem]:
    """A batch normalisation over one value per channel in some step of training."""
    data, plan = program.experiment.data, program.data.get("train")
    if program.model is None or program.train is None or data is None or plan is None:
        return
    train = program.experiment.train
    parts = 1 if train is None else train.accumulate
    why = None
    if -(-data.batch // parts) == 1:
        why = "a batch is one sample" if parts == 1 else f"`accumulate = {parts}` leaves parts of one sample"
    elif plan.length is not None and not data.drop_last and plan.length % data.batch == 1:
        why = f"{plan.length} samples in batches of {data.batch} leave a last batch of one"
    if why is None:
        return
    for step, _, _ in applications(program.model.body):
        value = input_of(step)
        if not step.operator.batch_statistics or value is None or not isinstance(value.type, TensorType):
            continue
        places = value.type.dims[2:]
        if (
            all(isinstance(size, int) for size in places)
            and prod(size for size in places if isinstance(size, int)) == 1
        ):
            yield BatchnormBatchOfOne(
                span=step.span, norm=step.operator.name, why=why, labels=(Label(plan.span, "the data"),)
            )
