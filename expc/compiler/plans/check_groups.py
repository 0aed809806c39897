"""Checking which optimizer and which loss moves each parameter: groups, and what is frozen.

All groups that match a parameter count, key by key the last; two optimizers or two losses for one parameter are an
error. Groups with a loss take turns in the order written, after the loss of `train`, which moves what no group's does.
"""

import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, Final

from expc.compiler.errors.experiment import GroupRefused
from expc.compiler.errors.names import DuplicateName, SelectorMatchesNothing
from expc.compiler.errors.training import NotMoved, OptimizerRefused
from expc.compiler.graph import Container, Leaf, Model, Weight, has_python, weights
from expc.compiler.library import optimizers
from expc.compiler.model.arguments import setting
from expc.compiler.model.elaborate import Elaborator
from expc.compiler.plans import check_train
from expc.compiler.plans.selectors import matching, may_be_python, what_was_meant
from expc.compiler.program import GroupPlan, LossPlan, SchedulePart, Turn, Use
from expc.diagnostics import Edit, Fix, Label, ProblemError, Span
from expc.frozen import dataclass, field
from expc.spec.suggest import nearest
from expc.spec.values import UNEVALUATED, Given, Setting, Table, Word

CheckLoss = Callable[[Any, Span], LossPlan | None]
"""Checks the loss of a group, which stands at a place; none after a problem."""

CheckSchedule = Callable[[Any, Iterable[Use], Span], tuple[SchedulePart, ...]]
"""Checks the schedule of a group over the optimizers that move it."""

_OWN: Final = ("optimizer", "loss", "schedule", "clip")
"""What a group says besides settings of the optimizer."""


@dataclass(eq=False)
class _Group:
    """A group while it is checked."""

    table: Table
    selector: str
    keys: tuple[str, ...]
    optimizer: Use | None = None
    loss: LossPlan | None = None
    has: dict[str, Setting | Table] = field(default_factory=dict)
    """What it says, by key."""


@dataclass(frozen=True, eq=False)
class Moved:
    """Which optimizer and which loss moves what."""

    groups: tuple[GroupPlan, ...]
    turns: tuple[Turn, ...]
    optimizers: tuple[Use, ...]
    """Those of the run, that of `train` first."""


