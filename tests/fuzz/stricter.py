"""What the language refuses though torch takes it, written down a second time, away from the checker.

`docs/correctness.md` lists it. Everything else is torch's to say. A refusal is the exception `Refused`; where the
language has a condition and torch a case for each size, a note is left for `compare`.
"""

from collections.abc import Mapping, Sequence
from typing import Any

import torch

from fuzz.terms import Frame, Refused

AT_LEAST_TWO = tuple(range(2, 9))

BATCHED = {
    **{
        f"{kind}{n}d": (n + 2,)
        for n in (1, 2, 3)
        for kind in (
            *("Conv", "ConvTranspose", "MaxPool", "AvgPool", "LPPool", "AdaptiveAvgPool", "AdaptiveMaxPool"),
            *("FractionalMaxPool", "MaxUnpool", "InstanceNorm", "ReflectionPad", "ReplicationPad", "CircularPad"),
            *("ZeroPad", "ConstantPad", "Dropout"),
            *("max_pool", "avg_pool", "lp_pool", "adaptive_avg_pool", "adaptive_max_pool", "fractional_max_pool"),
            *("max_unpool", "conv", "conv_transpose"),
        )
    },
    **dict.fromkeys(("RNNCell", "LSTMCell", "GRUCell"), (2,)),
    **dict.fromkeys(("RNN", "LSTM", "GRU", "MultiheadAttention", "Fold", "fold"), (3,)),
    **{f"Transformer{part}": (3,) for part in ("", "Encoder", "Decoder", "EncoderLayer", "DecoderLayer")},
    **dict.fromkeys(("Softmax2d", "Unfold", "unfold", "FrozenBatchNorm2d", "SqueezeExcitation"), (4,)),
    **dict.fromkeys(("PixelShuffle", "PixelUnshuffle", "pixel_shuffle", "pixel_unshuffle"), (4, 5, 6, 7)),
    **dict.fromkeys(("ChannelShuffle", "channel_shuffle"), (3, 4, 5, 6, 7)),
    **dict.fromkeys(
        (
            *("Linear", "Bilinear", "LayerNorm", "RMSNorm"),
            *("FeatureAlphaDropout", "feature_alpha_dropout", "CrossEntropyLoss", "NLLLoss", "MultiMarginLoss"),
            *("MultiLabelSoftMarginLoss", "MultiLabelMarginLoss", "TripletMarginLoss"),
            *("TripletMarginWithDistanceLoss", "CosineEmbeddingLoss"),
        ),
        AT_LEAST_TWO,
    ),
    **dict.fromkeys(("Embedding", "StochasticDepth", "stochastic_depth"), tuple(range(1, 9))),
}
"""Modules always see a batch: torch's unbatched forms are errors. How many dimensions the input has."""

WEIGHTED = {f"{kind}{n}d" for kind in ("BatchNorm", "InstanceNorm") for n in (1, 2, 3)} | {
    *("GroupNorm", "SyncBatchNorm", "LayerNorm", "RMSNorm", "Swish", "FrozenBatchNorm2d"),
}
"""Layers take the dtype of their weights. What torch makes of two dtypes differs from device to device."""

RECURRENT = ("RNN", "LSTM", "GRU")

OTHER_TARGETS = ("crossentropy", "nllloss", "multimargin", "ctc", "multilabelmargin", "triplet", "adaptivelog")
"""Losses whose target does not have the outputs' shape."""


