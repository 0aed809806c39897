"""The optimizer with its parameter groups, and the chain of schedules that moves their learning rates."""

from collections.abc import Collection, Mapping, Sequence
from typing import Any, Final

import torch
from torch import nn
from torch.optim import LBFGS, Optimizer
from torch.optim.lr_scheduler import LRScheduler

from expc.compiler.library.schedules import settings_in_steps, steps_of
from expc.compiler.ops.declare import REQUIRED
from expc.compiler.program import GroupPlan, SchedulePart, TrainPlan, Use
from expc.frozen import dataclass
from expc.runtime.externs import extern_optimizer, extern_schedule
from expc.runtime.fused import chosen as chosen_way
from expc.runtime.fused import let_some_come_later


@dataclass(frozen=True, eq=False)
class Moving:
    """An optimizer, and the schedule of its learning rates."""

    optimizer: Optimizer
    schedule: Sequence[SchedulePart]


def make_optimizers(plan: TrainPlan, model: nn.Module) -> tuple[Moving, ...]:
    """The optimizers over all parameters that learn: that of `train` first, then those of groups.

    torch's schedules move every rate of an optimizer, so the parameters of a group with a schedule of its own have an
    optimizer to themselves: of one kind with the same settings, it does to each parameter what one over all would.
    """
    frozen = plan.freeze.keys if plan.freeze is not None and plan.freeze.duration is None else ()
    named = dict(model.named_parameters(remove_duplicate=False))
    still = {named[key] for key in frozen if key in named}
    kinds: dict[nn.Parameter, tuple[Use | None, int | None]] = {
        parameter: (plan.optimizer, None)
        for parameter in named.values()
        if parameter.requires_grad and parameter not in still
    }
    for place, group in enumerate(plan.groups):
        for parameter in (named[key] for key in group.keys if named[key] in kinds):
            use, scheduled = kinds[parameter]
            kinds[parameter] = group.optimizer or use, place if "schedule" in group.learning else scheduled
    wanted = dict.fromkeys([(plan.optimizer, None), *kinds.values()])
    return tuple(
        Moving(
            make_optimizer(use, plan.groups, model, [parameter for parameter, mine in kinds.items() if mine == kind]),
            plan.schedule if place is None else plan.groups[place].learning["schedule"],
        )
        for kind in wanted
        for use, place in (kind,)
        if use is not None and kind in kinds.values()
    )


def make_optimizer(
    use: Use, groups: Sequence[GroupPlan], model: nn.Module, only: Collection[nn.Parameter] | None = None
) -> Optimizer:
    """An optimizer over the parameters `only`, or over all that learn.

    A parameter that several groups match takes each setting from the last of them that says it. Parameters with the
    same settings share a group of the optimizer; those that no group changes come first, and their learning rate is the
    one that is logged.
    """
    chosen = None if only is None else set(only)
    parameters = {
        key: p
        for key, p in model.named_parameters(remove_duplicate=False)
        if p.requires_grad and (chosen is None or p in chosen)
    }
    changes: dict[nn.Parameter, dict[str, Any]] = {parameter: {} for parameter in parameters.values()}
    for group in groups:
        for key in group.keys:
            if key in parameters:
                changes[parameters[key]].update(_tupled(group.settings))
    members: dict[tuple[tuple[str, Any], ...], list[nn.Parameter]] = {(): []}
    for parameter, settings in changes.items():
        members.setdefault(tuple(sorted(settings.items())), []).append(parameter)
    param_groups = [{"params": listed, **dict(settings)} for settings, listed in members.items() if listed]
    if use.declaration.python is not None:
        return extern_optimizer(use.declaration.python, param_groups, use.settings)
    kind = getattr(torch.optim, use.name)
    settings = _tupled(use.settings)
    optimizer = kind(param_groups, **settings | chosen_way(kind, settings, changes, model))
    assert isinstance(optimizer, Optimizer)  # noqa: S101 - the table names optimizers only
    let_some_come_later(optimizer)
    return optimizer


def _tupled(settings: Mapping[str, Any]) -> dict[str, Any]:
    return {name: tuple(value) if isinstance(value, list) else value for name, value in settings.items()}


def rate_names(optimizers: Sequence[Optimizer], model: nn.Module, groups: Sequence[GroupPlan]) -> tuple[str, ...]:
    """What the learning rate of each group of each optimizer is logged as.

    `lr` for the first; then `lr/SELECTOR`, after the groups of the file that its parameters are in, and else by number.
    """
    keys = {parameter: key for key, parameter in model.named_parameters()}
    names: list[str] = []
    for group in (group for optimizer in optimizers for group in optimizer.param_groups):
        mine = [keys.get(parameter) for parameter in group["params"][:1]]
        name = "/".join(["lr", *(each.selector for each in groups if mine and mine[0] in each.keys)])
        names.append("lr" if not names else f"lr/{len(names)}" if name in (*names, "lr") else name)
    return tuple(names)


