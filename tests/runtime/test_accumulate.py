"""Gradients of a batch in parts against those of the batch at once, in double precision."""

import json

import pytest
import torch
from by_hand import program as by_hand_program
from by_hand import trained
from hypothesis import given, settings
from hypothesis import strategies as st

import expc
from expc.runtime.accumulate import OfOutputs, OfParts, OfWhole, Splitting, make_gradients
from expc.runtime.precision import Precision
from expc.runtime.task import Task

CPU = torch.device("cpu")
TEXT = """
data {{
  train = Tensors("given") -> as (
    x: f32[6], label: i64, tokens: i64[3], mask: bool[3], y: f32[3], w: f32[3], up: f32[5]
  )
  batch = 13
}}
model Net(x: f32[N, 6]) -> (logits: f32[N, 5], steps: f32[N, 3, 5], values: f32[N, 3]) {{
  h = (body: Linear(8) -> Tanh)
  logits = (h -> Linear(5))
  steps = (h -> Linear(15) -> reshape([N, 3, 5]))
  values = (h -> Linear(3))
}}
{blocks}
train {{ epochs = 1, optimizer = SGD(lr=0.1), accumulate = {parts}
  {loss}
}}
"""
BLOCKS = """
block Far(a: f32[N, 5]) -> f32[] {
  s = normalize(a, dim=1)
  return -mean(log_softmax(4 * (s @ (s -> t)), dim=1))
}
"""
NEAR = """
block Apart(a: f32[M, K], b: f32[M, K], p: float) -> f32[] {
  d = square(a - b)
  return p * sum(d) / M + mean(d -> reshape([M * K])) + ((a, b) -> MSELoss) / K
}
block Near(a: f32[M, K], b: f32[M, K]) -> f32[] {
  near = ((a, b) -> Apart(2.0))
  return near - ((b, a) -> Apart(0.5)) + ((a[:, 0:2], b[:, 0:2]) -> Apart(3.0))
}
"""

LINEAR = {
    "a mean": "cross_entropy(logits, label)",
    "what is ignored": "cross_entropy(logits, label, ignore_index=2)",
    "smooth": "(logits, label) -> CrossEntropyLoss(weight=[1, 2, 1, 3, 0.5], ignore_index=2, label_smoothing=0.2)",
    "a class of torch": "(logits, label) -> CrossEntropyLoss(weight=[1.0, 2.0, 0.5, 3.0, 0.125], ignore_index=0)",
    "tokens": "cross_entropy(steps -> flatten(0, 1), tokens -> flatten)",
    "tokens, classes second": "cross_entropy(steps -> permute(0, 2, 1), tokens)",
    "probabilities": "cross_entropy(logits, up)",
    "log-probabilities": "nll_loss(logits -> log_softmax(1), label, ignore_index=1)",
    "a sum": 'mse_loss(values, y, reduction="sum")',
    "a sum over the samples": "sum(square(values - y)) / N",
    "a sum over all elements": "sum(square(values - y)) / (3 * N)",
    "weights of samples": "mse_loss(values, y, weight=w)",
    "a mask": "sum(where(mask, square(values - y), 0.0)) / sum(mask)",
    "a mask by losses": 'sum(l1_loss(values, y, reduction="none") * mask) / (1.0 + sum(mask))',
    "means over different counts": (
        "cross_entropy(steps -> flatten(0, 1), tokens -> flatten) + 0.3 * cross_entropy(logits, label, ignore_index=3)"
        ' - smooth_l1_loss(values, y) / 7 + 2 * mse_loss(values[:, 0], y[:, 1], reduction="sum")'
    ),
    "a penalty": 'cross_entropy(logits, label, ignore_index=2) + 0.1 * l1(weights("*.weight")) + l2(weights("body.*"))',
    "a penalty for each sample": 'mean(amax(values, 1)) + l2(weights("*.bias")) / N',
    "targets by what all are": "mse_loss(values, (y - mean(y)) / std(y))",
    "batchmean": 'kl_div(logits -> log_softmax(1), up, reduction="batchmean")',
    "against ones": "binary_cross_entropy_with_logits(values, ones_like(values))",
    "a block in a block": "((values, y) -> Near) + 0.5 * ((y, values) -> Near)",
    "rows by rows": "(values, y, w) -> TripletMarginLoss(margin=0.5)",
}
OTHER = {
    "a root of a mean": "sqrt(mse_loss(values, y))",
    "a product": "mse_loss(values, y) * cross_entropy(logits, label)",
    "samples with each other": "logits -> Far",
    "spread of all": "std(values) + mean(values)",
    "divided by what the model says": "sum(values * y) / sum(square(values))",
    "along the samples": "mean(amax(log_softmax(logits, dim=0), 1))",
    "sorted": "mean(square(sort(values, 0)[0] - sort(y, 0)[0]))",
    "each with each": "mean(abs(values[:, 0:1] - y[:, 0]))",
    "counted by what the model says": "mse_loss(values, y, weight=sigmoid(values))",
}


