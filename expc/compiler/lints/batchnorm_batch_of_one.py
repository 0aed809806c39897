"""`batchnorm-batch-of-one`: the last batch of an epoch has one sample, which batch normalisation refuses."""

from collections.abc import Iterator
from math import prod
from typing import ClassVar

from expc.compiler.lints.statistics import batch_statistics
from expc.compiler.program import Program
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
    last = 0 if plan.samples is None or data.drop_last else plan.samples % data.batch
    why = None
    if 1 in _parts(data.batch, parts):
        why = "a batch is one sample" if parts == 1 else _split(data.batch, parts)
    elif 1 in _parts(last, parts):
        why = f"{plan.samples} samples in batches of {data.batch} leave a last batch of {last if last > 1 else 'one'}"
        why += f", and {_split(last, parts)}" if last > 1 else ""
    if why is None:
        return
    for step, type_ in batch_statistics(program):
        places = [size for size in type_.dims[2:] if isinstance(size, int)]
        if len(places) == len(type_.dims[2:]) and prod(places) == 1:
            labels = (Label(plan.span, "the data"),)
            yield BatchnormBatchOfOne(span=step.span, norm=step.operator.name, why=why, labels=labels)


def _parts(samples: int, parts: int) -> list[int]:
    """How many samples each part of a batch has, as `torch.chunk` splits it."""
    size = max(1, -(-samples // parts))
    return [min(size, samples - start) for start in range(0, samples, size)]


def _split(samples: int, parts: int) -> str:
    *most, last = _parts(samples, parts)
    if last == max(most, default=1) or len(most) > 8:
        return f"`accumulate = {parts}` leaves parts of one sample"
    return f"`accumulate = {parts}` splits {samples} samples into parts of {', '.join(map(str, most))} and {last}"
