"""Functions that make a tensor larger: repetition and margins."""

from typing import TYPE_CHECKING, Final

from expc.compiler.ops.arguments import dim, function, is_size, listed
from expc.compiler.ops.declare import Call, Param
from expc.compiler.ops.kinds import FLOAT, INT, NATURAL, choice, list_of, optional
from expc.compiler.ops.reshaping import SHAPE, as_torch, shape_param, shown
from expc.compiler.ops.rules import INPUT, axis, product, refuse
from expc.compiler.types import TensorType

if TYPE_CHECKING:
    from expc.compiler.dimensions import Size


def _expand(call: Call) -> TensorType:
    x = call.tensor()
    wanted = listed(call["size"])
    if len(wanted) < x.rank:
        refuse(call, f"{shown(wanted)} has fewer sizes than {x} has dimensions")
    new = len(wanted) - x.rank
    result: list[Size] = []
    for at, size in enumerate(wanted):
        keeps = isinstance(size, int) and size == -1
        if at < new:
            if isinstance(size, int) and size < 0:
                refuse(call, f"{shown(wanted)} keeps a dimension that {x} does not have")
            result.append(size)
        elif keeps:
            result.append(x.dims[at - new])
        elif isinstance(size, int) and size < 0:
            refuse(call, f"{shown(wanted)} has a size of {size}; only -1 keeps a dimension as it is")
        else:
            old = x.dims[at - new]
            if not (isinstance(old, int) and old == 1):
                call.require_equal(size, old, f"dimension {at - new}")
            result.append(size)
    return x.with_dims(*result)


def _tile(call: Call) -> TensorType:
    x = call.tensor()
    times = listed(call["dims"])
    rank = max(len(times), x.rank)
    sizes_ = (1,) * (rank - x.rank) + x.dims
    factors = (1,) * (rank - len(times)) + times
    if any(isinstance(factor, int) and factor < 0 for factor in factors):
        refuse(call, f"{shown(times)} has a negative number of repetitions")
    return x.with_dims(*(size * factor for size, factor in zip(sizes_, factors, strict=True)))


def _repeat_interleave(call: Call) -> TensorType:
    x = call.tensor()
    times = call["repeats"]
    if call["dim"] is None:
        return x.with_dims(product(x.dims) * times)
    if x.rank == 0:
        refuse(call, "a scalar has no dimension to repeat along")
    at = axis(call, call["dim"], x.rank)
    return x.with_dims(*x.dims[:at], x.dims[at] * times, *x.dims[at + 1 :])


def _pad(call: Call) -> TensorType:
    x = call.tensor()
    pad, mode = tuple(call["pad"]), call["mode"]
    if len(pad) % 2:
        refuse(call, f"pad={list(pad)} needs two numbers, before and after, for each dimension from the last")
    padded = len(pad) // 2
    if padded > x.rank:
        refuse(call, f"pad={list(pad)} is for {padded} dimensions, but {x} has {x.rank}")
    if mode != "constant":
        _check_copied(call, x, pad, mode)
    result = list(x.dims)
    for number in range(padded):
        before, after = pad[2 * number], pad[2 * number + 1]
        size = result[-1 - number] + before + after
        call.require_at_least(size, 0 if mode == "constant" else 1, f"dimension {-1 - number} after padding")
        result[-1 - number] = size
    value = call["value"]
    filled = mode == "constant" and (
        isinstance(x.classes, int) and is_size(value or 0) and 0 <= (value or 0) < x.classes
    )
    return TensorType(x.dtype, tuple(result), x.classes if filled or mode != "constant" else None)


def _check_copied(call: Call, x: TensorType, pad: tuple[int, ...], mode: str) -> None:
    """Padding that copies elements works on the last 1 to 3 dimensions, after one or two others."""
    padded = len(pad) // 2
    if call["value"] is not None:
        refuse(call, f'mode="{mode}" takes no value')
    if x.dtype == "bool" and mode != "circular":
        refuse(call, f'mode="{mode}" does not take booleans')
    if not 1 <= padded <= 3 or x.rank - padded not in (1, 2):
        refuse(
            call,
            f'mode="{mode}" pads the last 1 to 3 dimensions, after a batch and channels; {x} is padded in {padded}',
        )
    for number in range(padded):
        for amount in pad[2 * number : 2 * number + 2]:
            size = x.dims[-1 - number]
            if mode == "reflect":
                call.require_at_least(size, amount + 1, f"dimension {-1 - number}, to reflect {amount},")
            elif mode == "circular":
                call.require_at_least(size, amount, f"dimension {-1 - number}, to wrap {amount},")


OPERATORS: Final = (
    function(
        "expand",
        "Dimensions of size 1 repeated without a copy; -1 keeps a size.",
        (INPUT, shape_param("size")),
        _expand,
        "x -> expand(N, 4, 8)",
        {"x": "f32[N, 1, 8]"},
        home="torch.Tensor",
        build=as_torch("expand", "size"),
    ),
    function(
        "broadcast_to",
        "Dimensions of size 1 repeated without a copy.",
        (INPUT, Param("size", SHAPE)),
        _expand,
        "x -> broadcast_to([N, 4, 8])",
        {"x": "f32[N, 1, 8]"},
    ),
    function(
        "tile",
        "The tensor repeated along its dimensions.",
        (INPUT, shape_param("dims")),
        _tile,
        "x -> tile(1, 2)",
        build=as_torch("tile", "dims"),
    ),
    function(
        "repeat_interleave",
        "Each element repeated along a dimension.",
        (INPUT, Param("repeats", NATURAL), dim(None)),
        _repeat_interleave,
        "x -> repeat_interleave(2, dim=1)",
    ),
    function(
        "pad",
        "The tensor with a margin: two numbers for each dimension, from the last.",
        (
            INPUT,
            Param("pad", list_of(INT)),
            Param("mode", choice("constant", "reflect", "replicate", "circular"), "constant"),
            Param("value", optional(FLOAT), None),
        ),
        _pad,
        "x -> pad([1, 1])",
        home="torch.nn.functional",
    ),
)
