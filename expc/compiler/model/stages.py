"""Stages: what happens when a recipe is applied to what flows."""

from collections.abc import Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from expc.compiler.errors.names import DuplicateName
from expc.compiler.errors.stages import Misplaced, NotAStage
from expc.compiler.graph import Cast, Container, Leaf, Source, Value
from expc.compiler.model import blocks, extern_declarations, externs, loops, operands, operators, sharing
from expc.compiler.model.arguments import refuse_tensors
from expc.compiler.model.patterns import is_tensor_type
from expc.compiler.model.scope import MISSING, BlockRef, ModuleRef, WeightRef
from expc.compiler.model.trail import refused
from expc.compiler.ops.declare import Fault, Requirement
from expc.compiler.types import FLOATING, TensorType, UnknownType, is_known
from expc.diagnostics import Edit, Fix, Label, ProblemError, Span
from expc.spec import syntax
from expc.spec.suggest import advice, nearest
from expc.spec.values import UNEVALUATED, Closure, Dtype, Labelled, Lasting, Pipeline, Recipe

if TYPE_CHECKING:
    from expc.compiler.model.body import BodyBuilder
    from expc.compiler.model.elaborate import Elaborator
    from expc.compiler.model.scope import Context


def apply(elaborator: "Elaborator", value: Any, context: "Context", span: Span, label: str | None = None) -> Any:
    """Apply a recipe to the flow of `context`; a module that it makes is called `label`. Raises `ProblemError`."""
    place = getattr(value, "span", None)
    span = place if isinstance(place, Span) and place.source is span.source and isinstance(value, Recipe) else span
    match value:
        case Recipe():
            return recipe(elaborator, value, context, span, label)
        case Labelled():
            return labelled(elaborator, value, context, span)
        case Pipeline():
            if label is not None:
                return blocks.inline(elaborator, value, context, span, label)
            for stage in value.stages:
                context = context.with_flow(apply(elaborator, stage, context, span))
            return context.flow
        case Closure(syntax.Repeat() as node, home) if label is None:
            return loops.repeat(
                elaborator, node, replace(home, flow=need_flow(context, span), body=context.body, tensor=True)
            )
        case Closure(syntax.Body() | syntax.Repeat()):
            return blocks.inline(elaborator, value, context, span, label)
        case Closure(syntax.As() as node, _):
            return blocks.assert_type(elaborator, node, context)
        case Dtype():
            return cast(context, value, span)
        case ModuleRef():
            return again(elaborator, value, context, span)
        case Lasting():
            raise ProblemError(Misplaced(span=span, what="`for` says how long a part of a schedule lasts, not a layer"))
    raise ProblemError(NotAStage(span=span, what=f"`{span.text}`", reason="it takes no tensor"))


def recipe(elaborator: "Elaborator", value: Recipe, context: "Context", span: Span, label: str | None) -> Any:
    """Apply an operator or a block."""
    if isinstance(value.target, BlockRef):
        statement = value.target.statement
        if isinstance(statement, syntax.Block):
            inputs = [parameter.name for parameter in statement.parameters if is_tensor_type(parameter.type)]
            refuse_tensors(statement.name, inputs, value.arguments, span)
            return blocks.block(elaborator, value, statement, context, span, label)
        if isinstance(statement, syntax.Extern):
            return extern(elaborator, value, statement, context, span, label)
        made = blocks.model_of(elaborator, value.target, value.arguments, span)
        return apply(elaborator, made, context, span, label)
    operator = elaborator.library.operators.get(value.name)
    if operator is None:
        reason = f"it is {elaborator.library.kind(value.name)}, which takes no tensor of a model"
        raise ProblemError(NotAStage(span=span, what=f"`{value.name}`", reason=reason))
    if operator.kind == "layer":
        refuse_tensors(operator.name, (), value.arguments, span)
    try:
        return operators.apply(elaborator, operator, value.arguments, context, span, label)
    except ProblemError:
        if not value.guessed:
            raise
        return elaborator.unknown(span)


def extern(
    elaborator: "Elaborator",
    value: Recipe,
    statement: syntax.Extern,
    context: "Context",
    span: Span,
    label: str | None,
) -> Any:
    """Apply Python code, which its declared type stands for. Raises `ProblemError` where it is no layer or loss."""
    if statement.kind not in externs.KINDS:
        return elaborator.unknown(span)  # which was reported where it is declared
    if statement.kind not in ("layer", "loss"):
        place = Label(statement.name_span, "declared here")
        reason = f"it is {externs.KINDS[statement.kind]}, which takes no tensor of a model"
        raise ProblemError(NotAStage(span=span, what=f"`{statement.name}`", reason=reason, labels=(place,)))
    refuse_tensors(statement.name, (), value.arguments, span)
    made = extern_declarations.operator(elaborator, value.target)
    return operators.apply(elaborator, made, value.arguments, context, span, label)


