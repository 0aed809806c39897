"""Blocks: each use of one is elaborated anew, with its own sizes, into a container of its own."""

from collections.abc import Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from expc.compiler.arithmetic import describe, is_size
from expc.compiler.dimensions import Dim, Size, Symbol, symbol
from expc.compiler.errors.arguments import MissingArgument, WrongArgument
from expc.compiler.errors.shapes import SettingRefused
from expc.compiler.errors.stages import NotAStage
from expc.compiler.graph import Container, Invoke, Record, Source, Value
from expc.compiler.model import loops, operands, results, stages
from expc.compiler.model.arguments import match_parameters
from expc.compiler.model.body import BodyBuilder, tensors
from expc.compiler.model.patterns import accepts_setting, is_tensor_type, match
from expc.compiler.model.scope import BlockRef, Context, Scope
from expc.compiler.model.trail import refused
from expc.compiler.ops.declare import Fault
from expc.compiler.types import is_known
from expc.diagnostics import Label, ProblemError, Span
from expc.spec import syntax
from expc.spec.values import UNEVALUATED, Closure, Given, Pipeline, Recipe

if TYPE_CHECKING:
    from expc.compiler.model.elaborate import Elaborator


def block(
    elaborator: "Elaborator", recipe: Recipe, statement: syntax.Block, context: Context, span: Span, label: str | None
) -> Any:
    """Use a block: its inputs are what flows, its settings what the recipe gives. Raises `ProblemError`."""
    name = context.body.claim(label, span)
    elaborator.elaborated.add(statement.name)
    flow = stages.need_flow(context, span)
    inputs = [p for p in statement.parameters if is_tensor_type(p.type)]
    piped = flow if isinstance(flow, tuple) and inputs else (flow,)
    if isinstance(flow, Value) and not is_known(flow.type):
        piped = (flow,) * max(len(inputs), 1)
    if inputs and len(piped) != len(inputs):
        names = ", ".join(parameter.name for parameter in inputs)
        plural = "tensor" if len(inputs) == 1 else "tensors"
        operands.refuse_count(
            statement.name, f"{len(inputs)} {plural} ({names})", flow if isinstance(flow, tuple) else (flow,), span
        )
    with elaborator.unfolding(statement, statement.name, span):
        elaborator.calls.append((span, statement.name))
        try:
            container, actual = _elaborate(elaborator, recipe, statement, inputs, piped, span)
        finally:
            elaborator.calls.pop()
    return _invoke(name, container, actual, context, span)


def _elaborate(
    elaborator: "Elaborator",
    recipe: Recipe,
    statement: syntax.Block,
    inputs: Sequence[syntax.Parameter],
    piped: Sequence[Any],
    span: Span,
) -> tuple[Container, list[Value]]:
    ref = recipe.target
    builder = BodyBuilder(statement.name, statement.span)
    inner = Context(Scope(ref.scope), None, builder, tensor=True)
    builder.declare_results(results.named(statement), inner.scope)
    actual = list(tensors(tuple(piped)))
    values: list[Any] = []
    for position, value in enumerate(piped):
        parameter = inputs[position] if inputs else None
        values.append(_enter(value, parameter, builder))
    settings(elaborator, statement, recipe.arguments, inner, span)
    for parameter, value in zip(inputs, values, strict=False):
        if not isinstance(value, Value):
            operands.refuse_count(statement.name, f"one tensor for `{parameter.name}`", value, span)
        _match_input(elaborator, statement, parameter, value, inner, span)
        elaborator.bind_name(parameter.name, value, parameter.span, inner.scope)
    check_conditions(elaborator, statement, inner, span)
    start = values[0]
    result, _ = elaborator.body(statement.body, inner.with_flow(start))
    result = results.finish(elaborator, statement, result, inner)
    return builder.close(result), actual


