"""What each of several devices holds and sends when they share a run: an estimate that is read off the file.

Under `ddp` a device has the whole model and part of each batch; under `fsdp` also only part of the model, and what a
unit of it (`expc.compiler.plans.units`) lacks is gathered while it runs. What differs from device to device is that of
the one that has most. As in `training_memory`, all is in f32.

Bytes that are sent are those of rings. Where each of `n` devices gives `p` bytes, all-reduce sends `2 (n - 1) / n * p`
of each, and all-gather `(n - 1) * p`; where each gets `p` bytes of reduce-scatter, that sends `(n - 1) * p`. The few
numbers by which devices agree about a step are not counted.
"""

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from collections.abc import Set as AbstractSet
from math import ceil, prod
from typing import Final, Literal

from expc.compiler.cost.training_memory import (
    F32_BYTES,
    Dims,
    Memory,
    batch_size,
    frozen,
    numbers,
    training_memory,
)
from expc.compiler.dimensions import Size
from expc.compiler.graph import Apply, Container, Invoke, Leaf, Read, Value, weights
from expc.compiler.ops.kept import I64_BYTES, size_of
from expc.compiler.plans.parts import batch_axes, in_parts
from expc.compiler.plans.units import units_of
from expc.compiler.program import Program
from expc.compiler.types import TensorType, at
from expc.frozen import dataclass

Collective = Literal["all_reduce", "all_gather", "reduce_scatter"]


@dataclass(frozen=True)
class Sent:
    """What a device sends in a step for one purpose, in bytes."""

    what: str
    by: Collective
    payload: Size
    """What the device gives; of reduce-scatter, what it gets."""
    sent: Size


@dataclass(frozen=True)
class Unit:
    """A module whose parameters fsdp gathers together; without a path, what is in no other."""

    path: str
    parameters: int
    part: int
    """The numbers that a device has of those that are cut."""
    learning: int
    """Those of them that learn."""
    whole: int
    """The numbers that learn and are not cut."""
    runs: int
    """How often it runs in a pass forward."""
    returns: int
    """How often it is gathered in a pass back: not where nothing has begun to learn when it runs."""


@dataclass(frozen=True)
class Share:
    """What one device has of a run, in bytes."""

    memory: Memory
    sent: tuple[Sent, ...]
    buckets: int = 0
    """The copies of gradients that are sent: of all of them by ddp, of a unit's by fsdp."""
    gathered: int = 0
    """The parameters that fsdp has whole at once: of a unit, of the next, and of what is in none."""
    unreduced: int = 0
    """The gradients that fsdp has whole at once: of a unit, and of what is in none."""

    @property
    def total(self) -> Size:
        """All that it holds."""
        return self.memory.total + self.buckets + self.gathered + self.unreduced

    @property
    def sends(self) -> Size:
        """All that it sends in a step."""
        return sum((one.sent for one in self.sent[1:]), self.sent[0].sent)


@dataclass(frozen=True)
class Shares:
    """A run on several devices in both ways."""

    devices: int
    samples: int
    """How many samples go through the network of one device at once."""
    idle: int
    """How many devices a batch has no sample for."""
    ddp: Share
    fsdp: Share
    units: tuple[Unit, ...]
    """Those of fsdp; what is in none of them comes last."""


def shares(program: Program, devices: int, sizes: Mapping[str, Size], batch: str | None) -> Shares:
    """What each of `devices` has of a run. `sizes` are those of all devices together; `batch` is the samples' name.

    Raises ValueError without a model.
    """
    whole = int(str(sizes.get(batch or "", 1)))
    parts = [{**sizes, **({} if batch is None else {batch: ceil(part / devices)})} for part in _parts(program, whole)]
    here, samples = parts[0], ceil(whole / devices)
    ways = tuple(_ways(program, len(parts))) or (_Way(1, 1),)
    common = (*_of_batchnorm(program, ways, devices), *_of_losses(ways, parts, batch, devices))
    memory = training_memory(program, here)
    views = program.experiment.distributed is not None and program.experiment.distributed.gradient_as_bucket_view
    gradients = _all_reduce("gradients", memory.gradients, devices)
    copy = Share(memory, (gradients, *common), buckets=0 if views else memory.gradients)

    cut = _Cut(devices, program)
    units = tuple(_units(program, cut))
    *inner, rest = units
    largest = max((unit.part for unit in inner), default=0)
    learning = max((unit.learning for unit in inner), default=0)
    unreduced = cut.width * (rest.learning + learning)
    if len(parts) > 1:
        # They are added up over the parts of a batch, in f32, and go to where they belong after the last.
        unreduced = F32_BYTES * sum(unit.learning for unit in units)
    part = Share(
        training_memory(program, here, cut.held),
        (*_of_units(units, ways, cut), *common),
        buckets=devices * F32_BYTES * max(rest.learning, learning),
        gathered=devices * cut.width * (rest.part + min(2, len(inner)) * largest),
        unreduced=devices * unreduced,
    )
    idle = 0 if program.experiment.data is None else max(0, devices - whole)
    return Shares(devices, samples, idle, copy, part, units)


