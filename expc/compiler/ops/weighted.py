"""Functions that do what layers do, with the weights given as tensors."""

from collections.abc import Callable
from typing import Any, Final

from expc.compiler.dimensions import Size, maximum
from expc.compiler.ops.arguments import (
    function,
    need_dtype,
    need_floating,
    need_index,
    need_rank,
    need_same_dtype,
    optional_tensor,
    tensor,
)
from expc.compiler.ops.declare import Call, Operator, Param
from expc.compiler.ops.kinds import BOOL, FLOAT, INT, POSITIVE, choice, either, list_of, optional, sizes
from expc.compiler.ops.rules import EXAMPLES, FORMS, INPUT, SIDES, Window, expect_rank, fit, product, refuse, spread
from expc.compiler.types import DTYPES, TensorType

WEIGHT: Final = tensor("weight")
BIAS: Final = optional_tensor("bias")
NOT_BOOL: Final = DTYPES - {"bool"}


def of_size(call: Call, name: str, *wanted: Size, dtype: str | None = None) -> None:
    """The tensor `name`, where given, must have the sizes `wanted`."""
    given = call[name]
    if given is None:
        return
    need_rank(call, given, (len(wanted),), f"a {name} of {len(wanted)} dimension{'' if len(wanted) == 1 else 's'}")
    if dtype is not None:
        need_dtype(call, given, frozenset({dtype}), f"a {name} of the input's dtype, {dtype}")
    for at, size in enumerate(wanted):
        call.require_equal(size, given.dims[at], f"dimension {at} of {name}")


def _linear(call: Call) -> TensorType:
    x, weight = call.tensor(), call.tensor("weight")
    if x.rank == 0:
        refuse(call, "takes vectors, not a scalar")
    need_dtype(call, x, NOT_BOOL, "numbers, not booleans")
    need_rank(call, weight, (1, 2), "a weight [out, in]")
    need_same_dtype(call, x, weight)
    call.require_equal(weight.dims[-1], x.dims[-1], "the last dimension of the input")
    of_size(call, "bias", *weight.dims[:-1], dtype=x.dtype)
    return TensorType(x.dtype, (*x.dims[:-1], *weight.dims[:-1]))


def _linear_macs(call: Call, result: Any) -> Size:
    inner: Size = call.tensor().dims[-1]
    return inner * product(result.dims)


def _embedding(call: Call) -> TensorType:
    x, weight = call.tensor(), call.tensor("weight")
    need_index(call, x)
    need_rank(call, weight, (2,), "a weight [number, features]")
    if call["max_norm"] is not None:
        need_floating(call, weight)
    if x.classes is not None:
        call.require_at_least(weight.dims[0], x.classes, "the number of vectors in weight")
    padding = call["padding_idx"]
    if padding is not None:
        needed = padding + 1 if padding >= 0 else -padding
        call.require_at_least(weight.dims[0], needed, f"the number of vectors, for padding_idx={padding},")
    return TensorType(weight.dtype, (*x.dims, weight.dims[1]))


# ---------------------------------------------------------------------------------------------------- convolution


def _operands(call: Call, count: int) -> tuple[TensorType, TensorType]:
    x, weight = call.tensor(), call.tensor("weight")
    expect_rank(call, x, FORMS[count])
    need_floating(call, x)
    need_rank(call, weight, (count + 2,), f"a weight of {count + 2} dimensions")
    need_same_dtype(call, x, weight)
    return x, weight


def _windows(call: Call, weight: TensorType, count: int) -> tuple[Window, ...]:
    padding = 0 if isinstance(call["padding"], str) else call["padding"]
    each = (spread(value, count) for value in (call["stride"], padding, call["dilation"]))
    return tuple(Window(*side) for side in zip(SIDES[count], weight.dims[2:], *each, strict=True))


def _conv(count: int) -> Callable[[Call], TensorType]:
    def shape(call: Call) -> TensorType:
        x, weight = _operands(call, count)
        groups: Size = call["groups"]
        call.require_equal(weight.dims[1] * groups, x.dims[1], "the number of input channels")
        call.require_divisible(weight.dims[0], groups, "the number of output channels")
        of_size(call, "bias", weight.dims[0], dtype=x.dtype)
        each = _windows(call, weight, count)
        if call["padding"] == "same":
            if any(window.stride != 1 for window in each):
                refuse(call, 'padding="same" needs stride=1; write the padding as numbers')
            return TensorType(x.dtype, (x.dims[0], weight.dims[0], *x.dims[2:]))
        sides = (fit(call, *side) for side in zip(x.dims[2:], each, strict=True))
        return TensorType(x.dtype, (x.dims[0], weight.dims[0], *sides))

    return shape


