"""Broadcasting, as torch's, over sizes that may be unknown."""

from collections.abc import Sequence
from typing import NoReturn

from expc.compiler.dimensions import Size
from expc.compiler.errors.shapes import BroadcastMismatch, SizeMismatch
from expc.compiler.ops.declare import Call, Fault
from expc.compiler.types import TensorType


def broadcast(call: Call, *types: TensorType) -> tuple[Size, ...]:
    """The shape of an operation on several tensors, their dimensions counted from the last.

    Equal sizes stay, and a size of 1 takes the other. Known sizes that differ are refused. An unknown size against a
    different one must be equal to it: it is never silently taken for 1.
    """
    result: tuple[Size, ...] = ()
    for number, type_ in enumerate(types):
        result = _pair(call, result, type_, types[:number])
    return result


def _pair(call: Call, dims: tuple[Size, ...], right: TensorType, before: Sequence[TensorType]) -> tuple[Size, ...]:
    rank = max(len(dims), right.rank)
    joined: list[Size] = []
    for axis in range(-rank, 0):
        a = dims[axis] if -axis <= len(dims) else 1
        b = right.dims[axis] if -axis <= right.rank else 1
        if a == b or (isinstance(b, int) and b == 1):
            joined.append(a)
        elif isinstance(a, int) and a == 1:
            joined.append(b)
        else:
            try:
                call.require_equal(a, b, f"dimension {axis}")
            except Fault as fault:
                if fault.problem is not SizeMismatch:
                    raise
                left = next(type_ for type_ in before if -axis <= type_.rank and type_.dims[axis] == a)
                _refuse(call, left, right, axis)
            joined.append(a if isinstance(a, int) else b)
    return tuple(joined)


def _refuse(call: Call, left: TensorType, right: TensorType, axis: int) -> NoReturn:
    call.fail(
        BroadcastMismatch,
        operator=str(call.operator),
        left=str(left),
        right=str(right),
        left_size=str(left.dims[axis]),
        right_size=str(right.dims[axis]),
        axis=axis + left.rank if left.rank == right.rank else axis,
    )
