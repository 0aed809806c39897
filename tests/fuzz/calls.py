"""The call of torch that an operator of the language stands for, by its name alone.

Nothing here asks expc: names are torch's own, settings are passed as they were written, and what the language infers
from the input (`in_channels`) is inferred once more. What the language refuses though torch takes it stands here too,
each with the sentence of the documentation that says so.
"""

import operator
import warnings
from collections.abc import Callable
from functools import cache
from typing import TYPE_CHECKING, Any

import torch
from torch import nn
from torch.nn import functional

from fuzz.terms import Recipe, Refused, resolve

if TYPE_CHECKING:
    from fuzz.terms import Frame, Operate

ERRORS = (
    RuntimeError,
    TypeError,
    ValueError,
    IndexError,
    NotImplementedError,
    AssertionError,
    ArithmeticError,
    AttributeError,
    Warning,
    Refused,
)
"""What torch raises when it refuses; warnings are errors in the tests."""

HARMLESS = (
    "degrees of freedom",
    "batchmean",
    "zero-padded copy",
    "fused implementation",
    "non-contiguous",
    "dropout option adds",
)
"""Warnings that say nothing about types."""

LAST = {"in_features", "in1_features", "input_size", "embed_dim", "d_model"}
SECOND = {"in_channels", "num_features", "num_channels", "input_channels"}

BATCHED = {
    **{f"{kind}{n}d": (n + 2,) for n in (1, 2, 3) for kind in (
        "Conv", "ConvTranspose", "MaxPool", "AvgPool", "LPPool", "AdaptiveAvgPool", "AdaptiveMaxPool", "InstanceNorm",
        "ReflectionPad", "ReplicationPad", "CircularPad", "ZeroPad", "ConstantPad", "Dropout", "FractionalMaxPool",
        "MaxUnpool",
    )},
    "RNN": (3,), "LSTM": (3,), "GRU": (3,), "MultiheadAttention": (3,), "RNNCell": (2,), "LSTMCell": (2,),
    "GRUCell": (2,), "TransformerEncoderLayer": (3,), "TransformerDecoderLayer": (3,), "TransformerEncoder": (3,),
    "TransformerDecoder": (3,), "Transformer": (3,), "Softmax2d": (4,), "Fold": (3,), "Unfold": (4,), "FrozenBatchNorm2d": (4,), **dict.fromkeys(("FeatureAlphaDropout", "feature_alpha_dropout"), (2, 3, 4, 5, 6)),
    "Embedding": (1, 2, 3, 4, 5, 6),
    "PixelShuffle": (4, 5, 6), "PixelUnshuffle": (4, 5, 6), "ChannelShuffle": (3, 4, 5, 6),
    "unfold": (4,), "fold": (3,), "pixel_shuffle": (4, 5, 6), "pixel_unshuffle": (4, 5, 6), "channel_shuffle": (3, 4, 5, 6),
    **{f"{kind}{n}d": (n + 2,) for n in (1, 2, 3) for kind in (
        "max_pool", "avg_pool", "lp_pool", "adaptive_avg_pool", "adaptive_max_pool", "max_unpool", "fractional_max_pool",
    )},
    **dict.fromkeys(("Linear", "Bilinear", "LayerNorm", "RMSNorm", "PairwiseDistance"), (2, 3, 4, 5, 6)),
    **dict.fromkeys(
        ("CrossEntropyLoss", "NLLLoss", "MultiMarginLoss", "MultiLabelSoftMarginLoss", "MultiLabelMarginLoss",
         "TripletMarginLoss", "TripletMarginWithDistanceLoss", "CosineEmbeddingLoss"), (2, 3, 4, 5, 6)
    ),
}  # fmt: skip
"""Modules always see a batch: torch's unbatched forms are errors here."""


NORMALIZING = {f"{kind}{n}d" for kind in ("BatchNorm", "InstanceNorm") for n in (1, 2, 3)} | {
    "GroupNorm",
    "SyncBatchNorm",
    "LayerNorm",
    "RMSNorm",
    "Swish",
    "FrozenBatchNorm2d",
}
"""Layers with weights take the dtype of their weights; what torch makes of two dtypes differs from device to device."""