def _parts(program: Program, whole: int) -> list[int]:
    """The samples of each part of a step's batch, on all devices together; the first has `whole`."""
    number = 1 if program.experiment.train is None else program.experiment.train.accumulate
    batch = whole * number
    if program.experiment.data is not None and whole == batch_size(program):
        batch = program.experiment.data.batch
    return [min(whole, batch - start) for start in range(0, batch, whole)]


# ------------------------------------------------------------------------------------------------------------ units


class _Cut:
    """How fsdp cuts parameters: along their first dimension, into parts of `ceil(size / devices)`; the first has most.

    Where it gathers them in half precision, vectors stay whole, as numbers without dimensions always do.
    """

    def __init__(self, devices: int, program: Program) -> None:
        train = program.experiment.train
        half = train is not None and train.precision in ("bf16", "f16")
        self.devices: Final = devices
        self.width: Final = 2 if half else F32_BYTES
        """The bytes of a number that is gathered."""
        self._least: Final = 2 if half else 1

    def cuts(self, dims: Dims) -> bool:
        """Whether a parameter is cut at all."""
        return len(dims) >= self._least

    def held(self, dims: Dims) -> Dims:
        """The dimensions of the first part of a parameter."""
        return (ceil(dims[0] / self.devices), *dims[1:]) if self.cuts(dims) else dims


def _units(program: Program, cut: _Cut) -> Iterator[Unit]:
    """The units of fsdp; each parameter is in the innermost that holds it."""
    assert program.model is not None  # noqa: S101 - `training_memory` has looked
    body, still = program.model.body, frozen(program.train)
    paths = units_of(program)
    inside: dict[str, list[tuple[bool, Dims]]] = {path: [] for path in (*paths, "")}
    for weight in weights(body):
        if not weight.is_buffer and weight.tied_to is None:
            # Inner units come first.
            path = next((path for path in paths if weight.key.startswith(f"{path}.")), "")
            inside[path].append((weight.key not in still, numbers(weight.dims)))
    runs = list(_runs(body, {weight.key for weight in weights(body)} - still, set(paths)))
    # The unit before is gathered beside each that goes back, whether it goes back itself or not.
    there = Counter(path for path, _ in runs)
    # What is in no unit goes back first.
    goes_back = [*(learns for _, learns in runs), True]
    returned = Counter(path for at, (path, _) in enumerate(runs) if any(goes_back[at : at + 2]))
    for path, held in inside.items():
        parts = [(learns, prod(cut.held(dims))) for learns, dims in held if cut.cuts(dims)]
        yield Unit(
            path,
            sum(prod(dims) for _, dims in held),
            sum(number for _, number in parts),
            sum(number for learns, number in parts if learns),
            sum(prod(dims) for learns, dims in held if learns and not cut.cuts(dims)),
            there[path],
            returned[path],
        )


def _runs(body: Container, learning: AbstractSet[str], units: AbstractSet[str]) -> list[tuple[str, bool]]:
    """The units as they run, one after the other, and whether something has begun to learn when they are done."""
    found: list[tuple[str, bool]] = []
    learns = False

    def walk(container: Container, prefix: str) -> None:
        nonlocal learns
        for step in container.steps:
            if isinstance(step, Read):
                learns |= prefix + ".".join(step.path) in learning
            if not isinstance(step, Apply | Invoke) or step.module is None:
                continue
            path = f"{prefix}{step.module}"
            child = step.again if isinstance(step, Invoke) and step.again else container.children[step.module]
            if isinstance(child, Container):
                walk(child, f"{path}.")
            else:
                learns |= any(f"{path}.{name}" in learning for name in child.weights)
            if path in units:
                found.append((path, learns))

    walk(body, "")
    return found


# ---------------------------------------------------------------------------------------------------- what is sent


def _all_reduce(what: str, payload: int, devices: int) -> Sent:
    return Sent(what, "all_reduce", payload, ceil(2 * (devices - 1) * payload / devices))


def _all_gather(what: str, payload: Size, devices: int) -> Sent:
    return Sent(what, "all_gather", payload, payload * (devices - 1))


