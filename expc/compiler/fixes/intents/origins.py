"""Where a tensor comes from: the stages on its way."""

from collections.abc import Iterator, Sequence

from expc.compiler.graph import Value
from expc.compiler.model.trail import keeps, size_before
from expc.compiler.types import TensorType

MOST_STAGES = 200
"""So far back a tensor is followed."""


def dims(value: Value) -> tuple[str, ...]:
    """The dimensions of a tensor, as text."""
    return tuple(str(size) for size in value.type.dims) if isinstance(value.type, TensorType) else ()


def history(value: Value) -> list[Value]:
    """The tensor and those that it was made of, back to an input; of several, the first."""
    found = [value]
    while len(found) < MOST_STAGES and found[-1].source is not None and found[-1].source.inputs:
        found.append(found[-1].source.inputs[0])
    return found


def stages(values: Sequence[Value]) -> Iterator[Value]:
    """Of these tensors those that a stage has made, each place in the text once."""
    seen = set()
    for value in values:
        if value.source is not None and value.source.inputs and value.source.title:
            place = (value.span.source, value.span.start, value.span.end)
            if place not in seen:
                seen.add(place)
                yield value


def apart(value: Value, other: Value) -> list[Value]:
    """The way of `value` since it parted from that of `other`."""
    common = {id(earlier) for earlier in history(other)}
    way = []
    for earlier in history(value):
        if id(earlier) in common:
            break
        way.append(earlier)
    return way


def maker(value: Value, size: str) -> Value | None:
    """The tensor on the way to `value` with which one of its dimensions became `size`; none for that of an input."""
    current = value
    for _ in range(MOST_STAGES):
        source = current.source
        before = source.inputs[0] if source is not None and source.inputs else None
        if before is None:
            return None
        if not keeps(before, current, size):
            return current
        current = before
    return None


def earlier_size(value: Value, size: str) -> str | None:
    """The size that a dimension had before the stage that made `value`."""
    source = value.source
    return size_before(source.inputs[0] if source is not None and source.inputs else None, value, size)