def strict_warnings() -> None:
    """Make warnings errors, as the tests have them, less the harmless ones."""
    warnings.simplefilter("error")
    for message in HARMLESS:
        warnings.filterwarnings("ignore", message=f"(?s).*{message}")


@cache
def table() -> Any:
    """The names of the table: which exist, what kind each is, and which arguments follow the settings of a layer."""
    from expc.compiler.ops.table import operators

    return operators()


@cache
def _forward(name: str) -> frozenset[str]:
    """The names of a layer that belong to the call and not to the module."""
    return frozenset(param.name for param in table()[name].arguments)


@cache
def _constants(name: str) -> frozenset[str]:
    entry = table()[name]
    return frozenset(param.name for param in (*entry.settings, *entry.arguments) if param.constant)


def call(use: "Operate", flow: Any, frame: "Frame") -> Any:
    """Apply an operator."""
    piped = flow if isinstance(flow, tuple) else (flow,)
    positional = [resolve(value, frame) for value in use.positional]
    named = {name: resolve(value, frame) for name, value in use.named.items()}
    for name in _constants(use.name) & named.keys():
        if isinstance(named[name], list):
            named[name] = torch.tensor(named[name], dtype=torch.float32, device=frame.device)
    if use.is_function:
        return _function(use.name, [*piped, *positional], named, frame)
    return _layer(use, piped, positional, named, frame)


# ------------------------------------------------------------------------------------------------ layers


def _layer(use: "Operate", piped: tuple[Any, ...], positional: list[Any], named: dict[str, Any], frame: "Frame") -> Any:
    entry = table()[use.name]
    slots = [param.name for param in entry.positional]
    if len(positional) > len(slots):
        raise Refused("too many settings")
    settings = {**dict(zip(slots, positional, strict=False)), **named}
    given = {name: settings.pop(name) for name in _forward(use.name) & settings.keys()}
    names = [param.name for param in entry.arguments if param.tensor]
    tensors = dict(zip([name for name in names if name not in given], piped, strict=False))
    if len(tensors) < len(piped):
        raise Refused("too many inputs")
    if use.name == "MultiheadAttention":  # self-attention where there is nothing else
        tensors.setdefault("key", piped[0])
        tensors.setdefault("value", tensors["key"] if "key" not in given else given["key"])
    first = next(iter(tensors.values()))
    if use.name in BATCHED and first.dim() not in BATCHED[use.name]:
        raise Refused("without a batch")
    if "Drop" in use.name and not first.is_floating_point():
        raise Refused("dropout of whole numbers")
    if entry.kind == "loss":
        _loss(use.name, list(tensors.values()))
    if use.name in ("Softmax", "LogSoftmax", "Softmin") and settings.get("dim") is None:
        raise Refused("an implicit dim")
    for param in entry.settings:
        if param.inferred and param.name not in settings:
            inferred = _inferred(param.name, tensors)
            if inferred is not None:
                settings[param.name] = inferred
    settings = {name: tuple(value) if isinstance(value, list) else value for name, value in settings.items()}
    if settings.get("stride") == 0:
        raise Refused("a stride of 0")
    for name, value in settings.items():
        if isinstance(value, Recipe):
            settings[name] = _inner(name, value, first, frame.device)
    if use.name.startswith("DropBlock"):
        frame.notes.add("a block is made smaller where a side is")
    module = _make(use.name, settings, frame.device)
    state = [tuple(weight.shape) for weight in (*module.parameters(), *module.buffers())]
    if use.name in NORMALIZING and state and first.dtype is not torch.float32:
        raise Refused("weights of another dtype")
    frame.weights.append(
        (state, sorted((name, str(value)) for name, value in settings.items() if not isinstance(value, nn.Module)))
    )
    if use.name.startswith(("BatchNorm", "SyncBatchNorm")):
        module.eval()  # in training it wants more than one sample, which is not a matter of types
    if use.label is not None:
        frame.labels[use.label] = module
    given = {name: tuple(value) if isinstance(value, list) else value for name, value in given.items()}
    return module(**tensors, **given) if given else module(*tensors.values())


ENCODED = (
    "cross_entropy",
    "crossentropy",
    "nll",
    "multi_margin",
    "multimargin",
    "ctc",
    "multilabel_margin",
    "multilabelmargin",
    "triplet",
)
"""Losses whose target is not of the outputs' shape."""


