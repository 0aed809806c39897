"""The data against the model: which field fills which input, and whether it fits."""

from collections.abc import Iterator, Sequence
from dataclasses import replace

from expc.compiler.dimensions import Size, as_symbol, substitute
from expc.compiler.errors.experiment import FieldMismatch, NoFieldForInput
from expc.compiler.graph import Model, Value
from expc.compiler.program import DataPlan, SampleField
from expc.compiler.types import TensorType, is_known
from expc.diagnostics import Edit, Fix, Label, Problem, ProblemError
from expc.spec.suggest import enumeration


def feed(model: Model, plan: DataPlan, batch: int) -> tuple[dict[str, str], dict[str, Size]]:
    """Which field fills each input of the model, and the sizes that the model's symbols get from the data.

    The batch's own symbol stays unknown. Raises `ProblemError` where a field does not fit.
    """
    inputs = dict(_inputs(model))
    fields = {field.name: field for field in plan.fields}
    chosen: dict[str, str] = {}
    sizes: dict[str, Size] = {}
    for name, value in inputs.items():
        field = fields.get(name)
        if field is None and len(inputs) == 1:
            field = plan.fields[0]
        if field is None:
            shown = ", ".join(f"`{f.name}`" for f in plan.fields)
            label = Label(value.span, "the input is declared here")
            raise ProblemError(
                NoFieldForInput(
                    span=plan.span, roles=f"`{plan.role}`", input=name, model=model.name, fields=shown, labels=(label,)
                )
            )
        chosen[name] = field.name
        if isinstance(value.type, TensorType):
            _fit(model, name, value, field, plan, batch, sizes)
    return chosen, sizes


def together(refusals: Sequence[FieldMismatch | NoFieldForInput], roles: int) -> Iterator[Problem]:
    """What an input refuses for the same reason, in one problem. Where that is every role, the input is the odd one."""
    causes: dict[str, list[FieldMismatch | NoFieldForInput]] = {}
    for refusal in refusals:
        causes.setdefault(replace(refusal, roles="").message, []).append(refusal)
    for same in causes.values():
        first = same[0]
        if len(same) == 1:
            yield first
            continue
        gives = isinstance(first, FieldMismatch)
        names = [refusal.roles.removesuffix(" gives") for refusal in same]
        labels = tuple(
            Label(refusal.span, f"{name} gives {refusal.found}" if isinstance(refusal, FieldMismatch) else name)
            for name, refusal in zip(names, same, strict=True)
        )
        together = replace(first, roles=enumeration(names, "and") + " give" * gives)
        if len(same) == roles:
            yield replace(together, span=first.labels[0].span, labels=labels)
        else:
            yield replace(together, labels=(*first.labels, *labels[1:]))


def _inputs(model: Model) -> Iterator[tuple[str, Value]]:
    for name, value in zip(model.body.input_names, model.body.inputs, strict=True):
        if isinstance(value, Value) and is_known(value.type):
            yield name, value


def _fit(
    model: Model,
    name: str,
    value: Value,
    field: SampleField,
    plan: DataPlan,
    batch: int,
    sizes: dict[str, Size],
) -> None:
    declared = value.type
    assert isinstance(declared, TensorType)  # noqa: S101 - the caller passes known inputs
    found = TensorType(field.type.dtype, (_batch_size(declared), *field.type.dims), field.type.classes)

    def refuse(reason: str, fixes: tuple[Fix, ...] = ()) -> ProblemError:
        label = Label(value.span, "the input is declared here")
        return ProblemError(
            FieldMismatch(
                span=plan.span,
                input=name,
                model=model.name,
                expected=str(declared),
                roles=f"`{plan.role}` gives",
                found=str(found),
                reason=reason,
                labels=(label,),
                fixes=fixes,
            )
        )

    if declared.dtype != found.dtype:
        hint = "; `ToTensor` makes f32 of an image" if found.dtype == "u8" and declared.dtype == "f32" else ""
        raise refuse(f": {found.dtype} is not {declared.dtype}{hint}")
    if declared.rank != found.rank:
        raise refuse(f": {found.rank} dimensions with the batch, not {declared.rank}", _declare(value, name, found))
    if isinstance(declared.dims[0], int) and declared.dims[0] != batch:
        raise refuse(f": the batch is {batch}, not {declared.dims[0]}")
    for axis in range(1, declared.rank):
        expected, actual = substitute(declared.dims[axis], sizes), found.dims[axis]
        unknown = as_symbol(expected)
        if unknown is not None:
            sizes[unknown.name] = actual
            if isinstance(actual, int) and actual % unknown.divisor:
                raise refuse(f": {unknown.name} = {actual}, but {unknown.name} % {unknown.divisor} must be 0")
            if isinstance(actual, int) and unknown.upper is not None and actual > unknown.upper:
                raise refuse(f": {unknown.name} = {actual}, but {unknown.name} <= {unknown.upper}")
            if isinstance(actual, int) and actual < unknown.lower:
                raise refuse(f": {unknown.name} = {actual}, but {unknown.name} >= {unknown.lower}")
        elif expected != actual:
            raise refuse(f": dimension {axis} is {actual}, not {expected}", _declare(value, name, found))


def _declare(value: Value, name: str, found: TensorType) -> tuple[Fix, ...]:
    """The input with the type that the data has."""
    text = f"{name}: {found}"
    return (Fix(f"declare `{text}`", (Edit(value.span, text),)),) if found.classes is None else ()


def _batch_size(declared: TensorType) -> Size:
    return declared.dims[0] if declared.dims else 1
