"""Checking a model on its own: its declared inputs are unknown sizes, and its body must be right for all of them."""

from contextlib import suppress
from dataclasses import replace
from math import lcm
from typing import Any

from expc.compiler.dimensions import Dim, Size, as_symbol, symbol
from expc.compiler.errors.arguments import MissingArgument
from expc.compiler.errors.names import BadExpression
from expc.compiler.graph import Container, Leaf, Model, Result, Value
from expc.compiler.model import blocks, results, starts
from expc.compiler.model.body import BodyBuilder
from expc.compiler.model.elaborate import Elaborator
from expc.compiler.model.patterns import declared, is_tensor_type
from expc.compiler.model.scope import Context, Scope
from expc.compiler.model.solving import solution
from expc.compiler.types import UNKNOWN, TensorType
from expc.diagnostics import ProblemError
from expc.frozen import dataclass
from expc.spec import syntax
from expc.spec.values import UNEVALUATED, Given


@dataclass(frozen=True)
class _Facts:
    """What `where` says about one name."""

    divisor: int = 1
    lower: int = 1
    upper: int | None = None

    def size(self, name: str) -> Size:
        """The size called `name`: a number where only one is left."""
        return self.lower if self.lower == self.upper else symbol(name, self.divisor, self.lower, self.upper)


@dataclass(eq=False)
class Checked:
    """A model that was elaborated: its graph, and what later checks need to look at it again."""

    statement: syntax.Block
    model: Model
    result: Result
    home: Scope
    """The scope that the model was declared in."""
    arguments: tuple[Given, ...] = ()
    has_errors: bool = False


def check_model(
    elaborator: Elaborator,
    statement: syntax.Block,
    scope: Scope,
    given: dict[str, TensorType] | None = None,
    *,
    arguments: tuple[Given, ...] = (),
    lenient: bool = False,
) -> Checked | None:
    """Elaborate a model, or a block that nothing uses, from the types of its inputs.

    `given` replaces declared types by those that the data has. `arguments` are its settings, where a recipe gives some.
    `lenient`: settings without a default are unknown, and so is what depends on them.
    """
    builder = BodyBuilder(statement.name, statement.span)
    inner = Context(Scope(scope), None, builder, tensor=True)
    builder.declare_results(results.named(statement), inner.scope)
    before = len(elaborator.report.problems)
    elaborator.steps = 0
    try:
        _settings(elaborator, statement, arguments, inner, lenient=lenient)
        facts = _facts(elaborator, statement, inner)
        unknown = {name: fact.size(name) for name, fact in facts.items()}
        values = _inputs(elaborator, statement, inner, unknown, given or {}, builder)
        _state_conditions(elaborator, statement, inner)
        if not values and statement.kind == "model":
            what = "an input: a parameter with the type of a tensor, such as `x: f32[N, 8]`"
            elaborator.add(MissingArgument(span=statement.name_span, operator=statement.name, what=what))
        start: Any = values[0] if values else Value(UNKNOWN, statement.span)
        result, _ = elaborator.body(statement.body, inner.with_flow(start))
        result = results.finish(elaborator, statement, result, inner)
    except ProblemError as error:
        elaborator.add(error.problem)
        return None
    container = builder.close(result)
    if not lenient:
        for body in _containers(container):
            starts.check_rules(elaborator, body.inits, body)
        _ask_for_conditions(elaborator, statement)
    symbols = {
        name: found
        for name, size in inner.scope.values.items()
        if isinstance(size, Dim) and (found := as_symbol(size)) is not None
    }
    conditions = tuple(condition.span.text for condition in statement.conditions)
    model = Model(statement.name, container, symbols, conditions, dict(elaborator.conditions.floors))
    return Checked(statement, model, result, scope, arguments, len(elaborator.report.problems) > before)


def _settings(
    elaborator: Elaborator,
    statement: syntax.Block,
    arguments: tuple[Given, ...],
    inner: Context,
    *,
    lenient: bool,
) -> None:
    if not lenient:
        blocks.settings(elaborator, statement, arguments, inner, statement.name_span)
        return
    for parameter in statement.parameters:
        if not is_tensor_type(parameter.type):
            value = UNEVALUATED
            if parameter.default is not None:
                value = elaborator.evaluate(parameter.default, Context(inner.scope))
            elaborator.bind_name(parameter.name, value, parameter.span, inner.scope)


