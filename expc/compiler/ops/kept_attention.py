"""What is kept by attention, and by the layers of transformers, which are made of it."""

from collections.abc import Iterator, Mapping
from typing import Any, Final, NamedTuple

from expc.compiler.dimensions import Size
from expc.compiler.ops.inner import Inner
from expc.compiler.ops.kept import As, Item, Rule, Use, size_of
from expc.compiler.ops.rules import known, product
from expc.compiler.types import TensorType


def _scaled_dot_product(use: Use) -> Iterator[Item]:
    """One kernel that keeps a number for each query; with dropout, or a mask that learns, the scores of all pairs."""
    query, key, value, mask = (use.call[name] for name in ("query", "key", "value", "attn_mask"))
    scores = size_of(TensorType("f32", (*query.dims[:-1], key.dims[-2])))
    if use.call["dropout_p"] or use.needs("attn_mask") or query.rank != 4:
        yield size_of(query) + size_of(key) + (3 if use.call["dropout_p"] else 1) * scores
        yield As("value", (product(value.dims[:-2]), *value.dims[-2:]))
        return
    yield from ("query", "key", "value", "result")
    yield 4 * product(query.dims[:-1])
    if mask is not None:
        yield "attn_mask" if mask.dtype != "bool" else 4 * product(mask.dims)


class _Shape(NamedTuple):
    """The sizes of an attention: samples, queries, keys, width, heads."""

    batch: Size
    queries: Size
    keys: Size
    width: Size
    heads: Size
    batch_first: bool

    @property
    def rows(self) -> Size:
        """The bytes of the queries."""
        return 4 * self.batch * self.queries * self.width

    @property
    def key_rows(self) -> Size:
        """The bytes of the keys."""
        return 4 * self.batch * self.keys * self.width

    @property
    def scores(self) -> Size:
        """The bytes of a number for each pair."""
        return 4 * self.batch * self.heads * self.queries * self.keys


def _core(shape: _Shape, *, itself: bool, apart: bool, dropout: bool, weights: bool, mask: Size = 0) -> Size:
    """From the projections to what the last of them gets.

    `itself`: query, key and value are one tensor, and one product. `apart`: value is not key, or of another size.
    """
    scaled = weights or dropout
    projected = 3 * shape.rows if itself else 2 * shape.key_rows
    if apart and dropout and not weights:
        projected = shape.key_rows
    if not scaled:
        own = 0 if itself else shape.rows
        return projected + own + shape.rows + 4 * shape.batch * shape.heads * shape.queries + mask
    keys = 0 if weights else shape.key_rows
    return projected + shape.rows + keys + (3 if dropout else 1) * shape.scores + shape.rows


def _entering(name: str, type_: TensorType, *, batch_first: bool) -> Item:
    """A sequence goes in with its positions first: a copy where its samples come first."""
    if batch_first and type_.dims[0] != 1 and type_.dims[1] != 1:
        return size_of(type_)
    return As(name, (product(type_.dims[:-1]), type_.dims[-1]))


def _mask(call: Any, shape: _Shape, mask: str, padding: str) -> Size:
    """The bytes of what both masks make together."""
    if call[padding] is not None:
        queries: Size = 1 if call[mask] is None else shape.queries
        return 4 * shape.batch * shape.heads * queries * shape.keys
    if call[mask] is None:
        return 0
    written: TensorType = call[mask]
    return 4 * product(written.dims)


def _multihead(use: Use) -> Iterator[Item]:
    call = use.call
    query: TensorType = call["query"]
    key: TensorType = call["key"] or query
    value: TensorType = call["value"] or key
    first = call["batch_first"]
    batch, queries = query.dims[:2] if first else (query.dims[1], query.dims[0])
    extra = int(call["add_bias_kv"]) + int(call["add_zero_attn"])
    shape = _Shape(
        batch, queries, key.dims[1 if first else 0] + extra, query.dims[2], call["num_heads"], batch_first=first
    )
    itself = call["key"] is None and call["value"] is None
    sized = call["kdim"] is not None or call["vdim"] is not None
    apart = call["value"] is not None or sized
    yield _entering("query", query, batch_first=first)
    if call["key"] is not None:
        yield _entering("key", key, batch_first=first)
    if call["value"] is not None:
        yield _entering("value", value, batch_first=first)
    elif sized:
        yield _entering("key", key, batch_first=first)
    mask = _mask(call, shape, "attn_mask", "key_padding_mask")
    if call["attn_mask"] is not None and call["key_padding_mask"] is None and call["attn_mask"].dtype != "bool":
        mask = 0
        if not call["need_weights"] and not call["dropout"]:
            yield "attn_mask"
    yield _core(
        shape, itself=itself, apart=apart, dropout=bool(call["dropout"]), weights=call["need_weights"], mask=mask
    )


def _feed_forward(values: Mapping[str, Any], shape: _Shape) -> Size:
    """Two products with an activation and dropout between them."""
    wide: Size = 4 * shape.batch * shape.queries * values["dim_feedforward"]
    inner = 1 if values["activation"] == "relu" else 2
    return (3 if values["dropout"] else inner) * wide


