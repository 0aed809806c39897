"""What is kept by operators whose extra tensors have a size of their own: statistics, masks, indices, inner results."""

from collections.abc import Iterator, Mapping
from itertools import chain
from typing import Final

from expc.compiler.dimensions import Size, as_symbol
from expc.compiler.ops.kept import F32_BYTES, I64_BYTES, As, Item, Rule, Use, numbers, size_of
from expc.compiler.ops.kept_attention import ATTENTION
from expc.compiler.ops.kept_losses import LOSSES
from expc.compiler.ops.kept_norms import NORMS
from expc.compiler.ops.kept_recurrent import RECURRENT
from expc.compiler.ops.rules import product
from expc.compiler.types import TensorType

# --------------------------------------------------------------------------------------------------------- products


def rows(use: Use, name: str) -> Item:
    """An argument as a matrix of its last dimension."""
    x = use.call.tensor(name)
    return name if x.rank < 3 else As(name, (product(x.dims[:-1]), x.dims[-1]))


def _linear(use: Use) -> Iterator[Item]:
    if use.needs("weight"):
        yield rows(use, "input")
    if "weight" in use.call.values and use.needs("input"):
        yield "weight"


def _convolution(use: Use) -> Iterator[Item]:
    """Padding of another kind than zeros makes a new tensor first."""
    call, x = use.call, use.call.tensor()
    mode = call.values.get("padding_mode", "zeros")
    if mode == "zeros":
        yield "input"
        return
    if mode != "circular" and use.needs("input"):
        yield "input"
    yield F32_BYTES * product((*x.dims[:2], *map(sum, zip(x.dims[2:], _paddings(use), strict=True))))


def _paddings(use: Use) -> list[Size]:
    """How much longer padding makes each dimension of space."""
    call, rank = use.call, use.call.tensor().rank - 2
    padding, kernel, dilation = call["padding"], call["kernel_size"], call["dilation"]
    each = [value if isinstance(value, list | tuple) else (value,) * rank for value in (kernel, dilation)]
    if padding == "valid":
        return [0] * rank
    if padding == "same":
        return [(size - 1) * step for size, step in zip(*each, strict=True)]
    return [2 * size for size in (padding if isinstance(padding, list | tuple) else (padding,) * rank)]


def _matmul(use: Use) -> Iterator[Item]:
    """Matrices are multiplied one by one: a batch of them is seen as one list, a single one against many as one."""
    x, y = use.call.tensor(), use.call.tensor("other")
    folded = (x.rank > 2 and y.rank <= 2) or (y.rank > 2 and x.rank <= 2)
    for name, other in (("input", "other"), ("other", "input")):
        tensor = use.call.tensor(name)
        if not use.needs(other):
            continue
        if tensor.rank <= 2:
            yield name
        elif folded and name == "input":
            yield As(name, (product(tensor.dims[:-1]), tensor.dims[-1]))
        else:
            batch = max(x.dims[:-2], y.dims[:-2], key=len)
            if tensor.dims[:-2] == batch or folded:
                yield As(name, (product(tensor.dims[:-2]), *tensor.dims[-2:]))
            else:
                yield 4 * product((*batch, *tensor.dims[-2:]))


def _batched(first: str, second: str) -> Rule:
    def rule(use: Use) -> Iterator[Item]:
        if use.needs(second):
            yield first
        if use.needs(first):
            yield second

    return rule


def _einsum(use: Use) -> Iterator[Item]:
    operands = use.call["operands"]
    for at in range(len(operands)):
        if any(use.needs(f"operands.{other}") for other in range(len(operands)) if other != at):
            yield f"operands.{at}"


def _pow(use: Use) -> Iterator[Item]:
    base, exponent = use.call["input"], use.call["exponent"]
    if isinstance(base, TensorType) and not isinstance(exponent, TensorType):
        if exponent != 0:
            yield "input"
        return
    yield "input"
    yield "exponent"
    if use.needs("exponent"):
        yield "result"


# ------------------------------------------------------------------------------------------------------------ pools


def _max_pool(use: Use) -> Iterator[Item]:
    """Where each maximum was."""
    yield "input"
    if isinstance(use.result, tuple):
        yield "result.1"
    else:
        yield I64_BYTES * product(use.result.dims)