class Groups:
    """The groups of one run. `used` is the optimizer of `train`; `has_optimizer` and `has_loss`: whether it has one."""

    def __init__(
        self,
        elaborator: Elaborator,
        model: Model,
        used: Use | None,
        frozen: Iterable[str],
        check_schedule: CheckSchedule,
    ) -> None:
        self._elaborator, self._model, self._used = elaborator, model, used
        self._check_schedule = check_schedule
        self._entries = [weight for weight in weights(model.body) if not weight.is_buffer]
        self._tied = {weight.key: weight.tied_to for weight in self._entries if weight.tied_to is not None}
        self._frozen = {self._one(key) for key in frozen}
        self._moving = [w for w in self._entries if w.key not in self._tied and w.key not in self._frozen]
        self._groups: list[_Group] = []
        self._whole = True

    def read(self, tables: Iterable[Table], check_loss: CheckLoss) -> None:
        """Take in the groups: what they match, and their own optimizers and losses."""
        for table in tables:
            if table.selector is UNEVALUATED:
                self._whole = False
            elif table.selector is None:
                reason = 'a `group` says which parameters: `group "*.bias" { }`'
                self._refuse(table.span, reason)
            else:
                self._groups.append(self._read(table, check_loss))

    def check(self, loss: LossPlan | None, *, has_optimizer: bool, has_loss: bool, loss_span: Span) -> Moved | None:
        """What moves each parameter; none after a problem, which is reported."""
        owners = self._owners("optimizer"), self._owners("loss")
        uses = self._optimizers_of(owners[0], has_optimizer=has_optimizer)
        plans = tuple(
            GroupPlan(
                group.selector,
                group.keys,
                self._settings(group, uses),
                _selector_span(group.table),
                group.optimizer,
                not isinstance(group.table.selector, Word),
                self._learning(group, uses),
            )
            for group in self._groups
        )
        if self._whole:
            self._check_optimizers(uses, plans)
        turns = self._turns(loss, owners[1], has_loss=has_loss, loss_span=loss_span)
        if not self._whole:
            return None
        several = (self._used, *(group.optimizer for group in self._groups))
        return Moved(plans, turns, tuple(use for use in several if use is not None))

    # ------------------------------------------------------------------------------------------------ reading

    def _one(self, key: str) -> str:
        """The key under which a parameter is counted: of tied ones, that of the tensor."""
        return self._tied.get(key) or key

    def _refuse(self, span: Span, reason: str, **more: Any) -> None:
        self._elaborator.add(GroupRefused(span=span, reason=reason, **more))
        self._whole = False

    def _read(self, table: Table, check_loss: CheckLoss) -> _Group:
        selector = str(table.selector)
        matched = matching(selector, not isinstance(table.selector, Word), self._model.body, self._entries)
        is_glob = not isinstance(table.selector, Word)
        if not matched and not may_be_python(selector, is_glob, self._model.body):
            notes = what_was_meant(selector, is_glob, self._entries)
            span = _selector_span(table)
            self._elaborator.add(SelectorMatchesNothing(span=span, selector=selector, notes=notes))
            self._whole = False
        group = _Group(table, selector, tuple(weight.key for weight in matched))
        for item in table.settings:
            key = item.name if isinstance(item, Table) else item.key
            group.has[key] = item
        optimizer, loss = group.has.get("optimizer"), group.has.get("loss")
        if isinstance(optimizer, Setting) and optimizer.value is not UNEVALUATED:
            group.optimizer = check_train.optimizer(self._elaborator, optimizer.value, optimizer.span)
        if loss is not None:
            value = loss if isinstance(loss, Table) else loss.value
            place = _name_span(loss) if isinstance(loss, Table) else loss.span
            group.loss = None if value is UNEVALUATED else check_loss(value, place)
        if (optimizer is not None and group.optimizer is None) or (loss is not None and group.loss is None):
            self._whole = False
        return group

    def _owners(self, what: str) -> dict[str, _Group]:
        """The group that has an optimizer, or a loss, for each parameter; a second one is reported once."""
        owners: dict[str, _Group] = {}
        refused: set[tuple[int, int]] = set()
        for group in self._groups:
            if what not in group.has:
                continue
            for key in map(self._one, group.keys):
                first = owners.setdefault(key, group)
                if first is not group and (id(first), id(group)) not in refused:
                    refused.add((id(first), id(group)))
                    noun = "an optimizer" if what == "optimizer" else "a loss"
                    reason = f"`{key}` is in two groups with {noun} of their own"
                    labels = (Label(_selector_span(first.table), "the first is here"),)
                    self._refuse(_selector_span(group.table), reason, labels=labels)
        return owners

    # ------------------------------------------------------------------------------------------------ optimizers

    def _optimizers_of(self, owners: Mapping[str, _Group], *, has_optimizer: bool) -> dict[str, Use]:
        """The optimizer of each parameter that moves."""
        found: dict[str, Use] = {}
        missing: list[Weight] = []
        for weight in self._moving:
            group = owners.get(weight.key)
            use = self._used if group is None else group.optimizer
            if use is not None:
                found[weight.key] = use
            elif group is None and not has_optimizer:
                missing.append(weight)
        self._report_unmoved("optimizer", missing)
        if self._used is None and has_optimizer:
            self._whole = False
        return found

    def _report_unmoved(self, what: str, missing: Sequence[Weight]) -> None:
        if missing:
            more = f", nor {len(missing) - 1} others" if len(missing) > 1 else ""
            note = f"give `train` {'an' if what == 'optimizer' else 'a'} `{what}`, or a group for it; or `freeze` it"
            first = missing[0]
            self._elaborator.add(NotMoved(span=first.span, what=what, key=first.key, more=more, notes=(note,)))
            self._whole = False

    def _settings(self, group: _Group, uses: Mapping[str, Use]) -> dict[str, Any]:
        """What a group changes of the settings of the optimizers that move its parameters."""
        here = self._uses_in(group, uses)
        found: dict[str, Any] = {}
        for key, item in group.has.items():
            if key in _OWN:
                continue
            for use in here:
                params = {param.name: param for param in use.declaration.settings}
                if isinstance(item, Table) or key not in params:
                    self._refuse_setting(use, key, item, params)
                    break
                if item.value is UNEVALUATED:
                    self._whole = False
                    break
                try:
                    found[key] = setting(use.name, params[key], Given(key, item.value, item.span), item.span)
                except ProblemError as error:
                    self._elaborator.add(error.problem)
                    self._whole = False
                    break
        return found

    def _uses_in(self, group: _Group, uses: Mapping[str, Use]) -> list[Use]:
        """The optimizers that move the parameters of a group."""
        here = list(dict.fromkeys(uses[key] for key in map(self._one, group.keys) if key in uses))
        moved_by = group.optimizer or self._used
        if not here and has_python(self._model.body) and moved_by is not None:
            here = [moved_by]
        return here

    def _learning(self, group: _Group, uses: Mapping[str, Use]) -> dict[str, Any]:
        """What a group says of learning besides its optimizer and its loss."""
        found: dict[str, Any] = {}
        from expc.spec.fields import clip_fits  # with Pydantic, which a file without sections does not need

        for key in ("schedule", "clip"):
            item = group.has.get(key)
            if item is None:
                continue
            if isinstance(item, Table):
                self._refuse(_name_span(item), f"`{key}` is a setting, not a table: `{key} = ...`")
            elif item.value is UNEVALUATED:
                self._whole = False
            elif key == "schedule":
                found[key] = self._check_schedule(item.value, self._uses_in(group, uses), item.span)
            elif item.value is None or clip_fits(item.value):
                found[key] = check_train.clip_of(item.value)
            else:
                reason = "`clip` is `norm(1.0)` or `value(0.5)`, greater than 0, or `none`"
                self._refuse(item.span, reason)
        return found

    def _refuse_setting(self, use: Use, key: str, item: Setting | Table, params: Mapping[str, Any]) -> None:
        near = nearest(key, (*params, *_OWN))
        span = item.span if isinstance(item, Table) else item.key_span
        hint = f"; did you mean `{near}`?" if near else ""
        fixes = (Fix(f"write `{near}`", (Edit(span, near),)),) if near and isinstance(item, Setting) else ()
        self._refuse(span, f"`{use.name}` has no setting `{key}`{hint}", fixes=fixes)

    def _check_optimizers(self, uses: Mapping[str, Use], plans: Sequence[GroupPlan]) -> None:
        """What torch refuses about an optimizer and the parameters that it moves, once for each optimizer."""
        sparse = set(_sparse_keys(self._model.body))
        for use in dict.fromkeys(uses.values()):
            if use.declaration.python is not None:
                continue
            mine = [weight for weight in self._moving if uses.get(weight.key) is use]
            fault = _fault(use, mine, sparse) or self._merged_fault(use, mine, plans)
            if fault is not None:
                reason, notes = fault
                self._elaborator.add(OptimizerRefused(span=use.span, optimizer=use.name, reason=reason, notes=notes))
                self._whole = False

    def _merged_fault(
        self, use: Use, mine: Sequence[Weight], plans: Sequence[GroupPlan]
    ) -> tuple[str, tuple[str, ...]] | None:
        """A fault of the settings that groups change, together with the rest."""
        keys = {weight.key for weight in mine}
        changed = [plan for plan in plans if plan.settings and keys & set(map(self._one, plan.keys))]
        if use.name in optimizers.ONE_GROUP:
            apart = (plan for plan in plans if "schedule" in plan.learning)
            parted = [plan for plan in apart if 0 < len(keys.intersection(map(self._one, plan.keys))) < len(keys)]
            for plan in (*changed, *parted):
                return f"its parameters cannot differ, and the group `{plan.selector}` changes some of them", ()
        for key in keys:
            merged = dict(use.settings)
            for plan in changed:
                if key in map(self._one, plan.keys):
                    merged |= plan.settings
            fault = optimizers.settings_fault(use.name, merged) if merged != use.settings else None
            if fault is not None:
                return f"{fault}, and `{key}` has other settings by a group", ()
        return None

    # ------------------------------------------------------------------------------------------------ losses

    def _turns(
        self, loss: LossPlan | None, owners: Mapping[str, _Group], *, has_loss: bool, loss_span: Span
    ) -> tuple[Turn, ...]:
        if not any("loss" in group.has for group in self._groups):
            return ()
        python = has_python(self._model.body)
        rest = [weight for weight in self._moving if weight.key not in owners]
        if not has_loss:
            self._report_unmoved("loss", rest)
        turns = []
        if loss is not None:
            if not rest and not python:
                reason = "the loss of `train` moves nothing: every parameter is in a group with a loss of its own"
                self._refuse(loss_span, reason)
            turns.append(
                Turn("" if loss.terms else "loss_train", loss, tuple(weight.key for weight in rest), loss_span)
            )
        for index, group in enumerate(self._groups):
            if group.loss is not None:
                keys = tuple(weight.key for weight in self._moving if owners.get(weight.key) is group)
                span = group.has["loss"].span
                if not keys and not python:
                    self._refuse(span, f"this loss moves nothing: all that `{group.selector}` matches is frozen")
                name = "" if group.loss.terms else f"loss_{re.sub(r'[^0-9A-Za-z]+', '_', group.selector).strip('_')}"
                turns.append(Turn(name, group.loss, keys, span, index))
        self._check_names(turns)
        return tuple(turns)

    def _check_names(self, turns: Sequence[Turn]) -> None:
        seen: dict[str, Span] = {}
        for turn in turns:
            for name in (turn.name,) if turn.name else turn.loss.terms:
                if name in seen:
                    first = Label(seen[name], "the first is here")
                    reason = "names two losses of groups"
                    self._elaborator.add(DuplicateName(span=turn.span, word=name, reason=reason, labels=(first,)))
                    self._whole = False
                seen[name] = turn.span


