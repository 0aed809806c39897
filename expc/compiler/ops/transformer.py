"""The transformer: stacks of encoder and decoder layers, and both together."""

import warnings
from typing import Any, Final

from expc.compiler.dimensions import Size
from expc.compiler.ops.attention import check_causal, check_mask, maybe, required, sequence
from expc.compiler.ops.declare import Call, Operator, Param
from expc.compiler.ops.inner import Inner, Shapes, layer, run
from expc.compiler.ops.kinds import BOOL, FLOAT, POSITIVE, PROBABILITY, choice, optional
from expc.compiler.ops.rules import known
from expc.compiler.types import TensorType


def _named(*names: str) -> Any:
    return lambda operator: operator.name in names


_NORM: Final = Param("norm", optional(layer("LayerNorm or RMSNorm", _named("LayerNorm", "RMSNorm"))), None, layer=True)
_LAYERS: Final = Param("num_layers", POSITIVE)
_HINT: Final = optional(BOOL)
_EXAMPLE: Final = {"x": "f32[N, T, 8]", "y": "f32[N, S, 8]"}
_DECODER_MASKS: Final = (
    maybe("tgt_mask"),
    maybe("memory_mask"),
    maybe("tgt_key_padding_mask"),
    maybe("memory_key_padding_mask"),
)


# ---------------------------------------------------------------------------------------------------- layers


def _decoder_layer(call: Call) -> TensorType:
    tgt, memory = call.tensor("tgt"), call.tensor("memory")
    batch, length, size = sequence(call, tgt)
    memory_batch, source, memory_size = sequence(call, memory)
    call.infer("d_model", size)
    heads: Size = call["nhead"]
    call.require_divisible(size, heads, "d_model")
    call.require_equal(size, memory_size, "the last dimension of memory, d_model,")
    call.require_equal(batch, memory_batch, "the batch of memory")
    check_mask(call, "tgt_mask", (length, length), (batch * heads, length, length))
    check_mask(call, "memory_mask", (length, source), (batch * heads, length, source))
    check_mask(call, "tgt_key_padding_mask", (batch, length))
    check_mask(call, "memory_key_padding_mask", (batch, source))
    check_causal(call, "tgt_mask", "tgt_is_causal")
    check_causal(call, "memory_mask", "memory_is_causal")
    return TensorType("f32", tgt.dims)


def _decoder_layer_weights(call: Call) -> Shapes:
    size, wide = call["d_model"], call["dim_feedforward"]
    shapes: Shapes = {}
    for name in ("self_attn", "multihead_attn"):
        shapes[f"{name}.in_proj_weight"] = (3 * size, size)
        shapes[f"{name}.in_proj_bias"] = (3 * size,)
        shapes[f"{name}.out_proj.weight"] = (size, size)
        shapes[f"{name}.out_proj.bias"] = (size,)
    shapes |= {"linear1.weight": (wide, size), "linear1.bias": (wide,)}
    shapes |= {"linear2.weight": (size, wide), "linear2.bias": (size,)}
    for name in ("norm1", "norm2", "norm3"):
        shapes |= {f"{name}.weight": (size,), f"{name}.bias": (size,)}
    return shapes if call["bias"] else {name: shape for name, shape in shapes.items() if not name.endswith("bias")}


def _decoder_layer_macs(call: Call, _: Any) -> Size:
    batch, length, size = sequence(call, call.tensor("tgt"))
    source = sequence(call, call.tensor("memory"))[1]
    wide: Size = call["dim_feedforward"]
    of_target = length * (6 * size + 2 * length + 2 * source + 2 * wide)
    return batch * size * (of_target + 2 * source * size)


# ---------------------------------------------------------------------------------------------------- stacks


def _encoder(call: Call) -> TensorType:
    src = call.tensor("src")
    masks = {"src_mask": call["mask"], "src_key_padding_mask": call["src_key_padding_mask"]}
    check_causal(call, "mask")
    result: TensorType = run(call, "encoder_layer", src, **masks, is_causal=bool(call["is_causal"]))
    known(call, "num_layers")
    settings = call["encoder_layer"].values
    even = isinstance(settings["nhead"], int) and settings["nhead"] % 2 == 0
    if not (settings["batch_first"] and settings["bias"] and even) or settings["norm_first"]:
        # torch would do the same, and warn.
        call.values["enable_nested_tensor"] = False
    return result if call["norm"] is None else run(call, "norm", result)


