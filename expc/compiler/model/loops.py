"""What is unrolled: the branch of an `if` that is taken, and the rounds of `for` and `repeat`."""

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any

from expc.compiler.arithmetic import describe, is_size
from expc.compiler.errors.names import BadExpression, TooLarge
from expc.compiler.errors.stages import Misplaced
from expc.compiler.graph import Value
from expc.compiler.model.evaluate import MOST_STEPS
from expc.diagnostics import ProblemError, Span
from expc.spec import syntax
from expc.spec.values import UNEVALUATED

if TYPE_CHECKING:
    from expc.compiler.model.elaborate import Elaborator
    from expc.compiler.model.scope import Context


def branch(elaborator: "Elaborator", statement: syntax.If, context: "Context") -> tuple[Any, bool]:
    """`if`: the branch that is taken goes on with the flow."""
    chosen = elaborator.condition(statement.condition, context.setting())
    if chosen is None:
        return elaborator.unknown(statement.span), False
    taken = statement.then if chosen else statement.orelse
    elaborator.taken.add(id(taken))
    return elaborator.body(taken, context.inner()) if taken is not None else (context.flow, False)


def loop(elaborator: "Elaborator", statement: syntax.For, context: "Context") -> Any:
    """`for`: each round goes on with the flow."""
    items = elaborator.evaluate(statement.iterable, context.setting())
    if items is UNEVALUATED:
        return elaborator.unknown(statement.span)
    if not isinstance(items, tuple):
        reason = f"`for` goes over a list, not over {describe(items)}"
        raise ProblemError(BadExpression(span=statement.iterable.span, reason=reason))
    flow = context.flow
    for item in _rounds(elaborator, items, statement.iterable.span):
        here = context.with_flow(flow).inner()

        def bind(pattern: syntax.Pattern, part: Any, here: "Context" = here) -> None:
            if pattern.name != "_":
                elaborator.bind_name(str(pattern.name), part, pattern.span, here.scope)

        elaborator.unpack(statement.target, item, bind)
        flow = _round(elaborator, statement.body, here)
    return flow


def repeat(elaborator: "Elaborator", node: syntax.Repeat, context: "Context") -> Any:
    """`repeat n as i { }`: the flow after all rounds."""
    count = elaborator.evaluate(node.count, context.setting())
    if count is UNEVALUATED:
        return elaborator.unknown(node.span)
    if isinstance(count, bool) or not isinstance(count, int) or count < 0:
        what = f"{count}, which is not known here" if is_size(count) and not isinstance(count, int) else describe(count)
        reason = f"`repeat` takes a whole number of rounds, not {what}"
        raise ProblemError(BadExpression(span=node.count.span, reason=reason))
    if count > MOST_STEPS:
        limit = f"at most {MOST_STEPS:,} rounds"
        raise ProblemError(TooLarge(span=node.count.span, what=f"`repeat {count}`", limit=limit))
    flow = context.flow
    for number in _rounds(elaborator, range(count), node.count.span):
        here = context.with_flow(flow).inner()
        if node.variable is not None and node.variable != "_":
            elaborator.bind_name(node.variable, number, node.span, here.scope)
        before, flow = flow, _round(elaborator, node.body, here)
        if elaborator.looks_again and node.variable is None and _type(before) == _type(flow):
            break
    return flow


def _type(flow: Any) -> Any:
    """What is known of a flow: the types of its tensors."""
    return tuple(map(_type, flow)) if isinstance(flow, tuple) else flow.type if isinstance(flow, Value) else flow


def _rounds(elaborator: "Elaborator", items: Sequence[Any], span: Span) -> Iterator[Any]:
    """What a loop goes over. After two rounds it is clear whether all of them are too many."""
    costs: list[int] = []
    for number, item in enumerate(items):
        if number == 0:
            elaborator.foresee(len(items), span)
        elif number == 2:
            elaborator.foresee(min(costs) * (len(items) - number), span)
        before = elaborator.steps
        yield item
        if number < 2:
            costs.append(elaborator.steps - before)


def _round(elaborator: "Elaborator", body: syntax.Body, context: "Context") -> Any:
    """The flow after one round of a loop."""
    elaborator.count(body.span)
    flow, returned = elaborator.body(body, context)
    if returned:
        what = "`return` ends a whole body, and cannot stand in a loop"
        raise ProblemError(Misplaced(span=body.statements[-1].span, what=what))
    return flow
