"""What the schedules of an experiment will do: the learning rate of every group at each step, without training.

torch's own schedules move optimizers over parameters of one number each, exactly as a run would.
"""

from collections.abc import Iterator
from dataclasses import replace
from typing import Final

import torch
from torch import nn

from expc.compiler.library import schedules
from expc.compiler.lower import lower
from expc.compiler.program import GroupPlan, Program, TrainPlan
from expc.frozen import dataclass
from expc.runtime.data.pipeline import open_pipeline
from expc.runtime.errors import RunError
from expc.runtime.optim import Moving, Schedules, make_optimizers
from expc.runtime.prepare import root_of
from expc.runtime.python_parameters import with_python

FINE: Final = 50
"""How many times a rate is looked at in an epoch, where nobody knows its steps and nothing depends on them."""


@dataclass(frozen=True)
class Line:
    """What groups with the same learning rates have in common. There is one number for each step of the run."""

    name: str
    rates: list[float]
    momenta: list[float]
    """The momentum, or the first of `betas`; empty where the optimizer has neither."""


@dataclass(frozen=True)
class Forecast:
    """The lines of a run, and what they do not know."""

    lines: list[Line]
    per_epoch: int | None
    """How many numbers an epoch has; none where nothing counts in epochs."""
    counts_steps: bool
    """Whether each number is an optimizer step; else `per_epoch` is made up, and does not matter."""
    watched: tuple[str, ...]
    """What schedules wait for: they are drawn as if it got better and better."""

    @property
    def unit(self) -> int | None:
        """How many numbers the axis counts as one: an epoch, of which a run has two or more; else none, for steps."""
        short = self.per_epoch is None or (self.counts_steps and len(self.lines[0].rates) < 2 * self.per_epoch)
        return None if short else self.per_epoch

    @property
    def axis(self) -> str:
        """What is counted along the run, in words."""
        if self.unit is None:
            return "steps"
        return f"epochs of {self.unit:,} steps" if self.counts_steps else "epochs"


def counted_steps(program: Program) -> int | None:
    """The steps of an epoch as the training data has them, where that can be opened; nothing is downloaded for it."""
    data, plan = program.experiment.data, program.data.get("train")
    if data is None or plan is None:
        return None
    settings = {**plan.dataset.settings, **({"download": False} if "download" in plan.dataset.settings else {})}
    plan = replace(plan, dataset=replace(plan.dataset, settings=settings))
    try:
        _, chosen = open_pipeline(plan, root_of(program), seed=0)
    except RunError:
        return None
    return len(chosen) // data.batch if data.drop_last else -(-len(chosen) // data.batch)


def forecast(program: Program, per_epoch: int | None) -> Forecast:
    """The learning rates of a whole run. `per_epoch` may be none where the file counts steps alone, or epochs alone.

    Raises `ProblemError` where Python code that the file names cannot be used.
    """
    counted = counted_in(program)
    counts_steps = per_epoch is not None or "step" in counted
    if not counts_steps:
        per_epoch = FINE
    assert program.model is not None  # noqa: S101 - the caller looked
    assert program.train is not None  # noqa: S101
    model = lower(program.model, device="meta")
    plan = with_python(program.train, program.model, model)
    _shrink(model)
    settings = program.experiment.train
    assert settings is not None  # noqa: S101 - there is a plan of it
    total = settings.steps or (settings.epochs or 0) * (per_epoch or 1)
    found: dict[tuple[tuple[float, ...], tuple[float, ...]], dict[str, None]] = {}
    watched: dict[str, None] = {}
    for moving in make_optimizers(plan, model):
        watched |= {str(part.use.settings["metric"]): None for part in moving.schedule if "metric" in part.use.settings}
        names = _names(moving, plan, model)
        for name, rates, momenta in zip(names, *_follow(moving, per_epoch or total, total), strict=True):
            found.setdefault((tuple(rates), tuple(momenta)), {})[name] = None
    lines = [Line(", ".join(names), list(rates), list(momenta)) for (rates, momenta), names in found.items()]
    return Forecast(lines, per_epoch, counts_steps, tuple(watched))


def counted_in(program: Program) -> frozenset[str]:
    """What the run and its schedules count: `step`, `epoch` or both."""
    plan, settings = program.train, program.experiment.train
    assert plan is not None  # noqa: S101 - the caller looked
    assert settings is not None  # noqa: S101
    chains = [plan.schedule, *(group.learning.get("schedule", ()) for group in plan.groups)]
    parts = [part for chain in chains for part in chain]
    found = {"epoch" if settings.epochs is not None else "step"}
    found |= {part.duration.unit for part in parts if part.duration is not None}
    return frozenset(found.union(*(schedules.counted_in(part.use) for part in parts)))


def _shrink(model: nn.Module) -> None:
    """Give every parameter one number, on the CPU, and its number of dimensions; what is tied stays so."""
    small: dict[nn.Parameter, nn.Parameter] = {}
    for module in model.modules():
        for name, parameter in module.named_parameters(recurse=False, remove_duplicate=False):
            if parameter not in small:
                one = torch.zeros([1] * parameter.ndim, dtype=parameter.dtype)
                small[parameter] = nn.Parameter(one, requires_grad=parameter.requires_grad)
            module._parameters[name] = small[parameter]  # noqa: SLF001 - `setattr` refuses some names of blocks


def _follow(moving: Moving, per_epoch: int, total: int) -> tuple[list[list[float]], list[list[float]]]:
    """The learning rates and the momenta of each group, step by step."""
    groups = moving.optimizer.param_groups
    chain = Schedules(moving.schedule, moving.optimizer, per_epoch, total)
    rates: list[list[float]] = [[] for _ in groups]
    momenta: list[list[float]] = [[] for _ in groups]
    for _ in range(total):
        for group, rate, momentum in zip(groups, rates, momenta, strict=True):
            rate.append(float(group["lr"]))
            if "momentum" in group or "betas" in group:
                momentum.append(float(group["momentum"] if "momentum" in group else group["betas"][0]))
        chain.step()
    return rates, momenta


def _names(moving: Moving, plan: TrainPlan, model: nn.Module) -> Iterator[str]:
    """What each group of an optimizer is called: by its class, and by the group of the file that gave it its rate."""
    named = dict(model.named_parameters(remove_duplicate=False))
    for group in moving.optimizer.param_groups:
        keys = {key for key, parameter in named.items() if parameter is group["params"][0]}
        own = [each for each in plan.groups if keys.intersection(each.keys) and _says_rate(each)]
        kind = next((each.optimizer.name for each in reversed(own) if each.optimizer is not None), None)
        kind = kind or (plan.optimizer.name if plan.optimizer is not None else type(moving.optimizer).__name__)
        yield f"{kind} {_written(own[-1])}" if own else kind


def _says_rate(group: GroupPlan) -> bool:
    return group.optimizer is not None or "lr" in group.settings or "schedule" in group.learning


def _written(group: GroupPlan) -> str:
    return f'"{group.selector}"' if group.is_glob else group.selector
