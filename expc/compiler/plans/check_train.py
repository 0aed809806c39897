"""Checking `train`: the optimizer, the schedule, and how parameters start."""

from collections.abc import Iterable, Iterator, Mapping
from typing import Any, Final

from expc.compiler.arithmetic import describe
from expc.compiler.errors.experiment import ScheduleLength, WrongPart
from expc.compiler.errors.training import OptimizerRefused
from expc.compiler.graph import InitRule, Model
from expc.compiler.library import optimizers, schedules
from expc.compiler.model import extern_declarations, starts
from expc.compiler.model.arguments import is_lost, match_settings, value_place
from expc.compiler.model.elaborate import Elaborator
from expc.compiler.model.scope import BlockRef
from expc.compiler.ops.declare import Param, positional_settings
from expc.compiler.plans.run_length import RunLength
from expc.compiler.program import SchedulePart, Use
from expc.diagnostics import Edit, Fix, ProblemError, Span
from expc.spec.suggest import nearest
from expc.spec.values import UNEVALUATED, Lasting, Pipeline, Quantity, Recipe, Setting, Table, Watched, Word


def optimizer(elaborator: Elaborator, value: Recipe, span: Span) -> Use | None:
    """The optimizer with all its settings; none after a problem."""
    use = use_of(elaborator, value, elaborator.library.optimizers, "an optimizer", span)
    if use is None or use.declaration.python is not None or is_lost(use.settings):
        return use
    fault = optimizers.settings_fault(use.name, use.settings)
    if fault is None:
        return use
    elaborator.add(OptimizerRefused(span=use.span, optimizer=use.name, reason=fault))
    return None


def clip_of(value: Recipe | None) -> tuple[str, float] | None:
    """The kind and the limit of a `clip` that fits: `norm(1.0)`."""
    return None if value is None else (value.name, float(value.arguments[0].value))


_EXTERN: Final = {"an optimizer": "optimizer", "a schedule": "schedule", "a metric": "metric"}
"""What the kinds are called after `extern`."""


def use_of(elaborator: Elaborator, value: Any, table: Mapping[str, Any], expected: str, span: Span) -> Use | None:
    """What a recipe of a table, or of an `extern`, stands for, with all its settings; none after a problem."""
    if not isinstance(value, Recipe):
        elaborator.add(WrongPart(span=span, what=span.text, kind=describe(value), expected=expected))
        return None
    place = value.span or span
    try:
        written = extern_declarations.declaration(elaborator.library, value, _EXTERN[expected])
    except ProblemError as error:
        elaborator.add(error.problem)
        return None
    declaration = table.get(value.name) if written is None else written
    if declaration is None:
        declared = isinstance(value.target, BlockRef)
        kind = "declared in this file" if declared else elaborator.library.kind(value.name)
        near = nearest(value.name, table)
        fixes = (
            (Fix(f"write `{near}`", (Edit(Span(place.source, place.start, place.start + len(value.name)), near),)),)
            if near
            else ()
        )
        elaborator.add(WrongPart(span=place, what=value.name, kind=kind, expected=expected, fixes=fixes))
        return None
    if any(given.value is UNEVALUATED for given in value.arguments):
        return None
    try:
        positional = _positional(declaration)
        settings = match_settings(value.name, declaration.settings, positional, value.arguments, place)
    except ProblemError as error:
        elaborator.add(error.problem)
        return None
    return Use(declaration, settings, place, value.arguments)


def _positional(declaration: Any) -> tuple[Param, ...]:
    """What may be written without a name. The metrics of tasks take nothing so: torchmetrics requires the task."""
    return tuple(declaration.settings if declaration.python is not None else positional_settings(declaration.settings))


# ---------------------------------------------------------------------------------------------------- schedule


