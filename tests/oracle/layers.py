"""Layers: torch's own classes, made with what arrives, as torch's lazy modules are, and called on the meta device."""

import inspect
import types
import typing
from collections.abc import Callable
from functools import cache
from typing import Any

import torch
from torch import nn

from oracle.errors import LanguageRefused, Refused, TorchRefused, asking
from oracle.values import STAGES, Argument, Dtype, Tensor, Word, flows

DTYPES = {
    "f16": torch.float16,
    "bf16": torch.bfloat16,
    "f32": torch.float32,
    "f64": torch.float64,
    "i8": torch.int8,
    "i16": torch.int16,
    "i32": torch.int32,
    "i64": torch.int64,
    "u8": torch.uint8,
    "bool": torch.bool,
}

_RECURRENT = {"num_layers": 1, "bias": True, "batch_first": False, "dropout": 0.0, "bidirectional": False}
_HIDDEN = {
    "RNN": {**_RECURRENT, "nonlinearity": "tanh"},
    "GRU": _RECURRENT,
    "LSTM": {**_RECURRENT, "proj_size": 0},
}
"""Settings of layers whose signature says `*args, **kwargs`."""

_INFERRED = {
    "in_channels",
    "in_features",
    "in1_features",
    "in2_features",
    "num_features",
    "num_channels",
    "normalized_shape",
    "input_size",
    "embed_dim",
    "kdim",
    "vdim",
    "d_model",
}
_FORMS = {"1d": 3, "2d": 4, "3d": 5}
_EXCLUDED = {"Module", "Sequential", "ModuleList", "ModuleDict", "ParameterList", "ParameterDict", "Container"}


def layer_class(name: str) -> type[nn.Module] | None:
    """The class of torch.nn (or torchvision.ops) by that name, where it is a layer."""
    found = getattr(nn, name, None) or _vision(name)
    if isinstance(found, type) and issubclass(found, nn.Module) and name not in _EXCLUDED and "Lazy" not in name:
        return found
    return None


def _vision(name: str) -> Any:
    if name in ("StochasticDepth", "FrozenBatchNorm2d", "DropBlock2d", "DropBlock3d", "SqueezeExcitation", "Permute"):
        from expc.compiler.lower.torchvision import import_torchvision

        return getattr(import_torchvision().ops, name, None) or getattr(import_torchvision().ops.misc, name, None)
    return None


@cache
def settings_of(cls: type[nn.Module]) -> dict[str, inspect.Parameter]:
    """What the class can be told, by name, less what says where and in which dtype its weights live."""
    if cls.__name__ in _HIDDEN:
        kind = inspect.Parameter.POSITIONAL_OR_KEYWORD
        sizes = {name: inspect.Parameter(name, kind, annotation=int) for name in ("input_size", "hidden_size")}
        rest = _HIDDEN[cls.__name__].items()
        return {**sizes, **{n: inspect.Parameter(n, kind, default=v, annotation=type(v)) for n, v in rest}}
    parameters = dict(inspect.signature(cls.__init__).parameters)
    return {
        name: parameter
        for name, parameter in parameters.items()
        if name not in ("self", "device", "dtype", "size_average", "reduce")
        and not name.startswith("_")
        and parameter.kind in (parameter.POSITIONAL_OR_KEYWORD, parameter.KEYWORD_ONLY)
    }


@cache
def inputs_of(cls: type[nn.Module]) -> dict[str, inspect.Parameter]:
    """What `forward` takes, by name."""
    parameters = dict(inspect.signature(cls.forward).parameters)
    return {name: p for name, p in parameters.items() if name != "self" and p.kind != p.VAR_KEYWORD}


def positional_of(cls: type[nn.Module]) -> list[str]:
    """What may be written without a name: what torch requires less what is inferred, or torch's first setting."""
    settings = settings_of(cls)
    required = [name for name, p in settings.items() if p.default is p.empty]
    if required:
        return [name for name in required if name not in _INFERRED]
    return [name for name in settings if name not in _INFERRED][:1]


