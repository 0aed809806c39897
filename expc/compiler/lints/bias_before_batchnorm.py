"""`bias-before-batchnorm`: a bias that batch normalisation cancels."""

from collections.abc import Iterator
from typing import ClassVar

from expc.compiler.lints.wires import AFFINE, setting
from expc.compiler.program import Program
from expc.diagnostics import Label, Problem, Severity
from expc.frozen import dataclass


@dataclass(frozen=True, kw_only=True)
class BiasBeforeBatchnorm(Problem):
    """Batch normalisation subtracts the mean of each channel, and with it any bias of the layer before.

    The bias costs memory and time and changes nothing. torch says nothing.

    ```exp wrong
    model Net(x: f32[N, 3, 32, 32]) -> f32[N, 8, 30, 30] { Conv2d(8, 3) -> BatchNorm2d }
    ```

    ```exp right
    model Net(x: f32[N, 3, 32, 32]) -> f32[N, 8, 30, 30] { Conv2d(8, 3, bias=false) -> BatchNorm2d }
    ```
    """

    code: ClassVar[str] = "W0301"
    name: ClassVar[str] = "bias-before-batchnorm"
    severity: ClassVar[Severity] = "hint"
    template: ClassVar[str] = "the bias of this `{layer}` is cancelled by the `{norm}` after it: write `bias=false`"

    layer: str
    norm: str


def check(program: Program) -> Iterator[Problem]:
    """A convolution or linear layer with a bias whose only use is a batch normalisation."""
    wires = program.wires
    for node in wires.nodes:
        before = wires.node(node.input) if node.name.startswith("BatchNorm") else None
        if before is None or before.leaf is None or before.name not in AFFINE or "bias" not in before.leaf.weights:
            continue
        if "bias" in before.leaf.tied or id(before.leaf) in wires.shared or not wires.feeds_only(before, node, ()):
            continue
        yield BiasBeforeBatchnorm(
            span=before.span,
            layer=before.name,
            norm=node.name,
            labels=(Label(node.span, "the normalisation"),),
            fixes=setting(before.span, "bias", "false", "safe"),
        )
