"""Tensors that exist in training only: results that a block declares `in training`, and all that is made from them."""

from collections.abc import Mapping, Sequence

from expc.compiler.graph import Invoke, Record, Step, Value
from expc.compiler.model.body import arguments, tensors


def in_training_only(steps: Sequence[Step], given: Mapping[Value, str] | None = None) -> dict[Value, str]:
    """The values that exist in training only, each with the name of the declared result that it comes from.

    `given` are those of the inputs. A step that reads one does not run in evaluation, and none of its results exists.
    """
    found = dict(given or {})
    if not found and not any(isinstance(step.result, Record) and step.result.training_only for step in steps):
        return found
    for step in steps:
        read = (value for value in arguments(step) if isinstance(value, Value))
        origin = next((found[value] for value in read if value in found), None)
        if origin is not None:
            found.update(dict.fromkeys(tensors(step.result), origin))
        elif isinstance(step, Invoke) and isinstance(step.result, Record):
            found.update(declared(step.result))
    return found


def declared(record: Record) -> dict[Value, str]:
    """The results that are declared `in training`; one that has another name too, without it, exists always."""
    always = {value for name, value in record.fields.items() if name not in record.training_only}
    return {value: name for name, value in record.fields.items() if value not in always}
