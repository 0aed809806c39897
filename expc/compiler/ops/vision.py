"""The plain layers of `torchvision.ops`: what its networks are made of beside torch's own layers."""

from collections.abc import Callable
from typing import Any, Final

from expc.compiler.dimensions import Size
from expc.compiler.ops.declare import Call, Operator, Param
from expc.compiler.ops.inner import Inner, Shapes, keeps_type, layer, run
from expc.compiler.ops.kinds import BOOL, FLOAT, INT, POSITIVE, PROBABILITY, choice, either, list_of, optional
from expc.compiler.ops.kinds import sizes as numbers
from expc.compiler.ops.rules import (
    EXAMPLES,
    F32,
    FORMS,
    INPLACE,
    INPUT,
    SIDES,
    expect_dtype,
    expect_rank,
    known,
    refuse,
    same_shape,
    spread,
)
from expc.compiler.types import FLOATING, TensorType

_X: Final = Param("x", INPUT.kind, tensor=True)


def _takes_one(operator: Operator) -> bool:
    return operator.name != "Identity" and len(operator.arguments) == 1 and operator.home in ("torch.nn", "expc")


_ACTIVATION: Final = layer("an activation such as ReLU", lambda operator: _takes_one(operator) and not operator.buffers)
_NORM: Final = layer("a normalisation such as BatchNorm2d", _takes_one)


# ---------------------------------------------------------------------------------------------------- dropping


def _stochastic_depth(call: Call) -> TensorType:
    x = call.tensor()
    expect_rank(call, x, "N, *")
    if call["p"] not in (0, 1):
        expect_dtype(call, x, FLOATING)
    return TensorType(x.dtype, x.dims)


def _drop_block_shape(count: int) -> Callable[[Call], TensorType]:
    def shape(call: Call) -> TensorType:
        x = same_shape(FLOATING, FORMS[count])(call)
        if call["p"] == 0:
            return x
        size = min([known(call, "block_size"), *(side for side in x.dims[2:] if isinstance(side, int))])
        if size % 2 == 0:
            sides = " and ".join(SIDES[count])
            refuse(call, f"block_size must be odd, but is {size}, the least of {call['block_size']}, {sides}")
        for name, side in zip(SIDES[count], x.dims[2:], strict=True):
            # A smaller side makes the block smaller, which must be odd then too.
            call.require_at_least(side, size, f"the {name} under a block of {size}")
        return x

    return shape


def _drop_block(count: int) -> Operator:
    return Operator(
        f"DropBlock{count}d",
        "layer",
        f"Sets blocks of neighbouring values over {', '.join(SIDES[count])} to zero while training.",
        settings=(Param("p", PROBABILITY), Param("block_size", POSITIVE), INPLACE, Param("eps", FLOAT, 1e-6)),
        arguments=(INPUT,),
        shape=_drop_block_shape(count),
        home="torchvision.ops",
        random=True,
        mode=True,
        example=f"x -> DropBlock{count}d(0.1, 3)",
        example_inputs=EXAMPLES[count],
    )


# ---------------------------------------------------------------------------------------------------- layers


def _frozen_norm(call: Call) -> TensorType:
    x = call.tensor("x")
    expect_rank(call, x, FORMS[2])
    expect_dtype(call, x, F32)
    call.infer("num_features", x.dims[1])
    return TensorType(x.dtype, x.dims)


def _permute(call: Call) -> TensorType:
    x, order = call.tensor("x"), list(call["dims"])
    if len(order) != x.rank:
        refuse(call, f"dims has {len(order)} numbers for the {x.rank} dimensions of {x}")
    if not all(isinstance(dim, int) and -x.rank <= dim < x.rank for dim in order):
        refuse(call, f"dims={order} names a dimension that {x} has not")
    if len({dim % x.rank for dim in order}) < x.rank:
        refuse(call, f"dims={order} names a dimension twice")
    return x.with_dims(*(x.dims[dim] for dim in order))


def _squeeze(call: Call) -> TensorType:
    x = call.tensor()
    expect_rank(call, x, FORMS[2])
    expect_dtype(call, x, F32)
    channels = call.infer("input_channels", x.dims[1])
    keeps_type(call, "activation", x.with_dims(x.dims[0], call["squeeze_channels"], 1, 1))
    keeps_type(call, "scale_activation", x.with_dims(x.dims[0], channels, 1, 1))
    return TensorType(x.dtype, x.dims)


def _squeeze_weights(call: Call) -> Shapes:
    channels, squeezed = call["input_channels"], call["squeeze_channels"]
    shapes: Shapes = {"fc1.weight": (squeezed, channels, 1, 1), "fc1.bias": (squeezed,)}
    shapes |= {"fc2.weight": (channels, squeezed, 1, 1), "fc2.bias": (channels,)}
    for name in ("activation", "scale_activation"):
        shapes |= call[name].parts(name)
    return shapes


def _squeeze_macs(call: Call, _: Any) -> Size:
    batch, channels, *_sides = call.tensor().dims
    squeezed: Size = call["squeeze_channels"]
    return 2 * batch * channels * squeezed


# ---------------------------------------------------------------------------------------------------- a convolution


