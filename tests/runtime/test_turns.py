"""What groups, freezing, averages and the like do, against the same training written by hand in plain torch."""

import json
from copy import deepcopy

import pytest
import torch
from by_hand import DATA, GAN, NET, by_hand, plain, program, same, trained
from safetensors.torch import load_file
from torch import nn
from torch.nn.functional import cross_entropy, softplus
from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn

from expc.compiler.session import check_text
from expc.runtime.errors import RunError
from expc.runtime.prepare import prepare


def test_matrices_by_one_optimizer_and_the_rest_by_another(tmp_path):
    checked = program("""
        epochs = 2, loss = CrossEntropyLoss, optimizer = AdamW(lr=1e-2)
        group "*.bias" { weight_decay = 0 }
        group Linear.weight { optimizer = Muon(lr=0.05) }
    """)
    found, directory = trained(checked, tmp_path / "run")

    def start(model):
        matrices = [model.body.weight, model.head.weight]
        biases = [model.body.bias, model.norm.bias, model.head.bias]
        rest = [{"params": [model.norm.weight]}, {"params": biases, "weight_decay": 0}]
        return torch.optim.AdamW(rest, lr=1e-2, fused=True), torch.optim.Muon(matrices, lr=0.05)

    same(found, by_hand(checked, 2, *plain(start)))
    (last,) = (directory / "checkpoints").glob("step-000006")
    assert {"momentum_buffer/head.weight", "exp_avg/norm.bias"} <= load_file(last / "optimizer.safetensors").keys()


def test_groups_with_losses_take_turns_and_move_only_their_own(tmp_path):
    checked = program(
        """
        epochs = 2
        group "d.*" { loss = mean(softplus(-real)) + mean(softplus(fake)), optimizer = Adam(lr=1e-2, betas=[0.5, 0.9]) }
        group "g.*" { loss = mean(softplus(-fake)), optimizer = Adam(lr=5e-3) }
        """,
        GAN,
    )
    found, directory = trained(checked, tmp_path / "run")

    def start(model):
        generator = torch.optim.Adam(model.g.parameters(), lr=5e-3, fused=True)
        return torch.optim.Adam(model.d.parameters(), lr=1e-2, betas=(0.5, 0.9), fused=True), generator

    def step(model, optimizers, batch):
        critic, generator = optimizers
        outputs = model(batch["image"])
        critic.zero_grad()
        (softplus(-outputs["real"]).mean() + softplus(outputs["fake"]).mean()).backward()
        critic.step()
        outputs = model(batch["image"])
        generator.zero_grad()
        softplus(-outputs["fake"]).mean().backward()
        generator.step()

    same(found, by_hand(checked, 2, start, step))
    rows = [json.loads(line) for line in (directory / "metrics.jsonl").read_text().splitlines()]
    assert {row["phase"] for row in rows} == {"train", "val"}
    assert all(row["loss"] == pytest.approx(row["loss_d"] + row["loss_g"]) for row in rows)


def test_lbfgs_looks_at_a_batch_as_often_as_it_likes(tmp_path):
    model = "model Net(image: f32[N, 1, 4, 4]) { Flatten -> body: Linear(8) -> Tanh -> head: Linear(4) }\n"
    train = (
        "epochs = 2, loss = CrossEntropyLoss, optimizer = LBFGS(lr=0.5, max_iter=4), accumulate = 1, clip = norm(9.0)"
    )
    checked = program(train, model)
    found, _ = trained(checked, tmp_path / "run")

    def step(model, optimizer, batch):
        def closure():
            optimizer.zero_grad()
            loss = cross_entropy(model(batch["image"]), batch["label"])
            loss.backward()
            torch.nn.utils.clip_grad_norm_(model.parameters(), 9.0)
            return loss

        optimizer.step(closure)

    def start(model):
        return torch.optim.LBFGS(model.parameters(), lr=0.5, max_iter=4)

    same(found, by_hand(checked, 2, start, step))


def test_sparse_gradients(tmp_path):
    model = """
    model Net(image: f32[N, 1, 4, 4]) {
      Flatten -> mul(9) -> i64 -> embed: Embedding(10, 3, sparse=true) -> flatten(1) -> head: Linear(4)
    }
    """
    checked = program(
        'epochs = 2, loss = CrossEntropyLoss, optimizer = SGD(lr=0.1)\ngroup "embed.*" { optimizer = SparseAdam }',
        model,
    )
    found, _ = trained(checked, tmp_path / "run")

    def start(model):
        sparse = torch.optim.SparseAdam([model.embed.weight])
        return torch.optim.SGD(model.head.parameters(), lr=0.1), sparse

    same(found, by_hand(checked, 2, *plain(start)))


@pytest.mark.parametrize(("frozen", "until"), [("", 6), (" for 1 epochs", 3), (" for 4 steps", 4)])
def test_what_is_frozen_does_not_learn_and_takes_in_no_statistics(tmp_path, frozen, until):
    checked = program(f"""
        epochs = 2, loss = CrossEntropyLoss, optimizer = AdamW(lr=1e-2)
        freeze = ["body.*", BatchNorm1d]{frozen}
    """)
    found, _ = trained(checked, tmp_path / "run")

    def freeze(model, step):
        is_frozen = step < until
        for module in (model.body, model.norm):
            module.train(not is_frozen)
            module.requires_grad_(not is_frozen)

    def start(model):
        freeze(model, 0)
        return (torch.optim.AdamW(model.parameters(), lr=1e-2, fused=True),)

    def step(model, optimizers, batch):
        plain(None)[1](model, optimizers, batch)

    def training(model, count):
        freeze(model, count)

    def begun(model):
        optimizers = start(model)
        model.train = lambda: (nn.Module.train(model), freeze(model, 0))[0]
        return optimizers

    same(found, by_hand(checked, 2, begun, step, after=training))
    before = prepare(checked, "cpu").task.model.state_dict()
    assert torch.equal(found["norm.running_mean"], before["norm.running_mean"]) == (not frozen)