def _decoder(call: Call) -> TensorType:
    masks = {param.name: call[param.name] for param in _DECODER_MASKS}
    check_causal(call, "tgt_mask", "tgt_is_causal")
    hints = {name: bool(call[name]) for name in ("tgt_is_causal", "memory_is_causal")}
    result: TensorType = run(call, "decoder_layer", call.tensor("tgt"), call.tensor("memory"), **masks, **hints)
    known(call, "num_layers")
    return result if call["norm"] is None else run(call, "norm", result)


def _stack_weights(call: Call) -> Shapes:
    name = "encoder_layer" if "encoder_layer" in call.values else "decoder_layer"
    shapes: Shapes = {}
    for number in range(known(call, "num_layers")):
        shapes |= call[name].parts(f"layers.{number}")
    return shapes if call["norm"] is None else shapes | call["norm"].parts("norm")


def _encoder_macs(call: Call, result: Any) -> Size:
    each: Size = call["encoder_layer"].macs(result, call.tensor("src"))
    return known(call, "num_layers") * each


def _decoder_macs(call: Call, result: Any) -> Size:
    each: Size = call["decoder_layer"].macs(result, call.tensor("tgt"), call.tensor("memory"))
    return known(call, "num_layers") * each


def _build_stack(name: str, of: str) -> Any:
    def build(nn: Any, settings: dict[str, Any]) -> Any:
        made = {key: value() if key in (of, "norm") else value for key, value in settings.items()}
        return getattr(nn, name)(**made)

    return build


# ---------------------------------------------------------------------------------------------------- both


def stacks(call: Call) -> tuple[Inner, Inner]:
    """The encoder and the decoder: those that are given, else as the other settings say."""
    names = ("d_model", "nhead", "dim_feedforward", "batch_first", "norm_first", "bias")
    settings = tuple((name, call[name]) for name in names)
    norm = Inner("LayerNorm", (("normalized_shape", call["d_model"]), ("bias", call["bias"])))
    stacks = []
    for kind in ("encoder", "decoder"):
        inside = Inner(f"Transformer{kind.capitalize()}Layer", settings)
        number = ("num_layers", call[f"num_{kind}_layers"])
        default = Inner(f"Transformer{kind.capitalize()}", ((f"{kind}_layer", inside), number, ("norm", norm)))
        stacks.append(call[f"custom_{kind}"] or default)
    return stacks[0], stacks[1]


def _transformer(call: Call) -> Any:
    src, tgt = call.tensor("src"), call.tensor("tgt")
    size = sequence(call, src)[2]
    call.infer("d_model", size)
    call.require_equal(size, sequence(call, tgt)[2], "the last dimension of tgt, d_model,")
    call.require_equal(sequence(call, src)[0], sequence(call, tgt)[0], "the batch of tgt")
    encoder, decoder = stacks(call)
    values = {"encoder": encoder, "decoder": decoder}
    both = Call(call.operator, {**call.values, **values}, call.require, call.arithmetic)
    check_causal(call, "src_mask", "src_is_causal")
    padding = call["src_key_padding_mask"]
    memory = run(both, "encoder", src, call["src_mask"], padding, call["src_is_causal"])
    masks = {param.name: call[param.name] for param in _DECODER_MASKS}
    hints = {name: call[name] for name in ("tgt_is_causal", "memory_is_causal")}
    result = run(both, "decoder", tgt, memory, **masks, **hints)
    for kind in ("encoder", "decoder"):
        if call[f"custom_{kind}"] is not None:
            call.values[f"custom_{kind}"] = both[kind]
    return result


def _transformer_weights(call: Call) -> Shapes:
    encoder, decoder = stacks(call)
    return encoder.parts("encoder") | decoder.parts("decoder")


def _transformer_macs(call: Call, result: Any) -> Size:
    encoder, decoder = stacks(call)
    src, tgt = call.tensor("src"), call.tensor("tgt")
    return encoder.macs(src, src) + decoder.macs(result, tgt, src)


def _build_transformer(nn: Any, settings: dict[str, Any]) -> Any:
    made = {name: value() if name.startswith("custom_") else value for name, value in settings.items()}
    with warnings.catch_warnings():
        # Of a way to run faster that these settings do not allow.
        warnings.filterwarnings("ignore", message="enable_nested_tensor is True")
        return nn.Transformer(**made)


