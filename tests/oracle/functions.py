"""Functions: `torch.nn.functional`, else `torch`, else what only tensors have as a method; and einsum and rearrange."""

import inspect
import re
from dataclasses import dataclass
from functools import cache
from math import prod
from typing import Any

import torch
from torch.nn import functional

from oracle import layers
from oracle.errors import LanguageRefused, NotCovered, asking
from oracle.layers import boxed, class_range, in_range, like, once, raw
from oracle.values import STAGES, Argument, Tensor, flows, tensors

CREATING = frozenset({"arange", "zeros", "ones", "full", "eye", "linspace", "logspace", "rand", "randn", "randint"})
_METHODS = frozenset({"reshape", "permute", "expand", "view", "tile", "masked_fill", "to"})
"""Functions whose sizes may be written one by one, as the method takes them."""
_NO_FUNCTIONS = frozenset(
    {"load", "save", "compile", "is_tensor", "seed", "split_with_sizes", "typename", "vmap", "cond"}
)
_VIEWS = frozenset({"float", "long", "half", "double", "int", "bool"})
_LARGEST_KNOWN = 1_000_000


@dataclass(frozen=True)
class Form:
    """One way to call a function: its parameters by name, each with its type's text and whether it is required."""

    parameters: tuple[tuple[str, str, bool], ...]

    @property
    def leading(self) -> int:
        """How many of its first parameters are required tensors."""
        count = 0
        for _, type_, required in self.parameters:
            if type_ != "Tensor" or not required:
                return count
            count += 1
        return count


@cache
def function(name: str) -> Any:
    """The function by its name, or none."""
    if name in ("einsum", "rearrange"):
        return name
    if not name[:1].islower() or name.startswith("_") or name in _NO_FUNCTIONS or name in _VIEWS:
        return None
    found = getattr(functional, name, None) or getattr(torch, name, None) or getattr(torch.Tensor, name, None)
    if not callable(found) or isinstance(found, type) or inspect.ismodule(found) or name.endswith("_"):
        return None
    return found if forms(name) else None


@cache
def forms(name: str) -> tuple[Form, ...]:
    """The ways in which a function can be called."""
    found = getattr(functional, name, None)
    if found is not None and not inspect.isbuiltin(found):
        plain = getattr(functional, f"_{name}", found)
        try:
            signature = inspect.signature(plain)
        except (TypeError, ValueError):
            signature = None
        if signature is not None and "args" not in signature.parameters:
            return (_python_form(signature),)
    packet = getattr(torch.ops.aten, name, None)
    if packet is None or not hasattr(packet, "overloads"):
        return ()
    made = []
    for overload in packet.overloads():
        schema = getattr(packet, overload)._schema
        if any(argument.is_out or "Dimname" in str(argument.type) for argument in schema.arguments):
            continue
        made.append(
            Form(tuple((_plain(a.name), str(a.type), not a.has_default_value()) for a in schema.arguments if a.name))
        )
    return tuple(made)


def _plain(name: str) -> str:
    return "input" if name == "self" else name


def _python_form(signature: inspect.Signature) -> Form:
    parameters = []
    for name, p in signature.parameters.items():
        if p.kind in (p.POSITIONAL_OR_KEYWORD, p.KEYWORD_ONLY, p.POSITIONAL_ONLY):
            text = (
                p.annotation if isinstance(p.annotation, str) else getattr(p.annotation, "__name__", str(p.annotation))
            )
            untyped = p.annotation is p.empty and name == "input"
            is_tensor = untyped or text == "Tensor" or p.annotation is torch.Tensor
            parameters.append((name, "Tensor" if is_tensor else text, p.default is p.empty))
    return Form(tuple(parameters))


def leading(name: str) -> int:
    """How many tensors the function wants first."""
    if name == "where":
        return 3
    ways = forms(name)
    if any(sum(required for _, _, required in form.parameters) == 1 and form.leading == 1 for form in ways):
        return 1
    return max((form.leading for form in ways), default=0)