def _fault(use: Use, mine: Sequence[Weight], sparse: set[str]) -> tuple[str, tuple[str, ...]] | None:
    """Why an optimizer cannot move these parameters, and what to do about it."""
    if use.name in optimizers.MATRICES:
        other = next((weight for weight in mine if len(weight.dims) != 2), None)
        if other is not None:
            shape = ", ".join(map(str, other.dims))
            group = f'group "*.weight" {{ optimizer = {use.span.text} }}'
            note = f"give the matrices to it in a group, `{group}`, and the rest to another"
            return f"it moves matrices only, and `{other.key}` is f32[{shape}]", (note,)
    moved = {weight.key for weight in mine}
    if use.name == "SparseAdam" and moved - sparse:
        key = next(weight.key for weight in mine if weight.key not in sparse)
        return f"it moves embeddings with `sparse=true` only, and the gradient of `{key}` is dense", ()
    if moved & sparse and use.name not in optimizers.SPARSE:
        key = next(weight.key for weight in mine if weight.key in sparse)
        listed = ", ".join(f"`{name}`" for name in sorted(optimizers.SPARSE))
        return f"the gradient of `{key}` is sparse, which only {listed} take", ()
    if moved & sparse and use.settings.get("fused"):
        return "what is fused takes no sparse gradients: leave `fused` out", ()
    if moved & sparse and use.settings.get("weight_decay"):
        return "weight decay and sparse gradients do not go together in torch", ()
    return None


def _sparse_keys(container: Container, prefix: str = "") -> list[str]:
    """The parameters whose gradients are sparse."""
    found: list[str] = []
    for name, child in container.children.items():
        if isinstance(child, Leaf):
            found += [f"{prefix}{name}.weight"] if child.settings.get("sparse") is True else []
        else:
            found += _sparse_keys(child, f"{prefix}{name}.")
    return found


def schedules(tables: Iterable[Table]) -> list[Any]:
    """The schedules that groups have of their own."""
    items = (item for table in tables for item in table.settings if isinstance(item, Setting))
    return [item.value for item in items if item.key == "schedule"]


def _selector_span(table: Table) -> Span:
    """What stands between `group` and its brace."""
    head = table.span.text.partition("{")[0].rstrip()
    selector = head.removeprefix(table.name).lstrip()
    end = table.span.start + len(head)
    return Span(table.span.source, end - len(selector), end)


def _name_span(table: Table) -> Span:
    return Span(table.span.source, table.span.start, table.span.start + len(table.name))
