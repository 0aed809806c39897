"""Functions with the weights given as tensors that stand beside a whole layer: bags, sequences, samples."""

from typing import Any, Final

from expc.compiler.dimensions import Size
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
from expc.compiler.ops.declare import Call, Param
from expc.compiler.ops.kinds import BOOL, FLOAT, INT, NATURAL, choice, optional
from expc.compiler.ops.rules import INPUT, product, refuse
from expc.compiler.ops.weighted import of_size
from expc.compiler.types import DTYPES, TensorType

_NUMBERS: Final = DTYPES - {"bool"}


def _instance_norm(call: Call) -> TensorType:
    x = call.tensor()
    need_floating(call, x)
    if x.rank < 2:
        need_rank(call, x, (), "a tensor of at least 2 dimensions [N, C, ...]")
    if call["use_input_stats"]:
        call.require_at_least(product(x.dims[2:]), 2, "the number of values of a channel")
    elif call["running_mean"] is None:
        refuse(call, "needs running_mean and running_var when use_input_stats=false")
    if (call["running_mean"] is None) != (call["running_var"] is None):
        refuse(call, "takes running_mean and running_var both or neither")
    for name in ("running_mean", "running_var", "weight", "bias"):
        of_size(call, name, x.dims[1], dtype=x.dtype)
    return TensorType(x.dtype, x.dims)


def _conv_tbc(call: Call) -> TensorType:
    """Over the first dimension; the channels are the last."""
    x, weight, pad = call.tensor(), call.tensor("weight"), call["pad"]
    need_dtype(call, x, _NUMBERS, "numbers, not booleans")
    need_rank(call, x, (3,), "a sequence [T, N, C]")
    need_rank(call, weight, (3,), "a weight [kernel, in, out]")
    need_same_dtype(call, x, weight)
    call.require_equal(weight.dims[1], x.dims[2], "the number of channels, the last dimension of the input,")
    of_size(call, "bias", weight.dims[2])
    padded = x.dims[0] + 2 * pad
    call.require_at_least(padded, weight.dims[0], f"the length under a kernel of {weight.dims[0]}")
    length = padded - weight.dims[0] + 1
    if length != x.dims[0]:
        call.explain(f"length: {x.dims[0]} + 2*{pad} - {weight.dims[0]} + 1 = {length}")
    return TensorType(x.dtype, (length, x.dims[1], weight.dims[2]))


def _embedding_bag(call: Call) -> TensorType:
    x, weight, offsets, scales = call.tensor(), call.tensor("weight"), call["offsets"], call["per_sample_weights"]
    need_index(call, x)
    need_rank(call, weight, (2,), "a weight [number, features]")
    need_floating(call, weight)
    if x.classes is not None:
        call.require_at_least(weight.dims[0], x.classes, "the number of vectors in weight")
    padding = call["padding_idx"]
    if padding is not None:
        needed = padding + 1 if padding >= 0 else -padding
        call.require_at_least(weight.dims[0], needed, f"the number of vectors, for padding_idx={padding},")
    if scales is not None:
        if call["mode"] != "sum":
            refuse(call, 'takes per_sample_weights only with mode="sum"')
        need_dtype(call, scales, frozenset({weight.dtype}), f"per_sample_weights of the weight's dtype, {weight.dtype}")
        of_size(call, "per_sample_weights", *x.dims)
    return TensorType(weight.dtype, (_bags(call, x, offsets), weight.dims[1]))


def _bags(call: Call, x: TensorType, offsets: TensorType | None) -> Size:
    need_rank(call, x, (1, 2), "bags [N, indices], or indices of 1 dimension and the offsets of bags")
    if x.rank == 2:
        if offsets is not None:
            refuse(call, f"takes offsets only for indices of 1 dimension, but gets {x}")
        return x.dims[0]
    if offsets is None:
        refuse(call, f"needs the offsets of the bags in {x}")
    need_index(call, offsets)
    need_rank(call, offsets, (1,), "offsets of 1 dimension")
    return offsets.dims[0] - (1 if call["include_last_offset"] else 0)


def _conv_macs(call: Call, result: Any) -> Size:
    return product((*result.dims, *call.tensor("weight").dims[:2]))


OPERATORS: Final = (
    function(
        "instance_norm",
        "Normalises each channel of each sample over its positions.",
        (
            INPUT,
            optional_tensor("running_mean"),
            optional_tensor("running_var"),
            optional_tensor("weight"),
            optional_tensor("bias"),
            Param("use_input_stats", BOOL, True),
            Param("momentum", FLOAT, 0.1),
            Param("eps", FLOAT, 1e-5),
        ),
        _instance_norm,
        "x -> instance_norm",
        {"x": "f32[N, 4, 8]"},
        home="torch.nn.functional",
    ),
    function(
        "conv_tbc",
        "Convolves over the first dimension of a sequence [T, N, C].",
        (INPUT, tensor("weight"), tensor("bias"), Param("pad", NATURAL, 0)),
        _conv_tbc,
        "x -> conv_tbc(w, b)",
        {"x": "f32[T, N, 4]", "w": "f32[3, 4, 8]", "b": "f32[8]"},
        macs=_conv_macs,
    ),
    function(
        "embedding_bag",
        "The mean, sum or maximum of the rows of a matrix that each bag of indices names.",
        (
            INPUT,
            tensor("weight"),
            optional_tensor("offsets"),
            Param("max_norm", optional(FLOAT), None),
            Param("norm_type", FLOAT, 2),
            Param("scale_grad_by_freq", BOOL, False),
            Param("mode", choice("sum", "mean", "max"), "mean"),
            Param("sparse", BOOL, False),
            optional_tensor("per_sample_weights"),
            Param("include_last_offset", BOOL, False),
            Param("padding_idx", optional(INT), None),
        ),
        _embedding_bag,
        "x -> embedding_bag(w)",
        {"x": "class(10)[N, T]", "w": "f32[10, 8]"},
        home="torch.nn.functional",
    ),
)