def layer(
    name: str, tensors: Sequence[torch.Tensor], settings: Mapping[str, Any], *, is_loss: bool, frame: Frame
) -> None:
    """Refuse a use of a layer."""
    first = tensors[0]
    batched(name, first)
    if name == "PairwiseDistance" and max(tensor.dim() for tensor in tensors) < 2:
        raise Refused("without a batch")
    one_for_several(name, settings)
    if any(_is_one(settings.get(word)) and settings[word] < 1 for word in ("divisor_override", "size", "block_size")):
        raise Refused("a count below 1")
    if name.startswith("BatchNorm") and settings.get("eps", 1) <= 0:
        raise Refused("an eps that torch takes in evaluation only")
    if name == "Swish" and not first.is_floating_point():
        raise Refused("a layer of our own")
    if name == "Hardtanh" and first.dtype is torch.uint8:
        raise Refused("limits of numbers without a sign")
    if "Drop" in name and not first.is_floating_point():
        raise Refused("dropout of whole numbers")
    if is_loss:
        smoothing(settings)
        loss(name, tensors)
    if name in ("Softmax", "LogSoftmax", "Softmin") and settings.get("dim") is None:
        raise Refused("an implicit dim")
    _numbers(settings)
    if name.startswith("Upsampl") and None not in (settings.get("size"), settings.get("scale_factor")):
        raise Refused("two settings for one thing")
    if name.startswith("DropBlock"):
        frame.notes.add("a block is made smaller where a side is")


def _is_one(value: Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool)


def one_for_several(name: str, settings: Mapping[str, Any]) -> None:
    """Refuse `stride=[2]` where there are several dimensions."""
    if name.endswith(("2d", "3d")) and any(isinstance(value, list) and len(value) == 1 for value in settings.values()):
        raise Refused("one number in a list for several dimensions")


def weights(name: str, module: torch.nn.Module, first: torch.Tensor, states: Any = None) -> None:
    """Refuse an input, or the states that a recurrent layer starts with, of another dtype than the weights."""
    if name.startswith(RECURRENT) and any(part.dtype is not torch.float32 for part in _tensors(states)):
        raise Refused("states of another dtype")
    has_weights = any(True for _ in (*module.parameters(), *module.buffers()))
    if name in WEIGHTED and has_weights and first.dtype is not torch.float32:
        raise Refused("weights of another dtype")


def _tensors(value: Any) -> list[torch.Tensor]:
    parts = value if isinstance(value, list | tuple) else [value]
    return [part for part in parts if isinstance(part, torch.Tensor)]


def used_again(module: torch.nn.Module, flow: Any) -> None:
    """Refuse a second use of a module."""
    if isinstance(flow, torch.Tensor):
        batched(type(module).__name__, flow)
        weights(type(module).__name__, module, flow)


def function(name: str, positional: Sequence[Any], named: Mapping[str, Any], frame: Frame) -> None:
    """Refuse a use of a function."""
    found = [part for part in (*positional, *named.values()) if isinstance(part, torch.Tensor)]
    if found:
        batched(name, found[0])
    one_for_several(name, named)
    if _is_one(named.get("divisor_override")) and named["divisor_override"] < 1:
        raise Refused("a count below 1")
    if "dropout" in name and not found[0].is_floating_point():
        raise Refused("dropout of whole numbers")
    if name.endswith(("_loss", "entropy", "_with_logits", "kl_div")):
        smoothing(named)
        loss(name, [part for part in positional if isinstance(part, torch.Tensor)])
    _numbers(named)
    if name == "hardtanh" and found[0].dtype is torch.uint8:
        raise Refused("limits of numbers without a sign")
    if name == "einsum" and any(part.dtype is torch.bool for part in found):
        raise Refused("a product of booleans, which torch cannot sum")
    if name == "linear" and any(part.shape[0] != found[1].shape[0] for part in found[2:]):
        raise Refused("a bias that is stretched")
    if name == "cross" and named.get("dim") is None and len(positional) < 3:
        raise Refused("an implicit dim")
    if name in ("softmax", "log_softmax", "softmin") and len(positional) < 2 and named.get("dim") is None:
        raise Refused("an implicit dim")
    if name.startswith("fractional"):
        _fractional(positional, named)
    if name == "lerp" and (len({part.dtype for part in found}) > 1 or not found[0].is_floating_point()):
        raise Refused("a mean of whole numbers, or of several dtypes")
    if name in ("batch_norm", "layer_norm", "group_norm", "instance_norm") and len({part.dtype for part in found}) > 1:
        raise Refused("weights or statistics of another dtype")
    if name == "linear" and any(part.dim() != 1 for part in found[2:]):
        raise Refused("a bias that is no vector")
    if name.startswith(("einsum", "conv")) and name != "conv_tbc" and len({part.dtype for part in found}) > 1:
        raise Refused("a product of several dtypes")
    scales = [named[word] for word in ("alpha", "beta") if word in named]
    whole = bool(found) and not any(part.is_floating_point() for part in found)
    if whole and any(isinstance(scale, float) for scale in scales):
        raise Refused("a scale of whole numbers, of which torch would cut off what is behind the point")
    if name in ("chunk", "tensor_split"):
        _parts(positional, named, frame)


