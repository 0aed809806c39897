"""The learning-rate schedules of `torch.optim.lr_scheduler`: settings by torch's names, order and defaults.

Whole numbers that say how long are epochs, except where torch's own name says steps; quantities (`500 steps`) say their
unit. The runtime moves schedules on once per optimizer step, so a cosine falls smoothly within an epoch too. How long a
schedule lasts is said once, in the chain: the setting that repeats it (`T_max`, `total_iters`) is inferred, and is none
or absent in a `Use` unless it was written.
"""

from collections.abc import Mapping
from functools import cache
from types import MappingProxyType
from typing import Any, Final

from expc.compiler.ops.declare import REQUIRED, Kind, Param
from expc.compiler.ops.kinds import BOOL, POSITIVE, choice, number, optional
from expc.compiler.program import Schedule, Use
from expc.spec.values import Quantity, Watched

AMOUNT: Final = number(0)
SHARE: Final = number(0, 1)


def _is_length(value: Any) -> bool:
    if isinstance(value, Quantity):
        return value.unit in ("step", "epoch") and value.number > 0
    return POSITIVE.accepts(value)


EPOCHS: Final = Kind("a number of epochs, or a quantity such as `500 steps`", _is_length)
STEPS: Final = Kind("a number of steps, or a quantity such as `2 epochs`", _is_length)
MILESTONES: Final = Kind(
    "a list of epochs, or of quantities such as `500 steps`",
    lambda value: isinstance(value, list | tuple) and bool(value) and all(map(_is_length, value)),
)
WATCHED: Final = Kind("what to watch, such as `val.loss`", lambda value: isinstance(value, Watched))


def steps_of(value: Quantity | int, steps_per_epoch: int, kind: Kind = EPOCHS) -> int:
    """A length in optimizer steps; a bare number has the unit of `kind`. At least one step."""
    if isinstance(value, Quantity):
        steps = value.number * (1 if value.unit == "step" else steps_per_epoch)
    else:
        steps = value * (1 if kind is STEPS else steps_per_epoch)
    return max(1, round(steps))


def settings_in_steps(schedule: Schedule, settings: Mapping[str, Any], steps_per_epoch: int) -> dict[str, Any]:
    """`settings` with every length as a number of steps. What is none stays none."""
    kinds = {param.name: param.kind for param in schedule.settings}
    result: dict[str, Any] = {}
    for name, value in settings.items():
        kind = kinds[name]
        if value is None or value is REQUIRED or not (kind is MILESTONES or kind is EPOCHS or kind is STEPS):
            result[name] = value
        elif kind is MILESTONES:
            result[name] = [steps_of(item, steps_per_epoch) for item in value]
        else:
            result[name] = steps_of(value, steps_per_epoch, kind)
    return result


def counted_in(use: Use) -> frozenset[str]:
    """What a schedule counts: `step`, `epoch`, both or neither. What follows from its length counts as nothing."""
    declaration: Schedule = use.declaration
    found = {"epoch"} if declaration.stepped == "epoch" else set()
    kinds = {param.name: param.kind for param in declaration.settings}
    for name, value in use.settings.items():
        for length in value if kinds[name] is MILESTONES else (value,):
            if isinstance(length, Quantity):
                found.add(length.unit)
            elif isinstance(length, int) and (kinds[name] is EPOCHS or kinds[name] is MILESTONES):
                found.add("epoch")
            elif isinstance(length, int) and kinds[name] is STEPS:
                found.add("step")
    return frozenset(found)


def settings_fault(name: str, settings: Mapping[str, Any], optimizer: Mapping[str, Any] | None) -> str | None:
    """What torch refuses about settings that are right one by one; `optimizer` are the settings of the optimizer."""
    if name == "LinearLR" and settings["start_factor"] == 0:
        return "`start_factor` must be above 0: the learning rate is divided by it"
    if name == "ReduceLROnPlateau" and settings["factor"] >= 1:
        return "`factor` must be below 1, or the learning rate would not fall"
    if name == "OneCycleLR" and (settings["div_factor"] == 0 or settings["final_div_factor"] == 0):
        return "`div_factor` and `final_div_factor` must be above 0: learning rates are divided by them"
    if settings.get("cycle_momentum") and optimizer is not None and not {"momentum", "betas"} & optimizer.keys():
        return "the optimizer has no momentum that it could move: write `cycle_momentum=false`"
    return None


@cache
def schedules() -> Mapping[str, Schedule]:
    """Every schedule by its name."""
    declared = (*_stairs(), *_ramps(), *_waves(), _plateau())
    return MappingProxyType({schedule.name: schedule for schedule in declared})


def _gamma(default: Any = REQUIRED) -> Param:
    return Param("gamma", AMOUNT, default, "factor by which the learning rate is multiplied")


def _total_iters(default: Any = None) -> Param:
    return Param("total_iters", EPOCHS, default, "how long it lasts; follows from the chain", inferred=True)


def _eta_min() -> Param:
    return Param("eta_min", AMOUNT, 0.0, "the learning rate at the lowest point")


