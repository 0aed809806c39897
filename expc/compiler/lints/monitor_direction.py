"""`monitor-direction`: the best is sought in the wrong direction."""

from collections.abc import Iterator
from typing import ClassVar

from expc.compiler.program import Program, Watch
from expc.diagnostics import Edit, Fix, Problem, Span
from expc.frozen import dataclass


@dataclass(frozen=True, kw_only=True)
class MonitorDirection(Problem):
    """`min` of something that should be large, or `max` of something that should be small.

    The worst weights would be kept as the best. torch has no opinion on that.

    ```exp wrong
    data { train, val = MNIST("data") -> split(0.9) -> ToTensor }
    model Net(x: f32[N, 1, 28, 28]) -> f32[N, 10] { Flatten -> Linear(10) }
    train { epochs = 1, loss = CrossEntropyLoss, optimizer = SGD(lr=0.1), metrics = [Accuracy] }
    checkpoint { best = min(val.accuracy) }
    ```

    ```exp right
    data { train, val = MNIST("data") -> split(0.9) -> ToTensor }
    model Net(x: f32[N, 1, 28, 28]) -> f32[N, 10] { Flatten -> Linear(10) }
    train { epochs = 1, loss = CrossEntropyLoss, optimizer = SGD(lr=0.1), metrics = [Accuracy] }
    checkpoint { best = max(val.accuracy) }
    ```
    """

    code: ClassVar[str] = "E0522"
    name: ClassVar[str] = "monitor-direction"
    template: ClassVar[str] = "`{metric}` is better when it is {better}, but `{mode}` looks for the {sought}"

    metric: str
    better: str
    mode: str
    sought: str


def check(program: Program) -> Iterator[Problem]:
    """What `best` and `early_stop` watch, against the direction of each metric."""
    if program.train is None:
        return
    higher = {metric.name: metric.higher_is_better for metric in program.train.metrics}
    higher |= dict.fromkeys(("loss", *program.train.terms), False)
    for watch in (program.best, program.train.early_stop):
        if watch is None:
            continue
        wanted = higher.get(watch.metric.partition(".")[2])
        if wanted is not None and wanted != (watch.mode == "max"):
            yield _problem(watch, higher=wanted)


def _problem(watch: Watch, *, higher: bool) -> MonitorDirection:
    right = "max" if higher else "min"
    fixes: tuple[Fix, ...] = ()
    if watch.span.text.startswith(watch.mode):
        place = Span(watch.span.source, watch.span.start, watch.span.start + 3)
        fixes = (Fix(f"write `{right}`", (Edit(place, right),)),)
    return MonitorDirection(
        span=watch.span,
        metric=watch.metric,
        better="larger" if higher else "smaller",
        mode=watch.mode,
        sought="smallest" if higher else "largest",
        fixes=fixes,
    )
