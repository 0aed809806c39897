"""`nearly-all-frozen`: what still learns is only there to scale."""

from collections.abc import Iterator
from typing import ClassVar

from expc.compiler.graph import has_python, weights
from expc.compiler.lints.norm_after_activation import NORMS
from expc.compiler.program import Program
from expc.diagnostics import Problem, Severity
from expc.frozen import dataclass


@dataclass(frozen=True, kw_only=True)
class NearlyAllFrozen(Problem):
    """`freeze` leaves only the scales and shifts of normalisation layers to learn.

    Mostly the selector says more than was meant: the head should learn too. Freezing everything is an error (E0505).

    ```exp wrong
    data { train = FakeData(100, image_size=[1, 8, 8], num_classes=10) -> ToTensor, batch = 10 }
    model Net(x: f32[N, 1, 8, 8]) { Flatten -> body: Linear(16) -> norm: LayerNorm -> ReLU -> head: Linear(10) }
    train { epochs = 1, loss = CrossEntropyLoss, optimizer = SGD(lr=0.1), freeze = ["body.*", "head.*"] }
    ```

    ```exp right
    data { train = FakeData(100, image_size=[1, 8, 8], num_classes=10) -> ToTensor, batch = 10 }
    model Net(x: f32[N, 1, 8, 8]) { Flatten -> body: Linear(16) -> norm: LayerNorm -> ReLU -> head: Linear(10) }
    train { epochs = 1, loss = CrossEntropyLoss, optimizer = SGD(lr=0.1), freeze = ["body.*"] }
    ```
    """

    code: ClassVar[str] = "W0504"
    name: ClassVar[str] = "nearly-all-frozen"
    severity: ClassVar[Severity] = "warning"
    template: ClassVar[str] = "only normalisation layers learn, {left} of {all} parameters: `{first}` is frozen too"

    left: int
    all: int
    first: str


def check(program: Program) -> Iterator[Problem]:
    """What a `freeze` for the whole run leaves."""
    frozen = program.train.freeze if program.train is not None else None
    if frozen is None or frozen.duration is not None or program.model is None or has_python(program.model.body):
        return
    every = [weight for weight in weights(program.model.body) if not weight.is_buffer and weight.tied_to is None]
    still = frozenset(frozen.keys)
    left = [weight for weight in every if weight.key not in still]
    others = [weight for weight in every if weight.owner not in NORMS]
    if left and others and all(weight.owner in NORMS for weight in left):
        yield NearlyAllFrozen(span=frozen.span, left=len(left), all=len(every), first=others[-1].key)