def labelled(elaborator: "Elaborator", value: Labelled, context: "Context", span: Span) -> Any:
    """Apply a stage whose module has a name, and bind the name."""
    if elaborator.flowing(value.stage):
        what = f"`{value.label}:` names a module, and this is a tensor; write the label before the stage that makes one"
        raise ProblemError(Misplaced(span=value.span, what=what))
    first = context.body.places.get(value.label)
    if first is not None:
        raise ProblemError(_second(value.label, first, value.span))
    named_before = value.label in context.body.children
    try:
        result = apply(elaborator, value.stage, context, span, value.label)
    finally:
        module = None if named_before else context.body.children.get(value.label)
        if module is not None:
            ref = ModuleRef(value.label, module, context.body, value.stage, context)
            elaborator.bind_name(value.label, ref, value.span, context.scope)
        elif context.scope.lookup(value.label) is MISSING:
            context.scope.bind(value.label, UNEVALUATED, value.span)
    if value.label in context.body.places:
        context.body.places[value.label] = value.span
    else:
        what = f"`{value.label}:` names a module, but `{span.text}` makes none"
        raise ProblemError(Misplaced(span=value.span, what=what))
    return result


def _second(label: str, first: Span, span: Span) -> DuplicateName:
    """The problem of a label that names a module already."""
    if first == span:
        reason = 'names a module in each round: build the name from what changes, as in `"layer{i}"`'
        return DuplicateName(span=span, word=label, reason=reason)
    return DuplicateName(span=span, word=label, reason="names two modules", labels=(Label(first, "the first is here"),))


def again(elaborator: "Elaborator", ref: ModuleRef, context: "Context", span: Span) -> Any:
    """Use a module a second time: its weights are shared."""
    if ref.owner is not context.body:
        what = f"`{ref.name}` belongs to another body: a module is shared only where its label stands"
        raise ProblemError(Misplaced(span=span, what=what))
    if isinstance(ref.module, Leaf):
        return operators.share(elaborator, ref.name, ref.module, context, span)
    return sharing.share(elaborator, ref, ref.module, context, span)


def cast(context: "Context", dtype: Dtype, span: Span) -> Value:
    """`-> f32`: the flow in another dtype."""
    flow = single(need_flow(context, span), dtype.name, span)
    if not is_known(flow.type):
        return flow
    classes = flow.type.classes if dtype.name not in FLOATING and dtype.name != "bool" else None
    result = Value(replace(flow.type, dtype=dtype.name, classes=classes), span, None, Source(f"-> {dtype}", (flow,)))
    context.body.steps.append(Cast(flow, dtype.name, result, span))
    return result


def need_flow(context: "Context", span: Span) -> Any:
    """The value that arrives. Raises `ProblemError` where nothing does."""
    if context.flow is None:
        raise ProblemError(NotAStage(span=span, what=f"`{span.text}`", reason="nothing flows here that it could take"))
    return context.flow


def single(flow: Any, name: str, span: Span) -> Value:
    """The flow as one tensor. Raises `ProblemError` when it is several."""
    if not isinstance(flow, Value):
        operands.refuse_count(name, "one tensor", flow, span)
    return flow


def takes_flow(elaborator: "Elaborator", value: Any) -> bool:
    """Whether applying a recipe would take the flow: false for a function that was given all its tensors."""
    if isinstance(value, Recipe) and value.target is None:
        operator = elaborator.library.operators.get(value.name)
        if operator is not None and operator.kind == "function":
            return operands.wants_flow(operator, value.arguments)
    return True


def require(
    elaborator: "Elaborator", requirement: Requirement, operator: str, span: Span, inputs: Sequence[Value]
) -> None:
    """Check what must hold of sizes. Raises `ProblemError` when it cannot."""
    try:
        elaborator.conditions.require(requirement, operator, span)
    except Fault as fault:
        raise ProblemError(refused(fault, span, inputs)) from None


def weight_ref(ref: ModuleRef, path: tuple[str, ...], span: Span) -> WeightRef:
    """`wte.weight`. Raises `ProblemError` when the module holds no such parameter."""
    if _find(ref.module, path) is None:
        near = nearest(path[-1], _names(ref.module)) if len(path) == 1 else None
        what = f"`{ref.name}`, which is `{_title(ref.module)}`, has no parameter `{'.'.join(path)}`{advice(near)}"
        place = Span(span.source, span.end - len(path[-1]), span.end)
        fixes = () if near is None else (Fix(f"write `{near}`", (Edit(place, near),)),)
        raise ProblemError(Misplaced(span=span, what=what, fixes=fixes))
    return WeightRef((ref.name, *path), ref.owner)


def weight_type(body: "BodyBuilder", path: tuple[str, ...]) -> TensorType | UnknownType:
    """The type of a parameter or buffer by its path from a body."""
    if len(path) == 1:
        return (body.params.get(path[0]) or body.buffers[path[0]]).type
    dims = _find(body.children[path[0]], path[1:])
    return TensorType("f32", dims or ())


def _find(module: Leaf | Container, path: tuple[str, ...]) -> tuple[Any, ...] | None:
    if isinstance(module, Leaf):
        return {**module.weights, **module.buffers}.get(path[0]) if len(path) == 1 else None
    if len(path) == 1:
        declared = module.params.get(path[0]) or module.buffers.get(path[0])
        return None if declared is None else declared.type.dims
    child = module.children.get(path[0])
    return None if child is None else _find(child, path[1:])


def _names(module: Leaf | Container) -> list[str]:
    return list(module.weights if isinstance(module, Leaf) else module.params)


def _title(module: Leaf | Container) -> str:
    return module.operator.name if isinstance(module, Leaf) else module.title