def _conv_macs(call: Call, result: Any) -> Size:
    return product(result.dims) * product(call.tensor("weight").dims[1:])


def _transpose(count: int) -> Callable[[Call], TensorType]:
    def shape(call: Call) -> TensorType:
        x, weight = _operands(call, count)
        groups: Size = call["groups"]
        call.require_equal(weight.dims[0], x.dims[1], "the number of input channels")
        call.require_divisible(weight.dims[0], groups, "the number of input channels")
        channels = weight.dims[1] * groups
        of_size(call, "bias", channels, dtype=x.dtype)
        extra = spread(call["output_padding"], count)
        sides: list[Size] = []
        for size, window, more in zip(x.dims[2:], _windows(call, weight, count), extra, strict=True):
            widest = maximum(window.stride, window.dilation)
            call.require_at_most(more, widest - 1, f"output_padding for the {window.side}")
            side = (size - 1) * window.stride - 2 * window.padding + window.extent + more
            call.require_at_least(side, 1, f"the {window.side} of the result")
            sides.append(side)
        return TensorType(x.dtype, (x.dims[0], channels, *sides))

    return shape


def _transpose_macs(call: Call, _: Any) -> Size:
    return product(call.tensor().dims) * product(call.tensor("weight").dims[1:])


# ---------------------------------------------------------------------------------------------------- norms


def _normalized(call: Call) -> TensorType:
    """layer_norm and rms_norm: over the last dimensions, which the call names."""
    x = call.tensor()
    need_floating(call, x)
    wanted = tuple(call["normalized_shape"])
    if not 0 < len(wanted) <= x.rank:
        refuse(call, f"normalized_shape={list(wanted)} must be the last sizes of {x}")
    for at, size in enumerate(wanted, start=x.rank - len(wanted)):
        call.require_equal(size, x.dims[at], f"dimension {at} of the input")
    for name in ("weight", "bias"):
        if call.values.get(name) is not None:
            of_size(call, name, *wanted, dtype=x.dtype if str(call.operator) == "layer_norm" else None)
    return TensorType(x.dtype, x.dims)


