"""`statistics-of-parts`: batch statistics are those of a part of the batch, where it is computed in parts."""

from collections.abc import Iterator
from typing import ClassVar

from expc.compiler.lints import batchnorm_batch_of_one
from expc.compiler.lints.statistics import batch_statistics
from expc.compiler.program import Program
from expc.diagnostics import Problem, Severity
from expc.frozen import dataclass


@dataclass(frozen=True, kw_only=True)
class StatisticsOfParts(Problem):
    """`accumulate` gives the gradients of the whole batch, but for what the network itself takes of samples together.

    Batch normalisation sees one part at a time: its means and variances are those of fewer samples, and its running
    statistics move once for each part. `GroupNorm` and `LayerNorm` see single samples, so that parts change nothing.

    ```exp wrong
    data { train = FakeData(64, image_size=[3, 32, 32], num_classes=10) -> ToTensor, batch = 32 }
    model Net(x: f32[N, 3, 32, 32]) -> f32[N, 10] {
      Conv2d(8, 3, bias=false) -> BatchNorm2d -> ReLU -> Flatten -> Linear(10)
    }
    train { epochs = 1, loss = CrossEntropyLoss, optimizer = SGD(lr=0.1), accumulate = 4 }
    ```

    ```exp right
    data { train = FakeData(64, image_size=[3, 32, 32], num_classes=10) -> ToTensor, batch = 32 }
    model Net(x: f32[N, 3, 32, 32]) -> f32[N, 10] {
      Conv2d(8, 3) -> GroupNorm(4) -> ReLU -> Flatten -> Linear(10)
    }
    train { epochs = 1, loss = CrossEntropyLoss, optimizer = SGD(lr=0.1), accumulate = 4 }
    ```
    """

    code: ClassVar[str] = "W0539"
    name: ClassVar[str] = "statistics-of-parts"
    severity: ClassVar[Severity] = "hint"
    template: ClassVar[str] = "`{norm}` normalises by parts of {samples} samples, not by the batch of {batch}"

    norm: str
    samples: str
    batch: int


def check(program: Program) -> Iterator[Problem]:
    """The first batch normalisation of a network that is trained in parts."""
    train, data = program.experiment.train, program.experiment.data
    if train is None or data is None or train.accumulate == 1:
        return
    if any(batchnorm_batch_of_one.check(program)):
        return  # which says more of the same parts
    for step, _ in batch_statistics(program):
        size = -(-data.batch // train.accumulate)
        samples = str(size) if data.batch % size == 0 else f"at most {size}"
        yield StatisticsOfParts(span=step.span, norm=step.operator.name, samples=samples, batch=data.batch)
        return
