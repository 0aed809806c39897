"""Checking the loss: a recipe applied to (output, target), an expression over fields and outputs, or a table of terms.

The loss becomes a container like a model's: its inputs are the fields of the data and the outputs of the model.
"""

from collections.abc import Mapping
from typing import Any, Final

from expc.compiler.dimensions import Size, symbol
from expc.compiler.errors.experiment import LossNotScalar, NameClash
from expc.compiler.errors.names import DuplicateName
from expc.compiler.errors.shapes import TrainingOnly
from expc.compiler.graph import Model, Record, Result, Source, Value
from expc.compiler.model.body import BodyBuilder
from expc.compiler.model.elaborate import Elaborator
from expc.compiler.model.in_training import in_training_only
from expc.compiler.model.scope import Context, Scope
from expc.compiler.plans.penalties import Weights
from expc.compiler.program import DataPlan, LossPlan
from expc.compiler.types import UNKNOWN, TensorType, Type, at, is_known
from expc.diagnostics import Label, ProblemError, Span
from expc.frozen import dataclass, field
from expc.spec import syntax
from expc.spec.errors.names import DuplicateKey
from expc.spec.values import UNEVALUATED, Closure, Setting, Table

NOTED: Final[Mapping[str, str]] = {
    "lr": "is the learning rate",
    **dict.fromkeys(("step", "epoch", "phase", "over"), "is what every entry of metrics.jsonl says of itself"),
}
"""Names that stand beside what is measured, where it is written down, and what they are."""


@dataclass(frozen=True, eq=False)
class Outcome:
    """What a loss and metrics see: the model's outputs and the data's fields, at the sizes that the data gives."""

    outputs: Mapping[str, Type]
    fields: Mapping[str, TensorType]
    inputs: Mapping[str, str]
    """The field that fills each input of the model."""
    places: Mapping[str, Span]
    """Where the text makes each output and each field."""
    target: str | None
    """The first field that feeds no input."""
    batch: Size
    training_only: frozenset[str] = frozenset()
    """The outputs that do not exist in evaluation."""
    origins: Mapping[str, Value] = field(default_factory=dict)
    """How outputs came about, for the trail of an error."""

    @property
    def output(self) -> str | None:
        """The name of the output where there is one only."""
        return next(iter(self.outputs)) if len(self.outputs) == 1 else None


def outcome(
    model: Model, result: Result, plan: DataPlan, inputs: Mapping[str, str], sizes: Mapping[str, Size]
) -> Outcome | None:
    """What the model and the data give together; none where a type is not known."""
    named: dict[str, Any]
    if isinstance(result, Record):
        named = dict(result.fields)
    elif isinstance(result, tuple):
        named = {f"output{i}": value for i, value in enumerate(result)}
    else:
        named = {"output": result}
    outputs: dict[str, Type] = {}
    places: dict[str, Span] = {}
    origins: dict[str, Value] = {}
    for name, value in named.items():
        if not isinstance(value, Value):
            return None
        outputs[name] = at(value.type, dict(sizes)) if is_known(value.type) else UNKNOWN
        places[name] = value.span
        if outputs[name] == value.type:
            origins[name] = value
    batch = _batch(model)
    fields = {
        field.name: TensorType(field.type.dtype, (batch, *field.type.dims), field.type.classes) for field in plan.fields
    }
    target = next((name for name in fields if name not in inputs.values()), None)
    places |= {name: plan.span for name in fields if name not in places}
    training_only = result.training_only if isinstance(result, Record) else frozenset()
    return Outcome(outputs, fields, inputs, places, target, batch, training_only, origins)


def _batch(model: Model) -> Size:
    for value in model.body.inputs:
        if isinstance(value, Value) and is_known(value.type) and value.type.dims:
            return value.type.dims[0]
    return symbol("N")


