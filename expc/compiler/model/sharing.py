"""A container that runs again: with the same types as it is, with others elaborated anew over the same weights."""

from collections.abc import Iterator
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from expc.compiler.errors.shapes import SettingRefused
from expc.compiler.graph import Container, Invoke, Leaf, Record, Result, Source, Value, weights
from expc.compiler.model import blocks, stages
from expc.compiler.model.body import BodyBuilder, tensors
from expc.compiler.model.scope import ModuleRef
from expc.compiler.types import TensorType, is_known
from expc.diagnostics import Label, ProblemError, Span

if TYPE_CHECKING:
    from expc.compiler.model.elaborate import Elaborator
    from expc.compiler.model.scope import Context


def share(elaborator: "Elaborator", ref: ModuleRef, container: Container, context: "Context", span: Span) -> Any:
    """Run a container a second time. Raises `ProblemError` where it would need other weights or settings."""
    flow = stages.need_flow(context, span)
    actual = list(tensors(flow))
    if not all(is_known(value.type) for value in actual):
        return elaborator.unknown(span)
    own = [value for value in container.inputs[: len(actual)] if isinstance(value, Value)]
    same = len(own) == len(actual) and all(a.type == b.type for a, b in zip(own, actual, strict=True))
    if not same:
        return _anew(elaborator, ref, container, context, span)
    result = _fresh(container.result, span, Source(f"{ref.name} again", tuple(actual)))
    context.body.steps.append(Invoke(ref.name, blocks.passed(container, actual), result, span))
    return tuple(result.fields.values()) if isinstance(result, Record) else result


def _anew(elaborator: "Elaborator", ref: ModuleRef, container: Container, context: "Context", span: Span) -> Any:
    """Elaborate what the label names for these inputs; its modules must be those that are there."""
    before = len(elaborator.report.problems)
    body = BodyBuilder(context.body.title, span)
    here = replace(ref.context, body=body, flow=context.flow, tensor=True)
    result = stages.apply(elaborator, ref.stage, here, span, ref.name)
    again = body.children.get(ref.name)
    if not isinstance(again, Container) or len(elaborator.report.problems) > before:
        return elaborator.unknown(span)
    difference = next(_differences(container, again), None)
    if difference is not None:
        label = Label(ref.owner.places[ref.name], f"`{ref.name}` is made here")
        raise ProblemError(SettingRefused(span=span, operator=ref.name, reason=difference, labels=(label,)))
    (step,) = body.steps
    assert isinstance(step, Invoke)  # noqa: S101 - a container was made
    context.body.steps.append(Invoke(ref.name, step.arguments, step.result, span, again))
    return result


def _differences(first: Container, again: Container) -> Iterator[str]:
    """What the modules of both cannot share, in words."""
    held, wanted = ({weight.key: weight.dims for weight in weights(part)} for part in (first, again))
    for key in (*held, *wanted):
        if key not in held or key not in wanted:
            yield f"used again on tensors of these sizes, it would {'need' if key in wanted else 'lack'} `{key}`"
        elif held[key] != wanted[key]:
            there, here = (TensorType("f32", dims[key]) for dims in (held, wanted))
            yield f"its `{key}` is {there}, and would be {here} for what arrives here"
    for name, leaf in _leaves(first):
        other = dict(_leaves(again)).get(name)
        if other is None or other.operator.name != leaf.operator.name:
            yield f"its module `{name}` would be another one for what arrives here"
        else:
            for setting, value in leaf.settings.items():
                if other.settings.get(setting) != value:
                    made = f"`{name}` has {setting}={value}"
                    yield f"its module {made}, and would have {setting}={other.settings.get(setting)} here"


def _leaves(container: Container, prefix: str = "") -> Iterator[tuple[str, Leaf]]:
    for name, child in container.children.items():
        if isinstance(child, Leaf):
            yield prefix + name, child
        else:
            yield from _leaves(child, f"{prefix}{name}.")


def _fresh(result: Result, span: Span, source: Source) -> Result:
    if isinstance(result, Value):
        return Value(result.type, span, None, source)
    if isinstance(result, tuple):
        return tuple(_fresh(part, span, source) for part in result)
    if isinstance(result, Record):
        fields = {name: Value(value.type, span, name, source) for name, value in result.fields.items()}
        return Record(fields, result.training_only)
    return None
