"""`norm-after-activation`: an activation directly before its normalisation."""

from collections.abc import Iterator
from typing import ClassVar, Final

from expc.compiler.lints.wires import plain
from expc.compiler.program import Program
from expc.diagnostics import Label, Problem, Severity
from expc.frozen import dataclass

NORMS: Final = (
    *("BatchNorm1d", "BatchNorm2d", "BatchNorm3d", "InstanceNorm1d", "InstanceNorm2d", "InstanceNorm3d"),
    *("LayerNorm", "GroupNorm", "RMSNorm"),
)
_ACTIVATIONS: Final = frozenset({"relu", "relu6", "leakyrelu", "prelu", "elu", "selu", "celu", "gelu", "silu", "mish"})


@dataclass(frozen=True, kw_only=True)
class NormAfterActivation(Problem):
    """Normalisation mostly stands before the activation, as in ResNets.

    Both orders work, and some find the other one better: a matter of taste, so the rule is off by default.

    ```exp wrong
    model Net(x: f32[N, 8]) -> f32[N, 8] { Linear(8) -> ReLU -> LayerNorm }
    ```

    ```exp right
    model Net(x: f32[N, 8]) -> f32[N, 8] { Linear(8) -> LayerNorm -> ReLU }
    ```
    """

    code: ClassVar[str] = "W0320"
    name: ClassVar[str] = "norm-after-activation"
    severity: ClassVar[Severity] = "hint"
    template: ClassVar[str] = "`{norm}` comes after `{activation}`, and mostly stands before it"

    norm: str
    activation: str


def check(program: Program) -> Iterator[Problem]:
    """A normalisation whose input an activation makes."""
    wires = program.wires
    for node in wires.nodes:
        before = wires.node(node.input) if node.name in NORMS else None
        if before is not None and plain(before.name) in _ACTIVATIONS:
            labels = (Label(before.span, "the activation"),)
            yield NormAfterActivation(span=node.span, norm=node.name, activation=before.name, labels=labels)
