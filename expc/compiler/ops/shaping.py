"""Layers that move values into another shape: flattening, shuffling, padding."""

from collections.abc import Callable
from typing import Final

from expc.compiler.dimensions import Size, minimum
from expc.compiler.ops.declare import Call, Operator, Param
from expc.compiler.ops.kinds import FLOAT, INT, POSITIVE, integer, list_of, sizes
from expc.compiler.ops.rules import (
    ANY,
    EXAMPLES,
    FORMS,
    INPUT,
    NUMBERS,
    SIDES,
    axis,
    expect_dtype,
    expect_rank,
    known,
    product,
    refuse,
    spread,
    times,
)
from expc.compiler.types import TensorType


def _flatten(call: Call) -> TensorType:
    x = call.tensor()
    start, end = (axis(call, call[name], x.rank, name) for name in ("start_dim", "end_dim"))
    if start > end:
        refuse(call, f"start_dim={call['start_dim']} comes after end_dim={call['end_dim']} in {x}")
    if not x.rank:
        return x.with_dims(1)
    joined = x.dims[start : end + 1]
    if len(joined) > 1:
        call.explain(f"flattened: {times(joined)} = {product(joined)}")
    return x.with_dims(*x.dims[:start], product(joined), *x.dims[end + 1 :])


def _unflatten(call: Call) -> TensorType:
    x = call.tensor()
    if not x.rank:
        refuse(call, "a scalar has no dimension to split")
    dim, parts = axis(call, call["dim"], x.rank), list(call["unflattened_size"])
    size = x.dims[dim]
    if not parts:
        refuse(call, "unflattened_size must not be empty")
    open_places = [place for place, part in enumerate(parts) if part == -1]
    if len(open_places) > 1:
        refuse(call, "unflattened_size can leave only one size open, as -1")
    if open_places:
        rest = product(part for part in parts if part != -1)
        call.require_divisible(size, rest, f"dimension {dim}")
        parts[open_places[0]] = size if rest == 0 else size // rest
    else:
        call.require_equal(product(parts), size, f"dimension {dim}, the product of unflattened_size,")
    call.explain(f"dimension {dim}: {size} = {times(parts)}")
    return x.with_dims(*x.dims[:dim], *parts, *x.dims[dim + 1 :])


