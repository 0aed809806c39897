"""Learning rates step by step, against closed forms and against loops over torch's own schedules."""

import math
import random

import pytest
import torch
from fake_runs import SPAN, use

from expc.compiler.library.optimizers import optimizers
from expc.compiler.library.schedules import schedules
from expc.compiler.ops.declare import REQUIRED
from expc.compiler.program import GroupPlan, SchedulePart
from expc.runtime.optim import Schedules, make_optimizer
from expc.spec.values import Quantity, Watched

PER_EPOCH = 7
EPOCHS = 6
TOTAL = PER_EPOCH * EPOCHS
BASE = 0.4


def part(name, duration=None, **settings):
    return SchedulePart(use(schedules(), name, **settings), duration)


def descend(lr=BASE, cls=torch.optim.SGD, **settings):
    parameter = torch.nn.Parameter(torch.ones(1))
    parameter.grad = torch.zeros(1)
    return cls([parameter], lr=lr, **settings)


def rates(*parts, total=TOTAL, optimizer=None):
    """The learning rate of every step."""
    optimizer = optimizer or descend()
    chain = Schedules(parts, optimizer, PER_EPOCH, total)
    found = []
    for _ in range(total):
        found.append(optimizer.param_groups[0]["lr"])
        optimizer.step()
        chain.step()
        assert chain.rate == found[-1]
    return found


def of_torch(name, every, total=TOTAL, **settings):
    """The same by torch's schedule, moved on after each `every` steps."""
    optimizer = descend()
    schedule = getattr(torch.optim.lr_scheduler, name)(optimizer, **settings)
    found = []
    for step in range(1, total + 1):
        found.append(optimizer.param_groups[0]["lr"])
        optimizer.step()
        if step % every == 0:
            schedule.step()
    return found


def cosine(step, length, low=0.0):
    return low + (BASE - low) * (1 + math.cos(math.pi * step / length)) / 2


def test_without_a_schedule_the_rate_stays():
    assert rates() == [BASE] * TOTAL


def test_warm_up_then_cosine_has_no_jump_and_no_step_twice():
    found = rates(part("LinearLR", Quantity(10, "step"), start_factor=0.1), part("CosineAnnealingLR", eta_min=0.01))
    rise = [BASE * (0.1 + 0.9 * step / 10) for step in range(10)]
    fall = [cosine(step, TOTAL - 10, 0.01) for step in range(TOTAL - 10)]
    assert found == pytest.approx(rise + fall)
    assert found[10] == pytest.approx(BASE)


@pytest.mark.parametrize("inferred", [{}, {"T_max": None}, {"T_max": REQUIRED}])
def test_what_follows_from_the_length_may_be_none_or_absent(inferred):
    assert rates(part("CosineAnnealingLR", **inferred)) == pytest.approx([cosine(step, TOTAL) for step in range(TOTAL)])


@pytest.mark.parametrize(
    ("name", "settings"),
    [
        ("StepLR", {"step_size": 2, "gamma": 0.3}),
        ("MultiStepLR", {"milestones": [1, 4], "gamma": 0.3}),
        ("ExponentialLR", {"gamma": 0.8}),
    ],
)
def test_stairs_stepped_each_step_are_torchs_stepped_each_epoch(name, settings):
    assert rates(part(name, **settings)) == pytest.approx(of_torch(name, PER_EPOCH, **settings))


@pytest.mark.parametrize(
    ("name", "ours", "theirs"),
    [
        ("StepLR", {"step_size": Quantity(5, "step")}, {"step_size": 5}),
        ("MultiStepLR", {"milestones": [Quantity(3, "step"), 2]}, {"milestones": [3, 14]}),
        ("CosineAnnealingLR", {"T_max": 3}, {"T_max": 21}),
        ("CosineAnnealingWarmRestarts", {"T_0": 1, "T_mult": 2}, {"T_0": 7, "T_mult": 2}),
        ("LinearLR", {"start_factor": 0.2, "total_iters": 2}, {"start_factor": 0.2, "total_iters": 14}),
        ("PolynomialLR", {"power": 2.0}, {"power": 2.0, "total_iters": TOTAL}),
        ("ConstantLR", {"factor": 0.5}, {"factor": 0.5, "total_iters": TOTAL}),
        ("OneCycleLR", {"max_lr": 1.0}, {"max_lr": 1.0, "total_steps": TOTAL}),
        (
            "CyclicLR",
            {"base_lr": 0.1, "max_lr": 1.0, "step_size_up": Quantity(2, "epoch")},
            {"base_lr": 0.1, "max_lr": 1.0, "step_size_up": 14},
        ),
    ],
)
def test_lengths_are_epochs_unless_they_say_otherwise(name, ours, theirs):
    assert rates(part(name, **ours)) == pytest.approx(of_torch(name, 1, **theirs))


