"""Penalties on weights in a loss: `1e-5 * l1(weights("*.weight"))`, and `l2`.

`weights(selector)` stands for the parameters that it matches, which become inputs of the loss. `l1` is the sum of their
absolute values, `l2` that of their squares. All three are written out as calls of torch's functions before the loss is
checked, so that nothing behind the checker knows of them.
"""

from dataclasses import fields, is_dataclass, replace
from typing import Any

from expc.compiler.errors.names import NotYet, SelectorMatchesNothing
from expc.compiler.graph import Model, Value, weights
from expc.compiler.model.body import BodyBuilder
from expc.compiler.model.elaborate import Elaborator
from expc.compiler.model.scope import MISSING, Scope
from expc.compiler.plans.selectors import matching, may_be_python, nearest_key
from expc.compiler.types import TensorType
from expc.diagnostics import Span
from expc.spec import syntax
from expc.spec.values import UNEVALUATED, Closure


class Weights:
    """The parameters that one loss asks for, as inputs of its container."""

    def __init__(self, elaborator: Elaborator, model: Model, builder: BodyBuilder, scope: Scope) -> None:
        self._elaborator, self._model, self._builder, self._scope = elaborator, model, builder, scope
        self.keys: dict[str, str] = {}
        """The name of each input that is a parameter, and the parameter's key."""

    def spelt_out(self, value: Any) -> Any:
        """A deferred expression without `weights`, `l1` and `l2`; anything else as it is."""
        if not isinstance(value, Closure) or "weights" not in value.expression.span.text:
            return value
        before = len(self._elaborator.report.problems)
        written = self._rewritten(value.expression)
        return replace(value, expression=written) if len(self._elaborator.report.problems) == before else UNEVALUATED

    def _rewritten(self, node: Any) -> Any:
        if isinstance(node, tuple):
            return tuple(self._rewritten(item) for item in node)
        if not is_dataclass(node) or isinstance(node, type | Span):
            return node
        if isinstance(node, syntax.Call) and self._calls(node, "weights"):
            return syntax.ListExpr(tuple(self._inputs(node)), span=node.span)
        changed = {
            field.name: self._rewritten(getattr(node, field.name))
            for field in fields(node)
            if field.name != "span" and isinstance(getattr(node, field.name), syntax.Node | tuple)
        }
        node = replace(node, **changed) if changed else node
        power = next((power for name, power in _POWERS.items() if self._calls(node, name)), None)
        listed = node.arguments[0].value if power is not None and len(node.arguments) == 1 else None
        return _total(listed, power) if isinstance(listed, syntax.ListExpr) and power is not None else node

    def _calls(self, node: Any, name: str) -> bool:
        """Whether a node calls the language's own function of that name, and not something that the file declares."""
        function = node.function if isinstance(node, syntax.Call) else None
        return isinstance(function, syntax.Name) and function.id == name and self._scope.lookup(name) is MISSING

    def _inputs(self, call: syntax.Call) -> list[syntax.Expr]:
        """A name for each parameter that the selector matches, bound to an input of the loss."""
        argument = call.arguments[0].value if len(call.arguments) == 1 else None
        is_glob = isinstance(argument, syntax.Constant) and isinstance(argument.value, str)
        selector = (
            str(argument.value)
            if isinstance(argument, syntax.Constant)
            else ""
            if argument is None
            else argument.span.text
        )
        entries = [weight for weight in weights(self._model.body) if not weight.is_buffer and weight.tied_to is None]
        matched = matching(selector, is_glob, self._model.body, entries)
        if may_be_python(selector, is_glob, self._model.body):
            what = f"`{selector}` in `weights`, where it reaches the parameters of Python code,"
            self._elaborator.add(NotYet(span=call.span, what=what))
        elif not matched:
            near = nearest_key(selector, entries)
            notes = (f"the nearest key is `{near}`",) if near else ()
            self._elaborator.add(SelectorMatchesNothing(span=call.span, selector=selector, notes=notes))
        for weight in matched:
            name = f"weights.{weight.key}"
            if name not in self.keys:
                self.keys[name] = weight.key
                value = Value(TensorType("f32", weight.dims), call.span, name)
                self._builder.inputs.append(value)
                self._builder.input_names.append(name)
                self._scope.bind(name, value, call.span)
        return [syntax.Name(f"weights.{weight.key}", span=call.span) for weight in matched]


_POWERS = {"l1": 1, "l2": 2}


def _total(listed: syntax.ListExpr, power: int) -> syntax.Expr:
    """The sum over all elements of all tensors, of absolute values or of squares."""
    span = listed.span

    def call(name: str, *arguments: syntax.Expr) -> syntax.Expr:
        given = tuple(syntax.Argument(None, argument, span=span) for argument in arguments)
        return syntax.Call(syntax.Name(name, span=span), given, span=span)

    inner = "abs" if power == 1 else "square"
    each = tuple(call("sum", call(inner, item)) for item in listed.items)
    return call("sum", call("stack", syntax.ListExpr(each, span=span)))
