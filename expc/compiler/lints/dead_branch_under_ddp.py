"""`dead-branch-under-ddp`: parameters that no loss reaches, where that stops the run."""

from typing import ClassVar

from expc.diagnostics import Problem
from expc.frozen import dataclass


@dataclass(frozen=True, kw_only=True)
class DeadBranchUnderDdp(Problem):
    """No loss depends on these parameters, and `ddp` waits for the gradient of every parameter: torch stops in the
    second step.

    Use the output in the loss, freeze the parameters, or write `strategy = auto`, which does not wait for them.

    ```exp wrong
    data { train = FakeData(100, image_size=[1, 8, 8], num_classes=10) -> ToTensor, batch = 10 }
    model Net(x: f32[N, 1, 8, 8]) -> (scores: f32[N, 10], extra: f32[N, 4]) {
      hidden = Flatten -> Linear(16) -> ReLU
      scores = hidden -> Linear(10)
      extra  = hidden -> Linear(4)
    }
    train { epochs = 1, loss = cross_entropy(scores, label), optimizer = SGD(lr=0.1) }
    distributed { strategy = ddp }
    ```

    ```exp right
    data { train = FakeData(100, image_size=[1, 8, 8], num_classes=10) -> ToTensor, batch = 10 }
    model Net(x: f32[N, 1, 8, 8]) -> f32[N, 10] { Flatten -> Linear(16) -> ReLU -> Linear(10) }
    train { epochs = 1, loss = CrossEntropyLoss, optimizer = SGD(lr=0.1) }
    distributed { strategy = ddp }
    ```
    """

    code: ClassVar[str] = "E0603"
    name: ClassVar[str] = "dead-branch-under-ddp"
    template: ClassVar[str] = "the loss does not depend on `{key}`{more}, and `ddp` waits for its gradient"

    key: str
    more: str
