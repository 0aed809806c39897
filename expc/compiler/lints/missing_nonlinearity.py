"""`missing-nonlinearity`: two affine layers in a row are one."""

from collections.abc import Iterator
from typing import ClassVar

from expc.compiler.lints.wires import PLAIN_AFFINE, SAME, Node, following
from expc.compiler.program import Program
from expc.diagnostics import Label, Problem, Severity
from expc.frozen import dataclass


@dataclass(frozen=True, kw_only=True)
class MissingNonlinearity(Problem):
    """Two affine layers with nothing between them compute what one affine layer computes.

    Mostly an activation was forgotten. Dropout and flattening between them change nothing of that. Where the first
    layer is narrower than both its neighbours, the pair is a factorisation of low rank, which may be meant: allow it
    then. Nothing is said of convolutions in groups, of the halves of an autoencoder that have names of their own, and
    of layers that share their weights with others.

    ```exp wrong
    model Net(x: f32[N, 8]) -> f32[N, 2] { Linear(16) -> Linear(2) }
    ```

    ```exp right
    model Net(x: f32[N, 8]) -> f32[N, 2] { Linear(16) -> ReLU -> Linear(2) }
    ```
    """

    code: ClassVar[str] = "W0304"
    name: ClassVar[str] = "missing-nonlinearity"
    severity: ClassVar[Severity] = "warning"
    template: ClassVar[str] = "no activation stands between this `{layer}` and the `{before}` before it: both are one"

    layer: str
    before: str


def check(program: Program) -> Iterator[Problem]:
    """An affine layer whose input is the result of another, which nothing else uses."""
    wires = program.wires
    for node in wires.nodes:
        if node.name not in PLAIN_AFFINE or not _plain(node):
            continue
        before = wires.source(node.input, SAME - {"Identity"})
        if before is None or before.name not in PLAIN_AFFINE or not _plain(before):
            continue
        if before.region == node.region and before.leaf is not node.leaf and wires.feeds_only(before, node):
            label = Label(before.span, "the layer before")
            fixes = following(before.span, "ReLU")
            yield MissingNonlinearity(span=node.span, layer=node.name, before=before.name, labels=(label,), fixes=fixes)


def _plain(node: Node) -> bool:
    """Whether a layer mixes all that it gets, by weights of its own."""
    leaf = node.leaf
    return leaf is not None and not leaf.tied and leaf.settings.get("groups", 1) == 1
