"""Checking how samples are loaded: which ones an epoch has, and settings of `DataLoader` that contradict each other."""

from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any, Final

from expc.compiler.errors.data import LoadingConflict, SamplerUnfit
from expc.compiler.errors.experiment import WorkerOption, WrongPart
from expc.compiler.library.lookup import Library
from expc.compiler.library.samplers import BALANCED
from expc.compiler.model.arguments import match_settings
from expc.compiler.program import DataPlan, Declared, Use
from expc.compiler.types import TensorType
from expc.diagnostics import Edit, Fix, Problem, ProblemError, Span
from expc.spec.suggest import advice, enumeration, nearest
from expc.spec.values import UNEVALUATED, Recipe

if TYPE_CHECKING:
    from expc.spec.sections import Data

_OF_WORKERS: Final = ("persistent_workers", "prefetch_factor", "timeout", "multiprocessing_context")
"""Settings that are about loading processes, and that torch refuses without any."""


def sampler(library: Library, value: Any, plan: DataPlan, span: Span) -> Use | None:
    """The sampler of `plan` with complete settings; none where it rests on what was reported.

    Raises `ProblemError`.
    """
    assert isinstance(value, Recipe)  # noqa: S101 - its kind says so
    place = value.span or span
    declaration = library.samplers.get(value.name) if value.target is None else None
    if declaration is None:
        kind = library.kind(value.name) if value.target is None else "declared in this file"
        near = nearest(value.name, library.samplers)
        word = Span(place.source, place.start, place.start + len(value.name))
        fixes = (Fix(f"write `{near}`", (Edit(word, near),)),) if near else ()
        raise ProblemError(WrongPart(span=place, what=value.name, kind=kind, expected="a sampler", fixes=fixes))
    if any(given.value is UNEVALUATED for given in value.arguments):
        return None
    settings: Mapping[str, Any]
    settings = match_settings(value.name, declaration.settings, declaration.settings, value.arguments, place)
    reason = _count(settings, plan) if "num_samples" in settings else ""
    if not reason and value.name == "WeightedRandomSampler":
        fields = _fields(plan)
        if isinstance(settings["weights"], str) and settings["weights"] != BALANCED:
            reason = _numbers(settings, fields, plan.dataset.name)
        else:
            settings, reason = _classes(settings, fields, plan.dataset.name)
    if reason:
        raise ProblemError(SamplerUnfit(span=place, sampler=value.name, reason=reason))
    return Use(declaration, settings, place)


def _fields(plan: DataPlan) -> dict[str, TensorType]:
    """The fields of the data set itself, as far as is said right after it."""
    found = {field.name: field.type for field in plan.dataset.declaration.sample(plan.dataset.settings)}
    if not found:
        declared = next(stage for stage in plan.stages if isinstance(stage, Declared))
        found = {field.name: field.type for field in declared.fields}
    return found


def _count(settings: Mapping[str, Any], plan: DataPlan) -> str:
    count = settings["num_samples"]
    if count is not None and not settings["replacement"] and plan.length is not None and count > plan.length:
        return f"without replacement an epoch has at most the {plan.length:,} samples that there are, not {count:,}"
    return ""


def _numbers(settings: Mapping[str, Any], fields: Mapping[str, TensorType], dataset: str) -> str:
    """What is wrong with a field that gives the weights."""
    name = settings["weights"]
    if name not in fields:
        known = enumeration([f"`{field}`" for field in fields], "and")
        return f"`{dataset}` has no field `{name}`: there are {known}{advice(nearest(name, [*fields, BALANCED]))}"
    type_ = fields[name]
    if type_.dims or type_.classes is not None or type_.dtype == "bool":
        return f"weights are one number for each sample, and `{name}` is {type_}"
    if settings["label"] is not None:
        return "`label` says whose classes have weights, and here each sample has its own"
    return ""


def _classes(
    settings: Mapping[str, Any], fields: Mapping[str, TensorType], dataset: str
) -> tuple[Mapping[str, Any], str]:
    """The settings with the field of the class filled in, and what is wrong with it."""
    written, label = settings["weights"], settings["label"]
    if label is None:
        label = next((name for name, type_ in fields.items() if type_.classes is not None and not type_.dims), None)
    listed = " and ".join(f"`{name}`: {type_}" for name, type_ in fields.items())
    if label is None:
        return settings, f"its weights are those of classes, and no field of `{dataset}` is one: {listed}"
    if label not in fields:
        return settings, f"`{dataset}` has no field `{label}`: there are {listed}{advice(nearest(label, fields))}"
    type_ = fields[label]
    if type_.classes is None or type_.dims:
        return settings, f"its weights are those of classes, and `{label}` is {type_}"
    if not isinstance(written, str) and isinstance(type_.classes, int) and len(written) != type_.classes:
        return settings, f"{len(written)} weights are given, and `{label}` is one of {type_.classes} classes"
    return {**settings, "label": label}, ""


def check_loading(data: "Data", spans: Mapping[str, Span]) -> Iterator[Problem]:
    """Settings that contradict each other."""
    without = data.workers == 0 and "workers" in spans
    for key in _OF_WORKERS:
        if data.workers == 0 and getattr(data, key) not in (False, None, "auto") and key in spans:
            yield WorkerOption(span=spans[key], key=key)
    if data.sampler is not None and "shuffle" in spans:
        yield LoadingConflict(
            span=spans["shuffle"], reason="`sampler` says which samples come when: `shuffle` says it a second time"
        )
    if data.sampler is not None and data.train is None:
        yield LoadingConflict(span=spans["sampler"], reason="it is about `train`, and there is no `train` here")
    if data.path == "resident" and data.workers and "workers" in spans:
        reason = "`path = resident` makes batches on the device, where workers are not; `path = auto` chooses"
        yield LoadingConflict(span=spans["workers"], reason=reason)
    if data.path == "workers" and data.workers == 0 and not without:
        yield LoadingConflict(span=spans["path"], reason="say how many: `workers = 4`, or 0 for the run's own process")
    if data.path == "workers" and "memory" in spans:
        yield LoadingConflict(span=spans["memory"], reason="`path = workers` keeps nothing in memory")
