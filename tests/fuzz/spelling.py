"""The ways to write one call: settings in their places or by name, tensors before an arrow or among the arguments."""

from typing import TYPE_CHECKING, Any

from fuzz.terms import Operate, Ref, Refs

if TYPE_CHECKING:
    from fuzz.generate import Builder

Values = dict[str, Any]
"""Tensors and settings by torch's names."""


def spelled(b: "Builder", entry: Any, values: Values) -> tuple[Any, Operate]:
    """A call with these values, in one of the ways to write it."""
    values = dict(values)
    if entry.kind == "function":
        return _function(b, entry, values)
    piped = []
    for param in entry.arguments:
        if not param.tensor or param.name not in values:
            break
        value = values[param.name]
        if not isinstance(value, Ref) or (not param.required and b.d.chance(0.5)):
            break
        piped.append(values.pop(param.name))
    positional = []
    for param in entry.positional:
        if param.by_name or param.name not in values or (param.name != entry.positional[0].name and b.d.chance(0.25)):
            break
        positional.append(values.pop(param.name))
    return Refs(piped), Operate(entry.name, is_function=False, positional=positional, named=values)


def _function(b: "Builder", entry: Any, values: Values) -> tuple[Any, Operate]:
    for param in entry.arguments:
        if param.rest and param.name in values:
            values |= values.pop(param.name)
    order = [param for param in entry.positional if not param.rest]
    first = order[0] if order else None
    head: Any = None
    if first is not None and first.tensor and isinstance(values.get(first.name), Ref) and b.d.chance(0.7):
        piped = [values.pop(first.name)]
        order = order[1:]
        while order and order[0].tensor and isinstance(values.get(order[0].name), Ref) and b.d.chance(0.15):
            piped.append(values.pop(order.pop(0).name))
        head = Refs(piped)
    positional: list[Any] = []
    for param in order:
        if param.name not in values or (not param.required and (param.tensor or b.d.chance(0.4))):
            break  # a tensor that is not required has its name: written in its place, it could be the leading one
        value = values.pop(param.name)
        if param.variadic and isinstance(value, list | tuple):
            spread = b.d.chance(0.5) or param.tensor
            positional += value if spread and value else [list(value)]
            break
        positional.append(value)
    stage = Operate(entry.name, is_function=True, positional=positional, named=values, flows=head is not None)
    return head, stage