def _adaptive_average(use: Use) -> Iterator[Item]:
    """To one value it is a mean, which needs no more than the sizes."""
    spatial = int(use.call.operator.name[-2])
    x: TensorType = use.call.tensor()
    result: TensorType = use.result
    ones = all(size == 1 for size in result.dims[-spatial:])
    if spatial == 1:
        ones = result.dims[-1] == 1
    if (not ones and x.dims[-spatial:] != result.dims[-spatial:]) or not ones:
        yield "input"


def _power_pool(use: Use) -> Iterator[Item]:
    yield "input"
    yield use.bytes()
    yield 4 * size_of(use.result)


def _embedding_bag(use: Use) -> Iterator[Item]:
    """The indices, and where each bag starts and ends."""
    x = use.call.tensor()
    offsets = use.call["offsets"]
    bags = use.result.dims[0]
    yield "input"
    if isinstance(offsets, TensorType):
        yield "offsets"
        bags_known = 2
    else:
        bags_known = 3
    if use.call["mode"] == "max":
        yield numbers(x, (bags_known - 1) * bags + product(x.dims) + 1 + product(use.result.dims))
    else:
        yield numbers(x, bags_known * bags + (product(x.dims) + 1 if use.call["mode"] == "mean" else 0))


# ------------------------------------------------------------------------------------------------------ activations


def _with_buffer(use: Use) -> Iterator[Item]:
    yield "input"
    yield use.bytes()


def _inner_only(use: Use) -> Iterator[Item]:
    yield use.bytes()


def _dropout(use: Use) -> Iterator[Item]:
    """What each value is multiplied by; a probability of 0 does nothing, of 1 multiplies by nothing."""
    p = use.call["p"]
    if p == 1:
        yield F32_BYTES
    elif p:
        yield use.bytes()


def _channel_dropout(use: Use) -> Iterator[Item]:
    p, x = use.call["p"], use.call.tensor()
    if p == 1:
        yield F32_BYTES
    elif p:
        yield numbers(x, product(x.dims[:2]))


def _stochastic_depth(use: Use) -> Iterator[Item]:
    x = use.call.tensor()
    if use.call["p"]:
        yield F32_BYTES * (x.dims[0] if use.call["mode"] == "row" else 1)


def _drop_block(use: Use) -> Iterator[Item]:
    if use.call["p"]:
        yield use.bytes() + F32_BYTES


def _swish(use: Use) -> Iterator[Item]:
    yield "input"
    yield use.bytes()


# ------------------------------------------------------------------------------------------------------- the others


def _cosine(use: Use) -> Iterator[Item]:
    for name in ("x1", "x2"):
        if use.needs(name):
            yield name
            yield use.bytes(name) + 2 * size_of(use.result)


def _distance(use: Use) -> Iterator[Item]:
    yield "result"
    yield max(use.bytes("x1"), use.bytes("x2"), key=lambda size: (as_symbol(size) is None, str(size)))


def _extreme(use: Use) -> Iterator[Item]:
    """Along a dimension the places are enough; of all elements, or of two tensors, all are compared again."""
    if isinstance(use.result, tuple):
        yield "result.1"
    elif isinstance(use.call.values.get("other"), TensorType):
        yield from ("input", "other")
    else:
        yield from ("input", "result")


def _enlarged(use: Use) -> Iterator[Item]:
    """Only by areas, which are means of what lies in them."""
    if use.call["mode"] == "area":
        yield "input"


def _padded(use: Use) -> Iterator[Item]:
    """Only where the border is made of what lies beside it."""
    if use.call["mode"] in ("reflect", "replicate"):
        yield "input"


def _sorted(use: Use) -> Iterator[Item]:
    yield I64_BYTES * product(use.call.tensor().dims)


def _along(use: Use) -> Iterator[Item]:
    yield "input"
    yield I64_BYTES * product(use.result.dims)


def _doubled(use: Use) -> Iterator[Item]:
    yield 8 * product(use.result.dims)


def _determinant(extra: str) -> Rule:
    """The factors of the matrix, and how its rows were swapped."""

    def rule(use: Use) -> Iterator[Item]:
        x = use.call.tensor()
        yield "input"
        yield use.bytes() + 4 * product(x.dims[:-1])
        if extra:
            yield extra
        else:
            yield 5 * product(x.dims[:-2])

    return rule


def _squeeze(use: Use) -> Iterator[Item]:
    x, squeezed = use.call.tensor(), use.call["squeeze_channels"]
    yield "input"
    yield F32_BYTES * x.dims[0] * (2 * x.dims[1] + squeezed)