def settings(
    elaborator: "Elaborator", statement: syntax.Block, arguments: tuple[Given, ...], inner: Context, span: Span
) -> None:
    """Bind the settings of a block in its scope. Raises `ProblemError` for one that is missing or of the wrong type."""
    parameters = [p for p in statement.parameters if not is_tensor_type(p.type)]
    given = match_parameters(statement.name, parameters, arguments, span)
    for parameter in parameters:
        if parameter.name in given:
            value = given[parameter.name]
            place = next((argument.span for argument in arguments if argument.value is value), span)
        elif parameter.default is not None:
            value, place = elaborator.evaluate(parameter.default, Context(inner.scope)), parameter.default.span
        else:
            label = Label(parameter.span, "declared here, without a default")
            raise ProblemError(
                MissingArgument(span=span, operator=statement.name, what=f"`{parameter.name}`", labels=(label,))
            )
        wrong = accepts_setting(parameter.type, value)
        if wrong is not None:
            raise ProblemError(
                WrongArgument(
                    span=place,
                    operator=statement.name,
                    parameter=parameter.name,
                    expected=wrong,
                    found=describe(value),
                    labels=(Label(parameter.span, "declared here"),),
                )
            )
        elaborator.bind_name(parameter.name, value, parameter.span, inner.scope)


def _enter(value: Any, parameter: syntax.Parameter | None, builder: BodyBuilder) -> Any:
    """The value as the body sees it; in messages it stands where the body declares it."""
    if isinstance(value, tuple):
        return tuple(_enter(part, None, builder) for part in value)
    if value is None:
        return None
    name, span = (parameter.name, parameter.span) if parameter else (None, value.span)
    inside = Value(value.type, span, name, Source("", (value,)))
    builder.inputs.append(inside)
    builder.input_names.append(name or "input")
    return inside


def _match_input(
    elaborator: "Elaborator",
    statement: syntax.Block,
    parameter: syntax.Parameter,
    value: Value,
    inner: Context,
    span: Span,
) -> None:
    if parameter.type is None or not is_known(value.type):
        if parameter.type is not None:
            bind_unknown_sizes(parameter.type, inner)
        return

    def require(expected: Size, found: Size, what: str) -> None:
        elaborator.conditions.require(("equal", expected, found, what), statement.name, span)

    try:
        match(elaborator, parameter.type, value.type, inner, require, statement.name)
    except Fault as fault:
        bind_unknown_sizes(parameter.type, inner)
        problem = refused(fault, span, (value,))
        label = Label(parameter.span, f"`{parameter.name}` is declared here")
        raise ProblemError(replace(problem, labels=(*problem.labels, label))) from None


def bind_unknown_sizes(type_: syntax.TypeExpr, inner: Context) -> None:
    """After an error, the dimensions that a type names exist and agree with everything."""
    for node in getattr(type_, "dims", None) or ():
        if isinstance(node, syntax.Name) and node.id[0].isupper() and node.id not in inner.scope.values:
            inner.scope.bind(node.id, UNEVALUATED, node.span)


def check_conditions(elaborator: "Elaborator", statement: syntax.Block, inner: Context, span: Span) -> None:
    """The `where` of a block that is used: must hold at the sizes that arrive."""
    for condition in statement.conditions:
        try:
            holds = elaborator.condition(condition, inner.setting())
        except ProblemError as error:
            if not _require_condition(elaborator, condition, inner, span):
                elaborator.add(error.problem)
            continue
        if holds is False:
            label = Label(condition.span, "the condition")
            reason = f"`{condition.span.text}` does not hold for what arrives"
            raise ProblemError(SettingRefused(span=span, operator=statement.name, reason=reason, labels=(label,)))


def _require_condition(elaborator: "Elaborator", condition: syntax.Expr, inner: Context, span: Span) -> bool:
    """State a condition on sizes that are not known; false when it is not of a form that can be stated."""
    parsed = parse_condition(elaborator, condition, inner)
    if parsed is None:
        return False
    relation, a, b = parsed
    stages.require(elaborator, (relation, a, b, f"`{condition.span.text}`"), "where", span, ())
    return True


