"""Checking `train` and what a checkpoint watches: optimizer, groups, schedule, metrics."""

from collections.abc import Collection, Iterable, Iterator, Mapping
from typing import TYPE_CHECKING, Any, Final

from expc.compiler import externs, starts
from expc.compiler.arguments import match_settings, setting, value_place
from expc.compiler.arithmetic import describe
from expc.compiler.check_loss import Outcome
from expc.compiler.elaborate import Elaborator
from expc.compiler.errors.experiment import GroupRefused, MetricMismatch, ScheduleLength, WrongPart
from expc.compiler.errors.names import DuplicateName, NotYet, SelectorMatchesNothing
from expc.compiler.graph import InitRule, Model, Record, has_python, weights
from expc.compiler.lints.monitor_without_val import MonitorWithoutVal
from expc.compiler.program import GroupPlan, LossPlan, MetricPlan, SchedulePart, Use, Watch
from expc.compiler.scope import BlockRef
from expc.compiler.selectors import matching, nearest_key
from expc.compiler.types import is_known
from expc.diagnostics import Edit, Fix, Label, ProblemError, Span
from expc.spec.suggest import nearest
from expc.spec.values import UNEVALUATED, Given, Lasting, Pipeline, Quantity, Recipe, Setting, Table, Watched, Word

if TYPE_CHECKING:
    from expc.spec.sections import Train


def optimizer(elaborator: Elaborator, value: Recipe, span: Span) -> Use | None:
    """The optimizer with all its settings; none after a problem."""
    return _use(elaborator, value, elaborator.library.optimizers, "an optimizer", span)


_EXTERN: Final = {"an optimizer": "optimizer", "a schedule": "schedule", "a metric": "metric"}
"""What the kinds are called after `extern`."""


def _use(elaborator: Elaborator, value: Any, table: Mapping[str, Any], expected: str, span: Span) -> Use | None:
    if not isinstance(value, Recipe):
        elaborator.add(WrongPart(span=span, what=span.text, kind=describe(value), expected=expected))
        return None
    place = value.span or span
    try:
        written = externs.declaration(elaborator.library, value, _EXTERN[expected])
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
        settings = match_settings(value.name, declaration.settings, declaration.settings, value.arguments, place)
    except ProblemError as error:
        elaborator.add(error.problem)
        return None
    return Use(declaration, settings, place)


# ---------------------------------------------------------------------------------------------------- schedule


def schedule(
    elaborator: Elaborator, value: Any, train: "Train", steps_per_epoch: int | None, span: Span
) -> tuple[SchedulePart, ...]:
    """The parts of a schedule, each but the last with how long it lasts."""
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
        use = _use(elaborator, stage, elaborator.library.schedules, "a schedule", span)
        if use is None:
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
    _check_length(elaborator, found, places, train, steps_per_epoch)
    return tuple(found)


def _parts(value: Any) -> list[Any]:
    return list(value.stages) if isinstance(value, Pipeline) else [value]


def watched_by(value: Any) -> Iterator[tuple[Watched, Span]]:
    """What the parts of a schedule watch, and where they say so."""
    for part in _parts(value):
        stage = part.stage if isinstance(part, Lasting) else part
        for given in stage.arguments if isinstance(stage, Recipe) else ():
            if isinstance(given.value, Watched):
                yield given.value, value_place(given)


def _check_length(
    elaborator: Elaborator,
    parts: list[SchedulePart],
    places: list[Span],
    train: "Train",
    steps_per_epoch: int | None,
) -> None:
    """Parts that outlast the run, as far as that can be said in one unit."""
    unit, length = ("epoch", train.epochs) if train.epochs is not None else ("step", train.steps)
    lasting = [(part.duration, place) for part, place in zip(parts, places, strict=True) if part.duration is not None]
    if length is None or not lasting:
        return
    whole = str(Quantity(length, unit))
    if any(duration.unit != unit for duration, _ in lasting):
        if steps_per_epoch is None:
            return
        scale = {"step": 1, "epoch": steps_per_epoch}
        lasting = [(Quantity(duration.number * scale[duration.unit], "step"), place) for duration, place in lasting]
        length *= scale[unit]
        unit, whole = "step", f"{whole}, {length} steps" if unit == "epoch" else whole
    total = sum(duration.number for duration, _ in lasting)
    if total > length or (total == length and parts[-1].duration is None):
        what = "this part of the schedule lasts" if len(lasting) == 1 else "the parts of the schedule last"
        nothing = ", so nothing is left for the next" if total == length else ""
        reason = f"{what} {Quantity(total, unit)}, and the whole run is {whole}{nothing}"
        elaborator.add(ScheduleLength(span=lasting[-1][1], reason=reason))