def test_each_part_starts_from_the_optimizers_own_settings():
    """OneCycleLR moves learning rate and momentum, and leaves both somewhere else."""
    optimizer = descend(momentum=0.7)
    found = rates(
        part("OneCycleLR", Quantity(2, "epoch"), max_lr=1.0),
        part("StepLR", Quantity(3, "epoch"), step_size=1, gamma=0.5),
        part("LinearLR", start_factor=0.5),
        optimizer=optimizer,
    )
    assert found[14::PER_EPOCH][:3] == pytest.approx([BASE, BASE / 2, BASE / 4])
    assert found[35:] == pytest.approx([BASE * (0.5 + 0.5 * step / 7) for step in range(7)])
    assert optimizer.param_groups[0]["momentum"] == 0.7


def test_a_run_shorter_than_its_warm_up():
    found = rates(part("LinearLR", Quantity(100, "step"), start_factor=0.1), part("CosineAnnealingLR"), total=20)
    assert found == pytest.approx([BASE * (0.1 + 0.9 * step / 100) for step in range(20)])


@pytest.mark.parametrize(("metric", "values"), [("val.loss", (3, 2, 2, 2, 2, 1)), ("val.accuracy", (1, 2, 2, 2, 2, 3))])
def test_plateau_goes_by_validations_and_the_metrics_direction(metric, values):
    optimizer = descend()
    plateau = part("ReduceLROnPlateau", metric=Watched(metric), factor=0.5, patience=1)
    chain = Schedules((plateau,), optimizer, PER_EPOCH, TOTAL, {"accuracy": True})
    found = []
    for value in values:
        for _ in range(PER_EPOCH):
            optimizer.step()
            chain.step()
        chain.validated({metric: float(value)})
        found.append(optimizer.param_groups[0]["lr"])
    assert found == pytest.approx([BASE, BASE, BASE, BASE / 2, BASE / 2, BASE / 2])


def test_every_group_keeps_its_share():
    model = torch.nn.Linear(2, 2)
    sgd = use(optimizers(), "SGD", lr=BASE)
    optimizer = make_optimizer(sgd, [GroupPlan("bias", ("bias",), {"lr": BASE / 4}, SPAN)], model)
    chain = Schedules((part("CosineAnnealingLR"),), optimizer, PER_EPOCH, TOTAL)
    for step in range(TOTAL):
        first, second = (group["lr"] for group in optimizer.param_groups)
        assert (first, second) == pytest.approx((cosine(step, TOTAL), cosine(step, TOTAL) / 4))
        optimizer.step()
        chain.step()


@pytest.mark.parametrize("name", schedules())
def test_no_schedule_warns_when_f16_skips_the_first_step(name):
    required = {"gamma": 0.5, "milestones": [1], "step_size": 1, "T_0": 1, "max_lr": 1.0, "base_lr": 0.1}
    settings = {p.name: required[p.name] for p in schedules()[name].settings if p.name in required}
    if name == "ReduceLROnPlateau":
        settings["metric"] = Watched("val.loss")
    chain = Schedules((part(name, **settings),), descend(momentum=0.9), PER_EPOCH, TOTAL)
    chain.step()
    chain.validated({"val.loss": 1.0})


# ------------------------------------------------------------------------------------------------ chains, all of them

