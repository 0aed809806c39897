"""Precisions: the order of scaling and clipping against a loop by hand, and what `auto` measures."""

import json
import math

import pytest
import torch
from by_hand import NET, by_hand, program, same, trained
from torch.nn.functional import cross_entropy

from expc.runtime import measuring, prepare
from expc.runtime.errors import RunError
from expc.runtime.run import run

CPU = torch.device("cpu")


@pytest.mark.parametrize("clip", ["norm(0.05)", "value(0.002)"])
def test_gradients_are_clipped_after_they_are_unscaled(tmp_path, monkeypatch, clip):
    """The CPU has a scaler too; the limits are far below what gradients times 65536 would be cut to."""
    monkeypatch.setattr(prepare, "refuse_precision", lambda *_: None)
    checked = program(
        f"epochs = 2, loss = CrossEntropyLoss, optimizer = SGD(lr=0.5), clip = {clip}, precision = f16, accumulate = 1"
    )
    found, _ = trained(checked, tmp_path / "run")
    norms = []

    def start(model):
        return torch.optim.SGD(model.parameters(), lr=0.5), torch.amp.GradScaler("cpu")

    def step(model, state, batch):
        optimizer, scaler = state
        with torch.autocast("cpu", dtype=torch.float16):
            loss = cross_entropy(model(batch["image"]), batch["label"])
        optimizer.zero_grad()
        scaler.scale(loss).backward()
        scaler.unscale_(optimizer)
        norms.append(torch.nn.utils.get_total_norm([p.grad for p in model.parameters()]).item())
        if clip.startswith("norm"):
            torch.nn.utils.clip_grad_norm_(model.parameters(), 0.05)
        else:
            torch.nn.utils.clip_grad_value_(model.parameters(), 0.002)
        scaler.step(optimizer)
        scaler.update()

    same(found, by_hand(checked, 2, start, step))
    assert all(0.05 < norm < 100 for norm in norms)


def test_a_step_whose_gradients_overflow_is_left_out(tmp_path, monkeypatch):
    monkeypatch.setattr(prepare, "refuse_precision", lambda *_: None)
    checked = program("steps = 1, loss = 1e5 * cross_entropy(output, label), optimizer = SGD(lr=0.5), precision = f16")
    found, directory = trained(checked, tmp_path / "run")
    start = prepare.prepare(checked, "cpu").task.model.state_dict()
    assert all(torch.equal(found[key], start[key]) for key in found if "running" not in key and "num" not in key)
    (state,) = directory.glob("checkpoints/*/state.json")
    assert "32768" in state.read_text()


def test_auto_measures_and_leaves_no_trace(tmp_path, monkeypatch, capsys):
    text = "epochs = 2, loss = CrossEntropyLoss, optimizer = SGD(lr=0.5), precision = {}"
    prepared = []
    for name in ("auto", "f32"):
        torch.manual_seed(3)
        prepared.append((prepare.prepare(program(text.format(name)), "cpu"), torch.rand(1)))
    (auto, after), (plain, expected) = prepared
    assert torch.equal(after, expected)
    same(auto.task.model.state_dict(), plain.task.model.state_dict())
    assert all(parameter.grad is None for parameter in auto.task.model.parameters())
    assert set(auto.precision.measured) == {"f32", "bf16"}
    assert plain.precision.measured == {}
    for factor, name in ((0.5, "bf16"), (0.97, "f32"), (math.inf, "f32")):
        monkeypatch.setattr(measuring, "measured", lambda *_, factor=factor, **__: {"f32": 2e-3, "bf16": 2e-3 * factor})
        checked = program(text.format("auto"))
        found, directory = trained(checked, tmp_path / f"{factor}")
        same(found, trained(program(text.format(name)), tmp_path / f"{factor}-by-name")[0])
        facts = json.loads((directory / "run.json").read_text())
        assert facts["precision"] == name
        assert facts["precision_measured"] == {"f32": 2.0, "bf16": None if factor == math.inf else 2 * factor}
    run(program(text.format("auto")), out=tmp_path / "shown", device="cpu", progress=True)
    assert ", f32 (of a step's passes: f32 2 ms, bf16 is not finite)" in capsys.readouterr().err


def test_what_is_not_finite_is_not_chosen():
    """Numbers beyond f16, in a loss of f16."""
    checked = program("epochs = 1, loss = mean(square(1e4 * (output -> f16))) , optimizer = SGD(lr=0.5)", NET)
    prepared = prepare.prepare(checked, "cpu")
    found = measuring.measured(["f32", "bf16"], prepared.task, prepared.loaders["train"], CPU)
    assert found == {"f32": math.inf, "bf16": math.inf}
    # To repeat a run, what is chosen must not depend on the clock.
    text = "epochs = 1, loss = CrossEntropyLoss, optimizer = SGD(lr=0.5), precision = auto, deterministic = true"
    assert prepare.prepare(program(text), "cpu").precision.measured == {}


def test_f16_without_a_gpu_is_told_where_it_is_written(tmp_path):
    checked = program("epochs = 1, loss = CrossEntropyLoss, optimizer = SGD(lr=0.5), precision = f16")
    with pytest.raises(RunError) as raised:
        trained(checked, tmp_path / "run")
    assert (raised.value.problem.code, raised.value.problem.span.text) == ("E0602", "f16")


def test_auto_that_does_not_measure_says_so(tmp_path, capsys):
    settings = "epochs = 1, loss = CrossEntropyLoss, optimizer = SGD(lr=0.5), precision = auto, deterministic = true"
    run(program(settings), out=tmp_path / "run", device="cpu", progress=True)
    assert ", f32 (`auto`, not measured)\n" in capsys.readouterr().err