def _stairs() -> tuple[Schedule, ...]:
    return (
        Schedule(
            "StepLR",
            "Multiplies the learning rate by `gamma` every `step_size` epochs.",
            (Param("step_size", EPOCHS, doc="time between two changes"), _gamma(0.1)),
            "StepLR(30, gamma=0.1)",
        ),
        Schedule(
            "MultiStepLR",
            "Multiplies the learning rate by `gamma` at each milestone.",
            (Param("milestones", MILESTONES, doc="when it changes, from the start of this schedule"), _gamma(0.1)),
            "MultiStepLR([30, 80])",
        ),
        Schedule(
            "ExponentialLR",
            "Multiplies the learning rate by `gamma` after every epoch.",
            (_gamma(),),
            "ExponentialLR(0.95)",
            stepped="epoch",
        ),
        Schedule(
            "ConstantLR",
            "Multiplies the learning rate by `factor` while it lasts.",
            (Param("factor", SHARE, 1.0 / 3, "what the learning rate is multiplied by"), _total_iters()),
            "ConstantLR(0.1) for 2 epochs -> CosineAnnealingLR",
            "total_iters",
        ),
    )


def _ramps() -> tuple[Schedule, ...]:
    return (
        Schedule(
            "LinearLR",
            "Goes from one multiple of the learning rate to another, in a straight line: a warm-up.",
            (
                Param("start_factor", SHARE, 1.0 / 3, "the multiple at the start; above 0"),
                Param("end_factor", SHARE, 1.0, "the multiple at the end"),
                _total_iters(),
            ),
            "LinearLR(start_factor=0.1) for 500 steps -> CosineAnnealingLR",
            "total_iters",
        ),
        Schedule(
            "PolynomialLR",
            "Falls to zero as a power of the time that is left.",
            # Required, as `T_max` is: so `PolynomialLR(10)`, pasted from Python, is an error and never a power of 10.
            (_total_iters(REQUIRED), Param("power", AMOUNT, 1.0, "1 for a straight line")),
            "PolynomialLR(power=2.0)",
            "total_iters",
        ),
        Schedule(
            "CosineAnnealingLR",
            "Falls from the learning rate to `eta_min` along half a cosine.",
            (Param("T_max", EPOCHS, doc="how long it lasts; follows from the chain", inferred=True), _eta_min()),
            "CosineAnnealingLR(eta_min=1e-5)",
            "T_max",
        ),
    )


def _momentum_cycle(base: float, top: float) -> tuple[Param, ...]:
    return (
        Param("cycle_momentum", BOOL, True, "move the momentum, or the first beta, against the learning rate"),
        Param("base_momentum", SHARE, base, "the lowest momentum"),
        Param("max_momentum", SHARE, top, "the highest momentum"),
    )


def _waves() -> tuple[Schedule, ...]:
    return (
        Schedule(
            "CosineAnnealingWarmRestarts",
            "Falls along half a cosine, starts again, and takes `T_mult` times as long each time.",
            (
                Param("T_0", EPOCHS, doc="how long the first fall lasts"),
                Param("T_mult", POSITIVE, 1, "factor by which each fall is longer than the one before"),
                _eta_min(),
            ),
            "CosineAnnealingWarmRestarts(10, T_mult=2)",
        ),
        Schedule(
            "OneCycleLR",
            "Rises to `max_lr` and falls far below the start. The optimizer's own learning rate is not used.",
            (
                Param("max_lr", AMOUNT, doc="the highest learning rate"),
                Param("total_steps", STEPS, None, "how long it lasts; follows from the chain", inferred=True),
                Param("pct_start", SHARE, 0.3, "the share of the time that rises"),
                Param("anneal_strategy", choice("cos", "linear"), "cos", "how it rises and falls"),
                *_momentum_cycle(0.85, 0.95),
                Param("div_factor", AMOUNT, 25.0, "`max_lr` divided by the first learning rate"),
                Param("final_div_factor", AMOUNT, 1e4, "the first learning rate divided by the last"),
                Param("three_phase", BOOL, False, "fall as long as it rose, then further"),
            ),
            "OneCycleLR(0.1)",
            "total_steps",
        ),
        Schedule(
            "CyclicLR",
            "Goes up and down between two learning rates. The optimizer's own learning rate is not used.",
            (
                Param("base_lr", AMOUNT, doc="the lowest learning rate"),
                Param("max_lr", AMOUNT, doc="the highest learning rate"),
                Param("step_size_up", STEPS, 2000, "how long it rises"),
                Param("step_size_down", optional(STEPS), None, "how long it falls; none for as long as it rises"),
                Param("mode", choice("triangular", "triangular2", "exp_range"), "triangular", "how cycles shrink"),
                Param("gamma", AMOUNT, 1.0, "factor per step in `exp_range`"),
                *_momentum_cycle(0.8, 0.9),
            ),
            "CyclicLR(1e-4, 1e-2)",
        ),
    )


def _plateau() -> Schedule:
    return Schedule(
        "ReduceLROnPlateau",
        "Multiplies the learning rate by `factor` when what is watched has stopped getting better.",
        (
            Param("metric", WATCHED, doc="what is watched after each validation"),
            Param(
                "mode",
                choice("min", "max"),
                None,
                "which is better; follows from the metric",
                inferred=True,
            ),
            Param("factor", SHARE, 0.1, "what the learning rate is multiplied by; below 1"),
            Param("patience", Kind("a number of validations", lambda value: isinstance(value, int)), 10),
            Param("threshold", AMOUNT, 1e-4, "how much better counts as better"),
            Param("threshold_mode", choice("rel", "abs"), "rel", "whether `threshold` is a share or a difference"),
            Param("cooldown", Kind("a number of validations", lambda value: isinstance(value, int)), 0),
            Param("min_lr", AMOUNT, 0, "the learning rate never falls below it"),
            Param("eps", AMOUNT, 1e-8, "smaller changes are not made"),
        ),
        "ReduceLROnPlateau(val.loss, factor=0.5)",
        stepped="validation",
    )
