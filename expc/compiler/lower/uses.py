"""What each step of a container reads, and until when a value is needed."""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from expc.compiler.graph import Apply, Cast, Container, Invoke, Read, Record, SliceOf, Step, Subscript, Value
from expc.compiler.model.in_training import declared, in_training_only


def reads(step: Step) -> list[tuple[str, Value]]:
    """The values that a step reads, with names for people."""
    match step:
        case Apply():
            return [(name, value) for name, argument in step.arguments.items() for value in values_in(argument)]
        case Invoke():
            return [(value.name or "input", value) for value in values_in(step.arguments)]
        case Subscript():
            index = [("index", value) for value in values_in(step.items)]
            return [(step.value.name or "input", step.value), *index]
        case Cast():
            return [(step.value.name or "input", step.value)]
        case Read():
            return []


def values_in(argument: Any) -> Iterator[Value]:
    """The values in an argument, however deep in lists, tables and slices."""
    if isinstance(argument, Value):
        yield argument
    elif isinstance(argument, Record):
        yield from argument.fields.values()
    elif isinstance(argument, SliceOf):
        yield from values_in((argument.start, argument.stop, argument.step))
    elif isinstance(argument, Mapping):
        yield from values_in(tuple(argument.values()))
    elif isinstance(argument, Sequence) and not isinstance(argument, str):
        for item in argument:
            yield from values_in(item)


def last_uses(container: Container) -> dict[Value, int]:
    """The number of the last step that reads a value; one more than all for results."""
    last = {value: number for number, step in enumerate(container.steps) for _, value in reads(step)}
    return last | dict.fromkeys(values_in(container.result), len(container.steps))


def for_training_only(container: Container) -> set[int | None]:
    """The steps that need, or serve nothing but, results which exist in training only."""
    absent = in_training_only(container.steps)
    skipped: set[int | None] = {
        number for number, step in enumerate(container.steps) if any(value in absent for _, value in reads(step))
    }
    result = container.result
    if not isinstance(result, Record) or not result.training_only:
        return skipped
    optional = set(declared(result))
    always = set(result.fields.values()) - optional
    for number, step in reversed(list(enumerate(container.steps))):
        made = set(values_in(step.result))
        if made & optional and not made & always:
            skipped.add(number)
            optional |= {value for _, value in reads(step)}
        else:
            # Steps whose result nothing needs run as well: they may still act on what they hold.
            always |= {value for _, value in reads(step)}
    return skipped
