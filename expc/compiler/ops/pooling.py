"""Pooling: one value for all under a window, over one, two or three spatial dimensions, and its way back."""

from collections.abc import Callable
from dataclasses import replace
from typing import Any, Final

from expc.compiler.dimensions import Size
from expc.compiler.ops.declare import Call, Operator, Param
from expc.compiler.ops.kinds import BOOL, FLOAT, NATURAL, POSITIVE, TENSOR, either, list_of, number, optional, sizes
from expc.compiler.ops.resizing import scaled
from expc.compiler.ops.rules import (
    EXAMPLES,
    FORMS,
    INPUT,
    NUMBERS,
    SIDES,
    Window,
    expect_dtype,
    expect_rank,
    fit,
    refuse,
    spread,
    windows,
)
from expc.compiler.types import FLOATING, TensorType, promote_number

_AVERAGED: Final = FLOATING | {"i64"}
_CEIL: Final = Param("ceil_mode", BOOL, False)
_INDICES: Final = Param("return_indices", BOOL, False)


def _window_settings(count: int) -> tuple[Param, Param, Param]:
    return (
        Param("kernel_size", sizes(count, 1)),
        Param("stride", optional(sizes(count, 1)), None),
        Param("padding", sizes(count, 0), 0),
    )


def _pooled(call: Call, x: TensorType, count: int) -> TensorType:
    each = windows(call, count)
    if call.operator.name in ("AvgPool3d", "avg_pool3d", "LPPool3d", "lp_pool3d"):
        # Here torch itself does not count the padding.
        for size, window in zip(x.dims[2:], each, strict=True):
            call.require_at_least(size, window.kernel, f"the {window.side} under a kernel of {window.kernel}")
    for window in each:
        call.require_at_most(
            window.padding, window.kernel // 2, f"the padding of the {window.side} under a kernel of {window.kernel}"
        )
    pairs = zip(x.dims[2:], each, strict=True)
    sides = (fit(call, size, window, ceil=call["ceil_mode"]) for size, window in pairs)
    return TensorType(x.dtype, (*x.dims[:2], *sides))


def _with_indices(call: Call, result: TensorType) -> Any:
    return (result, replace(result, dtype="i64")) if call["return_indices"] else result


def _input(call: Call, count: int, dtypes: frozenset[str]) -> TensorType:
    x = call.tensor()
    expect_rank(call, x, FORMS[count])
    expect_dtype(call, x, dtypes)
    return x


def _max_shape(count: int) -> Callable[[Call], Any]:
    def shape(call: Call) -> Any:
        # torch's own kernel over one dimension takes whole numbers only on the way that gives indices too.
        dtypes = NUMBERS if count > 1 or call["return_indices"] else FLOATING
        return _with_indices(call, _pooled(call, _input(call, count, dtypes), count))

    return shape


def _max_pool(count: int) -> Operator:
    return Operator(
        f"MaxPool{count}d",
        "layer",
        f"The largest value under a window that slides over {', '.join(SIDES[count])}.",
        settings=(*_window_settings(count), Param("dilation", sizes(count, 1), 1), _INDICES, _CEIL),
        arguments=(INPUT,),
        shape=_max_shape(count),
        example=f"x -> MaxPool{count}d(2)",
        example_inputs=EXAMPLES[count],
    )


def _avg_pool(count: int) -> Operator:
    divisor = Param("divisor_override", optional(POSITIVE), None)
    return Operator(
        f"AvgPool{count}d",
        "layer",
        f"The mean value under a window that slides over {', '.join(SIDES[count])}.",
        settings=(
            *_window_settings(count),
            _CEIL,
            Param("count_include_pad", BOOL, True),
            *((divisor,) if count > 1 else ()),
        ),
        arguments=(INPUT,),
        shape=lambda call: _pooled(call, _input(call, count, _AVERAGED), count),
        example=f"x -> AvgPool{count}d(2)",
        example_inputs=EXAMPLES[count],
    )


def _adaptive_shape(count: int) -> Callable[[Call], Any]:
    def shape(call: Call) -> Any:
        x = _input(call, count, FLOATING)
        for at, size in enumerate(x.dims[1:], 1):
            call.require_at_least(size, 1, f"dimension {at}")
        wanted = spread(call["output_size"], count)
        sides = tuple(size if side is None else side for side, size in zip(wanted, x.dims[2:], strict=True))
        for side, before, after in zip(SIDES[count], x.dims[2:], sides, strict=True):
            if before != after:
                call.explain(f"{side}: {before} pooled to {after}")
        result = TensorType(x.dtype, (*x.dims[:2], *sides))
        return _with_indices(call, result) if "return_indices" in call.values else result

    return shape


def _adaptive(kind: str, word: str, count: int) -> Operator:
    side = optional(POSITIVE) if count > 1 else POSITIVE
    return Operator(
        f"Adaptive{kind}Pool{count}d",
        "layer",
        f"The {word} values of as many equal regions as `output_size` says, over {', '.join(SIDES[count])}.",
        settings=(
            Param("output_size", either(POSITIVE, list_of(side, count))),
            *((_INDICES,) if kind == "Max" else ()),
        ),
        arguments=(INPUT,),
        shape=_adaptive_shape(count),
        example=f"x -> Adaptive{kind}Pool{count}d(1)",
        example_inputs=EXAMPLES[count],
    )


# ---------------------------------------------------------------------------------------------------- powers