def check_loss(
    elaborator: Elaborator, model: Model, found: Outcome, value: Any, scope: Scope, span: Span
) -> LossPlan | None:
    """The loss as a graph; none after a problem, which is reported."""
    builder = BodyBuilder("Loss", span)
    inner = Scope(scope)
    try:
        flow = enter(model, found, builder, inner, span)
    except ProblemError as error:
        elaborator.add(error.problem)
        return None
    weights = Weights(elaborator, model, builder, inner)
    if isinstance(value, Table):
        fields: dict[str, Value] = {}
        places: dict[str, Span] = {}
        for setting in value.settings:
            if isinstance(setting, Setting):
                if setting.key in places:
                    first = Label(places[setting.key], "the first is here")
                    elaborator.add(
                        DuplicateKey(span=setting.key_span, section="loss", key=setting.key, labels=(first,))
                    )
                    continue
                places[setting.key] = setting.key_span
                spoken_for = "is the sum of all terms" if setting.key == "loss" else NOTED.get(setting.key)
                if spoken_for is not None:
                    reason = f"{spoken_for}: give the term another name"
                    elaborator.add(DuplicateName(span=setting.key_span, word=setting.key, reason=reason))
                    continue
                written = weights.spelt_out(setting.value)
                term = _term(elaborator, written, f"the term `{setting.key}`", flow, inner, builder, setting.span)
                if term is not None:
                    fields[setting.key] = term
        if len(fields) != len(value.settings) or not fields:
            return None
        training_only = _training_only(elaborator, found, fields, builder, span)
        return LossPlan(builder.close(Record(fields, training_only)), tuple(fields), weights.keys)
    single = _term(elaborator, weights.spelt_out(value), "the loss", flow, inner, builder, span)
    if single is None:
        return None
    _training_only(elaborator, found, {"": single}, builder, span)
    return LossPlan(builder.close(single), (), weights.keys)


def _training_only(
    elaborator: Elaborator, found: Outcome, terms: Mapping[str, Value], builder: BodyBuilder, span: Span
) -> frozenset[str]:
    """The terms that count in training only. Something must be left to measure in evaluation."""
    given = {value: value.name for value in builder.inputs if value.name in found.training_only}
    absent = in_training_only(builder.steps, given)
    names = frozenset(name for name, term in terms.items() if term in absent)
    if len(names) == len(terms):
        origin = next(absent[term] for term in terms.values())
        advice = f"give what counts in evaluation too a term of its own, `loss {{ main = ..., {origin} = ... }}`"
        elaborator.add(TrainingOnly(span=span, what="the loss", origin=origin, advice=advice))
    return names


def enter(model: Model, found: Outcome, builder: BodyBuilder, scope: Scope, span: Span) -> Any:
    """Bind fields, outputs and sizes; gives (output, target), where both are clear."""
    values: dict[str, Value] = {}
    for name, type_ in (*found.outputs.items(), *found.fields.items()):
        if name in values:
            raise ProblemError(NameClash(span=span, word=name))
        origin = found.origins.get(name)
        source = None if origin is None else Source("", (origin,))
        values[name] = Value(type_, found.places[name], name, source)
        builder.inputs.append(values[name])
        builder.input_names.append(name)
        scope.bind(name, values[name], span)
    for name, unknown in model.symbols.items():
        scope.bind(name, symbol(unknown.name, unknown.divisor, unknown.lower, unknown.upper), span)
    if found.output is not None:
        scope.bind("output", values[found.output], span)
    if found.target is not None and "target" not in values:
        scope.bind("target", values[found.target], span)
    if found.output is None or found.target is None:
        return None
    return values[found.output], values[found.target]


def _term(
    elaborator: Elaborator,
    value: Any,
    what: str,
    flow: Any,
    scope: Scope,
    builder: BodyBuilder,
    span: Span,
) -> Value | None:
    result = applied(elaborator, value, flow, scope, builder, span)
    if result is None:
        return None
    if not isinstance(result, Value):
        elaborator.add(LossNotScalar(span=span, what=what, found="several tensors"))
        return None
    if not is_known(result.type):
        return None
    if result.type.dims:
        notes = ('reduce it to one number: `mean`, or `reduction="mean"`',)
        elaborator.add(LossNotScalar(span=span, what=what, found=str(result.type), notes=notes))
        return None
    return result


def applied(elaborator: Elaborator, value: Any, flow: Any, scope: Scope, builder: BodyBuilder, span: Span) -> Any:
    """The tensor, or the tuple of them, that an expression or a recipe gives; none after a problem."""
    if value is UNEVALUATED:
        return None
    context = Context(Scope(scope), flow, builder)
    try:
        if isinstance(value, Closure) and isinstance(value.expression, syntax.Expr):
            outer = value.scope.scope
            value = elaborator.evaluate(value.expression, Context(_joined(scope, outer), flow, builder))
        return elaborator.wanted(value, context, span)
    except ProblemError as error:
        elaborator.add(error.problem)
        return None


def _joined(scope: Scope, outer: Scope) -> Scope:
    """The names of fields and outputs over those that the section sees."""
    return Scope(outer, dict(scope.values), dict(scope.places))