def split_arguments(
    cls: type[nn.Module], arguments: tuple[Argument, ...]
) -> tuple[dict[str, Any], dict[str, Any], dict[str, Any]]:
    """Settings, further inputs, and ties to weights, by name. Raises `LanguageRefused`."""
    positional = positional_of(cls)
    known, inputs = settings_of(cls), list(inputs_of(cls))[1:]
    settings: dict[str, Any] = {}
    further: dict[str, Any] = {}
    ties: dict[str, Any] = {}
    unnamed: dict[str, Any] = {}
    for argument in arguments:
        if argument.name is None:
            free = [name for name in positional if name not in settings]
            if not free:
                raise LanguageRefused("positional", f"{cls.__name__} takes no further argument without a name")
            settings[free[0]], unnamed[free[0]] = argument.value, argument.call
        elif unnamed.get(argument.name, argument) == argument.call:
            raise LanguageRefused("argument twice", argument.name)
        elif type(argument.value).__name__ == "WeightRef":
            ties[argument.name] = argument.value
        elif argument.name in inputs:
            if not isinstance(argument.value, (*STAGES, Tensor)) and not flows(argument.value):
                parameter = inputs_of(cls)[argument.name]
                setting(cls.__name__, argument.name, parameter.annotation, parameter.default, argument.value)
            further[argument.name] = argument.value
        elif argument.name in known:
            settings[argument.name] = argument.value
        else:
            raise LanguageRefused("unknown argument", f"{cls.__name__} has no {argument.name}")
    for name, value in settings.items():
        settings[name] = setting(cls.__name__, name, known[name].annotation, known[name].default, value)
    bounds(cls.__name__, settings)
    missing = [n for n, p in known.items() if p.default is p.empty and n not in settings and n not in _INFERRED]
    if missing:
        raise LanguageRefused("missing argument", f"{cls.__name__} needs {missing[0]}")
    return settings, further, ties


def setting(owner: str, name: str, annotation: Any, default: Any, value: Any) -> Any:
    """A setting as torch wants it. Raises `LanguageRefused` for a value of a type that torch does not declare."""
    if isinstance(value, Dtype):
        return DTYPES[value.name]
    if isinstance(value, (*STAGES, Tensor, Word)):
        raise LanguageRefused("kind", f"{owner}: {name} is no setting's value")
    if not _fits(annotation, default, value):
        raise LanguageRefused("kind", f"{owner}: {name}={value!r}")
    return value


def _fits(annotation: Any, default: Any, value: Any) -> bool:
    if annotation is inspect.Parameter.empty:
        return _fits(type(default), default, value) if default is not None and default is not annotation else True
    origin = typing.get_origin(annotation)
    if origin in (typing.Union, types.UnionType):
        return any(_fits(part, default, value) for part in typing.get_args(annotation))
    if origin is typing.Literal:
        return value in typing.get_args(annotation)
    if annotation is type(None) or annotation is None:
        return value is None
    if annotation is bool:
        return isinstance(value, bool)
    if annotation is int:
        return isinstance(value, int) and not isinstance(value, bool)
    if annotation is float:
        return isinstance(value, int | float) and not isinstance(value, bool)
    if annotation is str:
        return isinstance(value, str)
    if origin in (tuple, list):
        parts = typing.get_args(annotation)
        if not isinstance(value, tuple):
            return False
        if origin is tuple and Ellipsis not in parts:
            return len(parts) == len(value) and all(_fits(p, None, v) for p, v in zip(parts, value, strict=True))
        return all(_fits(parts[0], None, v) for v in value)
    return True


def infer(cls: type[nn.Module], settings: dict[str, Any], piped: list[Tensor]) -> None:
    """Fill in what follows from what arrives."""
    shape = tuple(piped[0].data.shape)
    known = settings_of(cls)

    def fill(name: str, axis: int, tensor: Tensor = piped[0]) -> None:
        if name in known and name not in settings:
            if tensor.data.dim() <= max(axis, -axis - 1):
                raise TorchRefused("rank", f"{cls.__name__} of {list(tensor.data.shape)}")
            settings[name] = tensor.data.shape[axis]

    fill("in_channels", 1)
    fill("num_features", 1)
    fill("num_channels", 1)
    fill("in_features", -1)
    fill("input_size", -1)
    fill("embed_dim", -1)
    fill("d_model", -1)
    fill("in1_features", -1)
    if "normalized_shape" in known and "normalized_shape" not in settings:
        settings["normalized_shape"] = shape[-1:] or (0,)
    if "in2_features" in known and len(piped) > 1:
        fill("in2_features", -1, piped[1])
    if cls.__name__ == "MultiheadAttention" and len(piped) == 3:
        for name, tensor in (("kdim", piped[1]), ("vdim", piped[2])):
            if name not in settings and tensor.data.shape[-1:] != piped[0].data.shape[-1:]:
                settings[name] = tensor.data.shape[-1]


