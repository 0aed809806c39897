"""How the arguments of a step get their values while a lowered network runs.

An argument is known when the network is built (`Fixed`), stands in the environment (`Slot`), or is worked out from what
stands there (`Computed`). The environment is a list that one call of a block's `forward` makes: its inputs first.
"""

from collections.abc import Callable, Mapping
from math import lcm
from typing import Any

import torch
from torch import nn

from expc.compiler.dimensions import Atom, Dim, Extreme, Floor, Size, Symbol
from expc.compiler.graph import SliceOf, Value
from expc.compiler.lower import layers as lower_layers
from expc.compiler.lower.torchvision import import_torchvision
from expc.compiler.ops.declare import Operator
from expc.compiler.ops.inner import Inner, factory
from expc.compiler.types import TORCH_NAMES
from expc.frozen import dataclass
from expc.spec.values import Dtype

Getter = Callable[[nn.Module, list[Any]], Any]
"""Gives a value from the module that runs and its environment."""


@dataclass(frozen=True)
class Fixed:
    """Known when the network is built."""

    value: Any


@dataclass(frozen=True)
class Slot:
    """Stands in the environment."""

    index: int


@dataclass(frozen=True)
class Computed:
    """Worked out at each call."""

    get: Getter


Operand = Fixed | Slot | Computed


def torch_dtype(name: str) -> torch.dtype:
    """Torch's dtype for the language's: `f32`."""
    dtype = getattr(torch, TORCH_NAMES[name])
    assert isinstance(dtype, torch.dtype)  # noqa: S101 - the table names dtypes only
    return dtype


def made(operator: Operator, values: Mapping[str, Any]) -> nn.Module:
    """The module of a layer with all its settings."""
    settings = {name: fixed_value(value) for name, value in values.items()}
    module = operator.make(home(operator), settings)
    assert isinstance(module, nn.Module)  # noqa: S101 - what the table declares is a module
    return module


def home(operator: Operator) -> Any:
    """Where the class of a layer is found."""
    if operator.home == "torchvision.ops":
        return import_torchvision().ops
    return lower_layers if operator.home == "expc" else nn


def fixed_value(value: Any) -> Any:
    """A setting as torch takes it: dtypes are torch's, lists are tuples, layers are functions that make them."""
    if isinstance(value, Inner):
        return factory(made, value)
    if isinstance(value, Dtype):
        return torch_dtype(value.name)
    if isinstance(value, list | tuple):
        return tuple(fixed_value(item) for item in value)
    return value


def placed(argument: Any, slots: Mapping[Value | str, int]) -> Any:
    """The argument with operands in the place of tensors, sizes, slices and dtypes; tuples stay tuples.

    `slots` says where values stand, and symbols by name.
    """
    if isinstance(argument, Value):
        return Slot(slots[argument])
    if isinstance(argument, Dim):
        return _size(argument, slots)
    if isinstance(argument, SliceOf):
        return _slice(argument, slots)
    if isinstance(argument, list | tuple):
        return tuple(placed(item, slots) for item in argument)
    if isinstance(argument, Mapping):
        return {key: placed(item, slots) for key, item in argument.items()}
    return fixed_value(argument)


def operand(value: Any) -> Operand:
    """One operand for a value that may have operands at any depth."""
    if isinstance(value, Fixed | Slot | Computed):
        return value
    if isinstance(value, dict):
        items = {key: operand(item) for key, item in value.items()}
        fixed = {key: item.value for key, item in items.items() if isinstance(item, Fixed)}
        if len(fixed) == len(items):
            return Fixed(fixed)
        getters = [(key, getter(item)) for key, item in items.items() if not isinstance(item, Fixed)]
        return Computed(lambda module, env: {**fixed, **{key: get(module, env) for key, get in getters}})
    if isinstance(value, list | tuple):
        operands = [operand(item) for item in value]
        known = tuple(item.value for item in operands if isinstance(item, Fixed))
        if len(known) == len(operands):
            return Fixed(known)
        gets = [getter(item) for item in operands]
        return Computed(lambda module, env: tuple([get(module, env) for get in gets]))
    return Fixed(value)