def takes_flow(name: str, arguments: tuple[Argument, ...]) -> bool:
    """Whether the flow is the function's first tensor: one is missing among what it is given."""
    if name in CREATING:
        return False
    if name in ("einsum", "rearrange"):
        return not any(isinstance(a.value, (Tensor, *STAGES)) or flows(a.value) for a in arguments)
    given = [argument.value for argument in arguments if argument.name is None]
    named = {argument.name for argument in arguments}
    if "input" in named or (forms(name) and forms(name)[0].parameters[0][0] in named):
        return False
    wanted = leading(name) - len({p for f in forms(name) for p, t, _ in f.parameters[: f.leading]} & named)
    if not wanted:
        return False
    if not given:
        return True
    tensor = isinstance(given[0], (Tensor, *STAGES))
    if tensor:
        return len(given) < wanted
    number_first = any(form.parameters[0][1] in ("number", "Scalar") for form in forms(name))
    return not (number_first and len(given) >= wanted)


def run(name: str, arguments: list[Argument], training: bool) -> Any:
    """What the function gives for these arguments, all of them applied already."""
    if name == "einsum":
        return _einsum(arguments)
    if name == "rearrange":
        return _rearrange(arguments)
    if any(argument.name == "training" for argument in arguments):
        raise LanguageRefused("unknown argument", "nobody writes training")
    values = [argument.value for argument in arguments if argument.name is None]
    named = {str(argument.name): argument.value for argument in arguments if argument.name is not None}
    found = function(name)
    if any("training" in (p for p, _, _ in form.parameters) for form in forms(name)):
        named["training"] = training
    if name in _METHODS and values and isinstance(values[0], Tensor):
        found = getattr(torch.Tensor, name)
    elif name == "scaled_dot_product_attention" and not training:
        named.pop("dropout_p", None)
    for value in (*values, *named.values()):
        if isinstance(value, tuple) and any(not isinstance(part, int | float | str | bool | Tensor) for part in value):
            raise LanguageRefused("kind", f"{name}: a list of {value!r}")
    _ranges(name, values, named)
    layers.bounds(name, named)
    return _call(name, found, values, named)


def _call(name: str, found: Any, values: list[Any], named: dict[str, Any]) -> Any:
    inputs = list(tensors((*values, *named.values())))
    with asking(name):
        if name in CREATING:
            named.setdefault("device", "meta")
            result = found(*map(raw, values), **{key: raw(value) for key, value in named.items()})
            known = None
            if not result.is_floating_point() and result.numel() <= _LARGEST_KNOWN and name != "randint":
                known = found(*map(raw, values), **{**{k: raw(v) for k, v in named.items()}, "device": "cpu"})
            return Tensor(result, known)
        if inputs and all(t.known is not None for t in inputs):
            for tensor in inputs:
                tensor.used = True
            return _known(found(*map(_cpu, values), **{key: _cpu(value) for key, value in named.items()}))
        given, by_name = tuple(map(raw, values)), {key: raw(value) for key, value in named.items()}
        if torch.is_grad_enabled():
            return boxed(found(*given, **by_name))
    key = ("function", name, found, like(given), tuple(sorted((n, like(v)) for n, v in by_name.items())))

    def result() -> Any:
        with asking(name):
            return found(*given, **by_name)

    return boxed(once(key, result))


def operate(operation: Any, left: Any, right: Any) -> Any:
    """`left operation right`, as Python does it with tensors."""
    inputs = list(tensors((left, right)))
    with asking(operation.__name__):
        if all(tensor.known is not None for tensor in inputs):
            for tensor in inputs:
                tensor.used = True
            return _known(operation(_cpu(left), _cpu(right)))
        given = raw(left), raw(right)
        if torch.is_grad_enabled():
            return boxed(operation(*given))

    def result() -> Any:
        with asking(operation.__name__):
            return operation(*given)

    return boxed(once(("operator", operation.__name__, like(given)), result))


def _cpu(value: Any) -> Any:
    if isinstance(value, Tensor):
        return value.known
    return tuple(map(_cpu, value)) if isinstance(value, tuple) else raw(value)


def _known(result: Any) -> Any:
    if isinstance(result, torch.Tensor):
        return Tensor(result.to("meta"), None if result.is_floating_point() else result)
    return tuple(map(_known, result)) if isinstance(result, tuple | list) else result


