"""Metrics over uneven batches against the same number worked out over all samples at once."""

import math
import warnings
from importlib import import_module

import pytest
import torch
from fake_runs import SPAN
from torch import Tensor

from expc.compiler.dimensions import symbol
from expc.compiler.graph import Apply, Container
from expc.compiler.library.metrics import contradicted, metrics
from expc.compiler.ops.declare import Operator
from expc.compiler.program import MetricPlan
from expc.compiler.types import TensorType
from expc.runtime.means import Means
from expc.runtime.metrics import Metrics, scores_of

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


T = symbol("T")
ROW = TensorType("f32", (N,))
CASES = {
    "several classes": (TensorType("f32", (N, 10)), TensorType("i64", (N,), classes=10)),
    "classes of positions": (TensorType("f32", (N, 10, T)), TensorType("i64", (N, T), classes=10)),
    "tokens": (TensorType("f32", (N, T, 10)), TensorType("i64", (N, T), classes=10)),
    "yes or no, or numbers": (ROW, ROW),
    "one column": (TensorType("f32", (N, 1)), TensorType("f32", (N, 1))),
    "a column and a row": (TensorType("f32", (N, 1)), ROW),
    "yes or no of class(2)": (ROW, TensorType("i64", (N,), classes=2)),
    "labels, or rows of numbers": (TensorType("f32", (N, 5)), TensorType("f32", (N, 5))),
    "images": (TensorType("f32", (N, 1, 4, 6)), TensorType("f32", (N, 1, 4, 6))),
    "guesses": (TensorType("f32", (N, 5)), ROW),
}


def by_torchmetrics(path, arguments, output, target):
    """The class itself, over all samples at once; probabilities and shapes made here."""
    module, _, name = path.rpartition(".")
    if name.startswith(("Binary", "Multilabel")):
        output, target = output.sigmoid().reshape(target.shape), target.long()
    elif name.startswith("Multiclass"):
        output = output.softmax(1)
    elif module == "regression" and output[0].numel() == target[0].numel() == 1:
        output, target = output.flatten(), target.flatten()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        metric = getattr(import_module(f"torchmetrics.{module}"), name)(**arguments)
        metric.update(output, target)
        return metric.compute()


@pytest.mark.parametrize("name", metrics())
def test_every_metric_over_uneven_batches_is_the_one_over_all_samples(name, monkeypatch):
    monkeypatch.setattr("expc.runtime.measures.HELD", 60)  # some batches are taken in together, some alone
    entry, found = metrics()[name], []
    for output, target in CASES.values():
        if entry.accepts(output, target) is not None:
            continue
        generator = torch.Generator().manual_seed(len(found))
        shape, wanted = ([{N: 40, T: 6}.get(d, d) for d in type_.dims] for type_ in (output, target))
        # Scores of classes are all between 0 and 1, where torchmetrics would take them for probabilities.
        draw = torch.rand if target.classes == 10 else torch.randn
        scores = draw(shape, generator=generator)
        truth = torch.randint(target.classes or 2, wanted, generator=generator)
        settings = {p.name: p.default for p in entry.settings} | {"threshold": 0.5, "p": 2}
        path, arguments = entry.complete(settings, output, target)
        assert contradicted(settings, (path, arguments)) is None
        if not path.startswith("classification"):
            scores, truth = scores.abs() + 0.1, truth.float() + 0.5 if target.classes is None else truth
        plan = MetricPlan("m", path, arguments, "output", "target", True, SPAN, is_matrix=entry.is_matrix)
        metric = Metrics([plan], torch.device("cpu"), "logits")
        for start, end in ((0, 3), (3, 4), (4, 11), (11, 40)):
            metric.update({"output": scores[start:end], "target": truth[start:end]}, end - start)
        once = by_torchmetrics(path, arguments, scores, truth)
        read = metric.read()
        if entry.is_matrix:
            assert torch.equal(metric.matrices["m"], once)
            assert read == {}
        else:
            assert read["m"] == pytest.approx(once.item(), rel=1e-4, abs=1e-6)
        found.append(once.abs().sum().item())
    assert any(found)


def compared(name, output, target, types):
    """A metric of one batch, and what it has to say."""
    entry, remarks = metrics()[name], []
    path, arguments = entry.complete({p.name: p.default for p in entry.settings}, *types)
    plan = MetricPlan("m", path, arguments, "output", "target", True, SPAN)
    metric = Metrics([plan], torch.device("cpu"), "logits", remarks.append)
    metric.update({"output": output, "target": target}, len(output))
    return metric.read()["m"], metric.read(quick=True), list(dict.fromkeys(remarks))


def test_what_may_mislead_is_said_in_one_line():
    value, quick, remarks = compared("AUROC", SCORE, torch.ones(50), BINARY)
    assert (value, quick) == (0, {})
    assert len(remarks) == 1
    assert remarks[0].startswith("m may mislead: no negative samples in targets")
    value, _, remarks = compared("R2Score", NUMBER[:1], GUESS[:1], NUMBERS)
    assert math.isnan(value)
    assert remarks == ["m may mislead: needs at least two samples to calculate r2 score"]
    assert compared("Accuracy", LOGITS, CLASSES, MULTICLASS)[1:] != ({}, [])


def test_positions_may_differ_in_number_from_batch_to_batch():
    types = TensorType("f32", (N, 3, T)), TensorType("i64", (N, T), classes=3)
    path, arguments = metrics()["Accuracy"].complete({"average": "micro"}, *types)
    plan = MetricPlan("m", path, arguments, "output", "target", True, SPAN)
    metric = Metrics([plan], torch.device("cpu"), "logits")
    metric.update({"output": LOGITS[:12].view(4, 3, 3).mT, "target": CLASSES[:12].view(4, 3)}, 4)
    metric.update({"output": LOGITS[12:].view(19, 2, 3).mT, "target": CLASSES[12:].view(19, 2)}, 19)
    assert metric.read()["m"] == pytest.approx((LOGITS.argmax(1) == CLASSES).double().mean().item())


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
