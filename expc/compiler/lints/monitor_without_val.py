"""`monitor-without-val`: something is watched that nothing measures."""

from typing import ClassVar

from expc.diagnostics import Problem
from expc.frozen import dataclass


@dataclass(frozen=True, kw_only=True)
class MonitorWithoutVal(Problem):
    """A checkpoint, an early stop or a schedule watches a metric that the run does not measure.

    It would never be saved as the best, never stop, or never change the rate: torch has no opinion on that.

    ```exp wrong
    data { train = MNIST("data") -> ToTensor }
    model Net(x: f32[N, 1, 28, 28]) -> f32[N, 10] { Flatten -> Linear(10) }
    train { epochs = 1, loss = CrossEntropyLoss, optimizer = SGD(lr=0.1), metrics = [Accuracy] }
    checkpoint { best = max(val.accuracy) }
    ```

    ```exp right
    data { train, val = MNIST("data") -> split(0.9) -> ToTensor }
    model Net(x: f32[N, 1, 28, 28]) -> f32[N, 10] { Flatten -> Linear(10) }
    train { epochs = 1, loss = CrossEntropyLoss, optimizer = SGD(lr=0.1), metrics = [Accuracy] }
    checkpoint { best = max(val.accuracy) }
    ```
    """

    code: ClassVar[str] = "E0520"
    name: ClassVar[str] = "monitor-without-val"
    template: ClassVar[str] = "`{watched}` is watched, but {reason}"

    watched: str
    reason: str