def test_a_running_average_is_measured_and_saved_as_the_best(tmp_path):
    checked = program("epochs = 2, loss = CrossEntropyLoss, optimizer = SGD(lr=0.5), ema = 0.7, metrics = [Accuracy]")
    found, directory = trained(checked, tmp_path / "run")
    averages = []

    def start(model):
        averages.append(AveragedModel(model, multi_avg_fn=get_ema_multi_avg_fn(0.7)))
        return (torch.optim.SGD(model.parameters(), lr=0.5),)

    seen = {}

    def after(model, step):
        averages[0].update_parameters(model)
        if step % 3 == 0:
            seen[step] = deepcopy(averages[0].module)

    same(found, by_hand(checked, 2, start, plain(None)[1], after=after))
    batches = list(prepare(checked, "cpu").loaders["val"].epoch(0))
    images, labels = (torch.cat([batch[name] for batch in batches]) for name in ("image", "label"))
    losses = {step: cross_entropy(model.eval()(images), labels).item() for step, model in seen.items()}
    rows = [json.loads(line) for line in (directory / "metrics.jsonl").read_text().splitlines()]
    assert [row["loss"] for row in rows if row["phase"] == "val"] == pytest.approx(list(losses.values()))
    best = seen[min(losses, key=losses.get)]
    same(load_file(directory / "best.safetensors"), best.state_dict())
    same(load_file(directory / "checkpoints" / "step-000006" / "ema.safetensors"), seen[6].state_dict())


@pytest.mark.parametrize(
    "how", ['recompute = ["body", BatchNorm1d, "3"]', "recompute = 3", "compile = true", "accumulate = 1"]
)
def test_how_it_is_computed_does_not_change_what_is_learnt(tmp_path, how, monkeypatch):
    compiled = []

    def compile_eagerly(module, mode):
        compiled.append(mode)
        return module.__call__

    monkeypatch.setattr(torch, "compile", compile_eagerly)
    train = "epochs = 2, loss = CrossEntropyLoss, optimizer = AdamW(lr=1e-2)"
    found, _ = trained(program(f"{train}, {how}"), tmp_path / "a")
    same(found, trained(program(train), tmp_path / "b")[0])
    assert compiled == {"compile = true": [None], 'compile = "max-autotune"': ["max-autotune"]}.get(how, [])


def test_recomputed_modules_forget_their_activations():
    checked = program('epochs = 1, loss = CrossEntropyLoss, optimizer = SGD(lr=0.1), recompute = ["body"]')
    model = prepare(checked, "cpu").task.model
    calls = []
    original = type(model.body).forward
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(type(model.body), "forward", lambda self, x: (calls.append(self), original(self, x))[1])
        model.train()
        model(torch.rand(3, 1, 4, 4)).sum().backward()
    assert calls.count(model.body) == 2
    assert model.body.weight.grad is not None


def test_metrics_by_name_blocks_as_metrics_and_penalties(tmp_path):
    block = """
    block Sure(p: f32[N, C], q: i64[N]) -> f32[] {
      s = p -> softmax(1) -> amax(1)
      return mean(s) + 0.0 * mean(q -> f32)
    }
    """
    checked = program(
        """
        epochs = 1, optimizer = SGD(lr=0.0)
        loss { fit = cross_entropy(output, label), small = 0.1 * l1(weights("*.weight")) + l2(weights("head.*")) }
        metrics { top = (output, label) -> Accuracy(top_k=2), sure = (output, label) -> Sure, spread = output -> std }
        """,
        block + NET,
    )
    _, directory = trained(checked, tmp_path / "run")
    prepared = prepare(checked, "cpu")
    model = prepared.task.model.eval()
    batches = list(prepared.loaders["val"].epoch(0))
    images, labels = (torch.cat([batch[name] for batch in batches]) for name in ("image", "label"))
    # The running statistics of the batch norm have moved.
    model.load_state_dict(load_file(directory / "final.safetensors"))
    with torch.no_grad():
        output = model(images)
    row = next(
        row for row in map(json.loads, (directory / "metrics.jsonl").read_text().splitlines()) if row["phase"] == "val"
    )
    assert row["top"] == pytest.approx((output.topk(2).indices == labels[:, None]).any(1).float().mean().item())
    assert row["sure"] == pytest.approx(output.softmax(1).amax(1).mean().item())
    assert row["spread"] == pytest.approx(output.std().item())
    weights = [model.body.weight, model.norm.weight, model.head.weight]
    small = 0.1 * sum(w.abs().sum() for w in weights) + sum(w.square().sum() for w in model.head.parameters())
    assert row["small"] == pytest.approx(small.item())
    assert row["loss"] == pytest.approx(row["fit"] + row["small"])


@pytest.mark.parametrize(
    ("train", "rest", "what"),
    [
        ("", "prune { amount = 0.3 }", "prune"),
        ("", "quantize { }", "quantize"),
        ("", 'export { onnx = "a.onnx" }', "export"),
    ],
)
def test_what_cannot_be_run_yet_is_checked_and_refused(train, rest, what):
    text = f"{DATA}{NET}train {{ epochs = 1, loss = CrossEntropyLoss, optimizer = SGD(lr=0.1)\n {train} }}\n{rest}\n"
    checked = check_text(text)
    (hint,) = (problem for problem in checked.problems if problem.code == "W0503")
    assert hint.severity == "hint"
    assert f"`{what}`" in hint.message
    with pytest.raises(RunError, match=what) as raised:
        prepare(checked.program, "cpu")
    assert raised.value.problem.code == "E0208"