def _conv(call: Call, count: int) -> Inner:
    """The convolution that the settings describe, its channels and padding worked out as torchvision does."""
    kernel, dilation, padding = call["kernel_size"], call["dilation"], call["padding"]
    if padding is None:
        each = zip(spread(kernel, count), spread(dilation, count), strict=True)
        padding = [(size - 1) // 2 * step for size, step in each]
    settings = {
        "in_channels": call["in_channels"],
        "out_channels": call["out_channels"],
        "kernel_size": kernel,
        "stride": call["stride"],
        "padding": padding,
        "dilation": dilation,
        "groups": call["groups"],
        "bias": call["norm_layer"] is None if call["bias"] is None else call["bias"],
    }
    return Inner(f"Conv{count}d", tuple(settings.items()))


def _conv_norm_shape(count: int) -> Callable[[Call], TensorType]:
    def shape(call: Call) -> TensorType:
        result: TensorType
        result, inside = _conv(call, count).call(call, call.tensor())
        call.values["in_channels"] = inside["in_channels"]
        if call["norm_layer"] is not None:
            _check_norm(call)
            result = run(call, "norm_layer", result)
        activation: Inner | None = call["activation_layer"]
        if activation is None:
            return result
        takes = {param.name for param in activation.operator.settings}
        if call["inplace"] is not None and "inplace" not in takes:
            refuse(call, f"{activation.name} cannot work in place: write inplace=none")
        final: TensorType = run(call, "activation_layer", result)
        return final

    return shape


def _check_norm(call: Call) -> None:
    """Torchvision tells it the number of channels and nothing else."""
    operator = call["norm_layer"].operator
    if not any(param.inferred for param in operator.settings) or operator.name in ("LayerNorm", "RMSNorm"):
        refuse(call, f"norm_layer={operator.name} is told the number of channels, and cannot use it")


def _conv_norm_parts(call: Call, count: int, *, buffers: bool = False) -> Shapes:
    inside = [_conv(call, count), call["norm_layer"], call["activation_layer"]]
    shapes: Shapes = {}
    for number, part in enumerate(part for part in inside if part is not None):
        shapes |= part.parts(str(number), buffers=buffers)
    return shapes


def _conv_norm(count: int) -> Operator:
    return Operator(
        f"Conv{count}dNormActivation",
        "layer",
        "A convolution that keeps the size, a normalisation and an activation.",
        settings=(
            Param("in_channels", POSITIVE, inferred=True),
            Param("out_channels", POSITIVE),
            Param("kernel_size", numbers(count, 1), 3),
            Param("stride", numbers(count, 1), 1),
            Param("padding", optional(either(numbers(count, 0), choice("same", "valid"))), None),
            Param("groups", POSITIVE, 1),
            Param("norm_layer", optional(_NORM), Inner(f"BatchNorm{count}d"), layer=True),
            Param("activation_layer", optional(_ACTIVATION), Inner("ReLU"), layer=True),
            Param("dilation", numbers(count, 1), 1),
            Param("inplace", optional(BOOL), True),
            Param("bias", optional(BOOL), None),
        ),
        arguments=(INPUT,),
        shape=_conv_norm_shape(count),
        weights=lambda call: _conv_norm_parts(call, count),
        buffers=lambda call: _conv_norm_parts(call, count, buffers=True),
        macs=lambda call, result: _conv(call, count).macs(result, call.tensor()),
        home="torchvision.ops",
        build=lambda ops, settings: getattr(ops, f"Conv{count}dNormActivation")(**settings),
        mode=True,
        batch_statistics=True,
        example=f"x -> Conv{count}dNormActivation(8)",
        example_inputs=EXAMPLES[count],
    )


OPERATORS: Final = (
    Operator(
        "StochasticDepth",
        "layer",
        "Sets its input to zero with probability p while training: each sample by itself, or all at once.",
        settings=(Param("p", PROBABILITY), Param("mode", choice("batch", "row"))),
        arguments=(INPUT,),
        shape=_stochastic_depth,
        home="torchvision.ops",
        random=True,
        mode=True,
        example='x -> StochasticDepth(0.1, "row")',
        example_inputs=EXAMPLES[2],
    ),
    *(_drop_block(count) for count in (2, 3)),
    Operator(
        "FrozenBatchNorm2d",
        "layer",
        "BatchNorm2d whose statistics, weights and biases never change.",
        settings=(Param("num_features", POSITIVE, inferred=True), Param("eps", FLOAT, 1e-5)),
        arguments=(_X,),
        shape=_frozen_norm,
        buffers=lambda call: dict.fromkeys(("weight", "bias", "running_mean", "running_var"), (call["num_features"],)),
        home="torchvision.ops",
        example="x -> FrozenBatchNorm2d",
        example_inputs=EXAMPLES[2],
    ),
    Operator(
        "Permute",
        "layer",
        "The dimensions in another order.",
        settings=(Param("dims", list_of(INT)),),
        arguments=(_X,),
        shape=_permute,
        home="torchvision.ops",
        example="x -> Permute([0, 2, 3, 1])",
        example_inputs=EXAMPLES[2],
    ),
    Operator(
        "SqueezeExcitation",
        "layer",
        "Scales each channel by what two convolutions make of all channels' means.",
        settings=(
            Param("input_channels", POSITIVE, inferred=True),
            Param("squeeze_channels", POSITIVE),
            Param("activation", _ACTIVATION, Inner("ReLU"), layer=True),
            Param("scale_activation", _ACTIVATION, Inner("Sigmoid"), layer=True),
        ),
        arguments=(INPUT,),
        shape=_squeeze,
        weights=_squeeze_weights,
        macs=_squeeze_macs,
        home="torchvision.ops",
        build=lambda ops, settings: ops.SqueezeExcitation(**settings),
        example="x -> SqueezeExcitation(2)",
        example_inputs=EXAMPLES[2],
    ),
    *(_conv_norm(count) for count in (2, 3)),
)