def program(loss, parts):
    blocks = BLOCKS if "Far" in loss else NEAR if "Near" in loss else ""
    loss = loss if loss.startswith("loss {") else f"loss = {loss}"
    return expc.load(text=TEXT.format(loss=loss, parts=parts, blocks=blocks)).program


def samples(count, seed):
    draw = torch.Generator().manual_seed(seed)
    batch = {name: torch.randn(count, size, generator=draw).double() for name, size in (("x", 6), ("y", 3))}
    batch["w"] = torch.rand(count, 3, generator=draw).double()
    batch["up"] = torch.rand(count, 5, generator=draw).double().softmax(1)
    batch["label"] = torch.randint(5, (count,), generator=draw)
    batch["tokens"] = torch.randint(5, (count, 3), generator=draw)
    batch["tokens"][torch.rand(count, 3, generator=draw) < 0.5] = -100
    batch["mask"] = torch.rand(count, 3, generator=draw) < 0.4
    # A mean over nothing is not a number, in the whole batch too.
    batch["tokens"][0], batch["mask"][0], batch["label"][0] = 1, True, 4
    return batch


def learnt(checked, batch, *, whole=False):
    """The loss with its terms, and the gradients."""
    task = Task(checked, CPU, seed=1)
    precision = Precision("f32", CPU)
    way = OfWhole(task, precision) if whole else make_gradients(checked, task, precision, CPU)
    for module in (task.model, *(fed.module for fed in feds(task, way))):
        module.double()
    seen = []
    losses = way.add(batch, None, lambda named, count: seen.append((named["logits"].detach(), count)))
    assert sum(count for _, count in seen) == len(batch["x"])
    logits = torch.cat([part for part, _ in seen])
    grads = {key: parameter.grad for key, parameter in task.model.named_parameters()}
    return {name: value.item() for name, value in losses.items()}, grads, logits


def feds(task, way):
    """What holds the weights of classes, which `double` is to reach."""
    ways = getattr(way, "_ways", [])
    return [*task._losses, *(each._loss for each in ways if isinstance(each, OfParts))]


def equal(found, expected):
    assert found[0] == pytest.approx(expected[0], rel=1e-6)  # terms are added up in f32
    for key, grad in expected[1].items():
        assert (grad is None) == (found[1][key] is None)
        assert grad is None or torch.allclose(found[1][key], grad, rtol=1e-9, atol=1e-12), key
    assert torch.equal(found[2], expected[2]) or torch.allclose(found[2], expected[2])


def way_of(checked):
    (way,) = make_gradients(checked, Task(checked, CPU, seed=1), Precision("f32", CPU), CPU)._ways
    return type(way)


@pytest.mark.parametrize("loss", [*LINEAR.values(), *OTHER.values()], ids=[*LINEAR, *OTHER])
def test_parts_have_the_gradients_of_the_whole_batch(loss):
    assert way_of(program(loss, 4)) is (OfParts if loss in LINEAR.values() else OfOutputs)
    for count, parts in ((13, 4), (13, 13), (5, 4), (1, 4)):
        if count == 1 and "std" in loss:
            continue  # one number has no spread
        batch = samples(count, parts)
        equal(learnt(program(loss, parts), batch), learnt(program(loss, 1), batch, whole=True))