def _block(values: Mapping[str, Any], shape: _Shape, first: Item, entering: Item) -> Iterator[Item]:
    """What every layer has: attention to itself, two norms, and what follows; without masks.

    `first` is the sequence as it arrives, `entering` the same with its positions first.
    """
    dropout = bool(values["dropout"])
    yield (first if values["norm_first"] else entering)
    yield shape.rows
    yield _core(shape, itself=True, apart=False, dropout=dropout, weights=False)
    yield _feed_forward(values, shape)
    yield 2 * shape.rows + (2 * shape.rows if dropout else 0) + 16 * shape.batch * shape.queries


def _encoder(use: Use) -> Iterator[Item]:
    yield from _encoder_layer(use.call.values, "src", use.call.tensor("src"))
    call = use.call
    if not call["dropout"]:
        yield _mask(call, _own(call.values, call.tensor("src")), "src_mask", "src_key_padding_mask")


def _own(values: Mapping[str, Any], x: TensorType) -> _Shape:
    """The sizes of a sequence's attention to itself."""
    first = values["batch_first"]
    batch, length = x.dims[:2] if first else (x.dims[1], x.dims[0])
    return _Shape(batch, length, length, x.dims[2], values["nhead"], batch_first=first)


def _encoder_layer(values: Mapping[str, Any], name: str | None, x: TensorType) -> Iterator[Item]:
    """One layer whose input is the argument `name`, or a tensor of its own."""
    shape = _own(values, x)
    yield from _block(values, shape, name or shape.rows, _arrival(name, x, shape))


def _arrival(name: str | None, x: TensorType, shape: _Shape) -> Item:
    return shape.rows if name is None else _entering(name, x, batch_first=shape.batch_first)


def _decoder(use: Use) -> Iterator[Item]:
    call = use.call
    yield from _decoder_layer(call.values, "tgt", call.tensor("tgt"), "memory", call.tensor("memory"))


def _decoder_layer(
    values: Mapping[str, Any], name: str | None, x: TensorType, memory: str | None, y: TensorType
) -> Iterator[Item]:
    shape = _own(values, x)
    yield from _block(values, shape, name or shape.rows, _arrival(name, x, shape))
    across = shape._replace(keys=y.dims[1 if shape.batch_first else 0])
    dropout = bool(values["dropout"])
    yield 2 * shape.rows + (shape.rows if dropout else 0) + 8 * shape.batch * shape.queries
    yield across.key_rows if memory is None else _entering(memory, y, batch_first=shape.batch_first)
    yield _core(across, itself=False, apart=False, dropout=dropout, weights=False)


def _norm(inner: Inner | None, x: TensorType) -> Iterator[Item]:
    """The norm after a stack."""
    if inner is not None:
        positions = 4 * product(x.dims[:-1])
        yield size_of(x) + 2 * positions if inner.name == "LayerNorm" else 2 * size_of(x) + positions


def _encoders(use: Use) -> Iterator[Item]:
    yield from _stacked_encoders(use, use.call.values, "src", use.call.tensor("src"))


def _stacked_encoders(use: Use, values: Mapping[str, Any], name: str, x: TensorType) -> Iterator[Item]:
    layer = values["encoder_layer"].values
    for number in range(_number(use, values)):
        yield from _encoder_layer(layer, name if number == 0 else None, x)
    yield from _norm(values["norm"], x)


def _decoders(use: Use) -> Iterator[Item]:
    tgt, memory = use.call.tensor("tgt"), use.call.tensor("memory")
    yield from _stacked_decoders(use, use.call.values, tgt, "memory", memory)


def _stacked_decoders(
    use: Use, values: Mapping[str, Any], x: TensorType, memory: str | None, y: TensorType
) -> Iterator[Item]:
    layer = values["decoder_layer"].values
    for number in range(_number(use, values)):
        yield from _decoder_layer(layer, "tgt" if number == 0 else None, x, memory, y)
    yield from _norm(values["norm"], x)


def _number(use: Use, values: Mapping[str, Any]) -> int:
    call = use.call
    return known(call, "num_layers") if values is call.values else int(values["num_layers"])


def _transformer(use: Use) -> Iterator[Item]:
    from expc.compiler.ops.transformer import stacks

    encoder, decoder = stacks(use.call)
    src, tgt = use.call.tensor("src"), use.call.tensor("tgt")
    yield from _stacked_encoders(use, encoder.values, "src", src)
    yield from _stacked_decoders(use, decoder.values, tgt, None, src)


ATTENTION: Final[Mapping[str, Rule]] = {
    "scaled_dot_product_attention": _scaled_dot_product,
    "MultiheadAttention": _multihead,
    "TransformerEncoderLayer": _encoder,
    "TransformerDecoderLayer": _decoder,
    "TransformerEncoder": _encoders,
    "TransformerDecoder": _decoders,
    "Transformer": _transformer,
}
