"""Optimizers, schedules and metrics agree with torch and torchmetrics in names, order and defaults."""

import inspect
from importlib import import_module

import pytest
import torch

from expc.compiler.dimensions import symbol
from expc.compiler.metrics import metrics
from expc.compiler.ops.declare import REQUIRED
from expc.compiler.optimizers import optimizers
from expc.compiler.schedules import EPOCHS, STEPS, schedules, settings_in_steps, steps_of
from expc.compiler.types import TensorType
from expc.runtime.torchvision_compat import import_torchvision
from expc.spec.values import Quantity, Watched

COMPUTED_HOW = {"params", "foreach", "fused", "capturable", "differentiable", "maximize"}
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


def test_every_schedule_of_torch_without_python_code_is_there():
    written_otherwise = {"LRScheduler", "LambdaLR", "MultiplicativeLR", "SequentialLR", "ChainedScheduler"}
    assert set(torch.optim.lr_scheduler.__all__) - written_otherwise == set(schedules())


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


@pytest.mark.parametrize("name", ["Accuracy", "Precision", "Recall", "F1Score", "AUROC"])
def test_classification_metrics_have_torchmetrics_defaults(name, torchmetrics):
    theirs = {k: p.default for k, p in inspect.signature(getattr(torchmetrics, name).__new__).parameters.items()}
    assert {p.name: p.default for p in metrics()[name].settings} == {
        p.name: theirs[p.name] for p in metrics()[name].settings
    }


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
