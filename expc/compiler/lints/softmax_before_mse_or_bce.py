"""`softmax-before-mse-or-bce`: probabilities of one choice, compared as if they were numbers on their own."""

from collections.abc import Iterator
from typing import ClassVar, Final

from expc.compiler.lints.wires import MOVED
from expc.compiler.program import Program
from expc.diagnostics import Label, Problem, Severity
from expc.frozen import dataclass

_LOSSES: Final = ("MSELoss", "mse_loss", "L1Loss", "l1_loss", "BCELoss", "binary_cross_entropy")


@dataclass(frozen=True, kw_only=True)
class SoftmaxBeforeMseOrBce(Problem):
    """A softmax chooses one of several classes, and cross entropy says how well it does.

    A squared error of probabilities has next to no gradient where the model is surely wrong, and `BCELoss` takes each
    class for a question of its own. torch says nothing. Between two outputs of models, as in distillation, nothing is
    said.

    ```exp wrong
    data { train = FakeData(100, image_size=[1, 8, 8]) -> ToTensor -> { label = label -> OneHot }, batch = 10 }
    model Net(image: f32[N, 1, 8, 8]) -> f32[N, 10] { Flatten -> Linear(10) -> Softmax(1) }
    train { epochs = 1, loss = BCELoss, optimizer = SGD(lr=0.1) }
    ```

    ```exp right
    data { train = FakeData(100, image_size=[1, 8, 8]) -> ToTensor, batch = 10 }
    model Net(image: f32[N, 1, 8, 8]) -> f32[N, 10] { Flatten -> Linear(10) }
    train { epochs = 1, loss = CrossEntropyLoss, optimizer = SGD(lr=0.1) }
    ```
    """

    code: ClassVar[str] = "W0532"
    name: ClassVar[str] = "softmax-before-mse-or-bce"
    severity: ClassVar[Severity] = "warning"
    template: ClassVar[str] = (
        "`{softmax}` comes before `{loss}`: to choose one of several classes, take `CrossEntropyLoss`"
    )

    softmax: str
    loss: str


def check(program: Program) -> Iterator[Problem]:
    """A softmax that is compared with a field of the data."""
    wires = program.wires
    for loss in wires.loss_nodes(_LOSSES):
        made = wires.source(loss.tensor("input"), MOVED)
        if made is not None and made.name in ("Softmax", "softmax") and wires.field(loss.tensor("target")) is not None:
            labels = (Label(loss.span, "the loss"),)
            yield SoftmaxBeforeMseOrBce(span=made.span, softmax=made.name, loss=loss.name, labels=labels)
