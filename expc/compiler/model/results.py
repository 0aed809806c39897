"""What a body gives, against what is declared for it."""

import re
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from expc.compiler.arithmetic import describe
from expc.compiler.dimensions import Size, symbol
from expc.compiler.errors.shapes import ResultMismatch, SizeMismatch, TrainingOnly
from expc.compiler.errors.stages import Misplaced, NotAStage
from expc.compiler.graph import Record, Result, Step, Value
from expc.compiler.lints.unfixed_size import UnfixedSize
from expc.compiler.model.body import tensors
from expc.compiler.model.in_training import in_training_only
from expc.compiler.model.patterns import declared, match
from expc.compiler.model.scope import MISSING, Context
from expc.compiler.model.trail import notes
from expc.compiler.names import is_broken
from expc.compiler.ops.declare import Fault
from expc.compiler.types import TensorType, is_known
from expc.diagnostics import Edit, Fix, Label, ProblemError, Span
from expc.spec import syntax
from expc.spec.suggest import advice, nearest
from expc.spec.values import UNEVALUATED

if TYPE_CHECKING:
    from expc.compiler.model.elaborate import Elaborator


def finish(elaborator: "Elaborator", statement: syntax.Block, result: Any, inner: Context) -> Result:
    """Check the result of a body against what is declared; named results are the values of those names."""
    if isinstance(statement.result, syntax.RecordTypeExpr):
        return _record(elaborator, statement, statement.result, inner)
    if isinstance(result, int | float | str) or result is None:
        raise ProblemError(NotAStage(span=statement.body.span, what="the body", reason="it gives no tensor"))
    if statement.result is not None:
        result = fit(elaborator, "the result", statement.result, result, inner)
    unnamed(elaborator, result, inner.body.steps)
    return result if isinstance(result, Value | tuple) else elaborator.unknown(statement.span)


def unnamed(elaborator: "Elaborator", result: Result, steps: Sequence[Step]) -> None:
    """Report what a body gives without a name and without having it in evaluation."""
    absent = in_training_only(steps)
    for value in tensors(result) if absent else ():
        if value in absent:
            made = next(step.span for step in steps if value in tensors(step.result))
            instead = f"a body that gives it says so, as in `-> (main: ..., {absent[value]}: ... in training)`"
            elaborator.add(TrainingOnly(span=made, what="the result", origin=absent[value], advice=instead))


def named(statement: syntax.Block) -> dict[str, syntax.TypeExpr]:
    """The types of declared results that have names."""
    result = statement.result
    return {field.name: field.type for field in result.fields} if isinstance(result, syntax.RecordTypeExpr) else {}


def fit(elaborator: "Elaborator", what: str, type_: syntax.TypeExpr, value: Any, inner: Context) -> Any:
    """`value`, whose type must be the declared one. Where it is not, that is reported, and the value is unknown."""
    if isinstance(value, tuple):
        found = f"a tuple of {len(value)}"
        elaborator.add(ResultMismatch(span=type_.span, what=what, expected=type_.span.text, found=found))
        return elaborator.unknown(type_.span)
    if not isinstance(value, Value) or not is_known(value.type):
        return value

    def require(expected: Size, found: Size, name: str) -> None:
        elaborator.conditions.require(("equal", expected, found, name), what, type_.span)

    _warn_of_unfixed(elaborator, type_, inner)
    try:
        match(elaborator, type_, value.type, inner, require, what)
    except Fault as fault:
        return _mismatch(elaborator, what, type_, value, fault, inner)
    except ProblemError as error:
        elaborator.add(error.problem)
    return value


def _warn_of_unfixed(elaborator: "Elaborator", type_: syntax.TypeExpr, inner: Context) -> None:
    """Say which names of sizes in a result nothing has bound: they would stand for whatever it is."""
    for node in getattr(type_, "dims", None) or ():
        if isinstance(node, syntax.Name) and node.id[0].isupper() and inner.scope.lookup(node.id) is MISSING:
            sizes = [name for name in inner.scope.names() if name[0].isupper()]
            near = nearest(node.id, sizes)
            fixes = () if near is None else (Fix(f"write `{near}`", (Edit(node.span, near),)),)
            elaborator.add(UnfixedSize(span=node.span, word=node.id, hint=advice(near), fixes=fixes))


