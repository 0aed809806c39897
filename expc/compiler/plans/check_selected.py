"""Checking settings that select parameters or modules: `freeze`, `recompute`, `shard`, `targets`."""

from typing import Any

from expc.compiler.errors.experiment import ScheduleLength
from expc.compiler.errors.names import SelectorMatchesNothing
from expc.compiler.errors.training import SettingsContradict
from expc.compiler.graph import Model, has_python, weights
from expc.compiler.model.elaborate import Elaborator
from expc.compiler.plans import segments
from expc.compiler.plans.run_length import RunLength
from expc.compiler.plans.selectors import matching, matching_modules, may_be_python, module_paths, nearest_key
from expc.compiler.program import FreezePlan, Segments
from expc.diagnostics import Span
from expc.spec.suggest import nearest
from expc.spec.values import Lasting, Quantity, Word


def freeze(elaborator: Elaborator, value: Any, model: Model, run: RunLength, span: Span) -> FreezePlan | None:
    """What is frozen, for the whole run or for a part of it."""
    if value is None:
        return None
    lasting = value if isinstance(value, Lasting) else None
    entries = list(weights(model.body))
    keys: dict[str, None] = {}
    for selector in lasting.stage if lasting is not None else value:
        matched = matching(str(selector), not isinstance(selector, Word), model.body, entries)
        found = bool(matched) or may_be_python(str(selector), not isinstance(selector, Word), model.body)
        _report_nothing(elaborator, selector, found, nearest_key(str(selector), entries), span)
        keys |= dict.fromkeys(weight.key for weight in matched)
    learning = [weight.key for weight in entries if not weight.is_buffer and weight.key not in keys]
    if lasting is None and not learning and not has_python(model.body):
        elaborator.add(SettingsContradict(span=span, reason="everything is frozen, so nothing is left to learn"))
        return None
    duration = None
    if lasting is not None:
        length_of = lasting.duration
        duration = length_of if isinstance(length_of, Quantity) else Quantity(length_of, "epoch")
        _check_freeze(elaborator, duration, run, lasting.duration_span or span)
    written = lasting.stage if lasting is not None else value
    selectors = tuple((str(selector), not isinstance(selector, Word)) for selector in written)
    return FreezePlan(tuple(keys), duration, span, selectors)


def _check_freeze(elaborator: Elaborator, duration: Quantity, run: RunLength, span: Span) -> None:
    whole = run.total(duration.unit)
    if whole is not None and duration.number >= whole:
        reason = (
            f"the freeze lasts {duration}, and the whole run is {run.said}: leave `for` out to freeze for all of it"
        )
        elaborator.add(ScheduleLength(span=span, reason=reason))


def modules(elaborator: Elaborator, value: Any, model: Model, span: Span) -> tuple[str, ...]:
    """The modules that a list of selectors matches; a selector that matches none is reported."""
    found: dict[str, None] = {}
    for selector in value if isinstance(value, tuple) else ():
        matched = matching_modules(str(selector), not isinstance(selector, Word), model.body)
        near = nearest(str(selector).replace("*", ""), module_paths(model.body))
        _report_nothing(elaborator, selector, bool(matched), near, span)
        found |= dict.fromkeys(matched)
    return tuple(found)


def cut(elaborator: Elaborator, value: Any, model: Model, span: Span) -> Segments | None:
    """The segments of `recompute = 4`; a model that is too short for them is reported."""
    if not isinstance(value, int):
        return None
    found = segments.cut(model.body, value)
    if found is None:
        path, container = segments.home(model.body)
        what = f"`{path}`, which is most of it," if path else "it"
        reason = f"`{model.name}` cannot be cut into {value} segments: {what} has {len(container.steps)} statements"
        elaborator.add(SettingsContradict(span=span, reason=reason))
    return found


def _report_nothing(elaborator: Elaborator, selector: Any, matches: bool, near: str | None, span: Span) -> None:
    if matches:
        return
    start = span.text.find(str(selector))
    place = Span(span.source, span.start + start, span.start + start + len(str(selector))) if start >= 0 else span
    notes = (f"the nearest key is `{near}`",) if near else ()
    elaborator.add(SelectorMatchesNothing(span=place, selector=str(selector), notes=notes))