def parse_condition(elaborator: "Elaborator", node: syntax.Expr, context: Context) -> tuple[Any, Size, Size] | None:
    """`H % 16 == 0` (or `<= 0`), `T <= 256`, `T >= 3`, `A == B` as (relation, size, size); none for other forms."""
    if not isinstance(node, syntax.Binary):
        return None
    left, right = node.left, node.right
    while isinstance(left, syntax.Paren):
        left = left.inner
    try:
        b = elaborator.evaluate(right, context.setting())
        # A remainder is never below 0.
        is_none_left = (node.operator, b) in (("==", 0), ("<=", 0), ("<", 1))
        if is_none_left and isinstance(b, int) and isinstance(left, syntax.Binary) and left.operator == "%":
            size = elaborator.evaluate(left.left, context.setting())
            divisor = elaborator.evaluate(left.right, context.setting())
            return ("divisible", size, divisor) if is_size(size) and is_size(divisor) else None
        a = elaborator.evaluate(left, context.setting())
    except ProblemError:
        return None
    if not all(isinstance(part, int | Dim) for part in (a, b)):
        return None
    relations: dict[str, tuple[Any, Size, Size]] = {
        "==": ("equal", a, b),
        "<=": ("at most", a, b),
        ">=": ("at least", a, b),
        "<": ("at most", a, b - 1),
        ">": ("at least", a, b + 1),
    }
    return relations.get(node.operator)


# ---------------------------------------------------------------------------------------------------- containers


def inline(elaborator: "Elaborator", value: Closure | Pipeline, context: Context, span: Span, label: str | None) -> Any:
    """An inline body as a stage, or a labelled loop or pipeline: a container with its own numbering."""
    name = context.body.claim(label, span)
    flow = stages.need_flow(context, span)
    builder = BodyBuilder("Body", span)
    inside = _enter(flow, None, builder)
    actual = list(tensors(flow))
    if isinstance(value, Pipeline):
        inner = Context(Scope(context.scope), inside, builder, tensor=True)
        for stage in value.stages:
            inner = inner.with_flow(stages.apply(elaborator, stage, inner, span))
        result = inner.flow
    else:
        inner = Context(Scope(value.scope.scope), inside, builder, tensor=True)
        if isinstance(value.expression, syntax.Repeat):
            result = loops.repeat(elaborator, value.expression, inner)
        else:
            result, _ = elaborator.body(value.expression, inner)  # type: ignore[arg-type]
    results.unnamed(elaborator, result, builder.steps)
    return _invoke(name, builder.close(result), actual, context, span)


def passed(container: Container, actual: Sequence[Value]) -> tuple[Any, ...]:
    """What a caller passes for each input: the tensors that flow in, what the body uses from outside, and sizes."""
    further = container.inputs[len(actual) :]
    return (*actual, *(_dim(value) if isinstance(value, Symbol) else value for value in further))


def _dim(unknown: Symbol) -> Size:
    return symbol(unknown.name, unknown.divisor, unknown.lower, unknown.upper)


def _invoke(name: str, container: Container, actual: Sequence[Value], context: Context, span: Span) -> Any:
    context.body.children[name] = container
    result = container.result
    context.body.steps.append(Invoke(name, passed(container, actual), result, span))
    if isinstance(result, Record):
        return tuple(result.fields.values())
    return result


# ---------------------------------------------------------------------------------------------------- the rest


def model_of(elaborator: "Elaborator", ref: BlockRef, arguments: tuple[Given, ...], span: Span) -> Any:
    """`model NAME = recipe`, with further settings."""
    statement = ref.statement
    assert isinstance(statement, syntax.ModelOf)  # noqa: S101 - the caller matched the rest
    with elaborator.unfolding(statement, statement.name, span):
        value = elaborator.evaluate(statement.value, Context(ref.scope))
    if isinstance(value, Recipe):
        return replace(value, arguments=value.arguments + arguments, span=None)
    if arguments:
        reason = "it is a pipeline, which takes no settings"
        raise ProblemError(NotAStage(span=span, what=f"`{statement.name}(...)`", reason=reason))
    return value


def assert_type(elaborator: "Elaborator", node: syntax.As, context: Context) -> Value:
    """`as f32[N, T, C]`: the flow must have this type; its new names bind."""
    flow = stages.single(stages.need_flow(context, node.span), "as", node.span)
    if not is_known(flow.type):
        bind_unknown_sizes(node.type, context)
        return flow

    def require(expected: Size, found: Size, what: str) -> None:
        elaborator.conditions.require(("equal", expected, found, what), "as", node.span)

    try:
        match(elaborator, node.type, flow.type, context, require, "as")
    except Fault as fault:
        raise ProblemError(refused(fault, node.span, (flow,))) from None
    return flow
