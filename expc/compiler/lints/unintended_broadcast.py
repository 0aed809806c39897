"""`unintended-broadcast`: a sum repeats one side where nobody asked for it."""

from collections.abc import Iterator
from typing import ClassVar, Final

from expc.compiler.graph import Subscript, Value
from expc.compiler.lints.wires import AFFINE, SAME, Node, Wires, plain
from expc.compiler.program import Program
from expc.compiler.types import TensorType
from expc.diagnostics import Label, Problem, Severity
from expc.frozen import dataclass

_SUMS: Final = ("add", "sub")
_BETWEEN: Final = SAME | {
    *("ReLU", "relu", "GELU", "gelu", "SiLU", "silu", "Tanh", "tanh", "LeakyReLU", "leaky_relu", "ELU", "elu"),
    *("BatchNorm1d", "BatchNorm2d", "BatchNorm3d", "LayerNorm", "GroupNorm", "RMSNorm"),
}


@dataclass(frozen=True, kw_only=True)
class UnintendedBroadcast(Problem):
    """A sum of tensors of different shapes, where the smaller one is repeated, though nothing asks for it.

    Two cases are recognised. In a residual sum `x + f(x)`, a last layer with one output is added to every channel of
    `x`: mostly its number of outputs is wrong. And `[N, 1]` with `[N]` gives `[N, N]`, every sample with every other:
    mostly a `squeeze` is missing. Products, which gate, and dimensions made by `unsqueeze` are meant.

    ```exp wrong
    model Net(x: f32[N, 8]) -> f32[N, 8] { flow + (Linear(16) -> ReLU -> Linear(1)) }
    ```

    ```exp right
    model Net(x: f32[N, 8]) -> f32[N, 8] { flow + (Linear(16) -> ReLU -> Linear(8)) }
    ```
    """

    code: ClassVar[str] = "W0315"
    name: ClassVar[str] = "unintended-broadcast"
    severity: ClassVar[Severity] = "warning"
    template: ClassVar[str] = "{small} is repeated to {large}, though nothing asks for it"

    small: str
    large: str


def check(program: Program) -> Iterator[Problem]:
    """The sums and differences of the model and of losses."""
    wires = program.wires
    for node in (*wires.nodes, *wires.losses):
        if node.name not in _SUMS:
            continue
        left, right = node.tensor("input"), node.tensor("other")
        if left is None or right is None:
            continue
        for small, other in ((left, right), (right, left)):
            if _is_column(wires, small, other) or _is_residual(wires, small, other):
                labels = (Label(small.span, f"this is {small.type}"), Label(other.span, f"this is {other.type}"))
                large = node.type if _is_column(wires, small, other) else other.type
                yield UnintendedBroadcast(span=node.span, small=str(small.type), large=str(large), labels=labels)
                break


def _is_column(wires: Wires, small: Value, other: Value) -> bool:
    """`[N, 1]`, made by a layer, with `[N]`."""
    a, b = small.type, other.type
    if not isinstance(a, TensorType) or not isinstance(b, TensorType) or a.rank != 2 or b.rank != 1:
        return False
    made = wires.source(small, _BETWEEN - {"unsqueeze", "reshape", "view"})
    return a.dims[1] == 1 and a.dims[0] == b.dims[0] != 1 and made is not None and made.name in AFFINE


def _is_residual(wires: Wires, small: Value, other: Value) -> bool:
    """`f(x)` with one channel, made by a layer, with `x`."""
    a, b = small.type, other.type
    if not isinstance(a, TensorType) or not isinstance(b, TensorType) or a.rank != b.rank or a.rank < 2:
        return False
    made = wires.source(small, _BETWEEN)
    if made is None or made.leaf is None or made.name not in AFFINE:
        return False
    axis = a.rank - 1 if made.name == "Linear" else 1
    if a.dims[axis] != 1 or b.dims[axis] == 1:
        return False
    return all(x == y for at, (x, y) in enumerate(zip(a.dims, b.dims, strict=True)) if at != axis) and _comes_from(
        wires, made, other
    )


def _comes_from(wires: Wires, node: Node, value: Value) -> bool:
    """Whether a node is a way of single inputs from `value`."""
    origin = wires.origin(value)
    for _ in range(_FARTHEST):
        if node.input is None:
            return False
        if wires.origin(node.input) is origin:
            return True
        before = wires.made(node.input)
        if before is None or isinstance(before, Subscript) or not isinstance(before, Node):
            return False
        if plain(before.name) in ("unsqueeze", "mean", "sum", "amax"):
            return False
        node = before
    return False


_FARTHEST: Final = 50
