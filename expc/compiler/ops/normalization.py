"""Layers that normalise by mean and variance: over the batch, each sample, or groups of channels."""

from typing import Any, Final

from expc.compiler.dimensions import Size
from expc.compiler.errors.shapes import RankMismatch
from expc.compiler.ops.declare import Call, Operator, Param
from expc.compiler.ops.kinds import BOOL, FLOAT, POSITIVE, above, optional, sizes
from expc.compiler.ops.rules import EXAMPLES, F32, FORMS, INPUT, SIDES, expect_dtype, expect_rank, product, same_shape
from expc.compiler.types import FLOATING, TensorType

Shapes = dict[str, tuple[Size, ...]]

_BIAS: Final = Param("bias", BOOL, True)


def _weights(call: Call, switch: str, shape: tuple[Size, ...]) -> Shapes:
    if not call[switch]:
        return {}
    return {"weight": shape, "bias": shape} if call.values.get("bias", False) else {"weight": shape}


def _check_dtype(call: Call, x: TensorType, *switches: str) -> None:
    """Any floating dtype without weights and statistics; theirs with them."""
    expect_dtype(call, x, F32 if any(call[switch] for switch in switches) else FLOATING)


def _running(call: Call) -> Shapes:
    if not call["track_running_stats"]:
        return {}
    size: Size = call["num_features"]
    return {"running_mean": (size,), "running_var": (size,), "num_batches_tracked": ()}


def _settings(*, on: bool) -> tuple[Param, ...]:
    """What batch and instance normalisation share; `on` is the default of `affine` and `track_running_stats`."""
    return (
        Param("num_features", POSITIVE, inferred=True),
        Param("eps", above(0.0) if on else FLOAT, 1e-5),
        Param("momentum", optional(FLOAT) if on else FLOAT, 0.1),
        Param("affine", BOOL, on),
        Param("track_running_stats", BOOL, on),
        _BIAS,
    )


def _affine(call: Call) -> Shapes:
    return _weights(call, "affine", (call["num_features"],))


def _batch_norm(count: int) -> Operator:
    forms = ("N, C", "N, C, L") if count == 1 else (FORMS[count],)

    def shape(call: Call) -> TensorType:
        x = call.tensor()
        expect_rank(call, x, *forms)
        _check_dtype(call, x, "affine", "track_running_stats")
        call.infer("num_features", x.dims[1])
        if not call["track_running_stats"]:
            # In training alone this depends on the batch, which the lint batchnorm-batch-of-one looks at.
            call.require_at_least(product((x.dims[0], *x.dims[2:])), 2, "the number of values in a channel")
        return TensorType(x.dtype, x.dims)

    return Operator(
        f"BatchNorm{count}d",
        "layer",
        "Normalises each channel over the batch; in evaluation by running statistics.",
        settings=_settings(on=True),
        arguments=(INPUT,),
        shape=shape,
        weights=_affine,
        buffers=_running,
        mode=True,
        batch_statistics=True,
        example=f"x -> BatchNorm{count}d",
        example_inputs=EXAMPLES[count],
    )


def _instance_norm(count: int) -> Operator:
    def shape(call: Call) -> TensorType:
        x = call.tensor()
        expect_rank(call, x, FORMS[count])
        _check_dtype(call, x, "affine", "track_running_stats")
        call.infer("num_features", x.dims[1])
        area = product(x.dims[2:])
        call.require_at_least(area, 2, f"the number of values in {' times '.join(SIDES[count])}")
        return TensorType(x.dtype, x.dims)

    return Operator(
        f"InstanceNorm{count}d",
        "layer",
        "Normalises each channel of each sample over its positions.",
        settings=_settings(on=False),
        arguments=(INPUT,),
        shape=shape,
        weights=_affine,
        buffers=_running,
        mode=True,
        example=f"x -> InstanceNorm{count}d",
        example_inputs=EXAMPLES[count],
    )


