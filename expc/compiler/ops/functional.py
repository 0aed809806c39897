"""Functions of whole layers, with weights given as tensors: attention, resizing, pooling, distances."""

from typing import Any, Final

from expc.compiler.dimensions import Size
from expc.compiler.ops.arguments import (
    function,
    need_dtype,
    need_floating,
    need_rank,
    need_same_dtype,
    numel,
    optional_tensor,
    refuse,
    tensor,
)
from expc.compiler.ops.broadcast import broadcast
from expc.compiler.ops.declare import Call, Param
from expc.compiler.ops.kinds import BOOL, FLOAT, PROBABILITY, optional
from expc.compiler.types import TensorType


def _attention(call: Call) -> TensorType:
    query, key, value, mask = call.tensor("query"), call.tensor("key"), call.tensor("value"), call["attn_mask"]
    need_floating(call, query, key, value)
    need_same_dtype(call, query, key, value)
    for type_ in (query, key, value):
        if type_.rank < 2:
            need_rank(call, type_, (), "tensors of at least 2 dimensions [..., tokens, features]")
    call.require_equal(query.dims[-1], key.dims[-1], "the last dimension of key, as that of query,")
    call.require_equal(key.dims[-2], value.dims[-2], "the number of tokens of value, as of key,")
    scores = (query.dims[-2], key.dims[-2])
    if call["enable_gqa"]:
        batch = _grouped(call, query, key, value)
    else:
        batch = broadcast(call, *(type_.with_dims(*type_.dims[:-2]) for type_ in (query, key, value)))
    if isinstance(mask, TensorType):
        if call["is_causal"]:
            refuse(call, "takes attn_mask or is_causal, not both")
        need_dtype(call, mask, frozenset({"bool", "f32", query.dtype}), f"a mask of booleans or {query.dtype}")
        _fits(call, mask, (*batch, *scores))
    return TensorType(query.dtype, (*batch, query.dims[-2], value.dims[-1]))


def _grouped(call: Call, query: TensorType, key: TensorType, value: TensorType) -> tuple[Size, ...]:
    for type_ in (query, key, value):
        if type_.rank < 3:
            need_rank(call, type_, (), "tensors of at least 3 dimensions [..., heads, tokens, features] for enable_gqa")
    for name, type_ in (("key", key), ("value", value)):
        call.require_divisible(query.dims[-3], type_.dims[-3], f"the number of heads of query, for those of {name},")
    batch = broadcast(call, *(type_.with_dims(*type_.dims[:-3]) for type_ in (query, key, value)))
    return (*batch, query.dims[-3])


def _fits(call: Call, mask: TensorType, wanted: tuple[Size, ...]) -> None:
    if not 2 <= mask.rank <= len(wanted):
        need_rank(call, mask, (), f"a mask of 2 to {len(wanted)} dimensions [..., tokens of query, tokens of key]")
    for at in range(-mask.rank, 0):
        if not (isinstance(mask.dims[at], int) and mask.dims[at] == 1):
            call.require_equal(wanted[at], mask.dims[at], f"dimension {at} of attn_mask")


def _attention_macs(call: Call, result: Any) -> Size:
    query, key = call.tensor("query"), call.tensor("key")
    features: Size = query.dims[-1] + result.dims[-1]
    return numel((*result.dims[:-1], key.dims[-2])) * features


def _build_attention(torch: Any, v: dict[str, Any]) -> Any:
    dropped = {"dropout_p": v["dropout_p"] if v["training"] else 0.0} if v["dropout_p"] else {}
    plain = {"attn_mask": None, "is_causal": False, "scale": None, "enable_gqa": False}
    named = {name: v[name] for name, default in plain.items() if v[name] is not default}
    return torch.nn.functional.scaled_dot_product_attention(v["query"], v["key"], v["value"], **dropped, **named)


OPERATORS: Final = (
    function(
        "scaled_dot_product_attention",
        "Values weighted by how well their keys meet each query.",
        (
            tensor("query"),
            tensor("key"),
            tensor("value"),
            optional_tensor("attn_mask"),
            Param("dropout_p", PROBABILITY, 0.0),
            Param("is_causal", BOOL, False),
            Param("scale", optional(FLOAT), None, by_name=True),
            Param("enable_gqa", BOOL, False, by_name=True),
        ),
        _attention,
        "scaled_dot_product_attention(q, k, v, is_causal=true)",
        {"q": "f32[N, 4, T, 16]", "k": "f32[N, 4, T, 16]", "v": "f32[N, 4, T, 16]"},
        home="torch.nn.functional",
        build=_build_attention,
        macs=_attention_macs,
        random=True,
        mode=True,
    ),
)