def _record(elaborator: "Elaborator", statement: syntax.Block, type_: syntax.RecordTypeExpr, inner: Context) -> Record:
    fields: dict[str, Value] = {}
    for field in type_.fields:
        value = inner.scope.values.get(field.name)
        fields[field.name] = elaborator.unknown(field.span)
        if isinstance(value, Value):
            fields[field.name] = fit(elaborator, f"`{field.name}`", field.type, value, inner)
        elif value is None and not is_broken(statement.body):
            near = nearest(field.name, [name for name, part in inner.scope.values.items() if isinstance(part, Value)])
            elaborator.add(_nameless(field, near))
            if near is not None:
                fields[near] = elaborator.unknown(field.span)
        elif value is not None and value is not UNEVALUATED:
            reason = f"it is {describe(value)}, not a tensor"
            elaborator.add(NotAStage(span=field.span, what=f"`{field.name}`", reason=reason))
    training = frozenset(field.name for field in type_.fields if field.in_training)
    if training:
        _present(elaborator, type_, training)
    absent = in_training_only(inner.body.steps)
    for field in type_.fields:
        value = fields[field.name]
        if value in absent and not field.in_training:
            end = Span(field.span.source, field.span.end, field.span.end)
            fixes = (Fix(f"declare `{field.name}` so", (Edit(end, " in training"),)),)
            what, origin = f"`{field.name}`", absent[value]
            instead = "declare it `in training`, or make it from something else"
            elaborator.add(TrainingOnly(span=field.span, what=what, origin=origin, advice=instead, fixes=fixes))
    return Record(fields, training)


def _present(elaborator: "Elaborator", type_: syntax.RecordTypeExpr, training: frozenset[str]) -> None:
    """Some result must be left in evaluation."""
    if len(training) == len(type_.fields):
        what = "all results are declared `in training`: in evaluation nothing would be left"
        elaborator.add(Misplaced(span=type_.span, what=what))


def _nameless(field: Any, near: str | None) -> Misplaced:
    span = Span(field.span.source, field.span.start, field.span.start + len(field.name))
    what = f"the result `{field.name}` is declared, but nothing in the body has that name{advice(near)}"
    fixes = (Fix(f"write `{near}`", (Edit(span, near),)),) if near else ()
    return Misplaced(span=span, what=what, fixes=fixes)


def _mismatch(
    elaborator: "Elaborator", what: str, type_: syntax.TypeExpr, value: Value, fault: Fault, inner: Context
) -> Value:
    """Report a result that is not what is declared.

    Of the two, the result is wrong, unless the data speaks for it: ten outputs for ten classes.
    """
    from expc.compiler.fixes.intents.ranks import result as result_fixes  # only a problem needs it

    found = value.type
    assert isinstance(found, TensorType)  # noqa: S101 - the caller looked
    try:
        expected = declared(elaborator, type_, inner, symbol)
    except ProblemError:
        expected = None
    text = type_.span.text
    shown = text if expected is None or str(expected) == text else f"{text} = {expected}"
    told = tuple(notes(fault, (value,)))
    if fault.problem is SizeMismatch:
        told = (f"{fault.facts['what']} is {fault.facts['found']}, not {fault.facts['expected']}", *told)
    differing = _differing(expected, found)
    right = any(b in elaborator.classes and a not in elaborator.classes for _, a, b in differing)
    places = (type_.span, value.span) if right else (value.span, type_.span)
    elaborator.add(
        ResultMismatch(
            span=places[0],
            what=what,
            expected=shown,
            found=str(found),
            labels=(Label(places[1], f"this is {found}" if right else "declared here"),),
            notes=told,
            fixes=(*_fixes(type_, value, differing, declaration=right), *result_fixes(expected, value, type_.span)),
        )
    )
    return value if right else elaborator.unknown(value.span)


def _differing(expected: TensorType | None, found: TensorType) -> list[tuple[int, Size, Size]]:
    """The dimensions that differ, each with what is declared and what it is."""
    if expected is None or expected.rank != found.rank:
        return []
    pairs = enumerate(zip(expected.dims, found.dims, strict=True))
    return [(axis, a, b) for axis, (a, b) in pairs if a != b]


def _fixes(
    type_: syntax.TypeExpr, value: Value, differing: list[tuple[int, Size, Size]], *, declaration: bool
) -> tuple[Fix, ...]:
    """Where one size differs: the text with the right one in its place."""
    if len(differing) != 1:
        return ()
    ((axis, expected, found),) = differing
    if declaration:
        nodes = getattr(type_, "dims", None) or ()
        if len(nodes) <= axis:
            return ()
        return (Fix(f"declare `{found}`", (Edit(nodes[axis].span, str(found)),)),)
    text = re.sub(rf"\b{found}\b", str(expected), value.span.text)
    return (Fix(f"write `{text}`", (Edit(value.span, text),)),) if text != value.span.text else ()