def _lp_shape(count: int) -> Callable[[Call], TensorType]:
    def shape(call: Call) -> TensorType:
        x, power = call.tensor(), call["norm_type"]
        if call.operator.kind == "layer":
            power = float(power)  # as torch's classes, but not its functions, do
        if power == 0:
            refuse(call, "norm_type must not be 0")
        raised = replace(x, dtype=promote_number(x.dtype, power), classes=None)
        if raised.dtype not in FLOATING and power < 0:
            refuse(call, f"norm_type={power} takes no whole numbers (write `-> f32` before it)")
        expect_rank(call, x, FORMS[count])
        expect_dtype(call, raised, _AVERAGED)
        pooled = _pooled(call, raised, count)
        return pooled if pooled.dtype in FLOATING else replace(pooled, dtype="f32")

    return shape


def _lp_pool(count: int) -> Operator:
    return Operator(
        f"LPPool{count}d",
        "layer",
        f"The p-norm of the values under a window that slides over {', '.join(SIDES[count])}.",
        settings=(
            Param("norm_type", FLOAT),
            Param("kernel_size", sizes(count, 1) if count > 1 else POSITIVE),
            Param("stride", optional(sizes(count, 1)), None),
            _CEIL,
        ),
        arguments=(INPUT,),
        shape=_lp_shape(count),
        example=f"x -> LPPool{count}d(2, 2)",
        example_inputs=EXAMPLES[count],
    )


# ---------------------------------------------------------------------------------------------------- random windows


def _fractional_shape(count: int) -> Callable[[Call], Any]:
    def shape(call: Call) -> Any:
        x = _input(call, count, FLOATING)
        size, ratio = call["output_size"], call["output_ratio"]
        if (size is None) == (ratio is None):
            refuse(call, "say either output_size or output_ratio")
        kernels = spread(call["kernel_size"], count)
        wanted = spread(ratio if size is None else size, count)
        if size is None and not all(0 < part < 1 for part in wanted):
            refuse(call, f"output_ratio must be between 0 and 1, but is {ratio}")
        sides = []
        for side, before, kernel, part in zip(SIDES[count], x.dims[2:], kernels, wanted, strict=True):
            after: Size = scaled(call, before, part, "output_ratio", "output_size") if size is None else part
            call.require_at_least(after, 1, f"the {side} of the result")
            # Over three dimensions torch itself asks for one more.
            needed = after + kernel - (1 if count < 3 else 0)
            call.require_at_least(before, needed, f"the {side} for {after} windows of {kernel}")
            call.explain(f"{side}: {before} pooled to {after}")
            sides.append(after)
        result = TensorType(x.dtype, (*x.dims[:2], *sides))
        return _with_indices(call, result)

    return shape


def _fractional(count: int) -> Operator:
    ratio = number(0.0, 1.0)
    return Operator(
        f"FractionalMaxPool{count}d",
        "layer",
        f"The largest value under windows whose places are drawn, over {', '.join(SIDES[count])}.",
        settings=(
            Param("kernel_size", sizes(count, 1)),
            Param("output_size", optional(sizes(count, 1)), None),
            Param("output_ratio", optional(either(ratio, list_of(ratio, count))), None),
            _INDICES,
        ),
        arguments=(INPUT,),
        shape=_fractional_shape(count),
        random=True,
        example=f"x -> FractionalMaxPool{count}d(2, output_size=3)",
        example_inputs=EXAMPLES[count],
    )


# ---------------------------------------------------------------------------------------------------- the way back


def _unpool_shape(count: int) -> Callable[[Call], TensorType]:
    def shape(call: Call) -> TensorType:
        x, indices, target = _input(call, count, FLOATING), call.tensor("indices"), call["output_size"]
        expect_rank(call, indices, FORMS[count])
        expect_dtype(call, indices, frozenset({"i64"}))
        for at, (a, b) in enumerate(zip(x.dims, indices.dims, strict=True)):
            call.require_equal(a, b, f"dimension {at} of indices")
        wanted = (None,) * count if target is None else target[-count:]
        each = zip(x.dims[2:], windows(call, count), wanted, strict=True)
        return TensorType(x.dtype, (*x.dims[:2], *(_unpooled(call, *side) for side in each)))

    return shape


def _unpooled(call: Call, before: Size, window: Window, wanted: Size | None) -> Size:
    """One side of what pooling made `before` of; of the several that it may have been, `wanted` picks."""
    side, stride, padding = window.side, window.stride, window.padding
    default = (before - 1) * stride + window.kernel - 2 * padding
    if wanted is not None:
        call.require_at_least(wanted, default - stride + 1, f"output_size for the {side}")
        call.require_at_most(wanted, default + stride - 1, f"output_size for the {side}")
        return wanted
    call.require_at_least(default, 1, f"the {side} of the result")
    last = f" - 2*{padding}" if padding != 0 else ""
    call.explain(f"{side}: ({before} - 1)*{stride} + {window.kernel}{last} = {default}")
    return default


def _unpool(count: int) -> Operator:
    return Operator(
        f"MaxUnpool{count}d",
        "layer",
        "Puts the values that max pooling gave back to where they were, among zeros; takes its indices too.",
        settings=_window_settings(count),
        arguments=(
            INPUT,
            Param("indices", TENSOR, tensor=True),
            Param("output_size", optional(either(list_of(NATURAL, count), list_of(NATURAL, count + 2))), None),
        ),
        shape=_unpool_shape(count),
        example=f"x -> MaxPool{count}d(2, return_indices=true) -> MaxUnpool{count}d(2)",
        example_inputs=EXAMPLES[count],
    )


OPERATORS: Final = (
    *(_max_pool(count) for count in (1, 2, 3)),
    *(_avg_pool(count) for count in (1, 2, 3)),
    *(_adaptive("Avg", "mean", count) for count in (1, 2, 3)),
    *(_adaptive("Max", "largest", count) for count in (1, 2, 3)),
    *(_lp_pool(count) for count in (1, 2, 3)),
    *(_fractional(count) for count in (2, 3)),
    *(_unpool(count) for count in (1, 2, 3)),
)