def _group_norm(call: Call) -> TensorType:
    x = call.tensor()
    need_floating(call, x)
    expect_rank(call, x, "N, C, *")
    groups: Size = call["num_groups"]
    call.require_divisible(x.dims[1], groups, "the number of channels")
    call.require_at_least(product((x.dims[0], x.dims[1] // groups, *x.dims[2:])), 2, "the number of values per group")
    for name in ("weight", "bias"):
        of_size(call, name, x.dims[1], dtype=x.dtype)
    return TensorType(x.dtype, x.dims)


def _batch_norm(call: Call) -> TensorType:
    x = call.tensor()
    need_floating(call, x)
    expect_rank(call, x, "N, C, *")
    for name in ("running_mean", "running_var", "weight", "bias"):
        of_size(call, name, x.dims[1], dtype=x.dtype)
    return TensorType(x.dtype, x.dims)


def _prelu(call: Call) -> TensorType:
    x, weight = call.tensor(), call.tensor("weight")
    need_floating(call, x)
    need_same_dtype(call, x, weight)
    need_rank(call, weight, (0, 1), "one slope, or one for each channel")
    if weight.rank and not (isinstance(weight.dims[0], int) and weight.dims[0] == 1):
        if x.rank == 0:
            refuse(call, "a scalar takes one slope")
        call.require_equal(
            x.dims[1] if x.rank > 1 else 1, weight.dims[0], "the number of slopes, one for each channel,"
        )
    return TensorType(x.dtype, x.dims)


_GROUPS: Final = Param("groups", POSITIVE, 1)
_SHAPE: Final = Param("normalized_shape", list_of(POSITIVE))
_KERNELS: Final = {1: "f32[8, 4, 3]", 2: "f32[8, 4, 3, 3]", 3: "f32[8, 4, 3, 3, 3]"}
_BACKWARD: Final = {1: "f32[4, 8, 3]", 2: "f32[4, 8, 3, 3]", 3: "f32[4, 8, 3, 3, 3]"}


def _eps(default: float | None) -> Param:
    return Param("eps", FLOAT if default is not None else optional(FLOAT), default)


def _named(
    name: str, doc: str, arguments: tuple[Param, ...], shape: Callable[[Call], TensorType], **more: Any
) -> Operator:
    example, inputs = more.pop("example"), more.pop("inputs")
    return function(name, doc, arguments, shape, example, inputs, home="torch.nn.functional", **more)


def _convolution(count: int) -> Operator:
    return _named(
        f"conv{count}d",
        f"Convolves over {', '.join(SIDES[count])} with the kernels given.",
        (
            INPUT,
            WEIGHT,
            BIAS,
            Param("stride", sizes(count, 1), 1),
            Param("padding", either(sizes(count, 0), choice("same", "valid")), 0),
            Param("dilation", sizes(count, 1), 1),
            _GROUPS,
        ),
        _conv(count),
        macs=_conv_macs,
        example=f"x -> conv{count}d(w, padding=1)",
        inputs={**EXAMPLES[count], "w": _KERNELS[count]},
    )


def _transposed(count: int) -> Operator:
    return _named(
        f"conv_transpose{count}d",
        f"Convolves backwards over {', '.join(SIDES[count])} with the kernels given.",
        (
            INPUT,
            WEIGHT,
            BIAS,
            Param("stride", sizes(count, 1), 1),
            Param("padding", sizes(count, 0), 0),
            Param("output_padding", sizes(count, 0), 0),
            _GROUPS,
            Param("dilation", sizes(count, 1), 1),
        ),
        _transpose(count),
        macs=_transpose_macs,
        example=f"x -> conv_transpose{count}d(w, stride=2)",
        inputs={**EXAMPLES[count], "w": _BACKWARD[count]},
    )


OPERATORS: Final = (
    _named(
        "linear",
        "The input times a matrix, plus a bias.",
        (INPUT, WEIGHT, BIAS),
        _linear,
        macs=_linear_macs,
        example="x -> linear(w)",
        inputs={"x": "f32[N, 8]", "w": "f32[3, 8]"},
    ),
    *(_convolution(count) for count in (1, 2, 3)),
    *(_transposed(count) for count in (1, 2, 3)),
    _named(
        "embedding",
        "The row of a matrix for each index.",
        (
            INPUT,
            WEIGHT,
            Param("padding_idx", optional(INT), None),
            Param("max_norm", optional(FLOAT), None),
            Param("norm_type", FLOAT, 2.0),
            Param("scale_grad_by_freq", BOOL, False),
            Param("sparse", BOOL, False),
        ),
        _embedding,
        example="x -> embedding(w)",
        inputs={"x": "class(10)[N, T]", "w": "f32[10, 8]"},
    ),
    _named(
        "layer_norm",
        "Normalises over the last dimensions.",
        (INPUT, _SHAPE, optional_tensor("weight"), BIAS, _eps(1e-5)),
        _normalized,
        example="x -> layer_norm([8])",
        inputs={"x": "f32[N, T, 8]"},
    ),
    _named(
        "rms_norm",
        "Divides by the root of the mean square over the last dimensions.",
        (INPUT, _SHAPE, optional_tensor("weight"), _eps(None)),
        _normalized,
        example="x -> rms_norm([8])",
        inputs={"x": "f32[N, T, 8]"},
    ),
    _named(
        "group_norm",
        "Normalises each sample over groups of channels and all positions.",
        (INPUT, Param("num_groups", POSITIVE), optional_tensor("weight"), BIAS, _eps(1e-5)),
        _group_norm,
        example="x -> group_norm(2)",
        inputs=dict(EXAMPLES[2]),
    ),
    _named(
        "batch_norm",
        "Normalises each channel over the batch in training, by the running statistics in evaluation.",
        (
            INPUT,
            tensor("running_mean"),
            tensor("running_var"),
            optional_tensor("weight"),
            BIAS,
            Param("momentum", FLOAT, 0.1, by_name=True),
            Param("eps", FLOAT, 1e-5, by_name=True),
        ),
        _batch_norm,
        mode=True,
        batch_statistics=True,
        example="x -> batch_norm(m, v)",
        inputs={**EXAMPLES[2], "m": "f32[4]", "v": "f32[4]"},
    ),
    _named(
        "prelu",
        "x where positive, else a slope for each channel times x.",
        (INPUT, WEIGHT),
        _prelu,
        example="x -> prelu(w)",
        inputs={"x": "f32[N, 4, 8]", "w": "f32[4]"},
    ),
)