def batch_rule(cls: type[nn.Module], piped: list[Tensor]) -> None:
    """Modules always see a batch: torch's unbatched forms are errors of the language."""
    name, rank = cls.__name__, piped[0].data.dim()
    expected = _FORMS.get(name[-2:])
    if name in ("RNN", "LSTM", "GRU", "MultiheadAttention") or name.startswith("TransformerE"):
        expected = 3
    if name in ("RNNCell", "LSTMCell", "GRUCell"):
        expected = 2
    if expected is None or name.startswith(("BatchNorm", "Dropout", "FeatureAlpha", "Zero", "Constant")):
        return
    if rank == expected - 1:
        raise LanguageRefused("unbatched", f"{name} of {list(piped[0].data.shape)}")


_POSITIVE = {
    "kernel_size", "stride", "dilation", "groups", "out_channels", "out_features", "num_embeddings", "embedding_dim",
    "hidden_size", "num_layers", "output_size", "num_heads", "num_groups", "upscale_factor", "downscale_factor",
}  # fmt: skip


def bounds(owner: str, settings: dict[str, Any]) -> None:
    """What torch checks on real devices only, and layers of nothing, of which torch warns."""
    if owner.endswith(("Dropout", "Dropout1d", "Dropout2d", "Dropout3d", "dropout")) and settings.get("p") == 1:
        raise LanguageRefused("drops everything", owner)
    for name, value in settings.items():
        parts = [part for part in (value if isinstance(value, tuple) else (value,)) if isinstance(part, int | float)]
        if name in _POSITIVE and any(part < 1 for part in parts):
            raise LanguageRefused("empty", f"{owner}: {name}={value}")
        if name == "padding" and "Pad" not in owner and owner != "pad" and any(part < 0 for part in parts):
            raise TorchRefused("RuntimeError", f"{owner}: negative padding")
        if name == "label_smoothing" and any(not 0 <= part <= 1 for part in parts):
            raise TorchRefused("RuntimeError", f"{owner}: label_smoothing={value}")


def make(cls: type[nn.Module], settings: dict[str, Any]) -> nn.Module:
    """The module, on the meta device, in training mode."""
    with asking(cls.__name__), torch.device("meta"):
        return cls(**settings)


_MADE: dict[str, list[nn.Module]] = {}
"""Modules of earlier runs, by their class and settings."""


class Stock:
    """Modules for one run: those of earlier runs with the same settings, or new ones; none of them twice."""

    def __init__(self) -> None:
        self._given: dict[str, int] = {}

    def take(self, cls: type[nn.Module], settings: dict[str, Any]) -> nn.Module:
        """A module of the class, which must stay as it is."""
        key = f"{cls.__name__} {sorted(settings.items())}"
        there = _MADE.setdefault(key, [])
        number = self._given.get(key, 0)
        if number == len(there):
            there.append(make(cls, settings))
        self._given[key] = number + 1
        return there[number]


def piped_inputs(cls: type[nn.Module], flow: Any, further: dict[str, Any]) -> list[Any]:
    """What is piped in, in the order of `forward`."""
    piped = list(flow) if isinstance(flow, tuple) else [flow]
    names = [name for name in inputs_of(cls) if name not in further]
    if cls.__name__ == "MultiheadAttention" and len(piped) == 1:
        piped = piped * 3
    elif cls.__name__ == "MultiheadAttention" and len(piped) == 2:
        piped = [piped[0], piped[1], piped[1]]
    if len(piped) > len(names) or (len(piped) > 1 and not all(map(flows, piped))):
        raise LanguageRefused("inputs", f"{cls.__name__} takes no {len(piped)} tensors")
    if not piped or not flows(piped[0]):
        raise LanguageRefused("inputs", f"{cls.__name__} of no tensor")
    return piped


def run(module: nn.Module, piped: list[Any], further: dict[str, Any]) -> Any:
    """What the module gives."""
    cls = type(module)
    values = [raw(value) for value in piped]
    named = {name: raw(value) for name, value in further.items()}
    _ranges(module, piped)
    _dtypes(module, values[0])
    result = _given(module, values, named)
    if cls.__name__ in ("Flatten", "Identity") and isinstance(piped[0], Tensor) and piped[0].known is not None:
        return Tensor(result, module(piped[0].known))
    return boxed(result)


def _dtypes(module: nn.Module, value: Any) -> None:
    """Weights and what arrives have one dtype, which the meta device does not mind."""
    weight = next(module.parameters(recurse=False), None)
    floats = weight is not None and isinstance(value, torch.Tensor) and value.is_floating_point()
    if floats and weight.dtype != value.dtype:
        raise TorchRefused("dtype", f"{type(module).__name__} of {value.dtype}")


