"""Which tensors have a gradient: the way from the parameters that learn to the loss, as torch's autograd goes it."""

from collections.abc import Collection, Iterator
from typing import Final

from expc.compiler.errors.training import NoDerivative, NoGradient
from expc.compiler.graph import Apply, Cast, Container, Invoke, Leaf, Model, Read, Step, Subscript, Value, weights
from expc.compiler.model.body import tensors
from expc.compiler.model.elaborate import Elaborator
from expc.compiler.ops.gradients import ONE_BY_ONE, is_constant, lacks_derivative
from expc.compiler.program import LossPlan
from expc.compiler.types import FLOATING, is_known
from expc.diagnostics import Span

Gradients = dict[Value, Apply | None]
"""The tensors that have a gradient, each with the step through which torch cannot take it back; mostly none."""


_INSTEAD: Final = {
    "floor_divide": "`floor(a / b)` has one, which is 0; `detach` takes a tensor as a constant",
    "remainder": "`a - floor(a / b) * b` has one; `detach` takes a tensor as a constant",
}


def check(
    elaborator: Elaborator,
    model: Model,
    loss: LossPlan,
    moved: Collection[str] | None,
    rest: Collection[str],
    span: Span,
) -> None:
    """Report a loss that torch cannot go back through.

    `moved`: the parameters that this loss moves, all for none. `rest`: what is frozen, be it for some time only.
    """
    entries = [weight for weight in weights(model.body) if not weight.is_buffer]
    every = {weight.key for weight in entries if moved is None or (weight.tied_to or weight.key) in moved}
    still = {weight.key for weight in entries if (weight.tied_to or weight.key) in rest or weight.key in rest}
    if not _ends(model, loss, every - still):
        elaborator.add(NoGradient(span=span))
        return
    stopped = next((step for step in _ends(model, loss, every) if step is not None), None)
    if stopped is not None:
        name = stopped.operator.name
        note = _INSTEAD.get(name, "`detach` takes a tensor as a constant")
        elaborator.add(NoDerivative(span=stopped.span, operator=name, notes=(note,)))


def _ends(model: Model, loss: LossPlan, keys: Collection[str]) -> list[Apply | None]:
    """One entry for each term of a loss that has a gradient, where the parameters called `keys` learn."""
    inside = through(model.body, {}, keys, "")
    outputs = iter(tensors(model.body.result))
    given: Gradients = {}
    for name, value in zip(loss.body.input_names, loss.body.inputs, strict=True):
        if not isinstance(value, Value):
            continue
        if name in loss.weights:
            if loss.weights[name] in keys:
                given[value] = None
        elif (output := next(outputs, None)) in inside and output is not None:
            # Outputs come first, in their order; what remains are the fields of the data.
            given[value] = inside[output]
    found = through(loss.body, given, (), "")
    return [found[value] for value in tensors(loss.body.result) if value in found]


def through(container: Container, given: Gradients, keys: Collection[str], prefix: str) -> Gradients:
    """The tensors of a container that have a gradient, where its inputs in `given` have one and `keys` learn.

    Its own parameters are those of `keys` that start with `prefix`.
    """
    found = dict(given)
    for step in container.steps:
        match step:
            case Invoke():
                found |= _of_child(container, step, found, keys, prefix)
            case Read():
                if prefix + ".".join(step.path) in keys:
                    found[step.result] = None
            case Subscript() | Cast():
                if step.value in found:
                    _add(found, step, found[step.value])
            case Apply():
                _applied(container, step, found, keys, prefix)
    return found


def _of_child(
    container: Container, step: Invoke, found: Gradients, keys: Collection[str], prefix: str
) -> Iterator[tuple[Value, Apply | None]]:
    child = step.again or container.children[step.module]
    assert isinstance(child, Container)  # noqa: S101 - leaves are applied
    inputs = zip(child.inputs, step.arguments, strict=True)
    given = {
        value: found[argument]
        for value, argument in inputs
        if isinstance(value, Value) and isinstance(argument, Value) and argument in found
    }
    inside = through(child, given, keys, f"{prefix}{step.module}.")
    for outer, inner in zip(tensors(step.result), tensors(child.result), strict=True):
        if inner in inside:
            yield outer, inside[inner]


def _applied(container: Container, step: Apply, found: Gradients, keys: Collection[str], prefix: str) -> None:
    name = step.operator.name
    if name in ONE_BY_ONE:
        listed = next(value for value in step.arguments.values() if isinstance(value, tuple))
        for value, result in zip(listed, tensors(step.result), strict=True):
            if value in found:
                found[result] = found[value]
        return
    leaf = container.children[step.module] if step.module is not None else None
    carries = step.operator.python is not None
    if isinstance(leaf, Leaf) and not carries:
        carries = any(f"{prefix}{step.module}.{weight}" in keys for weight in leaf.weights)
    stopped: Apply | None = None
    for argument, value in step.arguments.items():
        for part in value if isinstance(value, tuple) else (value,):
            if not isinstance(part, Value) or part not in found or is_constant(name, argument):
                continue
            carries = True
            stopped = step if lacks_derivative(name, argument, step.arguments) else stopped or found[part]
    if carries:
        # What Python code does with its inputs is not known.
        _add(found, step, stopped if step.operator.python is None else None)


def _add(found: Gradients, step: Step, stopped: Apply | None) -> None:
    """The results of a step have a gradient, those of whole numbers and booleans excepted."""
    for value in tensors(step.result):
        if not is_known(value.type) or value.type.dtype in FLOATING:
            found[value] = stopped
