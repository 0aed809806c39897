"""`logits-into-bce`: raw scores where the loss takes probabilities."""

from collections.abc import Iterator
from typing import ClassVar

from expc.compiler.lints.wires import MOVED, UNBOUNDED, following, plain
from expc.compiler.program import Program
from expc.diagnostics import Edit, Fix, Label, Problem
from expc.frozen import dataclass


@dataclass(frozen=True, kw_only=True)
class LogitsIntoBce(Problem):
    """`BCELoss` takes probabilities from 0 to 1, and torch stops at the first score outside.

    `BCEWithLogitsLoss` takes raw scores, and is more exact than `Sigmoid` and `BCELoss` together.

    ```exp wrong
    data { train = FakeData(100, image_size=[1, 8, 8]) -> ToTensor -> { label = label -> OneHot }, batch = 10 }
    model Net(image: f32[N, 1, 8, 8]) -> f32[N, 10] { Flatten -> Linear(10) }
    train { epochs = 1, loss = BCELoss, optimizer = SGD(lr=0.1) }
    ```

    ```exp right
    data { train = FakeData(100, image_size=[1, 8, 8]) -> ToTensor -> { label = label -> OneHot }, batch = 10 }
    model Net(image: f32[N, 1, 8, 8]) -> f32[N, 10] { Flatten -> Linear(10) }
    train { epochs = 1, loss = BCEWithLogitsLoss, optimizer = SGD(lr=0.1) }
    ```
    """

    code: ClassVar[str] = "E0523"
    name: ClassVar[str] = "logits-into-bce"
    template: ClassVar[str] = "`{loss}` takes probabilities from 0 to 1, but `{layer}` gives any number: {advice}"

    loss: str
    layer: str
    advice: str


def check(program: Program) -> Iterator[Problem]:
    """A loss of probabilities whose input comes from a layer that is not bounded by 1."""
    wires = program.wires
    for loss in wires.loss_nodes(("BCELoss", "binary_cross_entropy")):
        made = wires.source(loss.tensor("input"), MOVED)
        if made is None or not (made.name in UNBOUNDED or plain(made.name) in ("tanh", "log_softmax", "logsigmoid")):
            continue
        logits = "BCEWithLogitsLoss" if loss.name == "BCELoss" else "binary_cross_entropy_with_logits"
        place = loss.span
        written = place.text.startswith(loss.name)
        fixes: tuple[Fix, ...] = following(made.span, "Sigmoid")
        if written:
            edit = Edit(type(place)(place.source, place.start, place.start + len(loss.name)), logits)
            fixes = (Fix(f"write `{logits}`", (edit,)), *fixes)
        yield LogitsIntoBce(
            span=place,
            loss=loss.name,
            layer=made.name,
            advice=f"write `{logits}`, or end the model with `Sigmoid`",
            labels=(Label(made.span, "the scores"),),
            fixes=fixes,
        )