def _inputs(
    elaborator: Elaborator,
    statement: syntax.Block,
    inner: Context,
    unknown: dict[str, Size],
    given: dict[str, TensorType],
    builder: BodyBuilder,
) -> list[Value]:
    values = []
    for parameter in statement.parameters:
        if parameter.type is None or not is_tensor_type(parameter.type):
            continue
        type_ = given.get(parameter.name)
        if type_ is None:
            try:
                type_ = declared(elaborator, parameter.type, inner, lambda name: unknown.get(name) or symbol(name))
            except ProblemError as error:
                elaborator.add(error.problem)
                blocks.bind_unknown_sizes(parameter.type, inner)
        else:
            _bind_given(parameter.type, type_, inner)
        value = Value(UNKNOWN if type_ is None else type_, parameter.span, parameter.name)
        elaborator.bind_name(parameter.name, value, parameter.span, inner.scope)
        values.append(value)
        builder.inputs.append(value)
        builder.input_names.append(parameter.name)
    return values


def _bind_given(written: syntax.TypeExpr, type_: TensorType, inner: Context) -> None:
    nodes = getattr(written, "dims", None) or ()
    for node, size in zip(nodes, type_.dims, strict=False):
        if isinstance(node, syntax.Name) and node.id[0].isupper() and node.id not in inner.scope.values:
            inner.scope.bind(node.id, size, node.span)


def _facts(elaborator: Elaborator, statement: syntax.Block, inner: Context) -> dict[str, _Facts]:
    """What `where` says about single names: multiples and bounds. They become part of the symbols themselves.

    The conditions are read where the inputs have plain symbols; what is wrong in them is reported later, in its place.
    """
    plain = inner.inner()
    for parameter in statement.parameters:
        if parameter.type is not None and is_tensor_type(parameter.type):
            with suppress(ProblemError):
                declared(elaborator, parameter.type, plain, symbol)
    facts: dict[str, _Facts] = {}
    for condition in statement.conditions:
        relation, size, bound = blocks.parse_condition(elaborator, condition, plain) or (None, 0, 0)
        if relation == "equal" and (solved := solution(size - bound)) is not None:
            size, bound = solved
        name = as_symbol(size)
        if name is None or not isinstance(bound, int):
            continue
        old = facts.get(name.name, _Facts())
        match relation:
            case "divisible" if bound > 0:
                facts[name.name] = replace(old, divisor=lcm(old.divisor, bound))
            case "at least":
                facts[name.name] = replace(old, lower=max(old.lower, bound))
            case "equal":
                upper = bound if old.upper is None else min(old.upper, bound)
                facts[name.name] = replace(old, lower=max(old.lower, bound), upper=upper)
            case "at most":
                facts[name.name] = replace(old, upper=bound if old.upper is None else min(old.upper, bound))
        fact = facts.get(name.name, old)
        if fact != old and fact.upper is not None and -(-fact.lower // fact.divisor) * fact.divisor > fact.upper:
            reason = f"no {name} is left by the conditions up to `{condition.span.text}`"
            elaborator.add(BadExpression(span=condition.span, reason=reason))
    return facts


def _state_conditions(elaborator: Elaborator, statement: syntax.Block, inner: Context) -> None:
    """What `where` says beyond single names is remembered; a condition that can never hold is an error."""
    for condition in statement.conditions:
        parsed = blocks.parse_condition(elaborator, condition, inner)
        if parsed is not None:
            elaborator.conditions.stated.append(parsed)
            if all(isinstance(size, int) for size in parsed[1:]):
                _decided(elaborator, condition, inner)
            continue
        try:
            _decided(elaborator, condition, inner)
        except ProblemError as error:
            elaborator.add(error.problem)


def _decided(elaborator: Elaborator, condition: syntax.Expr, inner: Context) -> None:
    if elaborator.condition(condition, inner.setting()) is False:
        elaborator.add(BadExpression(span=condition.span, reason=f"`{condition.span.text}` never holds"))


def _ask_for_conditions(elaborator: Elaborator, statement: syntax.Block) -> None:
    text = statement.span.source.text
    last = statement.conditions[-1].span.end if statement.conditions else None
    at = last if last is not None else len(text[: statement.body.span.start].rstrip())
    problem = elaborator.conditions.problem(statement.name_span, at, statement.conditions, _batch(statement))
    if problem is not None:
        elaborator.report.add(problem)


def _batch(statement: syntax.Block) -> str:
    """What the first dimension of the first input is called; empty where it has no name."""
    sizes = (getattr(parameter.type, "dims", None) or () for parameter in statement.parameters)
    first = next((dims[0] for dims in sizes if dims), None)
    return first.id if isinstance(first, syntax.Name) else ""


def _containers(container: Container) -> list[Container]:
    found = [container]
    for child in container.children.values():
        if not isinstance(child, Leaf):
            found += _containers(child)
    return found
