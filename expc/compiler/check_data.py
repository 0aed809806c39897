"""Checking `data`: the type of every field from the data set through its transforms to the model's inputs."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from expc.compiler.arguments import match_settings
from expc.compiler.arithmetic import describe
from expc.compiler.datasets import split_fractions, split_length
from expc.compiler.dimensions import Size, as_symbol, substitute, symbols
from expc.compiler.errors.data import SplitParts, VaryingSize
from expc.compiler.errors.experiment import BatchArithmetic, FieldMismatch, NoFieldForInput, NotData, WorkerOption
from expc.compiler.errors.names import NotYet
from expc.compiler.graph import Model, Value
from expc.compiler.library import Library
from expc.compiler.ops.declare import Fault
from expc.compiler.program import DataPlan, SampleField, SplitUse, Use
from expc.compiler.types import TensorType, is_known
from expc.diagnostics import Edit, Fix, Label, Problem, ProblemError, Report, Span
from expc.spec import syntax
from expc.spec.experiment import ROLES
from expc.spec.suggest import enumeration, nearest
from expc.spec.values import UNEVALUATED, Closure, Labelled, Lasting, Part, Pipeline, Recipe, Setting, Table

if TYPE_CHECKING:
    from expc.spec.sections import Data


def plans(library: Library, data: "Data", table: Table, report: Report) -> dict[str, DataPlan]:
    """The plan of every role that has no errors."""
    spans = {item.key: item.span for item in table.settings if isinstance(item, Setting)}
    found: dict[str, DataPlan] = {}
    for role in ROLES:
        value = getattr(data, role)
        if value is None:
            continue
        try:
            plan = _plan(library, role, value, spans.get(role, table.span))
        except ProblemError as error:
            report.add(error.problem)
            continue
        if plan is not None:
            found[role] = plan
    _check_loader(data, spans, report)
    return found


def _plan(library: Library, role: str, value: Any, span: Span) -> DataPlan | None:
    stages = list(value.stages) if isinstance(value, Pipeline) else [value]
    if any(_is_broken(stage) for stage in stages):
        return None
    head, *rest = stages
    dataset = _dataset(library, head, span)
    try:
        fields = dataset.declaration.sample(dataset.settings)
        length = dataset.declaration.length(dataset.settings)
    except Fault as fault:
        raise ProblemError(_placed(fault, dataset.span)) from None
    uses: list[Use | SplitUse] = []
    for stage in rest:
        if isinstance(stage, Part):
            split = _split(stage, span)
            length = None if length is None else split_length(length, split.fractions, split.index)
            uses.append(split)
            continue
        use = _transform(library, stage, span)
        try:
            first = use.declaration.rule(use.settings, fields[0].type)
        except Fault as fault:
            raise ProblemError(_placed(fault, use.span)) from None
        fields = (SampleField(fields[0].name, first), *fields[1:])
        uses.append(use)
    _check_fixed(role, fields, span)
    return DataPlan(role, dataset, tuple(uses), fields, length, span)


def _dataset(library: Library, head: Any, span: Span) -> Use:
    if not isinstance(head, Recipe):
        raise ProblemError(
            NotData(span=span, what=f"`{span.text}`", reason="data starts with a data set, such as `MNIST`")
        )
    place = head.span or span
    declaration = library.datasets.get(head.name)
    if declaration is None:
        kind = library.kind(head.name) if head.target is None else "declared in this file"
        near = nearest(head.name, library.datasets)
        hint = f"; did you mean `{near}`?" if near else ""
        reason = f"it is {kind}, and data starts with a data set{hint}"
        raise ProblemError(NotData(span=place, what=f"`{head.name}`", reason=reason))
    settings = match_settings(head.name, declaration.settings, declaration.settings, head.arguments, place)
    return Use(declaration, settings, place)


def _transform(library: Library, stage: Any, span: Span) -> Use:
    if isinstance(stage, Closure):
        what = (
            "a body as a data stage" if isinstance(stage.expression, syntax.Body) else "`as` for the fields of a sample"
        )
        raise ProblemError(NotYet(span=stage.expression.span, what=what))
    if isinstance(stage, Labelled | Lasting) or not isinstance(stage, Recipe):
        raise ProblemError(NotData(span=span, what=describe(stage), reason="a transform stands after a data set"))
    place = stage.span or span
    if stage.name == "split":
        reason = "it gives several parts, and each needs a name: `fit, held = ... -> split(0.9)`"
        raise ProblemError(NotData(span=place, what="`split`", reason=reason))
    declaration = library.transforms.get(stage.name)
    if declaration is None:
        kind = library.kind(stage.name) if stage.target is None else "declared in this file"
        near = nearest(stage.name, library.transforms)
        hint = f"; did you mean `{near}`?" if near else ""
        raise ProblemError(NotData(span=place, what=f"`{stage.name}`", reason=f"it is {kind}, not a transform{hint}"))
    settings = match_settings(stage.name, declaration.settings, declaration.settings, stage.arguments, place)
    return Use(declaration, settings, place)


def _split(part: Part, span: Span) -> SplitUse:
    place = part.split.span or span
    fractions: list[float] = []
    shuffle = True
    for given in part.split.arguments:
        if given.name is None and isinstance(given.value, int | float) and not isinstance(given.value, bool):
            fractions.append(given.value)
        elif given.name == "shuffle" and isinstance(given.value, bool):
            shuffle = given.value
        else:
            reason = "it takes fractions, such as 0.9, and `shuffle=true` or `false`"
            raise ProblemError(NotData(span=given.span, what=f"`{given.span.text}`", reason=f"in `split`, {reason}"))
    try:
        parts = split_fractions(fractions)
    except Fault as fault:
        raise ProblemError(_placed(fault, place)) from None
    if part.index >= len(parts):
        raise ProblemError(SplitParts(span=place, parts=len(parts), names=part.index + 1))
    return SplitUse(parts, part.index, shuffle, place)


def _check_fixed(role: str, fields: tuple[SampleField, ...], span: Span) -> None:
    for field in fields:
        unknown = sorted({s.name for size in field.type.dims for s in symbols(size)})
        if unknown:
            sizes = f"{' and '.join(unknown)} differ{'s' * (len(unknown) == 1)}"
            raise ProblemError(VaryingSize(span=span, role=role, field=field.name, type=str(field.type), sizes=sizes))


def _check_loader(data: "Data", spans: Mapping[str, Span], report: Report) -> None:
    if data.workers == 0:
        for key in ("persistent_workers", "prefetch_factor"):
            if getattr(data, key) and key in spans:
                report.add(WorkerOption(span=spans[key], key=key))


def _placed(fault: Fault, span: Span) -> Any:
    return fault.problem(span=span, **fault.facts)


def _is_broken(stage: Any) -> bool:
    if stage is UNEVALUATED:
        return True
    return isinstance(stage, Recipe) and any(given.value is UNEVALUATED for given in stage.arguments)


def classes(plans: Iterable[DataPlan]) -> frozenset[int]:
    """How many classes the fields have, as far as that is known."""
    counts = (field.type.classes for plan in plans for field in plan.fields)
    return frozenset(count for count in counts if isinstance(count, int))


# ---------------------------------------------------------------------------------------------------- against the model


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
        raise refuse(f": {found.rank} dimensions with the batch, not {declared.rank}")
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
            text = f"{name}: {found}"
            fixes = (Fix(f"declare `{text}`", (Edit(value.span, text),)),) if found.classes is None else ()
            raise refuse(f": dimension {axis} is {actual}, not {expected}", fixes)


def _batch_size(declared: TensorType) -> Size:
    return declared.dims[0] if declared.dims else 1


def steps_per_epoch(plan: DataPlan | None, data: "Data | None") -> int | None:
    """How many optimizer steps one pass through the training data takes, where its length is known."""
    if plan is None or plan.length is None or data is None:
        return None
    return plan.length // data.batch if data.drop_last else -(-plan.length // data.batch)


def check_batches(
    plan: DataPlan, data: "Data", accumulate: int, dropping: Span, accumulating: Span, report: Report
) -> None:
    """Batch, samples and `accumulate` must go together."""
    if plan.length is not None and plan.length == 0:
        report.add(BatchArithmetic(span=plan.span, reason=f"`{plan.role}` has no samples"))
    elif plan.length is not None and data.drop_last and plan.length < data.batch:
        reason = f"`drop_last` leaves no batch: {plan.length} samples are fewer than batch = {data.batch}"
        report.add(BatchArithmetic(span=dropping, reason=reason))
    if accumulate > data.batch:
        reason = f"`accumulate = {accumulate}` splits a batch of {data.batch} into more parts than it has samples"
        report.add(BatchArithmetic(span=accumulating, reason=reason))
