"""From the steps of a container to what its module runs: a list of (function, place of the result).

Every value has a place in the environment, a list. A place is free again after the last step that reads its value, so
that no tensor outlives its use; what takes several tensors apart are steps of their own.
"""

from collections.abc import Iterator, Mapping
from contextlib import suppress
from typing import Any, Final

import torch
from torch import nn

from expc.compiler.graph import Apply, Cast, Container, Invoke, Read, Record, Result, Step, Subscript, Value
from expc.compiler.lower.externs import checked
from expc.compiler.lower.record import CannotRecord, Recorded, record
from expc.compiler.lower.uses import for_training_only, last_uses, reads
from expc.compiler.lower.values import (
    Computed,
    Getter,
    Slot,
    calling,
    calling_child,
    getter,
    indexing,
    operand,
    placed,
    torch_dtype,
)
from expc.compiler.ops.building import function_call
from expc.compiler.types import TensorType
from expc.frozen import dataclass, field

Run = tuple[Getter, int]


@dataclass(frozen=True)
class Origin:
    """The step that a function stands for, and where what it reads stands: (name, value, place)."""

    step: Step
    reads: tuple[tuple[str, Value, int], ...] = ()


@dataclass(frozen=True, eq=False)
class Plan:
    """How one container runs. It never changes, and copies of a module share it."""

    container: Container
    in_training: tuple[Run, ...]
    in_evaluation: tuple[Run, ...]
    """Without the steps that only results in training need."""
    added: tuple[None, ...]
    """The places of the environment after the inputs."""
    result: Getter
    origins: Mapping[Getter, Origin]

    def __deepcopy__(self, memo: dict[int, Any]) -> "Plan":
        return self

    def __reduce__(self) -> tuple[Any, tuple[Container]]:
        return plan, (self.container,)

    def inputs(self, positional: tuple[Any, ...], named: Mapping[str, Any]) -> tuple[Any, ...]:
        """The inputs in order. Raises TypeError where one is missing, unknown or given twice."""
        names = self.container.input_names
        wanted = f"{self.container.title} takes {len(names)} inputs ({', '.join(names)})"
        if len(positional) > len(names):
            raise TypeError(f"{wanted}, but got {len(positional)}")
        rest = names[len(positional) :]
        for name in named:
            if name not in rest:
                raise TypeError(f"{wanted}, and `{name}` is not one that is still to be given")
        missing = [name for name in rest if name not in named]
        if missing:
            raise TypeError(f"{wanted}; missing: {', '.join(missing)}")
        return (*positional, *(named[name] for name in rest))


@dataclass
class _Places:
    """Where values stand at the moment, and which places are free."""

    slots: dict[Value | str, int]
    width: int
    free: list[int] = field(default_factory=list)
    stale: set[int] = field(default_factory=set)
    """Free places that still hold a tensor."""

    def take(self) -> int:
        """A place for a value; rather one that a tensor can leave."""
        if self.free:
            slot = self.free.pop()
            self.stale.discard(slot)
            return slot
        self.width += 1
        return self.width - 1

    def release(self, slot: int) -> None:
        """Nothing reads this place any more."""
        self.free.append(slot)
        self.stale.add(slot)


def plan(container: Container, *, again: bool = False) -> Plan:
    """The plan of a container, without its children's; `again` with theirs, for modules that have plans already."""
    slots: dict[Value | str, int] = {}
    for index, given in enumerate(container.inputs):
        slots[given if isinstance(given, Value) else given.name] = index
    places = _Places(slots, len(container.inputs))
    runs: list[tuple[Run, int | None]] = [(run, None) for run in _entry(container, places)]
    origins: dict[Getter, Origin] = {}
    last = last_uses(container)
    for number, step in enumerate(container.steps):
        get = _step(step, places.slots, _planned(step, container) if again else None)
        read = tuple((name, value, slots[value]) for name, value in reads(step))
        origins[get] = Origin(step, read)
        for slot in {slot for _, value, slot in read if last[value] == number}:
            places.release(slot)
        bound = [(get, places.take())]
        bound += _bind(_expected(step, container), bound[0][1], last, places)
        runs += [(run, number) for run in bound]
        runs += [((_nothing, slot), None) for slot in sorted(places.stale)]
        places.stale.clear()
    skipped = for_training_only(container)
    return Plan(
        container,
        tuple(run for run, _ in runs),
        tuple(run for run, number in runs if number not in skipped),
        (None,) * (places.width - len(container.inputs)),
        _result(container.result, slots),
        origins,
    )


