"""What a `param` or `buffer` starts as: an initialiser, numbers, or an expression of tensors.

An expression becomes a small container without inputs. It is run once, on the CPU, when the model is built, and what it
gives is copied into the declared tensor.
"""

from collections.abc import Mapping
from dataclasses import replace
from typing import TYPE_CHECKING, Any, NoReturn

from expc.compiler.dimensions import Symbol
from expc.compiler.errors.stages import NotAStage, NotKnownYet
from expc.compiler.graph import Apply, Container, Declared, Invoke, Leaf, Value, has_python, weights
from expc.compiler.model import results, starts
from expc.compiler.model.body import BodyBuilder
from expc.compiler.model.scope import Context, ModuleRef, Scope, TensorRef, WeightRef
from expc.compiler.types import TensorType, is_known
from expc.diagnostics import ProblemError, Span
from expc.spec import syntax
from expc.spec.values import Recipe

if TYPE_CHECKING:
    from expc.compiler.model.elaborate import Elaborator


def begin(elaborator: "Elaborator", statement: syntax.Declare, type_: TensorType, context: Context) -> Any:
    """What the declared tensor of this type starts as: the `start` of its `graph.Declared`.

    Raises `ProblemError` where it is none, or needs what is not known when the model is built.
    """
    node = statement.value
    while isinstance(node, syntax.Paren):
        node = node.inner
    before = context.body.buffers if statement.kind == "buffer" else {}
    scope = Scope(context.scope)
    builder = BodyBuilder("Start", node.span, buffers=before)
    _enter(statement, before, context, scope, builder)
    here = Context(scope, context.flow, builder, tensor=True)
    value = elaborator.evaluate(node, here)
    if not _is_tensor(elaborator, value):
        return starts.start(elaborator, value, type_.dims, type_.dtype, node.span)
    tensor = None if isinstance(value, tuple) else elaborator.wanted(value, here, node.span)
    if not isinstance(tensor, Value):
        reason = (
            f"a {statement.kind} is one tensor, and these are several: `stack([...])` and `cat([...])` join tensors"
        )
        raise ProblemError(NotAStage(span=node.span, what=f"`{node.span.text}`", reason=reason))
    container = replace(builder.close(tensor), buffers={})
    _check_known(elaborator, container, statement)
    fitting = results.fit(elaborator, f"`{statement.name}`", statement.type, tensor, context)
    return container if fitting is tensor and is_known(tensor.type) else 0


def _enter(
    statement: syntax.Declare, before: Mapping[str, Declared], context: Context, scope: Scope, builder: BodyBuilder
) -> None:
    """Let `scope` have the buffers declared before. Raises `ProblemError` for a name of what is not known yet."""
    for name in syntax.walk(statement.value):
        if not isinstance(name, syntax.Name):
            continue
        meant = context.scope.lookup(name.id)
        if isinstance(meant, TensorRef) and meant.owner is context.body and meant.name in before:
            scope.bind(name.id, TensorRef(meant.name, builder), context.scope.place(name.id) or name.span)
        elif isinstance(meant, Value | TensorRef | WeightRef | ModuleRef):
            _refuse(statement, f"`{name.id}` is not there yet", name.span)


def _is_tensor(elaborator: "Elaborator", value: Any) -> bool:
    """Whether a value is a tensor, or a stage that makes one, or a list that holds one.

    `zeros` and `normal(std=0.02)` are initialisers, and `zeros(4)` makes a tensor.
    """
    if isinstance(value, tuple):
        return any(_is_tensor(elaborator, item) for item in value)
    if not isinstance(value, Recipe) or value.target is not None:
        return isinstance(value, Value) or elaborator.is_stage(value)
    declaration = elaborator.library.initialisers.get(value.name)
    if declaration is not None:
        return bool(value.arguments) and not declaration.settings
    return value.name in elaborator.library.operators


def _check_known(elaborator: "Elaborator", container: Container, statement: syntax.Declare) -> None:
    """Raises `ProblemError` where the expression needs what comes in, or parameters of its own."""
    for given in container.inputs:
        if isinstance(given, Value) and is_known(given.type):
            _refuse(statement, "nothing flows yet", container.span)
        if isinstance(given, Symbol) and not elaborator.conditions.lenient:
            _refuse(statement, f"the size {given.name} is not known yet", container.span)
    for step in container.steps:
        if isinstance(step, Apply | Invoke) and step.module is not None:
            child = container.children[step.module]
            if _is_python(child) or _holds_weights(child):
                why = "is Python code" if _is_python(child) else "has weights of its own"
                _refuse(statement, f"`{_one_line(step.span)}` {why}", step.span)


def _is_python(child: Leaf | Container) -> bool:
    return has_python(child) if isinstance(child, Container) else child.operator.python is not None


def _holds_weights(child: Leaf | Container) -> bool:
    return any(weights(child)) if isinstance(child, Container) else bool(child.weights or child.buffers)


def _one_line(span: Span) -> str:
    return " ".join(span.text.split())


def _refuse(statement: syntax.Declare, reason: str, span: Span) -> NoReturn:
    raise ProblemError(NotKnownYet(span=span, reason=reason, kind=statement.kind))
