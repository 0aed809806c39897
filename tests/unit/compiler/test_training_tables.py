"""Optimizers, schedules and metrics agree with torch and torchmetrics in names, order and defaults."""

import inspect
from importlib import import_module

import pytest
import torch

from expc.compiler.dimensions import symbol
from expc.compiler.library.excluded.metrics import EXCLUDED as METRICS_LEFT_OUT
from expc.compiler.library.excluded.optimizers import EXCLUDED as OPTIMIZERS_LEFT_OUT
from expc.compiler.library.excluded.schedules import EXCLUDED as SCHEDULES_LEFT_OUT
from expc.compiler.library.metrics import TASKS, contradicted, metrics
from expc.compiler.library.optimizers import optimizers, settings_fault
from expc.compiler.library.schedules import EPOCHS, STEPS, schedules, settings_in_steps, steps_of
from expc.compiler.lower.torchvision import import_torchvision
from expc.compiler.ops.declare import REQUIRED
from expc.compiler.types import TensorType
from expc.spec.values import Quantity, Watched

COMPUTED_HOW = {"params", "capturable", "differentiable", "maximize"}
SCHEDULE_LEAVES_OUT = {"optimizer", "last_epoch", "epochs", "steps_per_epoch", "scale_fn", "scale_mode"}


def declared(entry):
    return {p.name: inspect.Parameter.empty if p.default is REQUIRED else p.default for p in entry.settings}


def of_torch(function, left_out):
    parameters = inspect.signature(function).parameters
    return {name: p.default for name, p in parameters.items() if name not in left_out and name != "self"}


@pytest.mark.parametrize("name", optimizers())
def test_optimizers_have_torchs_settings(name):
    theirs = of_torch(getattr(torch.optim, name), COMPUTED_HOW)
    ours = declared(optimizers()[name])
    assert list(ours.items()) == list(theirs.items())


@pytest.mark.parametrize("name", optimizers())
def test_optimizers_accept_their_own_defaults_and_refuse_text(name):
    entry = optimizers()[name]
    parameter = torch.nn.Parameter(torch.ones(2, 2))
    getattr(torch.optim, name)([parameter], **declared(entry))
    for param in entry.settings:
        assert param.kind.accepts(param.default)
        assert not param.kind.accepts("text")


@pytest.mark.parametrize("name", schedules())
def test_schedules_have_torchs_settings(name):
    entry = schedules()[name]
    theirs = of_torch(getattr(torch.optim.lr_scheduler, name), SCHEDULE_LEAVES_OUT)
    inferred = {param.name for param in entry.settings if param.inferred}
    ours = declared(entry)
    ours.pop("metric", None)
    assert list(ours) == list(theirs)
    assert {k: v for k, v in ours.items() if k not in inferred} == {
        k: v for k, v in theirs.items() if k not in inferred
    }
    assert entry.follows_length is None or entry.follows_length in inferred


@pytest.mark.parametrize(
    ("theirs", "ours", "excluded"),
    [
        (torch.optim.__all__, optimizers(), OPTIMIZERS_LEFT_OUT),
        (torch.optim.lr_scheduler.__all__, schedules(), SCHEDULES_LEFT_OUT),
    ],
)
def test_every_name_of_torch_is_in_the_table_or_left_out_for_a_reason(theirs, ours, excluded):
    assert sorted(theirs) == sorted([*ours, *excluded])
    assert all(reason.endswith(".") for reason in excluded.values())


def combinations(entry):
    """Each setting at values that are right alone: the default, and both ends of what is accepted."""
    base = declared(entry)
    values = (0, 0.5, 1, 1.5, True, (0.5, 1.0), (0, 2), (0.5, 0.5), (1.5, 2), (None, None), (1e-3, None))
    for param in entry.settings:
        for value in values:
            if param.kind.accepts(value):
                yield base | {param.name: value}


@pytest.mark.parametrize("name", optimizers())
def test_settings_that_torch_refuses_together_are_refused(name):
    for settings in combinations(optimizers()[name]):
        try:
            getattr(torch.optim, name)([torch.nn.Parameter(torch.ones(2, 2))], **settings)
        except (ValueError, TypeError):
            accepted = False
        else:
            accepted = True
        assert (settings_fault(name, settings) is None) == accepted, settings


