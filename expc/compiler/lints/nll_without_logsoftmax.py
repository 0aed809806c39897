"""`nll-without-logsoftmax`: raw scores where the loss takes logarithms of probabilities."""

from collections.abc import Iterator
from typing import ClassVar

from expc.compiler.lints.wires import MOVED, UNBOUNDED, Node, plain
from expc.compiler.program import Program
from expc.diagnostics import Edit, Fix, Label, Problem, Severity, Span
from expc.frozen import dataclass


@dataclass(frozen=True, kw_only=True)
class NllWithoutLogsoftmax(Problem):
    """`NLLLoss` only picks the right class's value and negates it: it takes what `LogSoftmax` gives.

    From raw scores the loss falls without end, to minus infinity, and says nothing of the other classes; from
    probabilities it learns slowly. torch says nothing. `CrossEntropyLoss` takes raw scores.

    ```exp wrong
    data { train = MNIST("data") -> ToTensor }
    model Net(x: f32[N, 1, 28, 28]) -> f32[N, 10] { Flatten -> Linear(10) }
    train { epochs = 1, loss = NLLLoss, optimizer = SGD(lr=0.1) }
    ```

    ```exp right
    data { train = MNIST("data") -> ToTensor }
    model Net(x: f32[N, 1, 28, 28]) -> f32[N, 10] { Flatten -> Linear(10) -> LogSoftmax(1) }
    train { epochs = 1, loss = NLLLoss, optimizer = SGD(lr=0.1) }
    ```
    """

    code: ClassVar[str] = "W0533"
    name: ClassVar[str] = "nll-without-logsoftmax"
    severity: ClassVar[Severity] = "warning"
    template: ClassVar[str] = "`{loss}` takes the logarithms of probabilities, but gets what `{layer}` gives"

    loss: str
    layer: str


def check(program: Program) -> Iterator[Problem]:
    """A loss of log-probabilities whose input comes from a layer that gives none."""
    wires = program.wires
    for loss in wires.loss_nodes(("NLLLoss", "nll_loss")):
        made = wires.source(loss.tensor("input"), MOVED)
        if made is not None and (made.name in UNBOUNDED or plain(made.name) in ("softmax", "sigmoid", "tanh")):
            labels = (Label(made.span, "the scores"),)
            yield NllWithoutLogsoftmax(
                span=loss.span, loss=loss.name, layer=made.name, labels=labels, fixes=_fixes(loss, made)
            )


def _fixes(loss: Node, made: Node) -> tuple[Fix, ...]:
    if made.name in ("Softmax", "softmax"):
        log = "LogSoftmax" if made.name == "Softmax" else "log_softmax"
        return _renamed(made.span, made.name, log)
    if made.name in UNBOUNDED:
        return _renamed(loss.span, loss.name, "CrossEntropyLoss" if loss.name == "NLLLoss" else "cross_entropy")
    return ()


def _renamed(span: Span, old: str, new: str) -> tuple[Fix, ...]:
    if not span.text.startswith(old):
        return ()
    place = Span(span.source, span.start, span.start + len(old))
    return (Fix(f"write `{new}`", (Edit(place, new),), "safe"),)
