"""How torch runs an operator: the one place that turns a declaration and its values into a call.

Nothing here imports torch; the caller passes it, or a recorder that stands for it.
"""

from collections.abc import Callable, Mapping
from typing import Any

from expc.compiler.ops.declare import REQUIRED, Operator, Param


def call_function(torch: Any, operator: Operator, values: Mapping[str, Any]) -> Any:
    """The result of a function on real tensors.

    `values` has its arguments by name, sizes as whole numbers and dtypes as torch's; arguments that are absent have
    their defaults. Besides, `values["training"]` for functions that act differently in training, and
    `values["device"]` for those that make a tensor from none.
    """
    called, positional, named = function_call(torch, operator, values)
    return called(*positional, **named)


def function_call(
    torch: Any, operator: Operator, values: Mapping[str, Any]
) -> tuple[Callable[..., Any], list[Any], dict[str, Any]]:
    """What `call_function` calls, and with which arguments.

    Anything may stand in `values` for tensors and sizes that are not known yet: it appears in the arguments unchanged.
    """
    complete = {param.name: _value(torch, param, values) for param in operator.arguments}
    if operator.mode:
        complete["training"] = values["training"]
    if operator.creates:
        complete["device"] = values["device"]
    if operator.build is not None:
        return operator.build, [torch, complete], {}
    positional, named = _arguments(operator, complete)
    if operator.home == "torch.Tensor":
        return method_called(operator.name), positional, named
    home = torch.nn.functional if operator.home == "torch.nn.functional" else torch
    return getattr(home, operator.name), positional, named


def method_called(name: str) -> Callable[..., Any]:
    """A function that calls the method of its first argument. `torch.compile` takes not every method off its class."""
    return lambda tensor, *positional, **named: getattr(tensor, name)(*positional, **named)


def make_loss(torch: Any, operator: Operator, settings: Mapping[str, Any]) -> Any:
    """The module of a loss class, from its settings by name; those that are absent have their defaults."""
    complete = {param.name: _value(torch, param, settings) for param in operator.settings}
    if operator.build is not None:
        return operator.build(torch.nn, complete)
    changed = {p.name: complete[p.name] for p in operator.settings if not _is_default(p, complete[p.name])}
    return getattr(torch.nn, operator.name)(**changed)


def _value(torch: Any, param: Param, values: Mapping[str, Any]) -> Any:
    if param.name not in values:
        return () if param.variadic and param.default is REQUIRED else param.default
    value = values[param.name]
    if param.constant and isinstance(value, list | tuple):
        like = next((item for item in values.values() if hasattr(item, "device") and hasattr(item, "dtype")), None)
        return torch.tensor(value, dtype=torch.float32, device=None if like is None else like.device)
    return value


def _is_default(param: Param, value: Any) -> bool:
    default = param.default
    return value is default or (
        type(value) is type(default) and isinstance(value, str | int | float) and value == default
    )


def _arguments(operator: Operator, values: dict[str, Any]) -> tuple[list[Any], dict[str, Any]]:
    positional: list[Any] = []
    named: dict[str, Any] = {}
    for param in operator.arguments:
        value = values.pop(param.name)
        if param.required and not param.by_name:
            positional.extend(value) if param.variadic and param.tensor else positional.append(value)
        elif param.required or not _is_default(param, value):
            named[param.name] = value
    return positional, {**named, **values}