CHAINED = {
    "StepLR": ({"step_size": 4, "gamma": 0.5}, {}),
    "MultiStepLR": ({"milestones": [2, 7, 9], "gamma": 0.5}, {}),
    "ExponentialLR": ({"gamma": 0.9}, {}),
    "ConstantLR": ({"factor": 0.25}, {"total_iters": None}),
    "LinearLR": ({"start_factor": 0.1, "end_factor": 0.8}, {"total_iters": None}),
    "PolynomialLR": ({"power": 1.5}, {"total_iters": None}),
    "CosineAnnealingLR": ({"eta_min": 0.01}, {"T_max": None}),
    "CosineAnnealingWarmRestarts": ({"T_0": 3, "T_mult": 2}, {}),
    "OneCycleLR": ({"max_lr": 1.0, "three_phase": True}, {"total_steps": None}),
    "CyclicLR": ({"base_lr": 0.1, "max_lr": 1.0, "step_size_up": 3, "mode": "triangular2"}, {}),
}
"""What is written of a schedule, and what follows from how long it lasts."""

FIRST, WHOLE = 11, 30


def made(name, optimizer, length):
    written, inferred = CHAINED[name]
    return getattr(torch.optim.lr_scheduler, name)(optimizer, **written, **dict.fromkeys(inferred, length))


def alone(name, length):
    """The rates of one of torch's schedules over an optimizer of its own."""
    optimizer = descend(momentum=0.9)
    schedule = made(name, optimizer, length)
    found = []
    for _ in range(length):
        found.append(optimizer.param_groups[0]["lr"])
        optimizer.step()
        if len(found) < length:
            schedule.step()
    return found


def in_sequence(first, second):
    """The rates of torch's `SequentialLR`."""
    optimizer = descend(momentum=0.9)
    parts = [made(first, optimizer, FIRST), made(second, optimizer, WHOLE - FIRST)]
    sequence = torch.optim.lr_scheduler.SequentialLR(optimizer, parts, [FIRST])
    found = []
    for _ in range(WHOLE):
        found.append(optimizer.param_groups[0]["lr"])
        optimizer.step()
        sequence.step()
    return found


@pytest.mark.parametrize("second", CHAINED)
@pytest.mark.parametrize("first", CHAINED)
@pytest.mark.parametrize("unit", ["step", "epoch"])
def test_every_chain_has_torchs_rates(first, second, unit):
    parts = [part(first, Quantity(FIRST, unit), **CHAINED[first][0]), part(second, **CHAINED[second][0])]
    optimizer = descend(momentum=0.9)
    chain = Schedules(parts, optimizer, 1, WHOLE)  # an epoch is a step, so that the two units are one
    found = []
    for _ in range(WHOLE):
        found.append(optimizer.param_groups[0]["lr"])
        optimizer.step()
        chain.step()
    assert found == pytest.approx(alone(first, FIRST) + alone(second, WHOLE - FIRST))
    if not {first, second} & {"OneCycleLR", "CyclicLR"}:  # which leave their own rates behind in torch's sequence
        assert found == pytest.approx(in_sequence(first, second))


def test_every_schedule_is_chained():
    assert CHAINED.keys() | {"ReduceLROnPlateau"} == schedules().keys()


@pytest.mark.parametrize("seed", range(12))
@pytest.mark.parametrize(("metric", "mode"), [("val.loss", "min"), ("train.loss", "min"), ("val.accuracy", "max")])
def test_plateau_is_torchs_on_any_metric(seed, metric, mode):
    draw = random.Random(seed)
    settings = {
        "factor": draw.choice([0.1, 0.5]),
        "patience": draw.randint(0, 3),
        "threshold": draw.choice([1e-4, 0.05]),
        "threshold_mode": draw.choice(["rel", "abs"]),
        "cooldown": draw.randint(0, 2),
        "min_lr": draw.choice([0, 0.05]),
        "eps": 1e-8,
    }
    ours, theirs = descend(), descend()
    chain = Schedules((part("ReduceLROnPlateau", metric=Watched(metric), **settings),), ours, 2, 60, {"accuracy": True})
    plateau = torch.optim.lr_scheduler.ReduceLROnPlateau(theirs, mode=mode, **settings)
    for _ in range(30):
        for _ in range(2):
            ours.step()
            chain.step()
        value = round(draw.random() + 0.1, 2)
        chain.validated({metric: value, "val.other": 0.0})
        plateau.step(value)
        assert ours.param_groups[0]["lr"] == theirs.param_groups[0]["lr"]
    assert ours.param_groups[0]["lr"] < BASE