_INSIDE: Final = (
    Param("dim_feedforward", POSITIVE, 2048),
    Param("dropout", PROBABILITY, 0.1),
    Param("activation", choice("relu", "gelu"), "relu"),
)
_LAST: Final = (
    Param("layer_norm_eps", FLOAT, 1e-5),
    Param("batch_first", BOOL, False),
    Param("norm_first", BOOL, False),
    Param("bias", BOOL, True),
)

OPERATORS: Final = (
    Operator(
        "TransformerDecoderLayer",
        "layer",
        "Self-attention, attention to a memory and two linear layers, each with a residual and a normalisation.",
        settings=(Param("d_model", POSITIVE, inferred=True), Param("nhead", POSITIVE), *_INSIDE, *_LAST),
        arguments=(
            required("tgt"),
            required("memory"),
            *_DECODER_MASKS,
            Param("tgt_is_causal", BOOL, False),
            Param("memory_is_causal", BOOL, False),
        ),
        shape=_decoder_layer,
        weights=_decoder_layer_weights,
        macs=_decoder_layer_macs,
        random=True,
        mode=True,
        example="(x, y) -> TransformerDecoderLayer(2, batch_first=true)",
        example_inputs=_EXAMPLE,
    ),
    Operator(
        "TransformerEncoder",
        "layer",
        "Several encoder layers in a row, which start as copies of one, and a last normalisation.",
        settings=(
            Param(
                "encoder_layer",
                layer("a TransformerEncoderLayer", _named("TransformerEncoderLayer")),
                layer=True,
            ),
            _LAYERS,
            _NORM,
            Param("enable_nested_tensor", BOOL, True),
            Param("mask_check", BOOL, True),
        ),
        arguments=(required("src"), maybe("mask"), maybe("src_key_padding_mask"), Param("is_causal", _HINT, None)),
        shape=_encoder,
        weights=_stack_weights,
        macs=_encoder_macs,
        build=_build_stack("TransformerEncoder", "encoder_layer"),
        random=True,
        mode=True,
        example="x -> TransformerEncoder(TransformerEncoderLayer(2, batch_first=true), 3, norm=LayerNorm)",
        example_inputs={"x": "f32[N, T, 8]"},
    ),
    Operator(
        "TransformerDecoder",
        "layer",
        "Several decoder layers in a row, which start as copies of one, and a last normalisation.",
        settings=(
            Param(
                "decoder_layer",
                layer("a TransformerDecoderLayer", _named("TransformerDecoderLayer")),
                layer=True,
            ),
            _LAYERS,
            _NORM,
        ),
        arguments=(
            required("tgt"),
            required("memory"),
            *_DECODER_MASKS,
            Param("tgt_is_causal", _HINT, None),
            Param("memory_is_causal", BOOL, False),
        ),
        shape=_decoder,
        weights=_stack_weights,
        macs=_decoder_macs,
        build=_build_stack("TransformerDecoder", "decoder_layer"),
        random=True,
        mode=True,
        example="(x, y) -> TransformerDecoder(TransformerDecoderLayer(2, batch_first=true), 3)",
        example_inputs=_EXAMPLE,
    ),
    Operator(
        "Transformer",
        "layer",
        "An encoder of one sequence, and a decoder of another that attends to it.",
        settings=(
            Param("d_model", optional(POSITIVE), None, inferred=True),
            Param("nhead", POSITIVE, 8),
            Param("num_encoder_layers", POSITIVE, 6),
            Param("num_decoder_layers", POSITIVE, 6),
            *_INSIDE,
            Param(
                "custom_encoder",
                optional(layer("a TransformerEncoder", _named("TransformerEncoder"))),
                None,
                layer=True,
            ),
            Param(
                "custom_decoder",
                optional(layer("a TransformerDecoder", _named("TransformerDecoder"))),
                None,
                layer=True,
            ),
            *_LAST,
        ),
        arguments=(
            required("src"),
            required("tgt"),
            maybe("src_mask"),
            maybe("tgt_mask"),
            maybe("memory_mask"),
            maybe("src_key_padding_mask"),
            maybe("tgt_key_padding_mask"),
            maybe("memory_key_padding_mask"),
            Param("src_is_causal", _HINT, None),
            Param("tgt_is_causal", _HINT, None),
            Param("memory_is_causal", BOOL, False),
        ),
        shape=_transformer,
        weights=_transformer_weights,
        macs=_transformer_macs,
        build=_build_transformer,
        random=True,
        mode=True,
        example="(x, y) -> Transformer(2, batch_first=true)",
        example_inputs=_EXAMPLE,
    ),
)
