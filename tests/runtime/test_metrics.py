"""Metrics over uneven batches against the same number worked out over all samples at once."""

import math

import pytest
import torch
from fake_runs import SPAN
from torch import Tensor

from expc.compiler.dimensions import symbol
from expc.compiler.graph import Apply, Container
from expc.compiler.library.metrics import metrics
from expc.compiler.ops.declare import Operator
from expc.compiler.program import MetricPlan
from expc.compiler.types import TensorType
from expc.runtime.metrics import Means, Metrics, scores_of

N = symbol("N")
GENERATOR = torch.Generator().manual_seed(1)
LOGITS = torch.randn(50, 3, generator=GENERATOR)
CLASSES = torch.randint(3, (50,), generator=GENERATOR)
YES = torch.randint(2, (50,), generator=GENERATOR)
# All between 0 and 1, where torchmetrics would take them for probabilities.
SCORE = 0.9 * torch.rand(50, generator=GENERATOR)
NUMBER = torch.randn(50, 1, generator=GENERATOR)
GUESS = NUMBER + 0.3 * torch.randn(50, 1, generator=GENERATOR)


def measure(name, output, target, types, scores="logits", **settings):
    entry = metrics()[name]
    path, arguments = entry.complete({p.name: p.default for p in entry.settings} | settings, *types)
    plan = MetricPlan("m", path, arguments, "output", "target", True, SPAN)
    metric = Metrics([plan], torch.device("cpu"), scores)
    metric.update({"output": output, "target": target}, len(output))
    metric.reset()
    for start, end in ((0, 7), (7, 8), (8, 50)):
        metric.update({"output": output[start:end], "target": target[start:end]}, end - start)
    return metric.read()["m"]


def area_under_curve(scores: Tensor, positive: Tensor) -> float:
    """The share of pairs of a positive and a negative that are in the right order."""
    above = (scores[positive][:, None] > scores[~positive][None, :]).double()
    return above.mean().item()


MULTICLASS = (TensorType("f32", (N, 3)), TensorType("i64", (N,), classes=3))
BINARY = (TensorType("f32", (N,)), TensorType("f32", (N,)))
NUMBERS = (TensorType("f32", (N, 1)), TensorType("f32", (N, 1)))


def f1_of_class(c):
    said, true = LOGITS.argmax(1) == c, c == CLASSES
    return 2 * (said & true).sum().item() / (said.sum().item() + true.sum().item())


@pytest.mark.parametrize(
    ("found", "expected"),
    [
        (lambda: measure("Accuracy", LOGITS, CLASSES, MULTICLASS), (LOGITS.argmax(1) == CLASSES).double().mean()),
        (
            lambda: measure("Accuracy", LOGITS, CLASSES, MULTICLASS, top_k=2),
            (LOGITS.topk(2).indices == CLASSES[:, None]).any(1).double().mean(),
        ),
        (
            lambda: measure("F1Score", LOGITS, CLASSES, MULTICLASS, average="macro"),
            sum(map(f1_of_class, range(3))) / 3,
        ),
        (
            lambda: measure("AUROC", LOGITS, CLASSES, MULTICLASS),
            sum(area_under_curve(LOGITS.softmax(1)[:, c], c == CLASSES) for c in range(3)) / 3,
        ),
        (lambda: measure("Accuracy", SCORE - 0.3, YES.float(), BINARY), ((SCORE > 0.3) == YES).double().mean()),
        (lambda: measure("Accuracy", SCORE, YES.float(), BINARY), YES.double().mean()),
        (
            lambda: measure("Accuracy", SCORE, YES.float(), BINARY, scores="probabilities"),
            ((SCORE > 0.5) == YES).double().mean(),
        ),
        (
            lambda: measure(
                "AUROC", SCORE[:, None], YES, (TensorType("f32", (N, 1)), TensorType("i64", (N,), classes=2))
            ),
            area_under_curve(SCORE, YES.bool()),
        ),
        (lambda: measure("Recall", 9 * SCORE - 4, YES.float(), BINARY), (SCORE > 4 / 9)[YES.bool()].double().mean()),
        (lambda: measure("Precision", 9 * SCORE - 4, YES.float(), BINARY), YES[SCORE > 4 / 9].double().mean()),
        (lambda: measure("MeanSquaredError", GUESS, NUMBER, NUMBERS), (GUESS - NUMBER).square().mean()),
        (
            lambda: measure("MeanSquaredError", GUESS, NUMBER, NUMBERS, squared=False),
            (GUESS - NUMBER).square().mean().sqrt(),
        ),
        (
            lambda: measure("MeanAbsoluteError", GUESS, NUMBER[:, 0], (NUMBERS[0], TensorType("f32", (N,)))),
            (GUESS - NUMBER).abs().mean(),
        ),
        (
            lambda: measure("R2Score", GUESS, NUMBER, NUMBERS),
            1 - (GUESS - NUMBER).square().sum() / (NUMBER - NUMBER.mean()).square().sum(),
        ),
        (
            lambda: measure(
                "Perplexity",
                LOGITS.reshape(50, 1, 3),
                CLASSES[:, None],
                (TensorType("f32", (N, 1, 3)), TensorType("i64", (N, 1), classes=3)),
            ),
            torch.nn.functional.cross_entropy(LOGITS, CLASSES).exp(),
        ),
    ],
)
def test_a_metric_is_the_number_over_all_samples(found, expected):
    assert found() == pytest.approx(float(expected), rel=1e-5)


def test_means_weigh_samples_and_not_batches():
    means, rest = Means(), Means()
    means.add({"loss": torch.tensor(2.0)}, 3)
    rest.add({"loss": torch.tensor(10.0)}, 1)
    means.merge(rest)
    assert means.read() == {"loss": 4.0}
    rest.reset()
    assert rest.read() == {}
    rest.add({"loss": torch.tensor(math.nan)}, 1)
    assert math.isnan(rest.read()["loss"])


@pytest.mark.parametrize(
    ("operator", "scores"),
    [
        ("BCELoss", "probabilities"),
        ("binary_cross_entropy_with_logits", "logits"),
        ("CrossEntropyLoss", "logits"),
        ("MSELoss", None),
    ],
)
def test_the_loss_tells_what_outputs_are(operator, scores):
    declared = Operator(operator, "loss", "", (), (), lambda _: None, "")
    step = Apply(declared, None, {}, None, SPAN)
    inner = Container("Body", (), (), {}, (step,), None, {}, {}, {}, (), SPAN)
    outer = Container("Loss", (), (), {}, (), None, {"0": inner}, {}, {}, (), SPAN)
    assert scores_of([inner]) == scores_of([outer]) == scores
