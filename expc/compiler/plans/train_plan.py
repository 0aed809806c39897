"""Checking `train` as a whole: how its parts fit together and become the plan of a run."""

from collections.abc import Iterable, Mapping
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from expc.compiler.graph import Model
from expc.compiler.model import gradients
from expc.compiler.model.elaborate import Elaborator
from expc.compiler.model.requirements import Conditions
from expc.compiler.model.scope import Scope
from expc.compiler.model.written import Written
from expc.compiler.plans import (
    check_data,
    check_groups,
    check_loss,
    check_metrics,
    check_sections,
    check_selected,
    check_train,
    roles,
)
from expc.compiler.plans.run_length import RunLength
from expc.compiler.program import DataPlan, FreezePlan, LossPlan, SchedulePart, TrainPlan, Use
from expc.diagnostics import Span
from expc.spec.experiment import Experiment

if TYPE_CHECKING:
    from expc.spec.sections import Train


def train_plan(
    elaborator: Elaborator,
    bound: Experiment,
    model: Model,
    plans: Mapping[str, DataPlan],
    found: check_loss.Outcome | None,
    outcomes: Mapping[str, check_loss.Outcome],
    scope: Scope,
    written: Written,
) -> TrainPlan | None:
    """How the model learns; none after a problem.

    `found` is what model and data give to the loss, where known; `outcomes` is that by role, as far as declared.
    """
    train = bound.train
    assert train is not None  # noqa: S101 - the caller looked

    def loss_of(value: Any, span: Span) -> LossPlan | None:
        if found is None:
            return None
        elaborator.conditions = Conditions()
        return check_loss.check_loss(elaborator, model, found, value, scope, span)

    used = None
    if train.optimizer is not None:
        used = check_train.optimizer(elaborator, train.optimizer, written.span("train", "optimizer"))
    loss = None
    if train.loss is not None:
        loss = loss_of(train.loss, written.span("train", "loss"))
    run = RunLength(train.epochs, train.steps, check_data.steps_per_epoch(plans.get("train"), bound.data))
    frozen = check_selected.freeze(elaborator, train.freeze, model, run, written.span("train", "freeze"))

    def schedule_of(value: Any, every: Iterable[Use], span: Span) -> tuple[SchedulePart, ...]:
        return check_train.schedule(elaborator, value, run, every, span)

    moved = _moved(elaborator, train, model, used, loss, frozen, loss_of, schedule_of, written)
    if moved is not None and not elaborator.report.has_errors:
        rest = frozen.keys if frozen is not None else ()
        for turn in moved.turns:
            gradients.check(elaborator, model, turn.loss, turn.keys, rest, turn.span)
        if loss is not None and not moved.turns:
            gradients.check(elaborator, model, loss, None, rest, written.span("train", "loss"))
    every = moved.optimizers if moved is not None else (used,) if used is not None else ()
    parts = schedule_of(train.schedule, every, written.span("train", "schedule"))
    inits = check_train.inits(elaborator, train.inits, model)
    recompute = check_selected.modules(elaborator, train.recompute, model, written.span("train", "recompute"))
    segments = check_selected.cut(elaborator, train.recompute, model, written.span("train", "recompute"))
    check_sections.check_settings(elaborator, train, every, written.span)
    measured = None
    if found is not None:
        span = written.span("train", "metrics")
        compared = outcomes[role] if (role := roles.compared_in(plans, outcomes)) != "train" else found
        losses = () if loss is None else (loss,)
        metrics_of = check_metrics.Metrics(elaborator, model, compared, scope, span, losses)
        measured = metrics_of.plan(train.metrics, _taken(loss, moved))
        if written.is_lost("train", "metrics"):
            measured = None
    plan = None
    if moved is not None and measured is not None and (loss is not None or moved.turns):
        clip = check_train.clip_of(train.clip)
        metrics, body = measured
        plan = TrainPlan(loss, used, parts, moved.groups, metrics, clip, None, inits)
        plan = replace(plan, turns=moved.turns, freeze=frozen, measured=body)
        plan = replace(plan, recompute=recompute, segments=segments)
        plan = replace(plan, measures_training=roles.compared_in(plans, outcomes) == "train")
    watchable, names = written.roles(plans), measured_names(plan)
    chains = [train.schedule, *check_groups.schedules(train.groups)]
    for watched, place in (found for chain in chains for found in check_train.watched_by(chain)):
        check_metrics.check_watched(elaborator, watched, watchable, names, place)
    stop = check_metrics.watch(elaborator, train.early_stop, watchable, names, written.span("train", "early_stop"))
    return None if plan is None else replace(plan, early_stop=stop)


def measured_names(train: TrainPlan | None) -> check_metrics.Measured | None:
    """What a run measures; none where that is not known after an error."""
    return None if train is None else check_metrics.Measured(train)


def _moved(
    elaborator: Elaborator,
    train: "Train",
    model: Model,
    used: Use | None,
    loss: LossPlan | None,
    frozen: FreezePlan | None,
    loss_of: check_groups.CheckLoss,
    schedule_of: check_groups.CheckSchedule,
    written: Written,
) -> check_groups.Moved | None:
    """Which optimizer and which loss moves each parameter; none where that is not known."""
    forever = frozen.keys if frozen is not None and frozen.duration is None else ()
    groups = check_groups.Groups(elaborator, model, used, forever, schedule_of)
    groups.read(train.groups, loss_of)
    has_loss, has_optimizer = (written.has("train", key) for key in ("loss", "optimizer"))
    place = written.span("train", "loss")
    moved = groups.check(loss, has_optimizer=has_optimizer, has_loss=has_loss, loss_span=place)
    return moved if used is not None or not has_optimizer else None


def _taken(loss: LossPlan | None, moved: check_groups.Moved | None) -> tuple[str, ...]:
    """What losses and their terms are called, as far as they are known."""
    turns = moved.turns if moved is not None else ()
    plans = [turn.loss for turn in turns] or ([] if loss is None else [loss])
    return ("loss", *(turn.name for turn in turns), *(term for plan in plans for term in plan.terms))
