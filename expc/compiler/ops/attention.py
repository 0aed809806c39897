"""Attention between the positions of sequences."""

from typing import Any, Final

from expc.compiler.dimensions import Size
from expc.compiler.ops.declare import Call, Operator, Param
from expc.compiler.ops.kinds import BOOL, FLOAT, POSITIVE, PROBABILITY, TENSOR, choice, optional
from expc.compiler.ops.rules import F32, expect_dtype, expect_rank, product, refuse
from expc.compiler.types import TensorType

Shapes = dict[str, tuple[Size, ...]]

_MASK: Final = frozenset({"bool", "f32"})


def required(name: str) -> Param:
    """A tensor that a call must have."""
    return Param(name, TENSOR, tensor=True)


def maybe(name: str) -> Param:
    """A tensor that may be absent."""
    return Param(name, optional(TENSOR), None, tensor=True)


def sequence(call: Call, x: TensorType) -> tuple[Size, Size, Size]:
    """The batch, length and size of a sequence, after checks."""
    expect_rank(call, x, "N, T, C" if call["batch_first"] else "T, N, C")
    expect_dtype(call, x, F32)
    first, second, size = x.dims
    return (first, second, size) if call["batch_first"] else (second, first, size)


def check_mask(call: Call, name: str, *forms: tuple[Size, ...]) -> None:
    """A mask that is given must have one of the shapes `forms`, of different rank each."""
    mask = call[name]
    if mask is None:
        return
    expect_dtype(call, mask, _MASK)
    expect_rank(call, mask, *(", ".join(map(str, form)) for form in forms))
    (wanted,) = (form for form in forms if len(form) == mask.rank)
    for number, (a, b) in enumerate(zip(wanted, mask.dims, strict=True)):
        call.require_equal(a, b, f"dimension {number} of {name}")


def check_causal(call: Call, mask: str, hint: str = "is_causal") -> None:
    """The hint that a mask is causal needs the mask."""
    if call[hint] and call[mask] is None:
        refuse(call, f"{hint} is only a hint about {mask}, which must be given too")


def _attention(call: Call) -> Any:
    query: TensorType = call["query"]
    key: TensorType = call["key"] or query
    value: TensorType = call["value"] or key
    batch, length, embed = sequence(call, query)
    key_batch, source, key_size = sequence(call, key)
    value_batch, value_source, value_size = sequence(call, value)
    heads: Size = call["num_heads"]
    call.infer("embed_dim", embed)
    call.require_divisible(embed, heads, "embed_dim")
    for name, size in (("kdim", key_size), ("vdim", value_size)):
        if call[name] is not None or size != embed:
            call.infer(name, size)
    call.require_equal(batch, key_batch, "the batch of key")
    call.require_equal(batch, value_batch, "the batch of value")
    call.require_equal(source, value_source, "the length of value")
    check_mask(call, "key_padding_mask", (batch, source))
    check_mask(call, "attn_mask", (length, source), (batch * heads, length, source))
    check_causal(call, "attn_mask")
    if not call["need_weights"]:
        return (TensorType("f32", query.dims), None)
    seen = source + int(call["add_bias_kv"]) + int(call["add_zero_attn"])
    per_head = () if call["average_attn_weights"] else (heads,)
    return (TensorType("f32", query.dims), TensorType("f32", (batch, *per_head, length, seen)))


def _attention_weights(call: Call) -> Shapes:
    embed, key, value = call["embed_dim"], call["kdim"], call["vdim"]
    shapes: Shapes
    if key in (None, embed) and value in (None, embed):
        shapes = {"in_proj_weight": (3 * embed, embed)}
    else:
        shapes = {
            "q_proj_weight": (embed, embed),
            "k_proj_weight": (embed, embed if key is None else key),
            "v_proj_weight": (embed, embed if value is None else value),
        }
    if call["bias"]:
        shapes["in_proj_bias"] = (3 * embed,)
    if call["add_bias_kv"]:
        shapes |= {"bias_k": (1, 1, embed), "bias_v": (1, 1, embed)}
    shapes["out_proj.weight"] = (embed, embed)
    if call["bias"]:
        shapes["out_proj.bias"] = (embed,)
    return shapes


