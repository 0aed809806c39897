"""Pooling: the largest or the mean value under a window, over one, two or three spatial dimensions."""

from collections.abc import Callable
from dataclasses import replace
from typing import Any, Final

from expc.compiler.ops.declare import Call, Operator, Param
from expc.compiler.ops.kinds import BOOL, POSITIVE, either, list_of, optional, sizes
from expc.compiler.ops.rules import (
    EXAMPLES,
    FORMS,
    INPUT,
    NUMBERS,
    SIDES,
    expect_dtype,
    expect_rank,
    fit,
    spread,
    windows,
)
from expc.compiler.types import FLOATING, TensorType

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
    if call.operator.name in ("AvgPool3d", "avg_pool3d"):
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


OPERATORS: Final = (
    *(_max_pool(count) for count in (1, 2, 3)),
    *(_avg_pool(count) for count in (1, 2, 3)),
    *(_adaptive("Avg", "mean", count) for count in (1, 2, 3)),
    *(_adaptive("Max", "largest", count) for count in (1, 2, 3)),
)