# ------------------------------------------------------------------------------------------------------------ steps


def _planned(step: Step, container: Container) -> Container | None:
    """The child that a step runs, with the types that it has there."""
    child = container.children[step.module] if isinstance(step, Invoke) else None
    return child if isinstance(child, Container) else None


def _step(step: Step, slots: Mapping[Value | str, int], child: Container | None) -> Getter:
    match step:
        case Apply(module=None):
            return _function(step, slots)
        case Apply(module=str(name)):
            return _layer(name, step, slots)
        case Invoke() if (again := step.again or child) is not None:
            return calling_again(step.module, plan(again, again=True), placed(step.arguments, slots))
        case Invoke():
            return calling_child(step.module, placed(step.arguments, slots), {})
        case Read():
            return _reading(step.path)
        case Subscript():
            return indexing(step.value, step.items, slots)
        case Cast():
            at, dtype = slots[step.value], torch_dtype(step.dtype)
            return lambda _, env: env[at].to(dtype)
        case _:
            raise TypeError(type(step).__name__)


def _function(step: Apply, slots: Mapping[Value | str, int]) -> Getter:
    values = dict(placed(step.arguments, slots))
    for param in step.operator.arguments:
        numbers = values.get(param.name)
        if param.constant and isinstance(numbers, tuple):
            values[param.name] = _constant(numbers, slots[_DEVICE])
    if step.operator.mode:
        values["training"] = Computed(lambda module, _: module.training)
    if step.operator.creates:
        values["device"] = Slot(slots[_DEVICE])
    if step.operator.build is not None:
        with suppress(CannotRecord):
            return _recorded(step, values)
    return calling(*function_call(torch, step.operator, values))


def _recorded(step: Apply, values: Mapping[str, Any]) -> Getter:
    """A function that is built from several calls of torch, recorded for each mode."""

    def standing(argument: Any, operand: Any) -> Any:
        if isinstance(argument, Value):
            return Recorded(operand, argument.type.rank if isinstance(argument.type, TensorType) else None)
        if isinstance(argument, list | tuple) and isinstance(operand, tuple):
            return tuple(standing(*pair) for pair in zip(argument, operand, strict=True))
        if isinstance(argument, Mapping):
            return {key: standing(argument[key], operand[key]) for key in argument}
        if isinstance(operand, Computed | Slot):
            # A size: a rule may ask whether it is an `int`.
            raise CannotRecord
        return operand

    given = {name: standing(argument, values[name]) for name, argument in step.arguments.items()}
    if step.operator.creates:
        given["device"] = Recorded(values["device"])

    def way(*, training: bool) -> Getter:
        build, (_, complete), _ = function_call(torch, step.operator, {**given, "training": training})
        return record(build, complete)

    if not step.operator.mode:
        return way(training=False)
    on, off = way(training=True), way(training=False)
    return lambda module, env: (on if module.training else off)(module, env)


_STANDS_FOR: Final = {"MultiheadAttention": (("key", "query"), ("value", "key"))}
"""Tensors that torch requires and the language does not: which argument is taken for one that is absent."""


def _constant(numbers: tuple[Any, ...], device: int) -> Computed:
    return Computed(lambda _, env: torch.tensor(numbers, dtype=torch.float32, device=env[device]))


def _layer(name: str, step: Apply, slots: Mapping[Value | str, int]) -> Getter:
    given = dict(step.arguments)
    for absent, present in _STANDS_FOR.get(step.operator.name, ()):
        if given.get(absent) is None:
            given[absent] = given[present]
    named, positional = dict(placed(given, slots)), []
    for param in step.operator.arguments:
        if param.name not in named or not param.tensor:
            break
        positional.append(named.pop(param.name))
    get = calling_child(name, positional, named)
    return get if step.operator.python is None else checked(get, step, slots)


