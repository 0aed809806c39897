"""`stride-drops-border`: rows or columns of an input that no window sees."""

from collections.abc import Iterator
from typing import ClassVar, Final

from expc.compiler.lints.wires import Node
from expc.compiler.program import Program
from expc.compiler.types import TensorType
from expc.diagnostics import Problem, Severity
from expc.frozen import dataclass

WINDOWS: Final = {
    f"{name}{count}d": count
    for count in (1, 2, 3)
    for name in ("Conv", "conv", "MaxPool", "max_pool", "AvgPool", "avg_pool", "LPPool", "lp_pool")
}


@dataclass(frozen=True, kw_only=True)
class StrideDropsBorder(Problem):
    """The windows of a convolution or a pooling do not reach the end of their input: its last rows or columns count for
    nothing.

    It happens where the size less the kernel is not a multiple of the stride. Padding, another input size or
    `ceil_mode=true` mend it; where the border does not matter, allow it. torch says nothing. Nothing is said of strides
    that are larger than the kernel, which leave out positions everywhere.

    ```exp wrong
    model Net(x: f32[N, 1, 7, 7]) -> f32[N, 1, 3, 3] { MaxPool2d(2) }
    ```

    ```exp right
    model Net(x: f32[N, 1, 7, 7]) -> f32[N, 1, 4, 4] { MaxPool2d(2, ceil_mode=true) }
    ```
    """

    code: ClassVar[str] = "W0311"
    name: ClassVar[str] = "stride-drops-border"
    severity: ClassVar[Severity] = "hint"
    template: ClassVar[str] = "`{operator}` never sees the last {lost} of {size} in dimension {axis}"

    operator: str
    lost: int
    size: int
    axis: int


def check(program: Program) -> Iterator[Problem]:
    """Every window, dimension by dimension."""
    for node in program.wires.nodes:
        for axis, size, kernel, stride, padding, dilation in sides(node):
            reach = dilation * (kernel - 1) + 1
            lost = (size + 2 * padding - reach) % stride - padding
            if lost > 0 and stride <= reach and not node.setting("ceil_mode"):
                yield StrideDropsBorder(span=node.span, operator=node.name, lost=lost, size=size, axis=axis)
                break


def sides(node: Node) -> Iterator[tuple[int, int, int, int, int, int]]:
    """Dimension, size, kernel, stride, padding and dilation of each side of a window whose input has a known size."""
    count = WINDOWS.get(node.name)
    value = node.input
    if count is None or value is None or not isinstance(value.type, TensorType) or value.type.rank < count:
        return
    kernel, stride = node.setting("kernel_size"), node.setting("stride")
    if kernel is None and (weight := node.tensor("weight")) is not None and isinstance(weight.type, TensorType):
        kernel = list(weight.type.dims[-count:])
    stride = kernel if stride is None else stride
    given = (kernel, stride, node.setting("padding") or 0, node.setting("dilation") or 1)
    columns = [_each(part, count) for part in given]
    for position, axis in enumerate(range(value.type.rank - count, value.type.rank)):
        size = value.type.dims[axis]
        found = [column[position] for column in columns if column is not None]
        if isinstance(size, int) and len(found) == 4 and all(isinstance(part, int) for part in found):
            yield axis, size, found[0], found[1], found[2], found[3]


def _each(value: object, count: int) -> list[int] | None:
    """A setting of a window for each of its sides; none where it is a word."""
    if isinstance(value, int):
        return [value] * count
    if isinstance(value, list | tuple) and len(value) in (1, count):
        return [*value] * (count if len(value) == 1 else 1)
    return None