class Schedules:
    """A chain of torch's schedules, moved on once after each optimizer step.

    Each part is made when its time comes, and starts from the optimizer's own learning rates, as the parts of torch's
    `SequentialLR` do. What repeats its length (`T_max`, `total_iters`) is filled in.
    """

    def __init__(
        self,
        parts: Sequence[SchedulePart],
        optimizer: Optimizer,
        steps_per_epoch: int,
        total_steps: int,
        higher_is_better: Mapping[str, bool] | None = None,
    ) -> None:
        self._parts: Final = parts
        self._optimizer: Final = optimizer
        self._steps_per_epoch: Final = steps_per_epoch
        self._higher_is_better: Final = higher_is_better or {}
        self._base: Final = [dict(group) for group in optimizer.param_groups]
        self._lengths: Final = _lengths(parts, steps_per_epoch, total_steps)
        self._part = 0
        self._done = 0
        """Steps taken in the present part."""
        self._current = self._start() if parts else None
        # A step without gradients moves nothing. It tells torch that the optimizer goes first even if f16 skips its
        # first step; torch would warn otherwise.
        optimizer.zero_grad()
        if isinstance(optimizer, LBFGS):
            optimizer.step(lambda: torch.zeros(()))  # type: ignore[no-untyped-call]
        else:
            optimizer.step()

        self.rate = float(optimizer.param_groups[0]["lr"])
        """The learning rate of the first group in the last step, or in the first one before any is taken."""
        self.rates = [float(group["lr"]) for group in optimizer.param_groups]
        """Those of all groups."""

    def step(self) -> None:
        """Set the learning rates for the next step. Call it after the optimizer's."""
        self.rates = [float(group["lr"]) for group in self._optimizer.param_groups]
        self.rate = self.rates[0]
        if self._current is None:
            return
        self._done += 1
        if self._done >= self._lengths[self._part] and self._part + 1 < len(self._parts):
            self._part, self._done = self._part + 1, 0
            self._current = self._start()
            return
        stepped = self._parts[self._part].use.declaration.stepped
        if stepped == "step" or (stepped == "epoch" and self._done % self._steps_per_epoch == 0):
            self._current.step()

    def validated(self, values: Mapping[str, float]) -> None:
        """Take in what a validation measured, for a schedule that watches it."""
        use = self._parts[self._part].use if self._parts else None
        if use is not None and use.declaration.stepped == "validation":
            self._current.step(values[use.settings["metric"].name])  # type: ignore[union-attr, arg-type]

    def state(self) -> dict[str, Any]:
        """What a checkpoint must hold, as plain values."""
        current = {} if self._current is None else self._current.state_dict()
        plain = {name: value for name, value in current.items() if isinstance(value, _PLAIN)}
        return {"part": self._part, "done": self._done, "rates": self.rates, "current": plain}

    def restore(self, state: Mapping[str, Any]) -> None:
        """Go on from what a checkpoint held. The settings of the optimizer's groups are to be restored after this."""
        self._part, self._done = state["part"], state["done"]
        self.rates = list(state["rates"])
        self.rate = self.rates[0]
        if self._current is not None:
            self._current = self._start()
            own = self._current.state_dict()
            known = {name: value for name, value in state["current"].items() if isinstance(own[name], _PLAIN)}
            self._current.load_state_dict({**own, **known})

    def _start(self) -> LRScheduler:
        """The schedule of the present part, over the optimizer as it was before any schedule changed it."""
        for group, base in zip(self._optimizer.param_groups, self._base, strict=True):
            # What earlier parts added goes too: each of torch's schedules keeps its own `initial_lr` there.
            group.clear()
            group.update(base)
        use = self._parts[self._part].use
        if use.declaration.python is not None:
            return extern_schedule(use.declaration.python, self._optimizer, use.settings)
        settings = settings_in_steps(use.declaration, use.settings, self._steps_per_epoch)
        follows = use.declaration.follows_length
        if follows is not None and settings.get(follows) in (None, REQUIRED):
            settings[follows] = self._lengths[self._part]
        watched = settings.pop("metric", None)
        if watched is not None and settings.get("mode") is None:
            settings["mode"] = "max" if self._higher_is_better.get(watched.name.rpartition(".")[2]) else "min"
        schedule = getattr(torch.optim.lr_scheduler, use.name)(self._optimizer, **settings)
        assert isinstance(schedule, LRScheduler)  # noqa: S101 - the table names schedules only
        return schedule


class Chains:
    """The chains of schedules of several optimizers, one each."""

    def __init__(self, chains: Sequence[Schedules]) -> None:
        self._chains: Final = chains

    @property
    def rate(self) -> float:
        """The learning rate of the first optimizer's first group in the last step."""
        return self._chains[0].rate

    @property
    def rates(self) -> list[float]:
        """Those of all groups of all optimizers."""
        return [rate for chain in self._chains for rate in chain.rates]

    def step(self) -> None:
        """Set the learning rates for the next step."""
        for chain in self._chains:
            chain.step()

    def validated(self, values: Mapping[str, float]) -> None:
        """Take in what a validation measured."""
        for chain in self._chains:
            chain.validated(values)

    def state(self) -> dict[str, Any]:
        """What a checkpoint must hold."""
        return {"chains": [chain.state() for chain in self._chains]}

    def restore(self, state: Mapping[str, Any]) -> None:
        """Go on from what a checkpoint held."""
        for chain, saved in zip(self._chains, state["chains"], strict=True):
            chain.restore(saved)


_PLAIN: Final = (int, float, str, list, type(None))


def schedules_of(plan: TrainPlan) -> list[SchedulePart]:
    """The parts of every chain."""
    return [*plan.schedule, *(part for group in plan.groups for part in group.learning.get("schedule") or ())]


def follows_length(part: SchedulePart) -> bool:
    """Whether a part of a chain depends on how long the run is."""
    follows = part.use.declaration.follows_length
    return part.duration is None and follows is not None and part.use.settings.get(follows) in (None, REQUIRED)


def _lengths(parts: Sequence[SchedulePart], steps_per_epoch: int, total_steps: int) -> list[int]:
    """How many steps each part lasts; what has no duration lasts to the end of the run."""
    lengths: list[int] = []
    for part in parts:
        rest = max(1, total_steps - sum(lengths))
        lengths.append(rest if part.duration is None else steps_of(part.duration, steps_per_epoch))
    return lengths