def _loss(name: str, tensors: list[Any]) -> None:
    """Outputs of a loss are floating-point numbers, and comparisons that would broadcast are errors."""
    if not all(isinstance(tensor, torch.Tensor) for tensor in tensors) or not tensors:
        return
    if "riplet" not in name and not tensors[0].is_floating_point():
        raise Refused("outputs that are no floating-point numbers")
    plain = name.lower()
    if any(word in plain and "gaussian" not in plain and "poisson" not in plain for word in ENCODED):
        return
    if "multilabelsoft" in plain.replace("_", "") and not tensors[1].is_floating_point():
        raise Refused("a target of whole numbers")
    if "cosineembedding" in plain.replace("_", "") and tensors[2].shape != tensors[0].shape[:-1]:
        raise Refused("a loss of two shapes")
    compared = tensors[:2]
    if "margin_ranking" in name or "MarginRanking" in name:
        compared = tensors
    if any(tensor.shape != compared[0].shape for tensor in compared):
        raise Refused("a loss of two shapes")


def _inner(setting: str, recipe: Recipe, first: torch.Tensor, device: str) -> Any:
    """A layer that is a setting of another: made, or its class where torch wants that."""
    if setting.endswith(("_layer",)) and not setting.startswith(("encoder", "decoder")):
        return getattr(nn, recipe.name)
    given = dict(recipe.settings)
    size = () if recipe.name in ("PairwiseDistance", "CosineSimilarity") else (first.shape[-1],)
    return getattr(nn, recipe.name)(*size, **given).to(device)


def _inferred(name: str, tensors: dict[str, Any]) -> Any:
    first = next(iter(tensors.values()))
    if name in ("kdim", "vdim"):
        return tensors["key" if name == "kdim" else "value"].shape[-1]
    if name == "in2_features":
        return list(tensors.values())[1].shape[-1]
    if name == "normalized_shape":
        return first.shape[-1]
    if name in SECOND:
        return first.shape[1]
    return first.shape[-1]


@cache
def _takes_device(name: str) -> bool:
    import inspect

    made = _class(name)
    parameters = inspect.signature(made).parameters
    return "device" in parameters


@cache
def _class(name: str) -> Any:
    if hasattr(nn, name):
        return getattr(nn, name)
    from expc.runtime.torchvision_compat import import_torchvision

    import_torchvision()
    from torchvision import ops

    return getattr(ops, name)


def _make(name: str, settings: dict[str, Any], device: str) -> Any:
    if name == "Swish":
        return _Swish(**settings)
    if device == "meta" and _takes_device(name):
        return _class(name)(**settings, device=device)
    return _class(name)(**settings).to(device)


class _Swish(nn.Module):
    def __init__(self, beta: float = 1.0, learnable: bool = False) -> None:
        super().__init__()
        self.beta = nn.Parameter(torch.tensor(float(beta))) if learnable else beta

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return x * torch.sigmoid(x.mul(self.beta) if isinstance(self.beta, float | int) else x)


# ------------------------------------------------------------------------------------------------ functions

_TRAINING = {
    "dropout",
    "alpha_dropout",
    "dropout1d",
    "dropout2d",
    "dropout3d",
    "feature_alpha_dropout",
    "batch_norm",
    "rrelu",
}


@cache
def _callable(name: str) -> Callable[..., Any]:
    entry = table()[name]
    variadic = any(param.variadic and not param.tensor for param in entry.arguments) and not entry.creates
    if entry.home == "torch.Tensor" or variadic:
        return lambda tensor, *rest, **named: getattr(tensor, name)(*rest, **named)
    return getattr(functional if entry.home == "torch.nn.functional" else torch, name)


