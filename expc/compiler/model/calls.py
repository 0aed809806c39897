"""Calls: a function at compile time is computed, a recipe gets further arguments."""

from dataclasses import replace
from typing import TYPE_CHECKING, Any

from expc.compiler import arithmetic
from expc.compiler.arithmetic import ArithmeticRefusedError, UndecidedError
from expc.compiler.errors.arguments import MissingArgument, UnknownArgument
from expc.compiler.errors.names import BadExpression, DuplicateName, TooLarge, UnknownName
from expc.compiler.errors.stages import NotAStage
from expc.compiler.graph import Value
from expc.compiler.model.arguments import match_parameters
from expc.compiler.model.scope import Builtin, Context, Function, ModuleRef, Scope, TensorRef
from expc.diagnostics import Edit, Fix, Label, Problem, ProblemError, Span
from expc.spec import syntax
from expc.spec.values import UNEVALUATED, Closure, Given, Labelled, Pipeline, Recipe, Watched

if TYPE_CHECKING:
    from expc.compiler.model.evaluate import Evaluator


def after_arrow(evaluator: "Evaluator", node: syntax.Expr, context: Context) -> Any:
    """The value of a stage after an arrow: there `max` and its like are the tensor's."""
    name = node.function if isinstance(node, syntax.Call) else node
    function = evaluator.name(name, context) if isinstance(name, syntax.Name) else None
    if isinstance(function, Builtin) and function.name in evaluator.library.operators:
        arguments = _arguments(evaluator, node, context) if isinstance(node, syntax.Call) else ()
        return Recipe(function.name, arguments, span=node.span)
    return evaluator.evaluate(node, context)


def call(evaluator: "Evaluator", node: syntax.Call, context: Context) -> Any:
    """A function at compile time is computed; a recipe gets further arguments."""
    function = evaluator.evaluate(node.function, context.setting())
    arguments = _arguments(evaluator, node, context)
    if function is UNEVALUATED:
        return UNEVALUATED
    if isinstance(function, Builtin):
        return _builtin(evaluator, function, arguments, node)
    if isinstance(function, Function):
        return _function(evaluator, function, arguments, node)
    if isinstance(function, Recipe):
        return Recipe(
            function.name, function.arguments + arguments, function.target, node.span, guessed=function.guessed
        )
    if isinstance(function, ModuleRef):
        reason = "a label used again takes no settings"
    elif isinstance(function, Value | TensorRef):
        reason = "a tensor is not a function"
    else:
        reason = "it is not a function or a stage"
    raise ProblemError(NotAStage(span=node.function.span, what=f"`{node.function.span.text}(...)`", reason=reason))


def _arguments(evaluator: "Evaluator", node: syntax.Call, context: Context) -> tuple[Given, ...]:
    """The evaluated arguments of a call; each problem inside is reported, and the rest goes on."""
    given = []
    places: dict[str | None, Span] = {}
    for argument in node.arguments:
        if argument.name is not None and argument.name in places:
            labels = (Label(places[argument.name], "the first is here"),)
            reason = "is given twice"
            evaluator.add(DuplicateName(span=argument.span, word=argument.name, reason=reason, labels=labels))
            continue
        places[argument.name] = argument.span
        try:
            value = evaluator.evaluate(argument.value, context.setting())
        except ProblemError as error:
            if isinstance(error.problem, TooLarge):
                raise
            evaluator.add(_of_a_role(error.problem, node, context))
            value = UNEVALUATED
        given.append(Given(argument.name, value, argument.span))
    return tuple(given)


def _of_a_role(problem: Problem, node: syntax.Call, context: Context) -> Problem:
    """`max(accuracy)` in a section: what is measured is measured on a role, `val.accuracy`."""
    watches = isinstance(node.function, syntax.Name) and node.function.id in ("max", "min") and context.body is None
    if not watches or not isinstance(problem, UnknownName) or not problem.word.islower():
        return problem
    text = f"val.{problem.word}"
    fix = Fix(f"write `{text}`", (Edit(problem.span, text),))
    return replace(problem, hint=f"; what is measured has its role before it: `{text}`", fixes=(fix,))


def _builtin(evaluator: "Evaluator", function: Builtin, arguments: tuple[Given, ...], node: syntax.Call) -> Any:
    """`max(a, b)` and the like; with a watched metric, a recipe of what to watch."""
    values = tuple(argument.value for argument in arguments)
    if any(isinstance(value, Watched) for value in values):
        return Recipe(function.name, arguments, span=node.span)
    if any(_flows(value) for value in values) and evaluator.library.knows(function.name):
        return Recipe(function.name, arguments, span=node.span)
    for argument in arguments:
        if argument.name is not None:
            problem = UnknownArgument(span=argument.span, operator=function.name, word=argument.name)
            raise ProblemError(problem)
    try:
        return arithmetic.call(function.name, values)
    except UndecidedError as fault:
        return evaluator.undecided(node.span, str(fault))
    except ArithmeticRefusedError as fault:
        raise ProblemError(BadExpression(span=node.span, reason=str(fault))) from None


def _flows(value: Any) -> bool:
    """Whether a value is, or holds, a tensor or a recipe of one."""
    if isinstance(value, tuple):
        return any(map(_flows, value))
    return isinstance(value, Value | TensorRef | Recipe | Pipeline | Closure | Labelled)


def _function(evaluator: "Evaluator", function: Function, arguments: tuple[Given, ...], node: syntax.Call) -> Any:
    """A `fn` of the file, computed with its arguments."""
    declaration = function.statement
    scope = Scope(function.scope)
    context = Context(scope)
    values = match_parameters(declaration.name, declaration.parameters, arguments, node.span)
    for parameter in declaration.parameters:
        if parameter.name in values:
            value = values[parameter.name]
        elif parameter.default is not None:
            value = evaluator.evaluate(parameter.default, context)
        else:
            missing = MissingArgument(span=node.span, operator=declaration.name, what=f"`{parameter.name}`")
            raise ProblemError(missing)
        scope.bind(parameter.name, value, parameter.span)
    with evaluator.unfolding(declaration, declaration.name, node.span):
        try:
            return evaluator.evaluate(declaration.value, context)
        except ProblemError as error:
            raise ProblemError(_called_from(error.problem, node.span, declaration.name)) from None


def _called_from(problem: Problem, span: Span, name: str) -> Problem:
    if problem.span == span:
        return problem
    return replace(problem, labels=(*problem.labels, Label(span, f"`{name}` is called here")))
