"""A run against the same training written by hand in plain torch."""

import json
import math

import pytest
import torch
from fake_runs import SPAN, FakeLoader, accuracy, digits, fake_run, network, program, seeded, use, watch
from safetensors.torch import load_file
from torch import nn
from torch.nn.functional import cross_entropy

from expc.compiler.library.optimizers import optimizers
from expc.compiler.library.schedules import schedules
from expc.compiler.program import GroupPlan, SchedulePart
from expc.runtime.errors import RunError
from expc.spec.sections import Checkpoint, Log
from expc.spec.values import Quantity


def rows(directory, phase, over="epoch"):
    lines = (directory / "metrics.jsonl").read_text().splitlines()
    return [row for row in map(json.loads, lines) if row["phase"] == phase and row["over"] == over]


def equal(a, b):
    return set(a) == set(b) and all(torch.equal(a[key], b[key]) for key in a)


def by_hand(checked, steps, optimizer_class, settings, *, after_step=lambda optimizer, step: None, clip=None):
    """The training of `program()` as a user of plain torch would write it."""
    model = seeded(network)(None, seed=3)
    optimizer = optimizer_class(model.parameters(), **settings)
    torch.manual_seed(3)
    loader = FakeLoader(checked.data["train"], seed=3, batch=16, shuffle=True)
    step, epoch = 0, 0
    while step < steps:
        model.train()
        for batch in loader.epoch(epoch):
            loss = cross_entropy(model(batch["x"]), batch["label"])
            optimizer.zero_grad()
            loss.backward()
            if clip is not None:
                torch.nn.utils.clip_grad_norm_(model.parameters(), clip)
            optimizer.step()
            step += 1
            after_step(optimizer, step)
            if step == steps:
                break
        epoch += 1
    return model.state_dict()


def test_weights_are_bit_for_bit_those_of_a_plain_loop(tmp_path):
    checked = program(epochs=3, clip=("norm", 0.5), measured=(accuracy(),))
    result = fake_run(checked, tmp_path / "run")
    assert result.status == "finished"
    assert result.steps == 15
    expected = by_hand(checked, 15, torch.optim.SGD, {"lr": 0.1, "momentum": 0.9, "fused": True}, clip=0.5)
    assert equal(load_file(result.directory / "final.safetensors"), expected)


