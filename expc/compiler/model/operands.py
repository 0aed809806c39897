"""What an operator is given: what arrives and what stands in parentheses, as its tensors and settings."""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace
from itertools import takewhile
from typing import TYPE_CHECKING, Any, NoReturn

from expc.compiler.arithmetic import describe
from expc.compiler.errors.arguments import WrongArgument
from expc.compiler.errors.shapes import InputCountMismatch
from expc.compiler.errors.stages import NotAStage, StageInArithmetic
from expc.compiler.graph import Value
from expc.compiler.model.arguments import accepts, assign, match_settings, setting
from expc.compiler.model.scope import ModuleRef, TensorRef, WeightRef
from expc.compiler.model.trail import refused
from expc.compiler.ops.declare import Fault, Operator, Param
from expc.compiler.ops.kinds import TENSORS
from expc.compiler.types import is_known
from expc.diagnostics import Edit, Fix, ProblemError, Span
from expc.spec.values import UNEVALUATED, Closure, Given, Labelled, Pipeline, Recipe

if TYPE_CHECKING:
    from expc.compiler.model.elaborate import Elaborator
    from expc.compiler.model.scope import Context

_APPLICABLE = (Recipe, Pipeline, Closure, Labelled, TensorRef, WeightRef)


def wants_flow(operator: Operator, given: Sequence[Given]) -> bool:
    """Whether a function, given these arguments, takes the flow as its first tensor."""
    first = next(iter(operator.arguments), None)
    if first is None or not first.tensor or first.kind is TENSORS:
        return False
    if any(argument.name == first.name for argument in given):
        return False
    positional = [argument.value for argument in given if argument.name is None]
    named = {argument.name for argument in given}
    tensors = takewhile(lambda param: param.tensor and param.required, operator.positional)
    wanted = [param for param in tensors if param.name not in named] or [first]
    without_flow = zip(wanted, positional, strict=False)
    fits = all(_may_be(param, value) for param, value in without_flow)
    return len(positional) < len(wanted) or not fits


def refuse_count(name: str, expected: str, flow: Any, span: Span) -> NoReturn:
    """Refuse a flow of another number of tensors."""
    count = "one" if _is_one(flow) else f"a tuple of {len(flow)}" if isinstance(flow, tuple) else describe(flow)
    inputs = tuple(part for part in flow if isinstance(part, Value)) if isinstance(flow, tuple) else ()
    fault = Fault(InputCountMismatch, operator=name, expected=expected, found=count)
    problem = refused(fault, span, inputs)
    if isinstance(flow, tuple) and expected.startswith("one tensor"):
        problem = replace(problem, notes=(f"take the tuple apart first: `{_pattern(flow)} = ...`", *problem.notes))
    raise ProblemError(problem)


def _is_one(flow: Any) -> bool:
    """Whether one tensor flows, where several were wanted."""
    return isinstance(flow, tuple) and len(flow) == 1 and isinstance(flow[0], Value)


def _pattern(flow: tuple[Any, ...], names: Iterator[str] | None = None) -> str:
    """The names that would take a tuple apart: `a, (b, c)`."""
    names = iter("abcdefgh") if names is None else names
    return ", ".join(f"({_pattern(part, names)})" if isinstance(part, tuple) else next(names, "_") for part in flow)


def _may_be(param: Param, value: Any) -> bool:
    """Whether a value may be what a tensor argument takes."""
    if param.kind is TENSORS and isinstance(value, tuple):
        return True
    return isinstance(value, (Value, *_APPLICABLE)) or value is UNEVALUATED or accepts(param, value)


def function_arguments(
    elaborator: "Elaborator", operator: Operator, given: Sequence[Given], context: "Context", span: Span
) -> dict[str, Any]:
    """The arguments of a function by name, the flow among them where it is taken. Raises `ProblemError`."""
    if wants_flow(operator, given):
        if context.flow is None:
            raise ProblemError(
                NotAStage(span=span, what=f"`{operator.name}`", reason="nothing flows here that it could take")
            )
        if context.in_arithmetic:
            raise ProblemError(StageInArithmetic(span=span, stage=span.text))
        flow = context.flow if isinstance(context.flow, tuple) else (context.flow,)
        most = sum(param.tensor for param in operator.positional)
        if len(flow) > most:
            refuse_count(operator.name, "one tensor" if most == 1 else f"{most} tensors", flow, span)
        given = (*(Given(None, value, span) for value in flow), *given)
    _refuse_unlisted(operator, given)
    assigned = assign(operator.name, operator.arguments, operator.positional, given, span)
    return _values(elaborator, operator, operator.arguments, assigned, context, span)


def _refuse_unlisted(operator: Operator, given: Sequence[Given]) -> None:
    """`cat(a, b)` instead of `cat([a, b])`."""
    first = operator.positional[0] if operator.positional else None
    loose = [argument for argument in given if argument.name is None and isinstance(argument.value, Value)]
    if first is None or first.kind is not TENSORS or not loose or first.variadic:
        return
    place = loose[0].span.to(loose[-1].span)
    fix = Fix("write them as a list", (Edit(place, f"[{place.text}]"),), "safe")
    found = "one tensor" if len(loose) == 1 else f"{len(loose)} tensors side by side"
    expected = first.kind.words
    raise ProblemError(
        WrongArgument(
            span=place, operator=operator.name, parameter=first.name, expected=expected, found=found, fixes=(fix,)
        )
    )