def _attention_macs(call: Call, _: Any) -> Size:
    """The four projections, the scores and the weighted sum."""
    query: TensorType = call["query"]
    key: TensorType = call["key"] or query
    value: TensorType = call["value"] or key
    embed = query.dims[2]
    batch, length, _size = sequence(call, query)
    source = sequence(call, key)[1] + int(call["add_bias_kv"]) + int(call["add_zero_attn"])
    projections = 2 * product(query.dims) + product(key.dims) + product(value.dims)
    return projections * embed + 2 * batch * length * source * embed


def _encoder_layer(call: Call) -> TensorType:
    src = call.tensor("src")
    batch, length, size = sequence(call, src)
    call.infer("d_model", size)
    call.require_divisible(size, call["nhead"], "d_model")
    check_mask(call, "src_mask", (length, length), (batch * call["nhead"], length, length))
    check_mask(call, "src_key_padding_mask", (batch, length))
    check_causal(call, "src_mask")
    return TensorType("f32", src.dims)


def _encoder_layer_weights(call: Call) -> Shapes:
    size, wide = call["d_model"], call["dim_feedforward"]
    shapes: Shapes = {
        "self_attn.in_proj_weight": (3 * size, size),
        "self_attn.in_proj_bias": (3 * size,),
        "self_attn.out_proj.weight": (size, size),
        "self_attn.out_proj.bias": (size,),
        "linear1.weight": (wide, size),
        "linear1.bias": (wide,),
        "linear2.weight": (size, wide),
        "linear2.bias": (size,),
        "norm1.weight": (size,),
        "norm1.bias": (size,),
        "norm2.weight": (size,),
        "norm2.bias": (size,),
    }
    return shapes if call["bias"] else {name: shape for name, shape in shapes.items() if not name.endswith("bias")}


def _encoder_layer_macs(call: Call, _: Any) -> Size:
    batch, length, size = sequence(call, call.tensor("src"))
    wide: Size = call["dim_feedforward"]
    return batch * length * size * (4 * size + 2 * length + 2 * wide)


OPERATORS: Final = (
    Operator(
        "MultiheadAttention",
        "layer",
        "Attention of a query to keys and values; without them, of a sequence to itself. Gives (output, weights).",
        settings=(
            Param("embed_dim", POSITIVE, inferred=True),
            Param("num_heads", POSITIVE),
            Param("dropout", PROBABILITY, 0.0),
            Param("bias", BOOL, True),
            Param("add_bias_kv", BOOL, False),
            Param("add_zero_attn", BOOL, False),
            Param("kdim", optional(POSITIVE), None, inferred=True),
            Param("vdim", optional(POSITIVE), None, inferred=True),
            Param("batch_first", BOOL, False),
        ),
        arguments=(
            required("query"),
            maybe("key"),
            maybe("value"),
            maybe("key_padding_mask"),
            Param("need_weights", BOOL, True),
            maybe("attn_mask"),
            Param("average_attn_weights", BOOL, True),
            Param("is_causal", BOOL, False),
        ),
        shape=_attention,
        weights=_attention_weights,
        macs=_attention_macs,
        random=True,
        mode=True,
        example="x -> MultiheadAttention(2, batch_first=true)",
        example_inputs={"x": "f32[N, T, 8]"},
    ),
    Operator(
        "TransformerEncoderLayer",
        "layer",
        "Self-attention and two linear layers, each with a residual and a normalisation.",
        settings=(
            Param("d_model", POSITIVE, inferred=True),
            Param("nhead", POSITIVE),
            Param("dim_feedforward", POSITIVE, 2048),
            Param("dropout", PROBABILITY, 0.1),
            Param("activation", choice("relu", "gelu"), "relu"),
            Param("layer_norm_eps", FLOAT, 1e-5),
            Param("batch_first", BOOL, False),
            Param("norm_first", BOOL, False),
            Param("bias", BOOL, True),
        ),
        arguments=(
            required("src"),
            maybe("src_mask"),
            maybe("src_key_padding_mask"),
            Param("is_causal", BOOL, False),
        ),
        shape=_encoder_layer,
        weights=_encoder_layer_weights,
        macs=_encoder_layer_macs,
        random=True,
        mode=True,
        example="x -> TransformerEncoderLayer(2, batch_first=true)",
        example_inputs={"x": "f32[N, T, 8]"},
    ),
)