def test_a_run_in_steps_with_a_schedule_in_epochs(tmp_path):
    checked = program(
        steps=13,
        optimizer=use(optimizers(), "AdamW", lr=0.01),
        schedule=(SchedulePart(use(schedules(), "StepLR", step_size=1, gamma=0.1), None),),
    )
    result = fake_run(checked, tmp_path / "run")

    def staircase(optimizer, step):
        optimizer.param_groups[0]["lr"] = 0.01 * 0.1 ** (step // 5)

    expected = by_hand(checked, 13, torch.optim.AdamW, {"lr": 0.01, "fused": True}, after_step=staircase)
    found = load_file(result.directory / "final.safetensors")
    assert all(torch.allclose(found[key], expected[key], rtol=1e-6, atol=0) for key in expected)
    assert [row["lr"] for row in rows(result.directory, "train")] == pytest.approx([0.01, 0.001, 0.0001])
    assert [row["epoch"] for row in rows(result.directory, "val")] == [1, 2, 3]


def test_measurements_are_those_of_one_pass_over_all_samples(tmp_path):
    """33 and 29 are no multiples of 16: a mean over batches would be another number."""
    result = fake_run(program(measured=(accuracy(),), best=watch("val.accuracy", "max")), tmp_path / "run")
    model = network()
    for phase, weights in (("val", "final"), ("test", "best")):
        model.load_state_dict(load_file(result.directory / f"{weights}.safetensors"))
        model.eval()
        samples = {"val": digits(33, 1), "test": digits(29, 2)}[phase]
        with torch.no_grad():
            output = model(samples["x"])
        right = (output.argmax(1) == samples["label"]).float().mean().item()
        last = rows(result.directory, phase)[-1]
        assert last["accuracy"] == pytest.approx(right)
        assert last["loss"] == pytest.approx(cross_entropy(output, samples["label"]).item())
        assert result.metrics[f"{phase}.accuracy"] == last["accuracy"]


def test_best_weights_are_those_of_the_best_epoch(tmp_path):
    """A learning rate that ruins what was learnt: the best weights are early ones, and the last are others."""
    ruin = SchedulePart(use(schedules(), "StepLR", step_size=2, gamma=300.0), None)
    result = fake_run(
        program(epochs=4, schedule=(ruin,), optimizer=use(optimizers(), "SGD", lr=0.05)), tmp_path / "run"
    )
    losses = [row["loss"] for row in rows(result.directory, "val")]
    assert losses.index(min(losses)) < 2
    model = network()
    model.load_state_dict(load_file(result.directory / "best.safetensors"))
    model.eval()
    samples = digits(33, 1)
    with torch.no_grad():
        assert cross_entropy(model(samples["x"]), samples["label"]).item() == pytest.approx(min(losses))
    facts = json.loads((result.directory / "run.json").read_text())
    assert facts["best"]["val.loss"] == pytest.approx(min(losses))
    assert facts["best"]["step"] == 5 * (1 + losses.index(min(losses)))


def test_validation_does_not_change_how_training_goes(tmp_path):
    """Noise in evaluation draws random numbers too."""

    class Noisy(nn.Module):
        def __init__(self):
            super().__init__()
            self.net = network()

        def forward(self, x):
            return self.net(x + 0.1 * torch.randn_like(x))

    with_val = fake_run(program(), tmp_path / "a", model=Noisy)
    without = fake_run(program(roles=(("train", 70),)), tmp_path / "b", model=Noisy)
    assert equal(*(load_file(r.directory / "final.safetensors") for r in (with_val, without)))
    # Without validation data nothing tells which weights are best: the last are.
    assert equal(*(load_file(without.directory / f"{n}.safetensors") for n in ("best", "final")))


def test_named_terms_are_summed_and_logged(tmp_path):
    class Loss(nn.Module):
        def forward(self, output, target):
            return {"fit": cross_entropy(output, target), "small": 1e-2 * output.square().mean()}

    result = fake_run(program(terms=("fit", "small")), tmp_path / "run", loss=Loss)
    for phase, over in (("train", "steps"), ("train", "epoch"), ("val", "epoch"), ("test", "epoch")):
        for row in rows(result.directory, phase, over):
            assert row["loss"] == pytest.approx(row["fit"] + row["small"])
            assert row["small"] > 0


def test_groups_change_their_parameters_and_the_last_wins(tmp_path):
    groups = (
        GroupPlan("*.bias", ("0.bias", "1.bias", "4.bias"), {"lr": 0.0}, SPAN),
        GroupPlan("4.*", ("4.weight", "4.bias"), {"lr": 0.02, "weight_decay": 0.1}, SPAN),
    )
    result = fake_run(program(groups=groups), tmp_path / "run")
    before, after = seeded(network)(None, seed=3).state_dict(), load_file(result.directory / "final.safetensors")
    moved = {key for key in before if not torch.equal(before[key], after[key]) and "running" not in key}
    assert moved == {"0.weight", "1.weight", "4.weight", "4.bias", "1.num_batches_tracked"}


def test_early_stop_waits_as_long_as_it_says(tmp_path):
    checked = program(
        epochs=20, optimizer=use(optimizers(), "SGD", lr=0.0), early_stop=watch("val.loss", "min", patience=3)
    )
    result = fake_run(checked, tmp_path / "run", model=lambda: nn.Linear(8, 4))
    assert result.status == "finished"
    assert result.steps == 5 * 4


def test_a_loss_that_is_not_a_number_ends_the_run(tmp_path):
    checked = program(
        epochs=50, optimizer=use(optimizers(), "SGD", lr=3e38), log=Log(every=Quantity(4, "step"), tensorboard=False)
    )
    with pytest.raises(RunError) as raised:
        fake_run(checked, tmp_path / "run", model=lambda: nn.Linear(8, 4))
    assert raised.value.problem.code == "E0809"
    assert "at step 2: its gradients are finite, and the step made `weight` infinite" in raised.value.problem.message
    assert json.loads((tmp_path / "run" / "run.json").read_text())["status"] == "failed"


def test_log_points_cover_the_steps_between_them(tmp_path):
    result = fake_run(program(epochs=2, measured=(accuracy(),)), tmp_path / "run")
    steps, epochs = rows(result.directory, "train", "steps"), rows(result.directory, "train")
    assert [row["step"] for row in steps] == [2, 4, 6, 8, 10]
    assert all(math.isfinite(row["loss"]) and row["lr"] == 0.1 for row in steps)
    # Steps 7, 8 | 9, 10 with batches of 16, 16 | 16, 6 samples, and step 6: together they are the second epoch.
    windows = 16 * steps[2]["loss"] + 32 * steps[3]["loss"] + 22 * steps[4]["loss"]
    assert windows / 70 == pytest.approx(epochs[1]["loss"])


def test_checkpoints_hold_everything_and_old_ones_go(tmp_path):
    ruin = SchedulePart(use(schedules(), "StepLR", step_size=1, gamma=100.0), None)
    checked = program(
        epochs=5,
        optimizer=use(optimizers(), "AdamW", lr=1e-3),
        schedule=(ruin,),
        checkpoint=Checkpoint(every=Quantity(1, "epoch"), keep=2),
    )
    result = fake_run(checked, tmp_path / "run")
    folder = result.directory / "checkpoints"
    best = json.loads((result.directory / "run.json").read_text())["best"]["step"]
    assert best < 20
    assert {path.name for path in folder.iterdir()} == {f"step-{best:06d}", "step-000020", "step-000025", "latest"}
    assert (folder / "latest").read_text() == "step-000025\n"
    last = folder / "step-000025"
    assert equal(load_file(last / "model.safetensors"), load_file(result.directory / "final.safetensors"))
    moments = load_file(last / "optimizer.safetensors")
    assert moments["exp_avg/0.weight"].shape == (16, 8)
    assert moments["step/4.bias"].item() == 25
    state = json.loads((last / "state.json").read_text())
    assert (state["step"], state["epoch"], state["best"]["best_step"]) == (25, 5, best)
    assert not list(result.directory.rglob(".*.partial"))


def test_tied_weights_are_under_both_keys(tmp_path):
    class Tied(nn.Module):
        def __init__(self):
            super().__init__()
            self.a = nn.Linear(8, 8, bias=False)
            self.b = nn.Linear(8, 8, bias=False)
            self.b.weight = self.a.weight
            self.c = nn.Linear(8, 4)

        def forward(self, x):
            return self.c(self.b(self.a(x)))

    result = fake_run(program(), tmp_path / "run", model=Tied)
    weights = load_file(result.directory / "final.safetensors")
    assert torch.equal(weights["a.weight"], weights["b.weight"])
    Tied().load_state_dict(weights, strict=True)