def calling_again(name: str, planned: Plan, positional: tuple[Any, ...]) -> Getter:
    """Runs the module called `name` by another plan than its own."""
    get = getter(operand(positional))
    return lambda module, env: module._modules[name].run(planned, get(module, env), {})  # type: ignore[union-attr,operator]  # noqa: SLF001


def _reading(path: tuple[str, ...]) -> Getter:
    *modules, name = path
    # A name that `nn.Module` has too, such as `type`, is found among the parameters only.
    shadowed = hasattr(nn.Module, name)

    def read(module: nn.Module, _: list[Any]) -> Any:
        for child in modules:
            module = module._modules[child]  # type: ignore[assignment]  # noqa: SLF001 - `getattr` is slower
        if shadowed:
            return {**module._parameters, **module._buffers}[name]  # noqa: SLF001
        return getattr(module, name)

    return read


def _nothing(*_: Any) -> None:
    return None


def _item(at: int, key: int | str) -> Getter:
    if isinstance(key, str):
        # A field that exists in training only is absent in evaluation, and nothing reads it then.
        return lambda _, env: env[at].get(key)
    return lambda _, env: env[at][key]


# ---------------------------------------------------------------------------------------------------------- results


def _expected(step: Step, container: Container) -> Result | Mapping[Any, Result]:
    """The step's result; where it is several, by what each is called in what the module returns."""
    result: Result = step.result
    items = tuple(result.fields.values()) if isinstance(result, Record) else result
    child = _planned(step, container)
    if child is not None and isinstance(child.result, Record):
        if isinstance(result, Record):
            # A tensor with two names is taken by the one that it always has.
            return dict(sorted(result.fields.items(), key=lambda field: field[0] not in result.training_only))
        return dict(zip(child.result.fields, items if isinstance(items, tuple) else (items,), strict=False))
    return items


def _bind(result: Result | Mapping[Any, Result], at: int, last: Mapping[Value, int], places: _Places) -> Iterator[Run]:
    """Gives a place to each value of a result that stands at `at`; takes apart what is several."""
    if isinstance(result, Value) and result in last:
        places.slots[result] = at
        return
    if isinstance(result, tuple):
        result = dict(enumerate(result))
    if isinstance(result, Mapping):
        for key, item in result.items():
            if item is None or (isinstance(item, Value) and item not in last):
                continue
            slot = places.take()
            yield _item(at, key), slot
            yield from _bind(item, slot, last, places)
    places.release(at)


def _result(result: Result, slots: Mapping[Value | str, int]) -> Getter:
    if not isinstance(result, Record):
        return getter(operand(placed(result, slots)))
    always = {name: value for name, value in result.fields.items() if name not in result.training_only}
    in_training = getter(operand(placed(result.fields, slots)))
    if len(always) == len(result.fields):
        return in_training
    in_evaluation = getter(operand(placed(always, slots)))
    return lambda module, env: (in_training if module.training else in_evaluation)(module, env)


# ------------------------------------------------------------------------------------------------------ what is used

_DEVICE = " device"
"""Key of the place that holds the device; no symbol is called so."""


def _entry(container: Container, places: _Places) -> Iterator[Run]:
    """What is found out first: the sizes that steps need, and the device where they make tensors."""
    for name, (given, axis) in container.sizes.items():
        if axis is None:
            places.slots[name] = given
        else:
            places.slots[name] = places.take()
            yield _size_of(given, axis), places.slots[name]
    if any(map(_needs_device, container.steps)):
        tensors = (index for index, given in enumerate(container.inputs) if isinstance(given, Value))
        places.slots[_DEVICE] = places.take()
        yield _device_of(next(tensors, None)), places.slots[_DEVICE]


def _size_of(given: int, axis: int) -> Getter:
    return lambda _, env: env[given].shape[axis]


def _device_of(given: int | None) -> Getter:
    if given is not None:
        return lambda _, env: env[given].device

    def device(module: nn.Module, _: list[Any]) -> torch.device:
        for tensor in (*module.parameters(), *module.buffers()):
            return tensor.device
        return torch.device("cpu")

    return device


def _needs_device(step: Step) -> bool:
    if not isinstance(step, Apply) or step.module is not None:
        return False
    return step.operator.creates or any(param.constant for param in step.operator.arguments)