def _ranges(name: str, values: list[Any], named: dict[str, Any]) -> None:
    """What the meta device cannot see."""
    if name == "embedding" and len(values) > 1 and isinstance(values[1], Tensor):
        in_range(values[0], values[1].data.shape[0], name)
    if name in ("cross_entropy", "nll_loss"):
        given = [*values, *([named["target"]] if "target" in named else [])]
        if len(given) >= 2:
            class_range(given[0], given[1], named.get("ignore_index", -100), name)
    if name == "one_hot" and values and isinstance(named.get("num_classes", values[-1]), int):
        size = named.get("num_classes", values[-1])
        if size >= 0:
            in_range(values[0], size, name)
    if name in ("gather", "index_select", "take_along_dim") and len(values) == 3:
        source, dim, index = values if isinstance(values[1], int) else (values[0], values[2], values[1])
        if isinstance(source, Tensor) and isinstance(dim, int) and -source.data.dim() <= dim < source.data.dim():
            in_range(index, source.data.shape[dim], name)


# ---------------------------------------------------------------------------------------------------- einsum, rearrange


def _strings(arguments: list[Argument]) -> tuple[str, list[Any], dict[str, Any]]:
    texts = [a.value for a in arguments if a.name is None and isinstance(a.value, str)]
    others = [a.value for a in arguments if a.name is None and not isinstance(a.value, str)]
    flat = [part for value in others for part in (value if isinstance(value, tuple) else (value,))]
    if len(texts) != 1 or not all(isinstance(value, Tensor) for value in flat):
        raise LanguageRefused("kind", "one pattern and its tensors")
    return texts[0], flat, {str(a.name): a.value for a in arguments if a.name is not None}


def _einsum(arguments: list[Argument]) -> Any:
    equation, operands, named = _strings(arguments)
    if named:
        raise LanguageRefused("unknown argument", next(iter(named)))
    with asking("einsum"):
        return Tensor(torch.einsum(equation, *map(raw, operands)))


def _rearrange(arguments: list[Argument]) -> Any:
    pattern, operands, named = _strings(arguments)
    if len(operands) != 1:
        raise LanguageRefused("inputs", "rearrange of one tensor")
    with asking("rearrange"):
        return boxed(rearranged(raw(operands[0]), pattern, named))


def rearranged(tensor: torch.Tensor, pattern: str, sizes: dict[str, Any]) -> torch.Tensor:
    """einops' rearrange, in torch's operations. Raises ValueError as einops does."""
    sides = pattern.split("->")
    if len(sides) != 2:
        raise ValueError("one arrow")
    left, right = map(_groups, sides)
    names = [name for group in left for name in group]
    made = [name for group in right for name in group]
    if len(set(names)) != len(names) or len(set(made)) != len(made):
        raise ValueError("a name stands twice")
    if {n for n in names if n != "1"} != {n for n in made if n != "1"} or not set(sizes) <= set(names):
        raise ValueError("names differ")
    if len(left) != tensor.dim():
        raise ValueError(f"{len(left)} dimensions for {tensor.dim()}")
    known: dict[str, int] = {}
    for group, size in zip(left, tensor.shape, strict=True):
        open_ = [name for name in group if name not in sizes]
        for name in group:
            if name in sizes:
                value = sizes[name]
                if not isinstance(value, int) or isinstance(value, bool) or value < 1:
                    raise ValueError(f"{name}={value}")
                known[name] = value
        rest = prod(known[name] for name in group if name in sizes)
        if len(open_) > 1:
            raise ValueError(f"{open_} are not known")
        if size % rest or (not open_ and rest != size):
            raise ValueError(f"{size} is not {group}")
        if open_:
            known[open_[0]] = size // rest
    flat = tensor.reshape([known[name] for name in names])
    order = [names.index(name) for name in made]
    return flat.permute(order).reshape([prod(known[name] for name in group) for group in right])


def _groups(text: str) -> list[list[str]]:
    found: list[list[str]] = []
    inside: list[str] | None = None
    if "..." in text or re.sub(r"[\w\s()]", "", text):
        raise NotCovered(f"rearrange {text}")
    for token in re.findall(r"\w+|[()]", text):
        if token == "(":
            if inside is not None:
                raise ValueError("brackets in brackets")
            inside = []
        elif token == ")":
            if inside is None:
                raise ValueError("a bracket too many")
            found.append(inside)
            inside = None
        elif inside is None:
            found.append([token])
        else:
            inside.append(token)
    if inside is not None:
        raise ValueError("a bracket is open")
    return found