def _of_units(units: tuple[Unit, ...], ways: Sequence["_Way"], cut: _Cut) -> Iterator[Sent]:
    """A unit is gathered each time that it runs, and again to go back; what is in none stays gathered until then."""
    forward, back = sum(way.forward for way in ways), sum(way.back for way in ways)
    once = sum(way.back + (way.forward > way.back) for way in ways)
    *inner, rest = units
    gathered = sum(unit.part * (unit.runs * forward + unit.returns * back) for unit in inner) + rest.part * once
    yield _all_gather("weights", cut.width * gathered, cut.devices)
    reduced = F32_BYTES * sum(unit.learning for unit in units)
    yield Sent("gradients", "reduce_scatter", reduced, reduced * (cut.devices - 1))
    whole = F32_BYTES * sum(unit.whole for unit in units)
    if whole:
        yield _all_reduce("gradients", whole, cut.devices)


@dataclass(frozen=True)
class _Way:
    """What it takes to go through the network for one loss: passes of parts of a batch, and tensors of everybody's."""

    forward: int
    back: int
    outputs: tuple[TensorType, ...] = ()
    """One for each part of a batch."""
    means: tuple[TensorType, ...] = ()
    """One for all parts together: outputs in which the network has no samples any more."""
    fields: tuple[TensorType, ...] = ()
    """One for each part, as they are for one sample."""


def _ways(program: Program, parts: int) -> Iterator[_Way]:
    """The way of each loss, for batches in so many parts."""
    fields = {field.name: field.type for field in program.data["train"].fields} if "train" in program.data else {}
    for loss in () if program.train is None else program.train.losses:
        linear = in_parts(loss, frozenset(fields))
        if linear is not None:
            ahead = linear.ahead.input_names if linear.names else ()
            yield _Way(parts, parts, fields=tuple(type_ for name, type_ in fields.items() if name in ahead))
            continue
        types = {
            name: value.type
            for name, value in zip(loss.body.input_names, loss.body.inputs, strict=True)
            if isinstance(value, Value) and isinstance(value.type, TensorType)
        }
        axes = batch_axes(loss, frozenset(fields))
        outputs, means = (
            tuple(types[name] for name, axis in axes.items() if (axis is None) == reduced) for reduced in (False, True)
        )
        # All outputs are made first, and again to go back through them.
        yield _Way(2 * parts, parts, outputs, means, tuple(fields.values()))


def _of_losses(
    ways: Sequence[_Way], parts: Sequence[Mapping[str, Size]], batch: str | None, devices: int
) -> Iterator[Sent]:
    """What losses need to know of the samples of other devices, each tensor with its length. `parts` are the sizes of
    what a device has of each part of a batch.
    """
    outputs = [_bytes(type_, sizes) for way in ways for sizes in parts for type_ in way.outputs]
    outputs += [_bytes(type_, parts[0]) for way in ways for type_ in way.means]
    fields = [
        _bytes(TensorType(type_.dtype, (sizes.get(batch or "", 1), *type_.dims)), sizes)
        for way in ways
        for sizes in parts
        for type_ in way.fields
    ]
    for what, bytes_ in (("outputs", outputs), ("data", fields)):
        if bytes_:
            yield _all_gather(what, sum(bytes_[1:], bytes_[0]), devices)


def _bytes(type_: TensorType, sizes: Mapping[str, Size]) -> Size:
    return size_of(at(type_, dict(sizes))) + I64_BYTES


def _of_batchnorm(program: Program, ways: Sequence[_Way], devices: int) -> Iterator[Sent]:
    """The statistics of each layer, as `torch.nn.SyncBatchNorm` sends them: means, deviations and a count; on the way
    back two sums.
    """
    distributed = program.experiment.distributed
    if distributed is None or not distributed.sync_batchnorm or program.model is None:
        return
    channels = [int(leaf.settings["num_features"]) for leaf in _norms(program.model.body)]
    if not channels:
        return
    there = F32_BYTES * sum(2 * number + 1 for number in channels) * sum(way.forward for way in ways)
    back = F32_BYTES * sum(2 * number for number in channels) * sum(way.back for way in ways)
    yield _all_gather("batch statistics", there, devices)
    yield _all_reduce("batch statistics", back, devices)


def _norms(container: Container) -> Iterator[Leaf]:
    """The batch norms, each as often as it runs."""
    for step in container.steps:
        child = container.children.get(step.module) if isinstance(step, Apply | Invoke) and step.module else None
        if isinstance(child, Container):
            yield from _norms(child)
        elif isinstance(child, Leaf) and child.operator.name in ("BatchNorm1d", "BatchNorm2d", "BatchNorm3d"):
            yield child
