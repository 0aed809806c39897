"""Convolutions over one, two or three spatial dimensions, and their transposes."""

from collections.abc import Callable
from typing import Any, Final

from expc.compiler.dimensions import Size, maximum
from expc.compiler.ops.declare import Call, Operator, Param
from expc.compiler.ops.kinds import BOOL, NATURAL, POSITIVE, choice, either, list_of, optional, sizes
from expc.compiler.ops.rules import (
    EXAMPLES,
    F32,
    FORMS,
    INPUT,
    SIDES,
    Window,
    expect_dtype,
    expect_rank,
    fit,
    product,
    refuse,
    spread,
    windows,
)
from expc.compiler.types import TensorType

Shapes = dict[str, tuple[Size, ...]]

_IN: Final = Param("in_channels", POSITIVE, inferred=True)
_OUT: Final = Param("out_channels", POSITIVE)
_GROUPS: Final = Param("groups", POSITIVE, 1)
_BIAS: Final = Param("bias", BOOL, True)
_MODE: Final = Param("padding_mode", choice("zeros", "reflect", "replicate", "circular"), "zeros")


def _channels(call: Call, count: int) -> TensorType:
    """The input, with its channels and groups checked."""
    x = call.tensor()
    expect_rank(call, x, FORMS[count])
    expect_dtype(call, x, F32)
    call.infer("in_channels", x.dims[1])
    call.require_divisible(call["in_channels"], call["groups"], "in_channels")
    call.require_divisible(call["out_channels"], call["groups"], "out_channels")
    return x


def _with_bias(call: Call, weight: tuple[Size, ...]) -> Shapes:
    return {"weight": weight} | ({"bias": (call["out_channels"],)} if call["bias"] else {})


def _conv_shape(count: int) -> Callable[[Call], TensorType]:
    def shape(call: Call) -> TensorType:
        x = _channels(call, count)
        each = windows(call, count)
        same = call["padding"] == "same"
        if same and any(window.stride != 1 for window in each):
            refuse(call, 'padding="same" needs stride=1; write the padding as numbers')
        for size, window in zip(x.dims[2:], each, strict=True):
            _check_padding_mode(call, size, window, (window.extent // 2) if same else window.padding)
        sizes = x.dims[2:] if same else tuple(fit(call, *side) for side in zip(x.dims[2:], each, strict=True))
        return TensorType("f32", (x.dims[0], call["out_channels"], *sizes))

    return shape


def _check_padding_mode(call: Call, size: Size, window: Window, widest: Size) -> None:
    """What is mirrored or repeated into the padding must be there."""
    mode = call["padding_mode"]
    if mode in ("reflect", "circular"):
        needed = widest + 1 if mode == "reflect" else widest
        call.require_at_least(size, needed, f"the {window.side} under {mode} padding of {widest}")


def _conv_macs(call: Call, result: Any) -> Size:
    count = result.rank - 2
    inputs: Size = call["in_channels"] // call["groups"]
    return product(result.dims) * inputs * product(spread(call["kernel_size"], count))


def _conv(count: int) -> Operator:
    return Operator(
        f"Conv{count}d",
        "layer",
        f"Convolves over {', '.join(SIDES[count])}.",
        settings=(
            _IN,
            _OUT,
            Param("kernel_size", sizes(count, 1)),
            Param("stride", sizes(count, 1), 1),
            Param("padding", either(sizes(count, 0), choice("same", "valid")), 0),
            Param("dilation", sizes(count, 1), 1),
            _GROUPS,
            _BIAS,
            _MODE,
        ),
        arguments=(INPUT,),
        shape=_conv_shape(count),
        weights=lambda call: _with_bias(
            call,
            (
                call["out_channels"],
                call["in_channels"] // call["groups"],
                *spread(call["kernel_size"], count),
            ),
        ),
        macs=_conv_macs,
        example=f"x -> Conv{count}d(8, 3)",
        example_inputs=EXAMPLES[count],
    )


def _transpose_shape(count: int) -> Callable[[Call], TensorType]:
    def shape(call: Call) -> TensorType:
        if call["padding_mode"] != "zeros":
            refuse(call, 'padding_mode must be "zeros"')
        x = _channels(call, count)
        target, extra = call["output_size"], spread(call["output_padding"], count)
        widened = []
        for number, (size, window) in enumerate(zip(x.dims[2:], windows(call, count), strict=True)):
            wanted = None if target is None else target[number - count]
            widened.append(_widened(call, size, window, extra[number], wanted))
        return TensorType("f32", (x.dims[0], call["out_channels"], *widened))

    return shape


def _widened(call: Call, size: Size, window: Window, extra: Size, wanted: Size | None) -> Size:
    """The side of the result: one that a convolution makes `size` of. Of the several that it does, `wanted` picks."""
    smallest = (size - 1) * window.stride - 2 * window.padding + window.extent
    if wanted is not None:
        call.require_at_least(wanted, smallest, f"output_size for the {window.side}")
        call.require_at_most(wanted, smallest + window.stride - 1, f"output_size for the {window.side}")
        return wanted
    call.require_at_most(extra, maximum(window.stride, window.dilation) - 1, f"output_padding for the {window.side}")
    result = smallest + extra
    call.require_at_least(result, 1, f"the {window.side} of the result")
    if result != size:
        more = f" - 2*{window.padding}" if window.padding != 0 else ""
        last = f" + {extra}" if extra != 0 else ""
        call.explain(f"{window.side}: ({size} - 1)*{window.stride}{more} + {window.extent}{last} = {result}")
    return result


def _transpose_macs(call: Call, result: Any) -> Size:
    count = result.rank - 2
    outputs: Size = call["out_channels"] // call["groups"]
    return product(call.tensor().dims) * outputs * product(spread(call["kernel_size"], count))


def _transpose(count: int) -> Operator:
    return Operator(
        f"ConvTranspose{count}d",
        "layer",
        f"Convolves backwards over {', '.join(SIDES[count])}: a stride makes the result larger.",
        settings=(
            _IN,
            _OUT,
            Param("kernel_size", sizes(count, 1)),
            Param("stride", sizes(count, 1), 1),
            Param("padding", sizes(count, 0), 0),
            Param("output_padding", sizes(count, 0), 0),
            _GROUPS,
            _BIAS,
            Param("dilation", sizes(count, 1), 1),
            _MODE,
        ),
        arguments=(
            INPUT,
            Param("output_size", optional(either(list_of(NATURAL, count), list_of(NATURAL, count + 2))), None),
        ),
        shape=_transpose_shape(count),
        weights=lambda call: _with_bias(
            call,
            (
                call["in_channels"],
                call["out_channels"] // call["groups"],
                *spread(call["kernel_size"], count),
            ),
        ),
        macs=_transpose_macs,
        example=f"x -> ConvTranspose{count}d(8, 2, stride=2)",
        example_inputs=EXAMPLES[count],
    )


OPERATORS: Final = (*(_conv(count) for count in (1, 2, 3)), *(_transpose(count) for count in (1, 2, 3)))
