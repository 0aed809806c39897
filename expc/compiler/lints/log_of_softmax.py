"""`log-of-softmax`: the logarithm of what may be zero."""

from collections.abc import Iterator
from typing import ClassVar, Final

from expc.compiler.lints.wires import MOVED, Node, plain
from expc.compiler.program import Program
from expc.diagnostics import Edit, Fix, Label, Problem, Severity
from expc.frozen import dataclass

_STABLE: Final = {"softmax": "log_softmax", "sigmoid": "logsigmoid"}


@dataclass(frozen=True, kw_only=True)
class LogOfSoftmax(Problem):
    """A small probability is rounded to 0, and its logarithm is minus infinity: the loss becomes `nan`.

    `log_softmax` and `logsigmoid` compute both in one, exactly. torch says nothing until the loss is `nan`.

    ```exp wrong
    model Net(x: f32[N, 8]) -> f32[N, 10] { Linear(10) -> Softmax(1) -> log }
    ```

    ```exp right
    model Net(x: f32[N, 8]) -> f32[N, 10] { Linear(10) -> LogSoftmax(1) }
    ```
    """

    code: ClassVar[str] = "W0316"
    name: ClassVar[str] = "log-of-softmax"
    severity: ClassVar[Severity] = "warning"
    template: ClassVar[str] = "the logarithm of a `{squash}` loses small probabilities: write `{stable}`"

    squash: str
    stable: str


def check(program: Program) -> Iterator[Problem]:
    """A logarithm of a softmax or a sigmoid, in the model or in a loss."""
    wires = program.wires
    for node in (*wires.nodes, *wires.losses):
        made = wires.source(node.input, MOVED) if node.name == "log" else None
        if made is None or plain(made.name) not in _STABLE:
            continue
        stable = _STABLE[plain(made.name)]
        if made.leaf is not None:
            stable = {"log_softmax": "LogSoftmax", "logsigmoid": "LogSigmoid"}[stable]
        labels = (Label(made.span, f"the {plain(made.name)}"),)
        yield LogOfSoftmax(
            span=node.span, squash=made.name, stable=stable, labels=labels, fixes=_fixes(made, node, stable)
        )


def _fixes(made: Node, node: Node, stable: str) -> tuple[Fix, ...]:
    """`-> Softmax(1) -> log` becomes `-> LogSoftmax(1)`, where nothing but an arrow stands between them."""
    source, text = made.span.source, made.span.text
    if node.span.source is not source or not text.startswith(made.name) or node.span.text != "log":
        return ()
    if source.text[made.span.end : node.span.start].strip() != "->":
        return ()
    whole = made.span.to(node.span)
    return (Fix(f"write `{stable}`", (Edit(whole, stable + text.removeprefix(made.name)),), "safe"),)