def getter(operand: Operand) -> Getter:
    """The operand as a function."""
    if isinstance(operand, Computed):
        return operand.get
    if isinstance(operand, Slot):
        index = operand.index
        return lambda _, env: env[index]
    value = operand.value
    return lambda *_: value


def calling(called: Callable[..., Any], positional: list[Any] | tuple[Any, ...], named: Mapping[str, Any]) -> Getter:
    """Calls a function with arguments as `placed` gives them."""
    operands, keywords = [operand(value) for value in positional], operand(dict(named))
    if isinstance(keywords, Fixed):
        names = keywords.value
        match operands:
            case [Slot(first), *rest] if all(isinstance(item, Fixed) for item in rest):
                others = [item.value for item in rest if isinstance(item, Fixed)]
                return lambda _, env: called(env[first], *others, **names)
            case [Slot(first), Slot(second)]:
                return lambda _, env: called(env[first], env[second], **names)
    gets, get_names = [getter(item) for item in operands], getter(keywords)
    return lambda module, env: called(*[get(module, env) for get in gets], **get_names(module, env))


def calling_child(name: str, positional: list[Any] | tuple[Any, ...], named: Mapping[str, Any]) -> Getter:
    """Calls the module called `name` of the module that runs; it is looked up each time, since it may be replaced."""
    operands, keywords = [operand(value) for value in positional], operand(dict(named))
    match operands, keywords:
        case [Slot(first)], Fixed({}):
            return lambda module, env: module._modules[name](env[first])  # type: ignore[misc]  # noqa: SLF001
    gets, get_names = [getter(item) for item in operands], getter(keywords)
    return lambda module, env: module._modules[name](  # type: ignore[misc]  # noqa: SLF001 - 3 times faster than getattr
        *[get(module, env) for get in gets], **get_names(module, env)
    )


def indexing(value: Value, items: tuple[Any, ...], slots: Mapping[Value | str, int]) -> Getter:
    """`value[items]`."""
    at = slots[value]
    index = operand(placed(items, slots))
    if isinstance(index, Fixed):
        known = index.value
        return lambda _, env: env[at][known]
    get = getter(index)
    return lambda module, env: env[at][get(module, env)]


# ------------------------------------------------------------------------------------------------------------ sizes


def _slice(argument: SliceOf, slots: Mapping[Value | str, int]) -> Operand:
    bounds = operand(placed((argument.start, argument.stop, argument.step), slots))
    if isinstance(bounds, Fixed):
        return Fixed(slice(*bounds.value))
    get = getter(bounds)
    return Computed(lambda module, env: slice(*get(module, env)))


def _size(size: Size, slots: Mapping[Value | str, int]) -> Operand:
    """A polynomial over whole numbers in the environment; a common denominator divides at the end, rounding down."""
    if isinstance(size, int):
        return Fixed(size)
    common = lcm(*(coefficient.denominator for coefficient in size.terms.values()))
    terms = [
        (int(coefficient * common), [_atom(atom, slots) for atom in monomial])
        for monomial, coefficient in size.terms.items()
    ]
    match common, terms:
        case 1, [(1, [Slot() as lone])]:
            return lone
    parts = [(coefficient, [getter(factor) for factor in factors]) for coefficient, factors in terms]

    def total(module: nn.Module, env: list[Any]) -> Any:
        whole = 0
        for coefficient, factors in parts:
            term = coefficient
            for factor in factors:
                term = term * factor(module, env)
            whole = whole + term
        return whole if common == 1 else whole // common

    return Computed(total)


def _atom(atom: Atom, slots: Mapping[Value | str, int]) -> Operand:
    if isinstance(atom, Symbol):
        return Slot(slots[atom.name])
    if isinstance(atom, Floor):
        above, below = getter(_size(atom.numerator, slots)), getter(_size(atom.denominator, slots))
        return Computed(lambda module, env: above(module, env) // below(module, env))
    return _extreme(atom, slots)


def _extreme(atom: Extreme, slots: Mapping[Value | str, int]) -> Operand:
    left, right = getter(_size(atom.left, slots)), getter(_size(atom.right, slots))
    # Exporting, a size may be an expression: Python's own `max` would settle which is larger once and for all.
    choose: Callable[[Any, Any], Any] = torch.sym_max if atom.function == "max" else torch.sym_min
    return Computed(lambda module, env: choose(left(module, env), right(module, env)))
