"""`dead-branch`: parameters that no loss reaches."""

from collections.abc import Iterator
from typing import Any, ClassVar

from expc.compiler.plans.reach import unreached_at
from expc.compiler.program import Program
from expc.diagnostics import Problem, Severity, Span
from expc.frozen import dataclass


@dataclass(frozen=True, kw_only=True)
class DeadBranch(Problem):
    """No loss depends on these parameters, so that they never learn.

    An output that the loss does not use, a result that only decides by `argmax`, or `detach` on the only way to the
    loss. torch says nothing, except under `ddp`, where it stops in the second step. Freeze what is not to learn.

    ```exp wrong
    data { train = FakeData(100, image_size=[1, 8, 8], num_classes=10) -> ToTensor, batch = 10 }
    model Net(x: f32[N, 1, 8, 8]) -> (scores: f32[N, 10], extra: f32[N, 4]) {
      hidden = Flatten -> Linear(16) -> ReLU
      scores = hidden -> Linear(10)
      extra  = hidden -> Linear(4)
    }
    train { epochs = 1, loss = cross_entropy(scores, label), optimizer = SGD(lr=0.1) }
    ```

    ```exp right
    data { train = FakeData(100, image_size=[1, 8, 8], num_classes=10) -> ToTensor, batch = 10 }
    model Net(x: f32[N, 1, 8, 8]) -> (scores: f32[N, 10], extra: f32[N, 4]) {
      hidden = Flatten -> Linear(16) -> ReLU
      scores = hidden -> Linear(10)
      extra  = hidden -> Linear(4)
    }
    train { epochs = 1, loss = cross_entropy(scores, label) + 0.1 * mean(extra ** 2), optimizer = SGD(lr=0.1) }
    ```
    """

    code: ClassVar[str] = "W0505"
    name: ClassVar[str] = "dead-branch"
    severity: ClassVar[Severity] = "warning"
    template: ClassVar[str] = "the loss does not depend on `{key}`{more}: it never learns"

    key: str
    more: str


def check(program: Program) -> Iterator[Problem]:
    """Layers with parameters that no loss reaches, each place of the text once."""
    found: dict[Span, list[str]] = {}
    for key, span in unreached_at(program).items():
        found.setdefault(span, []).append(key)
    distributed = program.experiment.distributed
    stops = distributed is not None and distributed.strategy == "ddp" and not distributed.find_unused_parameters
    kind: Any = DeadBranch
    if stops and found:
        from expc.compiler.lints.dead_branch_under_ddp import DeadBranchUnderDdp

        kind = DeadBranchUnderDdp
    for span, keys in found.items():
        yield kind(span=span, key=keys[0], more=f" and {len(keys) - 1} more like it" if keys[1:] else "")
