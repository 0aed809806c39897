"""`unshuffled-train`: the training samples come in the same order in each epoch."""

from collections.abc import Iterator
from typing import ClassVar

from expc.compiler.program import Program
from expc.diagnostics import Edit, Fix, Problem, Severity, Span
from expc.frozen import dataclass


@dataclass(frozen=True, kw_only=True)
class UnshuffledTrain(Problem):
    """Without shuffling, the same samples meet in the same batches in each epoch.

    Steps then depend on each other, and where samples lie sorted by class a batch has one class only. A batch of all
    samples has no order, and the order of an `extern dataset` may be meant: there the rule says nothing.

    ```exp wrong
    data { train = CIFAR10("data") -> ToTensor, batch = 100, shuffle = false }
    model Net(x: f32[N, 3, 32, 32]) -> f32[N, 10] { Flatten -> Linear(10) }
    train { epochs = 3, loss = CrossEntropyLoss, optimizer = SGD(lr=0.1) }
    ```

    ```exp right
    data { train = CIFAR10("data") -> ToTensor, batch = 100 }
    model Net(x: f32[N, 3, 32, 32]) -> f32[N, 10] { Flatten -> Linear(10) }
    train { epochs = 3, loss = CrossEntropyLoss, optimizer = SGD(lr=0.1) }
    ```
    """

    code: ClassVar[str] = "W0402"
    name: ClassVar[str] = "unshuffled-train"
    severity: ClassVar[Severity] = "warning"
    template: ClassVar[str] = "the training samples come in the same order in each epoch"


def check(program: Program) -> Iterator[Problem]:
    """`shuffle = false` where the order of samples makes a difference."""
    data, plan = program.experiment.data, program.data.get("train")
    if data is None or plan is None or program.train is None:
        return
    span: Span | None = None if data.shuffle else program.experiment.places.get("data.shuffle")
    if plan.sampler is not None and plan.sampler.name == "SequentialSampler":
        span = plan.sampler.span
    if span is None:
        return
    if plan.dataset.declaration.python is not None or (plan.length is not None and plan.length <= data.batch):
        return
    fixes = (Fix("write `true`", (Edit(span, "true"),)),) if span.text == "false" else ()
    yield UnshuffledTrain(span=span, fixes=fixes)
