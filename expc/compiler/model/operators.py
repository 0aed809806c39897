"""Applying an operator of the table: its arguments are matched, its type rule runs, a step is recorded."""

import re
from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from expc.compiler.dimensions import Dim
from expc.compiler.errors.shapes import InferredSettingContradicted, SettingRefused, SizeMismatch
from expc.compiler.errors.stages import Misplaced
from expc.compiler.graph import Apply, Leaf, Result, Source, Value
from expc.compiler.model import operands
from expc.compiler.model.arguments import is_lost, known_names
from expc.compiler.model.trail import refused
from expc.compiler.ops.declare import Call, Fault, Operator, Requirement
from expc.compiler.ops.inner import Inner
from expc.compiler.types import TensorType, is_known
from expc.diagnostics import Edit, Fix, ProblemError, Span
from expc.spec.suggest import advice, nearest
from expc.spec.values import Given

if TYPE_CHECKING:
    from expc.compiler.model.elaborate import Elaborator
    from expc.compiler.model.scope import Context


def apply(
    elaborator: "Elaborator",
    operator: Operator,
    given: Sequence[Given],
    context: "Context",
    span: Span,
    label: str | None,
) -> Any:
    """Apply an operator to the flow and what it is given. Raises `ProblemError`."""
    if any(argument.name is not None and argument.name not in operator.names for argument in given):
        given = list(known_names(operator, given, elaborator.add))
    if operator.kind == "function":
        arguments = operands.function_arguments(elaborator, operator, given, context, span)
        return _run(elaborator, operator, {}, arguments, given, context, span, None)
    module = context.body.claim(label, span)
    settings, arguments, tied = operands.layer_arguments(elaborator, operator, given, context, span)
    return _run(elaborator, operator, settings, arguments, given, context, span, module, tied)


def share(elaborator: "Elaborator", name: str, leaf: Leaf, context: "Context", span: Span) -> Any:
    """Run a module of torch a second time."""
    arguments = operands.piped(leaf.operator, context.flow, {}, span)
    return _run(elaborator, leaf.operator, dict(leaf.settings), arguments, (), context, span, name, shared=leaf)


# ---------------------------------------------------------------------------------------------------- running


def _run(
    elaborator: "Elaborator",
    operator: Operator,
    settings: dict[str, Any],
    arguments: dict[str, Any],
    given: Sequence[Given],
    context: "Context",
    span: Span,
    module: str | None,
    tied: dict[str, Given] | None = None,
    shared: Leaf | None = None,
) -> Any:
    inputs = list(_tensors(arguments.values()))
    if any(not is_known(value.type) for value in inputs) or _has_unevaluated(settings) or _has_unevaluated(arguments):
        return elaborator.unknown(span)

    def need(requirement: Requirement) -> None:
        elaborator.conditions.require(requirement, operator.name, span)

    given_values = {**settings, **{name: _types(value) for name, value in arguments.items()}}
    call = Call(operator, dict(given_values), need)
    try:
        types = operator.shape(call)
    except Fault as fault:
        raise ProblemError(_placed(operator, fault, given, inputs, span)) from None
    source = Source(span.text if span.end - span.start <= 60 else operator.name, tuple(inputs), tuple(call.arithmetic))
    result = _results(types, span, source)
    if module is not None and shared is None:
        final = {param.name: call.values[param.name] for param in operator.settings}
        leaf = _leaf(elaborator, operator, call, final, tied or {}, arguments, context, span)
        context.body.children[module] = leaf
    inferred = {name: call.values[name] for name in arguments if call.values[name] is not given_values[name]}
    complete = {**arguments, **inferred}
    present = {
        name: value
        for name, value in complete.items()
        if value is not None or any(argument.name == name for argument in given)
    }
    context.body.steps.append(Apply(operator, module, present, result, span))
    return result