# ---------------------------------------------------------------------------------------------------- groups


def groups(elaborator: Elaborator, tables: Iterable[Table], model: Model, used: Use | None) -> tuple[GroupPlan, ...]:
    """The parameters that each group matches, and what it says about them."""
    entries = [weight for weight in weights(model.body) if not weight.is_buffer]
    plans = []
    for table in tables:
        selector = table.selector
        if selector is UNEVALUATED or used is None:
            continue
        if selector is None:
            elaborator.add(
                GroupRefused(span=table.span, reason='a `group` says which parameters: `group "*.bias" { }`')
            )
            continue
        matched = matching(str(selector), not isinstance(selector, Word), model.body, entries)
        if not matched and not has_python(model.body):
            near = nearest_key(str(selector), entries)
            notes = (f"the nearest key is `{near}`",) if near else ()
            span = _selector_span(table)
            elaborator.add(SelectorMatchesNothing(span=span, selector=str(selector), notes=notes))
        settings = _group_settings(elaborator, table, used)
        plans.append(GroupPlan(str(selector), tuple(weight.key for weight in matched), settings, table.span))
    return tuple(plans)


def _selector_span(table: Table) -> Span:
    """What stands between `group` and its brace."""
    head = table.span.text.partition("{")[0].rstrip()
    selector = head.removeprefix(table.name).lstrip()
    end = table.span.start + len(head)
    return Span(table.span.source, end - len(selector), end)


def _group_settings(elaborator: Elaborator, table: Table, used: Use) -> dict[str, Any]:
    params = {param.name: param for param in used.declaration.settings}
    found: dict[str, Any] = {}
    for item in table.settings:
        key = item.name if isinstance(item, Table) else item.key
        if key in ("optimizer", "loss"):
            elaborator.add(NotYet(span=item.span, what=f"a group with its own {key}"))
            continue
        if isinstance(item, Table) or key not in params:
            near = nearest(key, params)
            span = item.span if isinstance(item, Table) else item.key_span
            hint = f"; did you mean `{near}`?" if near else ""
            fixes = (Fix(f"write `{near}`", (Edit(span, near),)),) if near and isinstance(item, Setting) else ()
            elaborator.add(GroupRefused(span=span, reason=f"`{used.name}` has no setting `{key}`{hint}", fixes=fixes))
            continue
        if item.value is UNEVALUATED:
            continue
        try:
            found[key] = setting(used.name, params[key], Given(key, item.value, item.span), item.span)
        except ProblemError as error:
            elaborator.add(error.problem)
    return found


def inits(elaborator: Elaborator, tables: Iterable[Table], model: Model) -> tuple[InitRule, ...]:
    """`init` rules of `train`, which come after those of the model."""
    rules = []
    for table in tables:
        (item,) = table.settings
        if not isinstance(item, Setting) or item.value is UNEVALUATED or table.selector is UNEVALUATED:
            continue
        try:
            if not isinstance(item.value, Recipe):
                kind = describe(item.value)
                raise ProblemError(WrongPart(span=item.span, what=item.span.text, kind=kind, expected="an initialiser"))
            recipe = starts.initialiser(elaborator, item.value, item.span)
        except ProblemError as error:
            elaborator.add(error.problem)
            continue
        is_glob = not isinstance(table.selector, Word)
        rules.append(InitRule(str(table.selector), is_glob, recipe, item.key_span))
    starts.check_rules(elaborator, rules, model.body)
    return tuple(rules)


# ---------------------------------------------------------------------------------------------------- metrics


