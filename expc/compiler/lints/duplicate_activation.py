"""`duplicate-activation`: an activation directly after the same activation."""

from collections.abc import Iterator
from typing import ClassVar, Final

from expc.compiler.lints.wires import SAME, dropping, plain
from expc.compiler.program import Program
from expc.diagnostics import Label, Problem, Severity
from expc.frozen import dataclass

_ACTIVATIONS: Final = frozenset(
    (
        *("relu", "relu6", "leakyrelu", "prelu", "elu", "selu", "celu", "gelu", "silu", "mish", "hardswish"),
        *("sigmoid", "hardsigmoid", "tanh", "softplus", "softsign", "softmax", "softmax2d", "log_softmax"),
    )
)
_IDEMPOTENT: Final = frozenset({"relu", "relu6", "log_softmax"})


@dataclass(frozen=True, kw_only=True)
class DuplicateActivation(Problem):
    """The same activation twice in a row: the second does nothing, or squashes what is squashed already.

    It comes about where a block ends with its activation and the model adds another. torch says nothing.

    ```exp wrong
    block Unit(out: int) { Linear(out) -> ReLU }
    model Net(x: f32[N, 8]) -> f32[N, 2] { Unit(16) -> ReLU -> Linear(2) }
    ```

    ```exp right
    block Unit(out: int) { Linear(out) -> ReLU }
    model Net(x: f32[N, 8]) -> f32[N, 2] { Unit(16) -> Linear(2) }
    ```
    """

    code: ClassVar[str] = "W0305"
    name: ClassVar[str] = "duplicate-activation"
    severity: ClassVar[Severity] = "warning"
    template: ClassVar[str] = "`{activation}` is applied to the result of a `{before}`: {effect}"

    activation: str
    before: str
    effect: str


def check(program: Program) -> Iterator[Problem]:
    """An activation whose input the same activation makes."""
    wires = program.wires
    for node in wires.nodes:
        name = plain(node.name)
        before = wires.source(node.input, SAME) if name in _ACTIVATIONS else None
        if before is None or plain(before.name) != name or before.setting("dim") != node.setting("dim"):
            continue
        yield DuplicateActivation(
            span=node.span,
            activation=node.name,
            before=before.name,
            effect="it changes nothing" if name in _IDEMPOTENT else "it squashes what is squashed already",
            labels=(Label(before.span, "the first"),),
            fixes=dropping(node.span),
        )