def _conv_norm(use: Use) -> Iterator[Item]:
    """Convolution, batch norm, activation, each if it is there."""
    yield "input"
    if use.call["norm_layer"] is not None:
        yield size_of(use.result)
        yield 2 * F32_BYTES * use.result.dims[1]
    if use.call["activation_layer"] is not None:
        yield "result"


def _weighted_mean(use: Use) -> Iterator[Item]:
    yield "input"
    yield I64_BYTES * product(use.result.dims)


def _quantile(use: Use) -> Iterator[Item]:
    elements, found = product(use.call.tensor().dims), product(use.result.dims)
    yield (F32_BYTES + I64_BYTES) * elements + (F32_BYTES + 2 * I64_BYTES) * found


def _spread(factor: int) -> Rule:
    """Functions of several steps that keep about `factor` tensors as large as their input or result."""

    def rule(use: Use) -> Iterator[Item]:
        first = next(value for value in use.call.values.values() if isinstance(value, TensorType))
        yield factor * size_of(first)

    return rule


def _named(rule: Rule, names: str) -> dict[str, Rule]:
    return dict.fromkeys(names.split(), rule)


_OTHERS: Final[Mapping[str, Rule]] = {
    **_named(_linear, "Linear linear"),
    **_named(_convolution, "Conv1d Conv2d Conv3d"),
    **_named(_matmul, "matmul"),
    **_named(_batched("input", "mat2"), "bmm"),
    **_named(_batched("batch1", "batch2"), "baddbmm addbmm"),
    **_named(_einsum, "einsum"),
    **_named(_pow, "pow"),
    **_named(
        _max_pool,
        "MaxPool1d MaxPool2d MaxPool3d max_pool1d max_pool2d max_pool3d AdaptiveMaxPool1d AdaptiveMaxPool2d "
        "AdaptiveMaxPool3d adaptive_max_pool1d adaptive_max_pool2d adaptive_max_pool3d FractionalMaxPool2d "
        "FractionalMaxPool3d fractional_max_pool2d fractional_max_pool3d",
    ),
    **_named(
        _adaptive_average,
        "AdaptiveAvgPool1d AdaptiveAvgPool2d AdaptiveAvgPool3d adaptive_avg_pool1d adaptive_avg_pool2d "
        "adaptive_avg_pool3d",
    ),
    **_named(_power_pool, "LPPool1d LPPool2d LPPool3d lp_pool1d lp_pool2d lp_pool3d"),
    **_named(
        lambda _: iter(("indices",)), "MaxUnpool1d MaxUnpool2d MaxUnpool3d max_unpool1d max_unpool2d max_unpool3d"
    ),
    **_named(_embedding_bag, "EmbeddingBag embedding_bag"),
    **_named(_with_buffer, "RReLU rrelu LogSigmoid logsigmoid Softsign softsign"),
    **_named(_inner_only, "Tanhshrink tanhshrink mvlgamma"),
    **_named(_dropout, "Dropout dropout AlphaDropout alpha_dropout"),
    **_named(
        _channel_dropout,
        "Dropout1d Dropout2d Dropout3d dropout1d dropout2d dropout3d FeatureAlphaDropout feature_alpha_dropout",
    ),
    **_named(_stochastic_depth, "StochasticDepth"),
    **_named(_drop_block, "DropBlock2d DropBlock3d"),
    **_named(_swish, "Swish"),
    **_named(_cosine, "CosineSimilarity cosine_similarity"),
    **_named(_distance, "PairwiseDistance pairwise_distance"),
    **_named(_extreme, "max min median nanmedian"),
    **_named(_enlarged, "Upsample interpolate"),
    **_named(_padded, "pad"),
    **_named(_sorted, "msort"),
    **_named(_along, "take_along_dim"),
    **_named(_doubled, "float_power"),
    **_named(_determinant("result"), "det"),
    **_named(_determinant("result.0"), "slogdet"),
    **_named(_determinant(""), "logdet"),
    **_named(_squeeze, "SqueezeExcitation"),
    **_named(_conv_norm, "Conv2dNormActivation Conv3dNormActivation"),
    **_named(_weighted_mean, "nanmean"),
    **_named(_quantile, "quantile nanquantile"),
    **_named(_spread(2), "cov vander combinations"),
    **_named(_spread(6), "corrcoef"),
}

RULES: Final[Mapping[str, Rule]] = dict(
    chain(_OTHERS.items(), NORMS.items(), ATTENTION.items(), RECURRENT.items(), LOSSES.items())
)
"""The operators that `KEEPS` has no words for."""
