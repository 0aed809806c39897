"""`as` after a data set: what a field is, asserted where it is known and declared where it is not."""

from collections.abc import Sequence
from dataclasses import replace

from expc.compiler.dimensions import Size, as_symbol, symbol
from expc.compiler.errors.data import DeclaredField
from expc.compiler.errors.names import DuplicateName, WrongDeclaredType
from expc.compiler.model.evaluate import Evaluator
from expc.compiler.model.patterns import check_dtype, declared
from expc.compiler.model.scope import Context
from expc.compiler.plans.data_stages import Sample
from expc.compiler.program import Declared, SampleField
from expc.compiler.types import TensorType
from expc.diagnostics import ProblemError
from expc.spec import syntax


def declare(evaluator: Evaluator, node: syntax.As, context: Context, sample: Sample, values: Sequence[str]) -> None:
    """Hold what a sample has against what is written, for the fields that it names, or for `values`.

    A data set that knows no fields has those that are declared. A size that differs from sample to sample becomes what
    is written for it, which is verified when samples are read. Raises `ProblemError`.
    """
    written = _written(evaluator, node, context.inner(), values)
    if not sample.types:
        sample.types.update(written)
        sample.stages.append(Declared(sample.fields, node.span))
        return
    named: dict[str, Size] = {}
    refined: list[SampleField] = []
    for name, type_ in written.items():
        if name not in sample.types:
            known = ", ".join(f"`{field}`" for field in sample.types)
            reason = f"no field is called `{name}`: there are {known}"
            raise ProblemError(DeclaredField(span=node.span, reason=reason))
        known_type = sample.types[name]
        agreed = _agreed(type_, known_type, named)
        if agreed is None:
            reason = f"`{name.partition(chr(39))[0]}` is {known_type}, and not {type_}"
            raise ProblemError(DeclaredField(span=node.span, reason=reason))
        if agreed != known_type:
            refined.append(SampleField(name, agreed))
            sample.types[name] = agreed
    if refined:
        sample.stages.append(Declared(tuple(refined), node.span))


def _written(evaluator: Evaluator, node: syntax.As, context: Context, values: Sequence[str]) -> dict[str, TensorType]:
    if not isinstance(node.type, syntax.RecordTypeExpr):
        if not values:
            reason = "name the fields: `as (features: f32[12], label: class(3))`"
            raise ProblemError(WrongDeclaredType(span=node.type.span, reason=reason))
        if len(values) != 1:
            reason = f"one type stands for {len(values)} values: give each a line of its own"
            raise ProblemError(WrongDeclaredType(span=node.type.span, reason=reason))
        return {values[0]: _type(evaluator, node.type, context)}
    found: dict[str, TensorType] = {}
    for field in node.type.fields:
        if field.name in found:
            raise ProblemError(DuplicateName(span=field.name_span, word=field.name))
        if field.in_training:
            reason = "a field of the data is there always"
            raise ProblemError(WrongDeclaredType(span=field.span, reason=reason))
        found[field.name] = _type(evaluator, field.type, context)
    return found


def _type(evaluator: Evaluator, node: syntax.TypeExpr, context: Context) -> TensorType:
    if isinstance(node, syntax.TensorTypeExpr) and node.dims is None:
        node = replace(node, dims=())
    check_dtype(node)
    found = declared(evaluator, node, context, symbol)
    if found is None:
        raise ProblemError(WrongDeclaredType(span=node.span, reason="its sizes are not known"))
    if isinstance(found.classes, int) and found.classes < 1:
        raise ProblemError(WrongDeclaredType(span=node.span, reason=f"there are no {found.classes} classes"))
    return found


def _agreed(written: TensorType, known: TensorType, named: dict[str, Size]) -> TensorType | None:
    """What is known of a field when both are true; none where they contradict each other."""
    if written.dtype != known.dtype or written.rank != known.rank:
        return None
    dims: list[Size] = []
    for said, actual in zip(written.dims, known.dims, strict=True):
        name = as_symbol(said)
        if name is not None:
            if named.setdefault(name.name, actual) != actual:
                return None
            dims.append(actual)
        elif said == actual or (isinstance(said, int) and not isinstance(actual, int)):
            dims.append(said)
        else:
            return None
    if None not in (written.classes, known.classes) and written.classes != known.classes:
        return None
    return TensorType(known.dtype, tuple(dims), known.classes if written.classes is None else written.classes)
