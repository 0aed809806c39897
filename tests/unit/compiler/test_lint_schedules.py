"""What the rules say of schedules and optimizers is what torch does with them."""

import math
from typing import Any

import pytest
import torch
from torch.optim import lr_scheduler

from expc.compiler.library.datasets import datasets
from expc.compiler.library.optimizers import optimizers
from expc.compiler.library.schedules import EPOCHS, MILESTONES, STEPS, schedules
from expc.compiler.library.transforms import transforms
from expc.compiler.lints import _OPTIMIZERS, _RANDOM, _RULES, _SETTLED
from expc.compiler.lints.batchnorm_batch_of_one import _parts
from expc.compiler.lints.implausible_lr import HIGHEST
from expc.compiler.lints.unshuffled_class_split import SORTED
from expc.compiler.ops.table import operators
from expc.compiler.program import Watch
from expc.compiler.session import check_text
from expc.diagnostics import Source, Span
from expc.runtime.watch import Watcher


def codes(
    length: str, *lines: str, overrides: tuple[str, ...] = (), model: str = "", lints: frozenset[str] = frozenset()
) -> list[str]:
    text = f"""
data {{ train, val = FakeData(200, image_size=[1, 4, 4]) -> split(0.5) -> ToTensor, batch = 10 }}
model Net(x: f32[N, 1, 4, 4]) -> f32[N, 10] {{ {model} Flatten -> Linear(10) }}
train {{ {length}, loss = CrossEntropyLoss
{chr(10).join(lines)}
}}
"""
    return [problem.code for problem in check_text(text, overrides=overrides, lints=lints).problems]


def rates(steps: int, make: Any) -> list[float]:
    """The learning rate of each step. Raises what torch raises."""
    optimizer = torch.optim.SGD([torch.nn.Parameter(torch.zeros(1))], lr=1.0)
    schedule = make(optimizer)
    found = []
    for _ in range(steps):
        found.append(optimizer.param_groups[0]["lr"])
        optimizer.step()
        schedule.step()
    return found


SGD = "optimizer = SGD(momentum=0.9)"


@pytest.mark.parametrize(("steps", "total"), [(9, 10), (10, 10), (11, 10), (30, 10), (7, 6), (6, 7)])
def test_one_cycle_is_refused_where_torch_stops(steps: int, total: int) -> None:
    found = codes(f"steps = {steps}", SGD, f"schedule = OneCycleLR(0.1, total_steps={total})")
    try:
        rates(steps, lambda optimizer: lr_scheduler.OneCycleLR(optimizer, 0.1, total, cycle_momentum=False))
    except ValueError:
        assert found == ["E0530"]
    else:
        assert "E0530" not in found


@pytest.mark.parametrize("milestone", [1, 9, 10, 11, 50])
@pytest.mark.parametrize("name", ["MultiStepLR", "StepLR"])
def test_a_milestone_out_of_range_is_one_that_changes_no_step(name: str, milestone: int) -> None:
    value = [milestone] if name == "MultiStepLR" else milestone
    found = codes(
        "steps = 10",
        SGD,
        f"schedule = {name}({str(value).replace(']', ' steps]') if name == 'MultiStepLR' else f'{value} steps'})",
    )
    seen = rates(10, lambda optimizer: getattr(lr_scheduler, name)(optimizer, value))
    assert found == ([] if len(set(seen)) > 1 else ["W0512"])


@pytest.mark.parametrize("length", [5, 10, 20])
def test_a_cosine_is_told_where_it_ends_elsewhere_than_at_its_lowest(length: int) -> None:
    found = codes("steps = 10", SGD, f"schedule = CosineAnnealingLR(T_max={length} steps)")
    *_, last = rates(11, lambda optimizer: lr_scheduler.CosineAnnealingLR(optimizer, length))
    assert found == ([] if math.isclose(last, 0, abs_tol=1e-9) else ["W0510"])


@pytest.mark.parametrize("length", [5, 10, 20])
def test_a_warm_up_is_refused_where_it_never_gets_to_the_whole_rate(length: int) -> None:
    found = codes("steps = 10", SGD, f"schedule = LinearLR(0.1, total_iters={length} steps)")
    *_, last = rates(11, lambda optimizer: lr_scheduler.LinearLR(optimizer, 0.1, total_iters=length))
    assert found == ([] if math.isclose(last, 1) else ["E0531"])