def batched(name: str, first: Any) -> None:
    """Refuse torch's unbatched forms."""
    if name in BATCHED and first.dim() not in BATCHED[name]:
        raise Refused("without a batch")


def smoothing(settings: Mapping[str, Any]) -> None:
    """Refuse a share of smoothing that is none; torch looks at it only where there is something to smooth."""
    if not 0 <= settings.get("label_smoothing", 0) <= 1:
        raise Refused("a share below 0 or above 1")


def loss(name: str, tensors: Sequence[torch.Tensor]) -> None:
    """Outputs of a loss are floating-point numbers, and comparisons that would broadcast are errors."""
    plain = name.lower().replace("_", "")
    if not tensors or any(not isinstance(tensor, torch.Tensor) for tensor in tensors[:2]):
        return
    if "triplet" in plain and all(tensor.dim() == 0 for tensor in tensors):
        raise Refused("triplets of scalars")
    outputs = tensors[: 2 if "ranking" in plain or "cosine" in plain else 1]
    if "triplet" not in plain and not all(output.is_floating_point() for output in outputs):
        raise Refused("outputs that are no floating-point numbers")
    if plain.startswith(OTHER_TARGETS):
        return
    if "multilabelsoft" in plain and not tensors[1].is_floating_point():
        raise Refused("a target of whole numbers")
    if "cosineembedding" in plain and tensors[2].shape != tensors[0].shape[:-1]:
        raise Refused("a loss of two shapes")
    compared = tensors if "ranking" in plain else tensors[:2]
    if any(tensor.shape != compared[0].shape for tensor in compared):
        raise Refused("a loss of two shapes")


def _numbers(given: Mapping[str, Any]) -> None:
    for word in ("stride", "kernel_size", "dilation"):
        value = given.get(word)
        if value == 0 or (isinstance(value, list | tuple) and (not value or 0 in value)):
            raise Refused(f"a {word} of 0, or of nothing, which torch reads as none")


def _fractional(positional: Sequence[Any], named: Mapping[str, Any]) -> None:
    if (
        len(
            {*("input", "kernel_size", "output_size", "output_ratio")[: len(positional)], *named}
            & {"output_size", "output_ratio"}
        )
        > 1
    ):
        raise Refused("two settings for one thing")
    ratio = named.get("output_ratio", 0.5)
    if not all(0 < part < 1 for part in (ratio if isinstance(ratio, list) else [ratio])):
        raise Refused("a ratio that is none")


def _parts(positional: Sequence[Any], named: Mapping[str, Any], frame: Frame) -> None:
    """Parts of an unknown size are equal: that they come out even is a condition, which torch does not need."""
    given = dict(zip(("input", "count", "dim"), positional, strict=False))
    count = given.get("count", named.get("chunks", named.get("indices_or_sections")))
    along, tensor = given.get("dim", named.get("dim", 0)), given["input"]
    if isinstance(count, int) and count and -tensor.dim() <= along < tensor.dim() and tensor.shape[along] % count:
        frame.notes.add("unequal parts")
