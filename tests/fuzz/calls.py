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

from fuzz import stricter
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
    "Default grid_sample and affine_grid behavior has changed",
    "degrees of freedom",
    "batchmean",
    "zero-padded copy",
    "fused implementation",
    "non-contiguous",
    "dropout option adds",
)
"""Warnings that say nothing about types."""

SECOND = {"in_channels", "num_features", "num_channels", "input_channels"}


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
    slots = [param.name for param in entry.positional if not param.by_name]
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
    if not tensors:
        raise Refused("nothing flows")
    first = next(iter(tensors.values()))
    stricter.layer(use.name, list(tensors.values()), settings, is_loss=entry.kind == "loss", frame=frame)
    for param in entry.settings:
        if param.inferred and param.name not in settings:
            inferred = _inferred(param.name, tensors)
            if inferred is not None:
                settings[param.name] = inferred
    settings = {name: tuple(value) if isinstance(value, list) else value for name, value in settings.items()}
    for name, value in settings.items():
        if isinstance(value, Recipe):
            settings[name] = _inner(name, value, first, frame.device)
    module = _make(use.name, settings, frame.device)
    state = [tuple(weight.shape) for weight in (*module.parameters(), *module.buffers())]
    stricter.weights(use.name, module, first, given.get("hx"))
    frame.weights.append(
        (state, sorted((name, str(value)) for name, value in settings.items() if not isinstance(value, nn.Module)))
    )
    for part in module.modules():
        if isinstance(part, nn.modules.batchnorm._BatchNorm):
            part.eval()  # in training it wants more than one sample, which is not a matter of types
    if use.label is not None:
        frame.labels[use.label] = module
    given = {name: tuple(value) if isinstance(value, list) else value for name, value in given.items()}
    return module(**tensors, **given) if given else module(*tensors.values())


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
    from expc.compiler.lower.torchvision import import_torchvision

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


def _probable(value: Any) -> Any:
    is_floating = isinstance(value, torch.Tensor) and value.is_floating_point()
    return value.nan_to_num().clamp(0, 1) if is_floating else value


def _function(name: str, positional: list[Any], named: dict[str, Any], frame: "Frame") -> Any:
    entry = table()[name]
    stricter.function(name, positional, named, frame)
    if name == "rearrange":
        return rearrange(*positional, **named)
    if name in ("mean", "sum") and "keepdim" in named and len(positional) == 1:
        named = {"dim": None, **named}  # torch's hear `keepdim` only beside `dim`, whose default they do not fill in
    if entry.creates:
        named = {**named, "device": frame.device}
        if name == "tensor" or (name == "normal" and any(isinstance(part, torch.Tensor) for part in positional)):
            named.pop("device") if name == "normal" else None
    if name == "binomial":  # torch draws for ever where a probability is none
        positional, named = [_probable(value) for value in positional], {k: _probable(v) for k, v in named.items()}
    if name in _TRAINING:
        named = {**named, "training": name != "batch_norm"}
    return _callable(name)(*positional, **named)


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