def _pixel_shuffle(call: Call) -> TensorType:
    x, factor = call.tensor(), known(call, "upscale_factor")
    expect_rank(call, x, "N, *, C, H, W")
    *batch, channels, height, width = x.dims
    call.require_divisible(channels, factor**2, "the number of channels")
    call.explain(f"channels: {channels} // {factor}**2 = {channels // factor**2}")
    return x.with_dims(*batch, channels // factor**2, height * factor, width * factor)


def _pixel_unshuffle(call: Call) -> TensorType:
    x, factor = call.tensor(), known(call, "downscale_factor")
    expect_rank(call, x, "N, *, C, H, W")
    *batch, channels, height, width = x.dims
    call.require_divisible(height, factor, "the height")
    call.require_divisible(width, factor, "the width")
    return x.with_dims(*batch, channels * factor**2, height // factor, width // factor)


def _channel_shuffle(call: Call) -> TensorType:
    x = call.tensor()
    expect_rank(call, x, "N, C, L, *")
    call.require_divisible(x.dims[1], call["groups"], "the number of channels")
    return x


# ---------------------------------------------------------------------------------------------------- padding


def _pad_shape(count: int, mode: str, dtypes: frozenset[str]) -> Callable[[Call], TensorType]:
    def shape(call: Call) -> TensorType:
        x = call.tensor()
        expect_rank(call, x, FORMS[count])
        expect_dtype(call, x, dtypes)
        amounts = spread(call["padding"], 2 * count)
        pairs = zip(amounts[::2], amounts[1::2], strict=True)
        # torch lists the amounts from the last dimension backwards.
        sides = zip(SIDES[count], x.dims[2:], reversed(tuple(pairs)), strict=True)
        return x.with_dims(*x.dims[:2], *(_padded(call, mode, *side) for side in sides))

    return shape


def _padded(call: Call, mode: str, side: str, size: Size, amounts: tuple[Size, Size]) -> Size:
    """One side, padded before and after; negative amounts cut off."""
    for amount in amounts:
        if mode == "reflect":
            call.require_at_least(size, amount + 1, f"the {side} under reflect padding of {amount}")
        elif mode == "circular":
            call.require_at_least(size, amount, f"the {side} under circular padding of {amount}")
    before, after = amounts
    call.require_at_least(size + minimum(before, 0) + minimum(after, 0), 1, f"what is left of the {side}")
    result = before + size + after
    if result != size:
        call.explain(f"{side}: {before} + {size} + {after} = {result}")
    return result


def _pad(count: int, mode: str, name: str, doc: str, dtypes: frozenset[str], *value: Param) -> Operator:
    return Operator(
        f"{name}Pad{count}d",
        "layer",
        doc,
        settings=(Param("padding", sizes(2 * count)), *value),
        arguments=(INPUT,),
        shape=_pad_shape(count, mode, dtypes),
        example=f"x -> {name}Pad{count}d(1, 0.5)" if value else f"x -> {name}Pad{count}d(1)",
        example_inputs=EXAMPLES[count],
    )


_VALUE: Final = Param("value", FLOAT)
_COUNTS: Final = (1, 2, 3)

OPERATORS: Final = (
    Operator(
        "Flatten",
        "layer",
        "Joins dimensions into one: by default all but the batch.",
        settings=(Param("start_dim", INT, 1), Param("end_dim", INT, -1)),
        arguments=(INPUT,),
        shape=_flatten,
        example="x -> Flatten",
        example_inputs={"x": "f32[N, 4, 6, 6]"},
    ),
    Operator(
        "Unflatten",
        "layer",
        "Splits one dimension into several.",
        settings=(Param("dim", INT), Param("unflattened_size", list_of(integer(-1)))),
        arguments=(INPUT,),
        shape=_unflatten,
        example="x -> Unflatten(1, [2, 4])",
        example_inputs={"x": "f32[N, 8]"},
    ),
    Operator(
        "PixelShuffle",
        "layer",
        "Spreads channels over height and width: a larger image of fewer channels.",
        settings=(Param("upscale_factor", POSITIVE),),
        arguments=(INPUT,),
        shape=_pixel_shuffle,
        example="x -> PixelShuffle(2)",
        example_inputs=EXAMPLES[2],
    ),
    Operator(
        "PixelUnshuffle",
        "layer",
        "Gathers height and width into channels: a smaller image of more channels.",
        settings=(Param("downscale_factor", POSITIVE),),
        arguments=(INPUT,),
        shape=_pixel_unshuffle,
        example="x -> PixelUnshuffle(2)",
        example_inputs={"x": "f32[N, 4, 6, 8]"},
    ),
    Operator(
        "ChannelShuffle",
        "layer",
        "Interleaves the channels of several groups.",
        settings=(Param("groups", POSITIVE),),
        arguments=(INPUT,),
        shape=_channel_shuffle,
        example="x -> ChannelShuffle(2)",
        example_inputs=EXAMPLES[2],
    ),
    *(_pad(count, "constant", "Zero", "Adds zeros around the input.", ANY) for count in _COUNTS),
    *(_pad(count, "constant", "Constant", "Adds one value around the input.", ANY, _VALUE) for count in _COUNTS),
    *(_pad(count, "reflect", "Reflection", "Mirrors the input at its borders.", NUMBERS) for count in _COUNTS),
    *(_pad(count, "replicate", "Replication", "Repeats the input's border.", NUMBERS) for count in _COUNTS),
    *(_pad(count, "circular", "Circular", "Continues the input from its other end.", ANY) for count in _COUNTS),
)