def test_terms_have_their_own_counts():
    terms = 'a = cross_entropy(logits, label, ignore_index=2), b = 0.1 * l2(weights("*")), c = {}'
    for last, way in (("sqrt(mean(square(values)))", OfOutputs), ("mean(values)", OfParts)):
        text = f"loss {{ {terms.format(last)} }}"
        batch = samples(9, 0)
        assert way_of(program(text, 2)) is way
        found, expected = learnt(program(text, 2), batch), learnt(program(text, 1), batch, whole=True)
        equal(found, expected)
        assert found[0].keys() == {"loss", "a", "b", "c"}


SUMMED = [*LINEAR.values(), *OTHER.values()]
SUMMED = [loss for loss in SUMMED if not loss.startswith("(") and "std" not in loss and "Far" not in loss]


@settings(deadline=None, max_examples=12)
@given(
    st.integers(1, 17),
    st.integers(2, 13),
    st.integers(0, 10**6),
    st.lists(st.sampled_from(SUMMED), min_size=1, max_size=3),
)
def test_any_split_of_any_sum_of_losses(count, parts, seed, terms):
    loss = " + ".join(f"{factor} * ({term})" for factor, term in zip((0.5, -2, 3), terms, strict=False))
    batch = samples(count, seed)
    equal(learnt(program(loss, parts), batch), learnt(program(loss, 1), batch, whole=True))


NOISY = """
data { train = FakeData(size=44, image_size=[1, 4, 4], num_classes=4) -> ToTensor, batch = 11 }
model Net(image: f32[N, 1, 4, 4]) { Flatten -> Linear(8) -> BatchNorm1d -> Dropout(0.5) -> Linear(4) }
train { epochs = 1, optimizer = SGD(lr=0.1), loss = sqrt(cross_entropy(output, label)) }
"""


def test_a_second_pass_draws_what_the_first_drew_and_takes_in_statistics_once():
    checked = expc.load(text=NOISY).program
    batch = {"image": torch.rand(11, 1, 4, 4), "label": torch.arange(11) % 4}

    def after(way):
        task = Task(checked, CPU, seed=1)
        torch.manual_seed(5)
        task.train()
        way(task, Precision("f32", CPU)).add(batch, None, lambda named, count: None)
        return [*(p.grad for p in task.model.parameters()), *task.model.buffers(), torch.rand(1)]

    twice = after(lambda task, precision: OfOutputs(task, precision, Splitting(1), {"output": 0}, CPU))
    assert all(map(torch.equal, twice, after(OfWhole)))


def test_losses_that_take_turns_are_added_up_too(tmp_path):
    """And through a whole run: the last weights, and what is logged."""
    model = "model Net(image: f32[N, 1, 4, 4]) { Flatten -> body: Linear(8) -> Tanh -> head: Linear(4) }\n"
    train = """
        epochs = 2, accumulate = {}
        group "body.*" {{ loss = cross_entropy(output, label, ignore_index=1), optimizer = SGD(lr=0.1) }}
        group "head.*" {{ loss = sqrt(mean(square(output))), optimizer = SGD(lr=0.1), clip = norm(0.5) }}
    """
    (whole, one), (parts, other) = (
        trained(by_hand_program(train.format(count), model), tmp_path / str(count)) for count in (1, 3)
    )
    assert all(torch.allclose(whole[key], parts[key], rtol=1e-4, atol=1e-6) for key in whole)
    lines = [map(json.loads, (path / "metrics.jsonl").read_text().splitlines()) for path in (one, other)]
    for mine, theirs in zip(*lines, strict=True):
        assert mine.pop("phase") == theirs.pop("phase")
        assert mine.pop("over") == theirs.pop("over")
        assert mine == pytest.approx(theirs, rel=1e-4)
