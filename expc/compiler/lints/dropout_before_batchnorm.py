"""`dropout-before-batchnorm`: statistics that evaluation does not have."""

from collections.abc import Iterator
from typing import ClassVar, Final

from expc.compiler.lints.wires import plain
from expc.compiler.program import Program
from expc.diagnostics import Label, Problem, Severity
from expc.frozen import dataclass

_DROPOUTS: Final = ("Dropout", "Dropout1d", "Dropout2d", "Dropout3d", "dropout", "dropout1d", "dropout2d", "dropout3d")
_BETWEEN: Final = frozenset({"relu", "relu6", "leakyrelu", "elu", "gelu", "silu"})


@dataclass(frozen=True, kw_only=True)
class DropoutBeforeBatchnorm(Problem):
    """Dropout raises the variance of what it leaves; batch normalisation learns that variance, and evaluation has none
    of it.

    The running statistics are wrong in evaluation, and the accuracy there falls (Li et al. 2018, "variance shift").
    Dropout belongs after the last batch normalisation, or at least after this one. Nothing is said where a layer with
    weights stands between both, as in most networks with dropout.

    ```exp wrong
    model Net(x: f32[N, 8]) -> f32[N, 2] { Linear(16, bias=false) -> Dropout(0.2) -> BatchNorm1d -> ReLU -> Linear(2) }
    ```

    ```exp right
    model Net(x: f32[N, 8]) -> f32[N, 2] { Linear(16, bias=false) -> BatchNorm1d -> ReLU -> Dropout(0.2) -> Linear(2) }
    ```
    """

    code: ClassVar[str] = "W0306"
    name: ClassVar[str] = "dropout-before-batchnorm"
    severity: ClassVar[Severity] = "warning"
    template: ClassVar[str] = "`{norm}` learns the variance that the `{dropout}` before it has in training only"

    norm: str
    dropout: str


def check(program: Program) -> Iterator[Problem]:
    """A batch normalisation of what dropout leaves."""
    wires = program.wires
    for node in wires.nodes:
        if not node.step.operator.batch_statistics:
            continue
        before = wires.node(node.input)
        if before is not None and plain(before.name) in _BETWEEN:
            before = wires.node(before.input)
        if before is not None and before.name in _DROPOUTS and before.setting("p") != 0:
            label = Label(before.span, "the dropout")
            yield DropoutBeforeBatchnorm(span=node.span, norm=node.name, dropout=before.name, labels=(label,))