def schedule(
    elaborator: Elaborator,
    value: Any,
    run: RunLength,
    moved_by: Iterable[Use],
    span: Span,
) -> tuple[SchedulePart, ...]:
    """The parts of a schedule, each but the last with how long it lasts; `moved_by` are the optimizers of the run."""
    if value is None:
        return ()
    parts = _parts(value)
    found: list[SchedulePart] = []
    places: list[Span] = []
    for position, part in enumerate(parts):
        duration, stage, place = None, part, None
        if isinstance(part, Lasting):
            duration = part.duration if isinstance(part.duration, Quantity) else Quantity(part.duration, "epoch")
            stage, place = part.stage, part.duration_span
        use = use_of(elaborator, stage, elaborator.library.schedules, "a schedule", span)
        if use is None:
            continue
        fault = _schedule_fault(use, moved_by)
        if fault is not None:
            elaborator.add(ScheduleLength(span=use.span, reason=f"`{use.name}`: {fault}"))
            continue
        if duration is None and position < len(parts) - 1:
            reason = (
                f"`{use.name}` must say how long it lasts, since another part follows: `{use.name}(...) for 100 steps`"
            )
            elaborator.add(ScheduleLength(span=use.span, reason=reason))
            continue
        if duration is not None and duration.unit not in ("step", "epoch"):
            reason = f"a schedule lasts steps or epochs, not `{duration}`"
            elaborator.add(ScheduleLength(span=place or use.span, reason=reason))
            continue
        found.append(SchedulePart(use, duration))
        places.append(place or use.span)
    _check_length(elaborator, found, places, run)
    return tuple(found)


def _schedule_fault(use: Use, moved_by: Iterable[Use]) -> str | None:
    if use.declaration.python is not None or is_lost(use.settings):
        return None
    known: list[Mapping[str, Any] | None] = [other.settings for other in moved_by if other.declaration.python is None]
    faults = (schedules.settings_fault(use.name, use.settings, settings) for settings in known or [None])
    return next((fault for fault in faults if fault is not None), None)


def _parts(value: Any) -> list[Any]:
    return list(value.stages) if isinstance(value, Pipeline) else [value]


def watched_by(value: Any) -> Iterator[tuple[Watched, Span]]:
    """What the parts of a schedule watch, and where they say so."""
    for part in _parts(value):
        stage = part.stage if isinstance(part, Lasting) else part
        for given in stage.arguments if isinstance(stage, Recipe) else ():
            if isinstance(given.value, Watched):
                yield given.value, value_place(given)


def _check_length(elaborator: Elaborator, parts: list[SchedulePart], places: list[Span], run: RunLength) -> None:
    """Parts that outlast the run, as far as that can be said in one unit."""
    lasting = [(part.duration, place) for part, place in zip(parts, places, strict=True) if part.duration is not None]
    unit = run.said.unit if all(duration.unit == run.said.unit for duration, _ in lasting) else "step"
    length, counts = run.total(unit), [run.count(duration, unit) for duration, _ in lasting]
    if length is None or not lasting or None in counts:
        return
    whole = str(run.said) if unit == run.said.unit else f"{run.said}, {Quantity(round(length), unit)}"
    total = sum(count for count in counts if count is not None)
    if total > length or (total == length and parts[-1].duration is None):
        what = "this part of the schedule lasts" if len(lasting) == 1 else "the parts of the schedule last"
        nothing = ", so nothing is left for the next" if total == length else ""
        reason = f"{what} {Quantity(total, unit)}, and the whole run is {whole}{nothing}"
        elaborator.add(ScheduleLength(span=lasting[-1][1], reason=reason))


# ---------------------------------------------------------------------------------------------------- start


def inits(elaborator: Elaborator, tables: Iterable[Table], model: Model) -> tuple[InitRule, ...]:
    """`init` rules of `train`, which come after those of the model."""
    rules: list[InitRule] = []
    for table in tables:
        (item,) = table.settings
        if not isinstance(item, Setting) or item.value is UNEVALUATED or table.selector is UNEVALUATED:
            continue
        try:
            if not isinstance(item.value, Recipe):
                kind = describe(item.value)
                raise ProblemError(WrongPart(span=item.span, what=item.span.text, kind=kind, expected="an initialiser"))
            recipe = starts.rule_value(elaborator, item.value, item.span)
        except ProblemError as error:
            elaborator.add(error.problem)
            continue
        rules.append(InitRule(str(table.selector), not isinstance(table.selector, Word), recipe, item.key_span))
    starts.check_rules(elaborator, rules, model.body)
    return tuple(rules)