@pytest.mark.parametrize("patience", range(5, 11))
def test_a_plateau_is_told_where_torch_never_changes_a_rate_that_is_used(patience: int) -> None:
    found = codes("epochs = 10", SGD, f"schedule = ReduceLROnPlateau(val.loss, patience={patience})")

    def make(optimizer: torch.optim.Optimizer) -> Any:
        schedule = lr_scheduler.ReduceLROnPlateau(optimizer, patience=patience)
        step = schedule.step
        schedule.step = lambda: step(1.0)  # type: ignore[method-assign, assignment, misc]
        return schedule

    assert found == ([] if len(set(rates(10, make))) > 1 else ["W0514"])


@pytest.mark.parametrize("patience", range(5, 11))
def test_an_early_stop_is_told_where_it_saves_no_epoch(patience: int) -> None:
    found = codes("epochs = 10", SGD, f"early_stop = min(val.loss, patience={patience})")
    watcher = Watcher(Watch("val.loss", "min", {"patience": patience}, Span(Source("", ""), 0, 0)))
    stopped = next(
        (e for e in range(1, 11) if not watcher.improved({"val.loss": 1.0}, e) and watcher.lost_patience), 10
    )
    assert found == ([] if stopped < 10 else ["W0514"])


@pytest.mark.parametrize("eps", [1e-8, 2e-8, 1e-7, 1e-4])
@pytest.mark.parametrize("name", ["Adam", "AdamW", "Adamax", "NAdam", "RMSprop", "Adagrad", "SGD"])
def test_eps_is_refused_where_torch_divides_by_nothing(name: str, eps: float) -> None:
    setting = {} if name == "SGD" else {"eps": eps}
    weight = torch.nn.Parameter(torch.ones(2, dtype=torch.float16))
    optimizer = getattr(torch.optim, name)([weight], lr=1e-3, **setting)
    weight.grad = torch.tensor([0.0, 1e-5], dtype=torch.float16)
    optimizer.step()
    written = "".join(f", {key}={value}" for key, value in setting.items())
    model = "param scale: f16[] = 1.0; flow * scale;"
    found = codes("steps = 10", f"optimizer = {name}(lr=1e-3{written})", model=model)
    assert found == ([] if bool(weight.isfinite().all()) else ["E0532"])


def test_a_batch_has_the_parts_that_torch_makes() -> None:
    for samples in range(1, 40):
        for parts in range(1, 9):
            assert _parts(samples, parts) == [len(part) for part in torch.arange(samples).chunk(parts)]


def test_what_a_command_sets_counts() -> None:
    lines = SGD, "schedule = CosineAnnealingLR(T_max=10)"
    assert codes("epochs = 10", *lines) == []
    assert codes("epochs = 10", *lines, overrides=("train.epochs=20",)) == ["W0510"]
    assert codes("epochs = 10", *lines, overrides=("train.accumulate=2", "data.drop_last=true")) == []
    assert codes("epochs = 10", SGD, overrides=("data.shuffle=false",)) == ["W0402"]


def test_rules_are_imported_for_the_files_that_they_are_about() -> None:
    assert set(_RANDOM) == {name for name, transform in transforms().items() if transform.random}
    assert set(_OPTIMIZERS) == set(optimizers()) == set(HIGHEST)
    timed = [
        s.name
        for s in schedules().values()
        if {id(p.kind) for p in s.settings} & {*map(id, (EPOCHS, STEPS, MILESTONES))}
    ]
    assert set(_SETTLED) == set(timed) - {"ConstantLR"}
    assert set(datasets()) >= SORTED
    statistics = {name for name, operator in operators().items() if operator.batch_statistics}
    assert set(_RULES["batchnorm_batch_of_one"]) >= statistics
    assert all(about for name, about in _RULES.items() if name in ("augmented_validation", "t_max_mismatch"))


@pytest.mark.parametrize(
    ("lines", "told"),
    [
        (("optimizer = AdamW",), True),
        (("optimizer = SGD(weight_decay=1e-4)", 'group "*.weight" { weight_decay = 0 }'), True),
        (("optimizer = AdamW", 'group "*.bias" { weight_decay = 0 }'), False),
        (("optimizer = AdamW", 'group "*.bias" { optimizer = SGD }'), False),
        (("optimizer = AdamW", 'freeze = ["*.bias"]'), False),
        (("optimizer = AdamW(weight_decay=0)",), False),
        (("optimizer = SGD",), False),
    ],
)
def test_decayed_biases_are_told_where_that_is_asked_for(lines: tuple[str, ...], told: bool) -> None:
    assert codes("epochs = 1", *lines) == []
    assert codes("epochs = 1", *lines, lints=frozenset({"decayed-norm-and-bias"})) == ["W0516"] * told