def _values(
    elaborator: "Elaborator",
    operator: Operator,
    params: Iterable[Param],
    assigned: dict[str, Given],
    context: "Context",
    span: Span,
) -> dict[str, Any]:
    values: dict[str, Any] = {}
    for param in params:
        argument = assigned.get(param.name)
        if param.tensor and argument is not None:
            values[param.name] = _tensor(elaborator, operator, param, argument, context)
        else:
            values[param.name] = setting(operator.name, param, argument, span)
    return values


def _tensor(elaborator: "Elaborator", operator: Operator, param: Param, argument: Given, context: "Context") -> Any:
    inside = context.enclosed().wanting()

    def applied(value: Any) -> Any:
        return elaborator.wanted(value, inside, argument.span) if isinstance(value, _APPLICABLE) else value

    value = applied(argument.value)
    if value is UNEVALUATED:
        return elaborator.unknown(argument.span)
    if isinstance(value, tuple) and not accepts(param, value):
        value = tuple(map(applied, value))
    return _fitting(operator, param, value, argument.span)


def _fitting(operator: Operator, param: Param, value: Any, span: Span) -> Any:
    """The value, if a tensor argument takes it: one tensor, or a list of them, or what its kind allows instead."""
    if param.kind is TENSORS or param.variadic:
        fits = isinstance(value, tuple) and all(isinstance(item, Value) or item is UNEVALUATED for item in value)
    else:
        fits = isinstance(value, Value)
    if fits or (value is None and param.default is None) or accepts(param, value):
        return value
    expected = param.kind.words
    raise ProblemError(
        WrongArgument(span=span, operator=operator.name, parameter=param.name, expected=expected, found=_shown(value))
    )


def _shown(value: Any) -> str:
    if isinstance(value, Value):
        return f"a tensor {value.type}"
    if not isinstance(value, tuple):
        return describe(value)
    wrong = next((item for item in value if not isinstance(item, Value)), None)
    return f"a tuple of {len(value)} tensors" if wrong is None else f"a list with {_shown(wrong)} in it"


def layer_arguments(
    elaborator: "Elaborator", operator: Operator, given: Sequence[Given], context: "Context", span: Span
) -> tuple[dict[str, Any], dict[str, Any], dict[str, Given]]:
    """A layer's settings, its tensor arguments, and the parameters that are tied to others. Raises `ProblemError`."""
    further = {param.name for param in operator.arguments[1:]}
    names = {None, *further, *(param.name for param in operator.settings)}
    tied = {str(argument.name): argument for argument in given if isinstance(argument.value, WeightRef)}
    given = [argument for argument in given if argument.value is not UNEVALUATED or argument.name in names]
    for argument in given:
        if isinstance(argument.value, ModuleRef) and argument.name not in names:
            raise ProblemError(_whole_module(operator, argument, argument.value))
    named = [argument for argument in given if argument.name in further and argument.name not in tied]
    rest = [argument for argument in given if argument.name not in further and argument.name not in tied]
    settings = match_settings(operator.name, operator.settings, operator.positional, rest, span)
    if context.flow is None:
        raise ProblemError(
            NotAStage(span=span, what=f"`{operator.name}`", reason="nothing flows here that it could take")
        )
    extra = {
        str(argument.name): _tensor(elaborator, operator, _param(operator, str(argument.name)), argument, context)
        if _param(operator, str(argument.name)).tensor
        else setting(operator.name, _param(operator, str(argument.name)), argument, span)
        for argument in named
    }
    return settings, piped(operator, context.flow, extra, span), tied


def _whole_module(operator: Operator, argument: Given, ref: ModuleRef) -> WrongArgument:
    """`weight=wte` instead of `weight=wte.weight`."""
    end = argument.span.end
    edit = Edit(Span(argument.span.source, end, end), f".{argument.name}")
    fix = Fix(f"write `{ref.name}.{argument.name}`", (edit,), "safe")
    return WrongArgument(
        span=argument.span,
        operator=operator.name,
        parameter=str(argument.name),
        expected=f"a parameter, such as `{ref.name}.{argument.name}`",
        found=f"the module `{ref.name}`",
        fixes=(fix,),
    )


def _param(operator: Operator, name: str) -> Param:
    return next(param for param in operator.arguments if param.name == name)


def piped(operator: Operator, flow: Any, extra: dict[str, Any], span: Span) -> dict[str, Any]:
    """The tensor arguments of a layer: what is piped in, in order, and what is named."""
    wanted = [param for param in operator.arguments if param.tensor and param.name not in extra]
    needed = sum(param.required for param in wanted)
    piped = flow if isinstance(flow, tuple) else (flow,)
    if isinstance(flow, Value) and not is_known(flow.type):
        piped = (flow,) * max(needed, 1)
    if not needed <= len(piped) <= len(wanted):
        names = ", ".join(param.name for param in wanted[: max(needed, 1)])
        count = "one tensor" if needed == 1 else f"{needed} tensors ({names})"
        refuse_count(operator.name, count, flow if isinstance(flow, tuple) else (flow,), span)
    values = {param.name: _fitting(operator, param, value, span) for param, value in zip(wanted, piped, strict=False)}
    return {param.name: values.get(param.name, extra.get(param.name, param.default)) for param in operator.arguments}