_SEEN: dict[Any, Any] = {}
"""What torch gave or said before, for the same operation and inputs of the same shapes and dtypes: only these count."""


def _given(module: nn.Module, values: list[Any], named: dict[str, Any]) -> Any:
    """What the module gives, with a gradient where autograd is on: all but losses pass it to all their inputs."""
    if not torch.is_grad_enabled():
        return _remembered(module, values, named)
    if type(module).__name__.endswith("Loss"):
        with asking(type(module).__name__):
            return module(*values, **named)
    with torch.no_grad():
        result = _remembered(module, values, named)
    inputs = [value for value in (*values, *named.values()) if isinstance(value, torch.Tensor)]
    return _linked(result, [*module.parameters(), *inputs])


class _Link(torch.autograd.Function):
    """Makes a result that is there already look as if it were computed from some tensors."""

    @staticmethod
    def forward(ctx: Any, result: torch.Tensor, *sources: torch.Tensor) -> torch.Tensor:
        ctx.sources = [torch.empty_like(source, device="meta") for source in sources]
        return result.clone()

    @staticmethod
    def backward(ctx: Any, *_: Any) -> Any:
        return None, *ctx.sources


def _linked(result: Any, sources: list[torch.Tensor]) -> Any:
    if isinstance(result, torch.Tensor):
        return _Link.apply(result, *sources) if result.is_floating_point() else result
    return tuple(_linked(part, sources) for part in result) if isinstance(result, tuple | list) else result


def _remembered(module: nn.Module, values: list[Any], named: dict[str, Any]) -> Any:
    shown = module.__dict__.setdefault("_shown", None) or str(module)
    module.__dict__["_shown"] = shown
    key = (shown, module.training, like(tuple(values)), like(tuple(named.items())))

    def given() -> Any:
        with asking(type(module).__name__):
            return module(*values, **named)

    return once(key, given)


def once(key: Any, compute: Callable[[], Any]) -> Any:
    """What was computed, or refused, for the same key before."""
    try:
        hash(key)
    except TypeError:
        return compute()
    if key not in _SEEN:
        if len(_SEEN) > 20_000:
            _SEEN.clear()
        try:
            _SEEN[key] = compute()
        except Refused as refused:
            _SEEN[key] = refused
    if isinstance(_SEEN[key], Refused):
        raise _SEEN[key]
    return _SEEN[key]


def like(value: Any) -> Any:
    """All that counts of a value: tensors of one shape and dtype are alike, numbers of two types are not."""
    if isinstance(value, torch.Tensor):
        return tuple(value.shape), value.dtype
    return tuple(map(like, value)) if isinstance(value, tuple | list) else (type(value), value)


def _ranges(module: nn.Module, piped: list[Any]) -> None:
    """What the meta device cannot see: indices and classes that are out of range."""
    if isinstance(module, nn.Embedding | nn.EmbeddingBag):
        in_range(piped[0], module.num_embeddings, type(module).__name__)
    if isinstance(module, nn.CrossEntropyLoss | nn.NLLLoss) and len(piped) == 2:
        class_range(piped[0], piped[1], module.ignore_index, type(module).__name__)


def class_range(output: Any, target: Any, ignore: int, where: str) -> None:
    """Class indices must be below the number of scores."""
    if not isinstance(output, Tensor) or not isinstance(target, Tensor) or not output.data.dim():
        return
    if target.known is not None and not target.known.is_floating_point():
        kept = target.known[target.known != ignore]
        scores = output.data.shape[1 if output.data.dim() > 1 else 0]
        in_range(Tensor(kept.to("meta"), kept), scores, where)


def in_range(indices: Any, size: int, where: str) -> None:
    """Indices must be from 0 to `size`, as far as they are known."""
    if isinstance(indices, Tensor) and indices.known is not None and indices.known.numel():
        low, high = int(indices.known.min()), int(indices.known.max())
        if low < 0 or high >= size:
            raise TorchRefused("IndexError", f"{where}: {low}..{high} in {size}")


def raw(value: Any) -> Any:
    """A value as torch takes it."""
    if isinstance(value, Tensor):
        value.used = True
        return value.data
    if isinstance(value, Dtype):
        return DTYPES[value.name]
    if isinstance(value, tuple):
        return tuple(raw(part) for part in value)
    return value


def boxed(result: Any) -> Any:
    """What torch gave, as values of the oracle."""
    if isinstance(result, torch.Tensor):
        return Tensor(result)
    if isinstance(result, tuple | list):
        return tuple(boxed(part) for part in result)
    return result
