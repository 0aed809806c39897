"""Blocks written out: the steps of a container with those of the blocks that it runs in their place."""

from collections.abc import Iterator, Mapping
from dataclasses import replace
from typing import Any

from expc.compiler.dimensions import as_symbol
from expc.compiler.graph import (
    Apply,
    Argument,
    Cast,
    Container,
    Invoke,
    Leaf,
    Record,
    Result,
    SliceOf,
    Step,
    Subscript,
    Value,
)
from expc.compiler.types import TensorType

Places = dict[Value, Argument]
"""What stands for a value now."""


def inlined(body: Container) -> Container:
    """The same computation without blocks, as far as these hold no weights and give one tensor."""
    places: Places = {}
    children = dict(body.children)
    sizes = dict(body.sizes)
    steps: list[Step] = []
    for step in body.steps:
        inner = _inner(step, body)
        found = None if inner is None else _sizes(inner, body)
        if not isinstance(step, Invoke) or inner is None or found is None:
            steps.append(_placed(step, places))
            continue
        sizes |= found
        given = (_at(argument, places) for argument in step.arguments)
        inside: Places = dict(zip((each for each in inner.inputs if isinstance(each, Value)), given, strict=True))
        steps.extend(_renamed(_fresh(_placed(each, inside), inside), step.module) for each in inner.steps)
        children |= {f"{step.module}.{name}": child for name, child in inner.children.items()}
        places[_only(step.result)] = inside.get(_only(inner.result), inner.result)
    used = {step.module for step in steps if isinstance(step, Apply | Invoke)}
    return replace(
        body,
        steps=tuple(steps),
        result=_result(body.result, places),
        children={name: child for name, child in children.items() if name in used},
        sizes=sizes,
    )


def _inner(step: Step, body: Container) -> Container | None:
    """What a step runs, itself without blocks, where it can be written out."""
    if not isinstance(step, Invoke):
        return None
    child = step.again or body.children[step.module]
    if not isinstance(child, Container) or child.params or child.buffers:
        return None
    inner = inlined(child)
    plain = all(isinstance(each, Leaf) and not each.weights and not each.tied for each in inner.children.values())
    one = isinstance(inner.result, Value) and isinstance(step.result, Value)
    tensors = all(isinstance(each, Value) for each in inner.inputs)
    makes_one = all(isinstance(each.result, Value) for each in inner.steps)
    return inner if plain and one and tensors and makes_one else None


def _sizes(inner: Container, body: Container) -> dict[str, tuple[int, int | None]] | None:
    """Where the symbols of `inner` are found among the inputs of `body`; none where one is not."""
    found: dict[str, tuple[int, int | None]] = {}
    for name in inner.sizes:
        place = next(_showing(name, body), None)
        if place is None:
            return None
        found[name] = place
    return found


def _showing(name: str, body: Container) -> Iterator[tuple[int, int]]:
    for at, value in enumerate(body.inputs):
        if isinstance(value, Value) and isinstance(value.type, TensorType):
            for axis, size in enumerate(value.type.dims):
                symbol = as_symbol(size)
                if symbol is not None and symbol.name == name:
                    yield at, axis


def _only(result: Result) -> Value:
    assert isinstance(result, Value)  # noqa: S101 - `_inner` has looked
    return result


def _fresh(step: Step, places: Places) -> Step:
    """The step with a result of its own: a block may run twice."""
    made = _only(step.result)
    places[made] = Value(made.type, made.span, made.name, made.source)
    return replace(step, result=places[made])


def _renamed(step: Step, module: str) -> Step:
    if isinstance(step, Apply) and step.module is not None:
        return replace(step, module=f"{module}.{step.module}")
    return step


def _placed(step: Step, places: Places) -> Step:
    match step:
        case Apply():
            return replace(step, arguments=_at(step.arguments, places))
        case Invoke():
            return replace(step, arguments=_at(step.arguments, places))
        case Subscript():
            return replace(step, value=_at(step.value, places), items=_at(step.items, places))
        case Cast():
            return replace(step, value=_at(step.value, places))
        case _:
            return step


def _at(argument: Argument, places: Places) -> Any:
    match argument:
        case Value():
            return places.get(argument, argument)
        case SliceOf(start=start, stop=stop, step=step):
            return SliceOf(_at(start, places), _at(stop, places), _at(step, places))
        case tuple() | list():
            return tuple(_at(item, places) for item in argument)
        case Mapping():
            return {key: _at(item, places) for key, item in argument.items()}
        case _:
            return argument


def _result(result: Result, places: Places) -> Result:
    if isinstance(result, Record):
        return Record({name: _at(value, places) for name, value in result.fields.items()}, result.training_only)
    return _at(result, places)  # type: ignore[no-any-return]
