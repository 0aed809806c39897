"""`ddp-small-batchnorm`: batch statistics over the few samples of one device."""

from collections.abc import Iterator
from typing import ClassVar, Final

from expc.compiler.lints.statistics import batch_statistics
from expc.compiler.program import Program
from expc.diagnostics import Label, Problem, Severity
from expc.frozen import dataclass

FEW: Final = 8
"""Batch statistics over no more samples than these are noise."""


@dataclass(frozen=True, kw_only=True)
class DdpSmallBatchnorm(Problem):
    """Under `ddp` and `fsdp` each device normalises its own part of the batch, at most half of it.

    Over eight samples or fewer the statistics are so uncertain that training suffers. `sync_batchnorm = true` takes
    them over all devices. How many devices there are is said where the run starts, so the rule counts two. Where
    `strategy` is `auto` there may be one, and the rule says nothing.

    ```exp wrong
    data { train = CIFAR10("data") -> ToTensor, batch = 16 }
    model Net(x: f32[N, 3, 32, 32]) -> f32[N, 10] {
      Conv2d(8, 3, bias=false) -> BatchNorm2d -> ReLU -> Flatten -> Linear(10)
    }
    train { epochs = 3, loss = CrossEntropyLoss, optimizer = SGD(lr=0.1) }
    distributed { strategy = ddp }
    ```

    ```exp right
    data { train = CIFAR10("data") -> ToTensor, batch = 16 }
    model Net(x: f32[N, 3, 32, 32]) -> f32[N, 10] {
      Conv2d(8, 3, bias=false) -> BatchNorm2d -> ReLU -> Flatten -> Linear(10)
    }
    train { epochs = 3, loss = CrossEntropyLoss, optimizer = SGD(lr=0.1) }
    distributed { strategy = ddp, sync_batchnorm = true }
    ```
    """

    code: ClassVar[str] = "W0601"
    name: ClassVar[str] = "ddp-small-batchnorm"
    severity: ClassVar[Severity] = "warning"
    template: ClassVar[str] = (
        "with two devices `{norm}` has {samples} samples to take statistics of: write `sync_batchnorm = true`"
    )

    norm: str
    samples: int


def check(program: Program) -> Iterator[Problem]:
    """The first layer with batch statistics of its own device only, where `ddp` or `fsdp` is written."""
    settings, data, train = (getattr(program.experiment, name) for name in ("distributed", "data", "train"))
    if settings is None or data is None or train is None or program.model is None or program.train is None:
        return
    if settings.strategy not in ("ddp", "fsdp") or settings.sync_batchnorm:
        return
    samples = -(-data.batch // (2 * train.accumulate))
    if samples > FEW:
        return
    step = next((step for step, _ in batch_statistics(program) if step.operator.name != "SyncBatchNorm"), None)
    if step is not None:
        labels = (Label(step.span, "the layer"),)
        span = program.experiment.places["distributed.strategy"]
        yield DdpSmallBatchnorm(span=span, norm=step.operator.name, samples=samples, labels=labels)