def metrics(elaborator: Elaborator, value: Any, found: Outcome, span: Span) -> tuple[MetricPlan, ...] | None:
    """What each metric is in torchmetrics, for these types; none where one is not known after an error."""
    if isinstance(value, Table):
        elaborator.add(NotYet(span=value.span, what="a table of metrics"))
        return None
    plans: dict[str, MetricPlan] = {}
    whole = True
    for recipe in value:
        use = _use(elaborator, recipe, elaborator.library.metrics, "a metric", span)
        plan = None if use is None else _metric(elaborator, use, found)
        if use is None or plan is None:
            whole = False
            continue
        if plan.name in plans:
            first = Label(plans[plan.name].span, "the first is here")
            elaborator.add(DuplicateName(span=use.span, word=use.name, reason="is measured twice", labels=(first,)))
            continue
        plans[plan.name] = plan
    return tuple(plans.values()) if whole else None


def _metric(elaborator: Elaborator, use: Use, found: Outcome) -> MetricPlan | None:
    output, target = found.output, found.target
    if output is None or target is None:
        what = "the model has several outputs" if output is None else "no field of the data is left as a target"
        reason = f"{what}, and a list of metrics compares (output, target)"
        elaborator.add(MetricMismatch(span=use.span, metric=use.name, reason=reason))
        return None
    output_type, target_type = found.outputs[output], found.fields[target]
    if not is_known(output_type):
        return None
    wrong = use.declaration.accepts(output_type, target_type)
    if wrong is not None:
        elaborator.add(MetricMismatch(span=use.span, metric=use.name, reason=wrong))
        return None
    class_name, arguments = use.declaration.complete(use.settings, output_type, target_type)
    name = _snake(use.name)
    declared = use.declaration
    better, python = declared.higher_is_better, declared.python
    return MetricPlan(name, class_name, arguments, output, target, better, use.span, python)


def _snake(name: str) -> str:
    """`MeanSquaredError` as it is logged: `mean_squared_error`; `AUROC` as `auroc`."""
    text = ""
    for i, character in enumerate(name):
        starts_word = character.isupper() and i > 0 and (name[i - 1].islower() or name[i + 1 : i + 2].islower())
        text += ("_" if starts_word else "") + character.lower()
    return text


# ---------------------------------------------------------------------------------------------------- watching


def watch(
    elaborator: Elaborator,
    value: Recipe | None,
    roles: Collection[str],
    measured: Iterable[MetricPlan] | None,
    loss: LossPlan | None,
    span: Span,
) -> Watch | None:
    """What `best` or `early_stop` looks at. `measured` is none where the metrics are not known after an error."""
    if value is None:
        return None
    first = value.arguments[0].value
    settings = {str(given.name): given.value for given in value.arguments[1:]}
    if isinstance(first, Watched):
        check_watched(elaborator, first, roles, measured, loss, value.arguments[0].span)
        return Watch(first.name, value.name, settings, span)
    return None


def check_watched(
    elaborator: Elaborator,
    watched: Watched,
    roles: Collection[str],
    measured: Iterable[MetricPlan] | None,
    loss: LossPlan | None,
    span: Span,
) -> None:
    """What is watched must be measured in this run."""
    if measured is None or loss is None:
        return
    role, _, name = watched.name.partition(".")
    result = loss.body.result
    absent = result.training_only if isinstance(result, Record) and role != "train" else frozenset()
    names = ["loss", *(term for term in loss.terms if term not in absent), *(metric.name for metric in measured)]
    if role not in roles:
        elaborator.add(
            MonitorWithoutVal(
                span=span, watched=watched.name, reason=f"`data` has no `{role}`, so nothing is measured on it"
            )
        )
    elif name not in names:
        near = nearest(name, names)
        hint = f"; did you mean `{role}.{near}`?" if near else ""
        listed = ", ".join(f"`{role}.{other}`" for other in names)
        fixes = (Fix(f"write `{role}.{near}`", (Edit(span, f"{role}.{near}"),)),) if near else ()
        reason = f"this run measures {listed}{hint}"
        elaborator.add(MonitorWithoutVal(span=span, watched=watched.name, reason=reason, fixes=fixes))