def _group_norm(call: Call) -> TensorType:
    x = call.tensor()
    expect_rank(call, x, "N, C, *")
    _check_dtype(call, x, "affine")
    channels = call.infer("num_channels", x.dims[1])
    groups: Size = call["num_groups"]
    call.require_divisible(channels, groups, "num_channels")
    together = product((x.dims[0], channels // groups, *x.dims[2:]))
    call.require_at_least(together, 2, "the number of values per group in a batch")
    return TensorType(x.dtype, x.dims)


def _normalized(call: Call) -> TensorType:
    """The last dimension, or the last few when `normalized_shape` is written as a list of them."""
    x = call.tensor(call.operator.arguments[0].name)
    expect_rank(call, x, "N, *, C")
    _check_dtype(call, x, "elementwise_affine")
    written = call["normalized_shape"]
    if not isinstance(written, list | tuple):
        call.infer("normalized_shape", x.dims[-1])
        return TensorType(x.dtype, x.dims)
    if not 0 < len(written) <= x.rank:
        expected = f"a tensor that ends in normalized_shape={list(written)}"
        call.fail(RankMismatch, operator=call.operator.name, expected=expected, found=str(x))
    for size, found in zip(written, x.dims[-len(written) :], strict=True):
        call.require_equal(size, found, "normalized_shape")
    return TensorType(x.dtype, x.dims)


def _normalized_weights(call: Call) -> Shapes:
    shape: Any = call["normalized_shape"]
    return _weights(call, "elementwise_affine", tuple(shape) if isinstance(shape, list | tuple) else (shape,))


def _local_response(call: Call) -> TensorType:
    x = call.tensor()
    expect_rank(call, x, "N, C, L, *")
    expect_dtype(call, x, FLOATING | {"i64"})
    return TensorType(x.dtype if x.dtype in FLOATING else "f32", x.dims)


def _response_settings(k: float) -> tuple[Param, ...]:
    return (
        Param("size", POSITIVE),
        Param("alpha", FLOAT, 1e-4),
        Param("beta", FLOAT, 0.75),
        Param("k", FLOAT, k),
    )


_SHAPE: Final = Param("normalized_shape", sizes(None, 1), inferred=True)
_ELEMENTWISE: Final = Param("elementwise_affine", BOOL, True)

OPERATORS: Final = (
    *(_batch_norm(count) for count in (1, 2, 3)),
    *(_instance_norm(count) for count in (1, 2, 3)),
    Operator(
        "LayerNorm",
        "layer",
        "Normalises each position over its last dimension, or over the last few.",
        settings=(_SHAPE, Param("eps", FLOAT, 1e-5), _ELEMENTWISE, _BIAS),
        arguments=(INPUT,),
        shape=_normalized,
        weights=_normalized_weights,
        example="x -> LayerNorm",
        example_inputs={"x": "f32[N, T, 8]"},
    ),
    Operator(
        "RMSNorm",
        "layer",
        "Divides each position by the root of its mean square over the last dimension, or over the last few.",
        settings=(_SHAPE, Param("eps", optional(FLOAT), None), _ELEMENTWISE),
        arguments=(Param("x", INPUT.kind, tensor=True),),
        shape=_normalized,
        weights=_normalized_weights,
        example="x -> RMSNorm",
        example_inputs={"x": "f32[N, T, 8]"},
    ),
    Operator(
        "GroupNorm",
        "layer",
        "Normalises each sample over groups of channels and all positions.",
        settings=(
            Param("num_groups", POSITIVE),
            Param("num_channels", POSITIVE, inferred=True),
            Param("eps", FLOAT, 1e-5),
            Param("affine", BOOL, True),
            _BIAS,
        ),
        arguments=(INPUT,),
        shape=_group_norm,
        weights=lambda call: _weights(call, "affine", (call["num_channels"],)),
        example="x -> GroupNorm(2)",
        example_inputs=EXAMPLES[2],
    ),
    Operator(
        "LocalResponseNorm",
        "layer",
        "Divides each value by the mean square over neighbouring channels, raised to a power.",
        settings=_response_settings(1.0),
        arguments=(INPUT,),
        shape=_local_response,
        example="x -> LocalResponseNorm(2)",
        example_inputs=EXAMPLES[2],
    ),
    Operator(
        "CrossMapLRN2d",
        "layer",
        "LocalResponseNorm over images, as Torch7 computed it.",
        settings=_response_settings(1),
        arguments=(INPUT,),
        shape=same_shape(FLOATING, FORMS[2]),
        example="x -> CrossMapLRN2d(2)",
        example_inputs=EXAMPLES[2],
    ),
)
