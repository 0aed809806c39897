"""Layers that look up a learnt vector for each index."""

from typing import Final

from expc.compiler.ops.declare import Call, Operator, Param
from expc.compiler.ops.kinds import BOOL, FLOAT, INT, POSITIVE, TENSOR, choice, optional
from expc.compiler.ops.rules import F32, INDICES, INPUT, expect_dtype, expect_rank, known, refuse
from expc.compiler.types import TensorType

_NUMBER: Final = Param("num_embeddings", POSITIVE)
_DIM: Final = Param("embedding_dim", POSITIVE)
_PADDING: Final = Param("padding_idx", optional(INT), None)
_MAX_NORM: Final = Param("max_norm", optional(FLOAT), None)
_NORM_TYPE: Final = Param("norm_type", FLOAT, 2.0)
_BY_FREQUENCY: Final = Param("scale_grad_by_freq", BOOL, False)
_SPARSE: Final = Param("sparse", BOOL, False)


def _check_indices(call: Call, x: TensorType) -> None:
    expect_dtype(call, x, INDICES)
    number = call["num_embeddings"]
    if x.classes is not None:
        call.require_at_least(number, x.classes, "num_embeddings, for the indices that arrive,")
    if call["padding_idx"] is not None:
        padding = known(call, "padding_idx")
        call.require_at_least(
            number, padding + 1 if padding >= 0 else -padding, f"num_embeddings, for padding_idx={padding},"
        )


def _embedding(call: Call) -> TensorType:
    x = call.tensor()
    expect_rank(call, x, "N, *")
    _check_indices(call, x)
    return TensorType("f32", (*x.dims, call["embedding_dim"]))


def _bag(call: Call) -> TensorType:
    x, offsets, scales = call.tensor(), call["offsets"], call["per_sample_weights"]
    _check_indices(call, x)
    if scales is not None:
        if call["mode"] != "sum":
            refuse(call, 'per_sample_weights needs mode="sum"')
        expect_dtype(call, scales, F32)
        expect_rank(call, scales, ", ".join(map(str, x.dims)))
        for number, (a, b) in enumerate(zip(x.dims, scales.dims, strict=True)):
            call.require_equal(a, b, f"dimension {number} of per_sample_weights")
    if call["mode"] == "max" and call["scale_grad_by_freq"]:
        refuse(call, 'mode="max" does not go with scale_grad_by_freq')
    if offsets is None:
        expect_rank(call, x, "N, B")
        bags = x.dims[0]
    else:
        expect_rank(call, x, "indices")
        expect_rank(call, offsets, "bags")
        expect_dtype(call, offsets, INDICES)
        bags = offsets.dims[0] - 1 if call["include_last_offset"] else offsets.dims[0]
        call.require_at_least(bags, 1, "the number of bags")
    return TensorType("f32", (bags, call["embedding_dim"]))


OPERATORS: Final = (
    Operator(
        "Embedding",
        "layer",
        "A learnt vector for each index.",
        settings=(_NUMBER, _DIM, _PADDING, _MAX_NORM, _NORM_TYPE, _BY_FREQUENCY, _SPARSE),
        arguments=(INPUT,),
        shape=_embedding,
        weights=lambda call: {"weight": (call["num_embeddings"], call["embedding_dim"])},
        example="x -> Embedding(100, 16)",
        example_inputs={"x": "i64[N, T]"},
    ),
    Operator(
        "EmbeddingBag",
        "layer",
        "The mean, sum or maximum of the learnt vectors of each bag of indices.",
        settings=(
            _NUMBER,
            _DIM,
            _MAX_NORM,
            _NORM_TYPE,
            _BY_FREQUENCY,
            Param("mode", choice("sum", "mean", "max"), "mean"),
            _SPARSE,
            Param("include_last_offset", BOOL, False),
            _PADDING,
        ),
        arguments=(
            INPUT,
            Param("offsets", optional(TENSOR), None, tensor=True),
            Param("per_sample_weights", optional(TENSOR), None, tensor=True),
        ),
        shape=_bag,
        weights=lambda call: {"weight": (call["num_embeddings"], call["embedding_dim"])},
        example="x -> EmbeddingBag(100, 16)",
        example_inputs={"x": "i64[N, T]"},
    ),
)