def _function(name: str, positional: list[Any], named: dict[str, Any], frame: "Frame") -> Any:
    entry = table()[name]
    if name in BATCHED and positional and positional[0].dim() not in BATCHED[name]:
        raise Refused("without a batch")
    if name == "rearrange":
        return rearrange(*positional, **named)
    if entry.creates:
        named = {**named, "device": frame.device}
        if name == "tensor" or (name == "normal" and any(isinstance(part, torch.Tensor) for part in positional)):
            named.pop("device") if name == "normal" else None
    if name.endswith(("_loss", "entropy", "_with_logits", "kl_div")):
        _loss(name, [part for part in positional if isinstance(part, torch.Tensor)])
    if name in ("chunk", "tensor_split") and isinstance(named.get("chunks", positional[1]), int):
        count, along = _chunks(*positional[1:], **named)
        if -positional[0].dim() <= along < positional[0].dim() and count and positional[0].shape[along] % count:
            frame.notes.add("unequal parts")
    if name.startswith("fractional"):
        if {"output_size", "output_ratio"} <= named.keys():
            raise Refused("two settings for one thing")
        ratio = named.get("output_ratio", 0.5)
        if not all(0 < part < 1 for part in (ratio if isinstance(ratio, list) else [ratio])):
            raise Refused("a ratio that is none")
    if name == "linear" and any(part.dim() != 1 for part in [*positional[2:], *_bias(named)]):
        raise Refused("a bias that is no vector")
    if name == "einsum" and len({part.dtype for part in positional[1:] if isinstance(part, torch.Tensor)}) > 1:
        raise Refused("a product of several dtypes")
    if name.startswith("add") and not positional[0].is_floating_point() and isinstance(named.get("alpha"), float):
        raise Refused("torch would cut off what is behind the point")
    if name in _TRAINING:
        named = {**named, "training": name != "batch_norm"}
    if name in ("softmax", "log_softmax", "softmin") and len(positional) < 2 and named.get("dim") is None:
        raise Refused("an implicit dim")
    return _callable(name)(*positional, **named)


def _bias(named: dict[str, Any]) -> list[torch.Tensor]:
    return [named["bias"]] if isinstance(named.get("bias"), torch.Tensor) else []


def _chunks(chunks: int = 0, dim: int = 0, **_: Any) -> tuple[int, int]:
    return chunks, dim


def rearrange(tensor: torch.Tensor, pattern: str, **sizes: int) -> torch.Tensor:
    """`rearrange("n (h d) -> n h d", h=2)` by reshape and permute, for patterns with one level of parentheses."""
    left, right = (_axes(side) for side in pattern.split("->"))
    if len(left) != tensor.dim():
        raise Refused("another number of axes")
    known = dict(sizes)
    flat: list[str] = []
    for group, size in zip(left, tensor.shape, strict=True):
        missing = [axis for axis in group if axis not in known]
        product = 1
        for axis in group:
            product *= known.get(axis, 1)
        if len(missing) > 1 or (not missing and product != size) or (missing and (not product or size % product)):
            raise Refused("sizes do not fit")
        for axis in missing:
            known[axis] = size // product
        flat += group
    wanted = [axis for group in right for axis in group]
    if sorted(wanted) != sorted(flat) or len(set(flat)) < len(flat) or not set(sizes) <= set(flat):
        raise Refused("axes do not fit")
    whole = tensor.reshape([known[axis] for axis in flat]).permute([flat.index(axis) for axis in wanted])
    shape = []
    for group in right:
        size = 1
        for axis in group:
            size *= known[axis]
        shape.append(size)
    return whole.reshape(shape)


def _axes(side: str) -> list[list[str]]:
    groups: list[list[str]] = []
    inside = False
    for word in side.replace("(", " ( ").replace(")", " ) ").split():
        if word == "(":
            groups.append([])
            inside = True
        elif word == ")":
            inside = False
        elif inside:
            groups[-1].append(word)
        else:
            groups.append([word])
    return groups


_INFIX: dict[str, Callable[[Any, Any], Any]] = {
    "+": operator.add,
    "-": operator.sub,
    "*": operator.mul,
    "/": operator.truediv,
    "//": operator.floordiv,
    "%": operator.mod,
    "**": operator.pow,
    "@": operator.matmul,
    "<": operator.lt,
    "<=": operator.le,
    ">": operator.gt,
    ">=": operator.ge,
    "==": operator.eq,
    "!=": operator.ne,
}


def infix(sign: str, left: Any, right: Any) -> Any:
    """Arithmetic and comparison."""
    return operator.neg(left) if right is None else _INFIX[sign](left, right)