def _leaf(
    elaborator: "Elaborator",
    operator: Operator,
    call: Call,
    settings: dict[str, Any],
    tied: dict[str, Given],
    inputs: Mapping[str, Any],
    context: "Context",
    span: Span,
) -> Leaf:
    weights = operator.weights(call) if operator.weights is not None else {}
    buffers = operator.buffers(call) if operator.buffers is not None else {}
    known = {} if elaborator.conditions.lenient else {**weights, **buffers}
    for name, dims in known.items():
        for size in dims:
            if isinstance(size, Dim):
                reason = (
                    f"the size {size} of its `{name}` must be known when the model is built; fix it in the input's type"
                )
                fault = Fault(SettingRefused, operator=operator.name, reason=reason)
                raise ProblemError(refused(fault, span, tuple(_tensors(inputs.values()))))
    for name, value in () if elaborator.conditions.lenient else settings.items():
        unknown = _unknown_size(value)
        if unknown is not None:
            shown = value if isinstance(value, Dim) else "unknown"
            reason = f"`{name}` must be known when the model is built, but is {shown}"
            raise ProblemError(SettingRefused(span=span, operator=operator.name, reason=reason))
    paths = {}
    for name, argument in tied.items():
        paths[name] = _tie(elaborator, operator, name, argument, weights, context)
    return Leaf(operator, settings, weights, buffers, span, paths)


def _unknown_size(value: Any) -> Dim | None:
    """A size in a setting that only the input will tell."""
    if isinstance(value, Dim):
        return value
    if isinstance(value, Inner):
        value = tuple(part for _, part in value.settings)
    found = map(_unknown_size, value) if isinstance(value, tuple) else ()
    return next((size for size in found if size is not None), None)


def _tie(
    elaborator: "Elaborator",
    operator: Operator,
    name: str,
    argument: Given,
    weights: dict[str, Any],
    context: "Context",
) -> tuple[str, ...]:
    ref = argument.value
    if name not in weights:
        near = nearest(name, weights)
        names = ", ".join(f"`{weight}`" for weight in weights) or "none"
        what = f"`{operator.name}` has no parameter `{name}` to tie{advice(near) or f'; it has {names}'}"
        place = Span(argument.span.source, argument.span.start, argument.span.start + len(name))
        fixes = () if near is None else (Fix(f"write `{near}`", (Edit(place, near),)),)
        raise ProblemError(Misplaced(span=place, what=what, fixes=fixes))
    tensor = elaborator.read_type(ref, context, argument.span)
    if tensor.dims != weights[name]:
        shown = TensorType("f32", weights[name])
        raise ProblemError(
            SizeMismatch(
                span=argument.span,
                operator=operator.name,
                what=f"the tied `{name}`",
                expected=str(shown),
                found=str(tensor),
            )
        )
    return tuple(ref.path)


def _placed(operator: Operator, fault: Fault, given: Sequence[Given], inputs: Sequence[Value], span: Span) -> Any:
    """The problem of a fault, at the argument that is to blame where it is known."""
    what = str(fault.facts.get("what", ""))
    param = next((p for p in operator.settings if p.name == what and p.inferred), None)
    argument = next((g for g in given if g.name in _named_in(fault)), None)
    if fault.problem is SizeMismatch and param is not None:
        fault = Fault(InferredSettingContradicted, **fault.facts)
    return refused(fault, argument.span if argument is not None else span, inputs)


def _named_in(fault: Fault) -> set[str]:
    """The words of a fault: settings among them are to blame."""
    text = f"{fault.facts.get('what', '')} {str(fault.facts.get('reason', '')).partition(' ')[0]}"
    return set(re.findall(r"\w+", text))


def _tensors(values: Iterable[Any]) -> Iterable[Value]:
    for value in values:
        if isinstance(value, Value):
            yield value
        elif isinstance(value, tuple):
            yield from _tensors(value)


def _types(value: Any) -> Any:
    if isinstance(value, Value):
        return value.type
    if isinstance(value, tuple):
        return tuple(map(_types, value))
    return value


def _has_unevaluated(values: Mapping[str, Any]) -> bool:
    for value in values.values():  # noqa: SIM110 - a generator takes twice as long, and this runs for every layer
        if is_lost(value):
            return True
    return False


def _results(types: Any, span: Span, source: Source) -> Result:
    if types is None:
        return None
    if isinstance(types, tuple):
        return tuple(_results(part, span, source) for part in types)
    return Value(types, span, None, source)
