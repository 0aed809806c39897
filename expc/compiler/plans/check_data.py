"""Checking `data`: the type of every field, from the data set through its stages."""

from collections.abc import Iterable
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from expc.compiler.dimensions import symbols
from expc.compiler.errors.data import DataUndeclared, SplitParts, VaryingSize
from expc.compiler.errors.experiment import BatchArithmetic, NotData
from expc.compiler.library.datasets import split_fractions, split_length
from expc.compiler.library.lookup import Library
from expc.compiler.model import extern_declarations
from expc.compiler.model.arguments import match_settings
from expc.compiler.model.evaluate import Evaluator
from expc.compiler.ops.declare import Fault
from expc.compiler.plans.check_loading import check_loading, sampler
from expc.compiler.plans.data_stages import LostError, Sample, go_through
from expc.compiler.program import DataPlan, SampleField, SplitUse, Use
from expc.diagnostics import ProblemError, Report, Span
from expc.spec import syntax
from expc.spec.experiment import ROLES
from expc.spec.suggest import nearest
from expc.spec.values import UNEVALUATED, Closure, Part, Pipeline, Recipe, Setting, Table

if TYPE_CHECKING:
    from expc.spec.sections import Data


def plans(evaluator: Evaluator, data: "Data", table: Table, report: Report) -> dict[str, DataPlan]:
    """The plan of every role that has no errors."""
    spans = {item.key: item.span for item in table.settings if isinstance(item, Setting)}
    found: dict[str, DataPlan] = {}
    for role in ROLES:
        value = getattr(data, role)
        if value is None:
            continue
        try:
            plan = _plan(evaluator, role, value, spans.get(role, table.span))
        except LostError:
            continue
        except ProblemError as error:
            report.add(error.problem)
            continue
        if plan is not None:
            found[role] = plan
    for problem in check_loading(data, spans):
        report.add(problem)
    if data.sampler is not None and "train" in found:
        try:
            drawn = sampler(evaluator.library, data.sampler, found["train"], spans["sampler"])
            found["train"] = replace(found["train"], sampler=drawn)
        except ProblemError as error:
            report.add(error.problem)
    return found


def _plan(evaluator: Evaluator, role: str, value: Any, span: Span) -> DataPlan | None:
    stages = list(value.stages) if isinstance(value, Pipeline) else [value]
    if any(_is_broken(stage) for stage in stages):
        return None
    head, *rest = stages
    dataset = _dataset(evaluator.library, head, span)
    try:
        fields = dataset.declaration.sample(dataset.settings)
        length = dataset.declaration.length(dataset.settings)
    except Fault as fault:
        raise ProblemError(_placed(fault, dataset.span)) from None
    sample = Sample({field.name: field.type for field in fields})
    for stage in rest:
        if isinstance(stage, Part):
            split = _split(stage, span)
            length = None if length is None else split_length(length, split.fractions, split.index)
            sample.stages.append(split)
            continue
        if not sample.types and not (isinstance(stage, Closure) and isinstance(stage.expression, syntax.As)):
            break
        unknown = not sample.types
        go_through(evaluator, stage, sample, span)
        if unknown:
            from expc.compiler.library.sources import check_filled

            check_filled(dataset, sample.types)
    if not sample.types:
        reason = "say its fields first: `-> as (features: f32[12], label: class(3))`"
        raise ProblemError(DataUndeclared(span=dataset.span, dataset=dataset.name, reason=reason))
    _check_fixed(role, sample.fields, span)
    return DataPlan(role, dataset, tuple(sample.stages), sample.fields, length, span)


def _dataset(library: Library, head: Any, span: Span) -> Use:
    if not isinstance(head, Recipe):
        raise ProblemError(
            NotData(span=span, what=f"`{span.text}`", reason="data starts with a data set, such as `MNIST`")
        )
    place = head.span or span
    declaration = extern_declarations.declaration(library, head, "dataset") or library.datasets.get(head.name)
    if declaration is None:
        kind = library.kind(head.name) if head.target is None else "declared in this file"
        near = nearest(head.name, library.datasets)
        hint = f"; did you mean `{near}`?" if near else ""
        reason = f"it is {kind}, and data starts with a data set{hint}"
        raise ProblemError(NotData(span=place, what=f"`{head.name}`", reason=reason))
    settings = match_settings(head.name, declaration.settings, declaration.settings, head.arguments, place)
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


def steps_per_epoch(plan: DataPlan | None, data: "Data | None") -> int | None:
    """How many optimizer steps one pass through the training data takes, where its length is known."""
    samples = None if plan is None else plan.samples
    if samples is None or data is None:
        return None
    return samples // data.batch if data.drop_last else -(-samples // data.batch)


def check_batches(
    plan: DataPlan, data: "Data", accumulate: int, dropping: Span, accumulating: Span, report: Report
) -> None:
    """Batch, samples and `accumulate` must go together."""
    if plan.length is not None and plan.length == 0:
        report.add(BatchArithmetic(span=plan.span, reason=f"`{plan.role}` has no samples"))
    elif plan.samples is not None and data.drop_last and plan.samples < data.batch:
        reason = f"`drop_last` leaves no batch: {plan.samples} samples are fewer than batch = {data.batch}"
        report.add(BatchArithmetic(span=dropping, reason=reason))
    if accumulate > data.batch:
        reason = f"`accumulate = {accumulate}` splits a batch of {data.batch} into more parts than it has samples"
        report.add(BatchArithmetic(span=accumulating, reason=reason))