def test_lengths_become_steps():
    assert steps_of(3, 10) == 30
    assert steps_of(3, 10, STEPS) == 3
    assert steps_of(Quantity(500, "step"), 10, EPOCHS) == 500
    assert steps_of(Quantity(0.25, "epoch"), 10, STEPS) == 2
    milestones = schedules()["MultiStepLR"]
    assert settings_in_steps(milestones, {"milestones": [1, Quantity(15, "step")], "gamma": 0.5}, 10) == {
        "milestones": [10, 15],
        "gamma": 0.5,
    }
    plateau = schedules()["ReduceLROnPlateau"]
    assert settings_in_steps(plateau, {"metric": Watched("val.loss"), "patience": 3}, 10)["patience"] == 3


@pytest.fixture(scope="module")
def torchmetrics():
    import_torchvision()  # which torchmetrics imports
    return import_module("torchmetrics")


N = symbol("N")
T = symbol("T")
SCORES = TensorType("f32", (N, 10))
CLASS = TensorType("i64", (N,), classes=10)


def test_metrics_are_all_there_with_torchmetrics_defaults(torchmetrics):
    from torchmetrics import classification, regression

    tasks = tuple(f"{task}{name}" for task in TASKS for name in classification.__all__)
    theirs = {name for name in classification.__all__ if name not in tasks} | set(regression.__all__)
    assert theirs | {"Perplexity"} == {*metrics(), *METRICS_LEFT_OUT}
    for name, entry in metrics().items():
        homes = (torchmetrics, classification, regression, torchmetrics.text)
        found = next(getattr(home, name) for home in homes if hasattr(home, name))
        is_wrapper = any(hasattr(classification, f"{task}{name}") for task in TASKS)
        defaults = of_torch(found.__new__ if is_wrapper else found.__init__, ())
        ours = declared(entry)
        assert ours == {key: defaults[key] for key in ours}, name


def test_what_follows_from_the_types_may_be_written_and_is_checked():
    completed = metrics()["Accuracy"].complete({}, SCORES, CLASS)
    assert contradicted({"task": "multiclass", "num_classes": 10}, completed) is None
    assert "and is 10" in contradicted({"num_classes": 9}, completed)
    assert "multiclass" in contradicted({"task": "binary"}, completed)
    assert "nothing of the kind" in contradicted({"num_labels": 3}, completed)


@pytest.mark.parametrize(
    ("name", "output", "target", "expected"),
    [
        ("Accuracy", SCORES, CLASS, "MulticlassAccuracy"),
        ("F1Score", TensorType("f32", (N, 10, T)), TensorType("i64", (N, T), classes=10), "MulticlassF1Score"),
        ("AUROC", SCORES, CLASS, "MulticlassAUROC"),
        ("Recall", TensorType("f32", (N,)), TensorType("f32", (N,)), "BinaryRecall"),
        ("AUROC", TensorType("f32", (N, 1)), TensorType("i64", (N,), classes=2), "BinaryAUROC"),
        ("R2Score", TensorType("f32", (N, 1)), TensorType("f32", (N, 1)), "R2Score"),
        ("MeanSquaredError", TensorType("f32", (N, 1)), TensorType("f32", (N,)), "MeanSquaredError"),
        ("MeanAbsoluteError", TensorType("f32", (N, 4)), TensorType("f32", (N, 4)), "MeanAbsoluteError"),
        ("Perplexity", TensorType("f32", (N, T, 65)), TensorType("i64", (N, T), classes=65), "Perplexity"),
    ],
)
def test_metrics_are_made_for_their_types(name, output, target, expected, torchmetrics):
    entry = metrics()[name]
    assert entry.accepts(output, target) is None
    path, arguments = entry.complete({p.name: p.default for p in entry.settings}, output, target)
    assert path.endswith(expected)
    module, _, class_name = path.rpartition(".")
    metric = getattr(import_module(f"{torchmetrics.__name__}.{module}"), class_name)
    assert metric(**arguments).higher_is_better in (entry.higher_is_better, None)


@pytest.mark.parametrize(
    ("name", "output", "target", "words"),
    [
        ("Accuracy", SCORES, TensorType("f32", (N,)), "must be a class"),
        ("Accuracy", TensorType("f32", (N, T, 65)), TensorType("i64", (N, T), classes=65), "second dimension"),
        ("Accuracy", TensorType("f32", (N, 1)), CLASS, "one score for 10 classes"),
        ("Accuracy", CLASS, CLASS, "scores"),
        ("MeanSquaredError", SCORES, CLASS, "floating-point"),
        ("MeanSquaredError", SCORES, TensorType("f32", (N, 9)), "shape of the target"),
        ("Perplexity", SCORES, CLASS, "vocabulary"),
    ],
)
def test_metrics_say_what_does_not_fit(name, output, target, words):
    assert words in (metrics()[name].accepts(output, target) or "")
