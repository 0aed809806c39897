"""A loss that is not a number: the step, the line where it comes from, and what is kept."""

import json

import numpy as np
import pytest
import torch
from by_hand import program
from safetensors.torch import load_file

from expc.runtime.errors import RunError
from expc.runtime.run import run

NET = """
block Top(classes: int) {
  Linear(classes)
}
model Net(image: f32[N, 1, 4, 4]) {
  Flatten -> body: Linear(8) -> Tanh
  MIDDLE
  head: Top(4)
}
"""


def failed(out, middle, lr=0.1, loss="cross_entropy(output, label)", rest="", log="every = 3 steps"):
    train = f"epochs = 4, loss = {loss}, optimizer = SGD(lr={lr})\n{rest}"
    checked = program(train, NET.replace("MIDDLE", middle) + f"log {{ tensorboard = false, {log} }}\n")
    with pytest.raises(RunError) as raised:
        run(checked, out=out, device="cpu", progress=False)
    assert raised.value.problem.code == "E0809"
    assert json.loads((out / "run.json").read_text())["status"] == "failed"
    assert not (out / "final.safetensors").exists()
    for path in out.glob("checkpoints/*/model.safetensors"):
        assert all(value.isfinite().all() for value in load_file(path).values())
    return raised.value.problem


@pytest.mark.parametrize("rest", ["", "recompute = 2", "recompute = [Linear]", "precision = bf16"])
def test_a_logarithm_of_a_negative_number(tmp_path, rest):
    problem = failed(tmp_path / "run", "log(flow)", rest=rest)
    assert problem.span.text == "log(flow)"
    assert problem.message == (
        "the train loss `loss` is nan at step 1: the first that is not a number comes out of `log(flow)`"
    )
    assert problem.notes[0].startswith("`input` arrived from -0.")
    assert [label.span.text for label in problem.labels] == ["cross_entropy(output, label)"]


def test_a_gradient_that_is_not_a_number_in_a_step_whose_loss_is_one(tmp_path):
    """A root of 0: its gradient is infinite, and the loss of the next step is none."""
    problem = failed(tmp_path / "run", "flow + sqrt(0.0 * flow)")
    assert problem.message.startswith("the train loss `loss` is nan at step 2: all are finite on the way to the loss")
    assert problem.span.text == "sqrt(0.0 * flow)"


def test_a_learning_rate_that_explodes(tmp_path):
    problem = failed(tmp_path / "run", "flow", lr=3e38, loss="1e10 * cross_entropy(output, label)")
    assert problem.message.startswith("the train loss `loss` is ")
    assert problem.message.endswith("` infinite")
    assert problem.span.text.startswith("SGD")


PENALTY = "cross_entropy(output, label) + 50 * mean(output) + 0.0 * mean(log(output + 30))"


@pytest.mark.parametrize(
    "rest", ["", "accumulate = 2", "ema = 0.5, clip = value(9.0)", 'freeze = ["body.*"] for 2 epochs']
)
def test_the_run_is_repeated_from_its_last_good_checkpoint(tmp_path, rest):
    """Outputs fall until a logarithm of them ends; checkpoints between log points are looked at before they count."""

    def ended(out, every):
        rest_of_file = f"{rest}\n}}\ncheckpoint {{ every = {every}, keep = 2"
        return failed(out, "flow", lr=0.05, loss=PENALTY, rest=rest_of_file, log="every = 1 epochs")

    problem = ended(tmp_path / "run", "1 steps")
    assert problem.span.text == "log(output + 30)"
    saved = sorted(int(path.parent.name[5:]) for path in tmp_path.glob("run/checkpoints/step-*/manifest.json"))
    assert saved[-1] == problem.step - 1
    assert f"the last good checkpoint is that of step {problem.step - 1}" in problem.notes
    # Without checkpoints it starts at the beginning, and finds the same.
    again = ended(tmp_path / "again", "none")
    assert (again.step, again.span.text) == (problem.step, problem.span.text)


def test_what_is_written_as_infinite_is_not_where_it_comes_from(tmp_path):
    problem = failed(tmp_path / "run", "masked_fill(flow > -2, -1.0 / 1e-320) -> softmax(1)")
    assert problem.span.text == "softmax(1)"
    assert problem.notes[0] == "`input` arrived from -inf to -inf"


def test_losses_that_are_numbers_cost_no_waiting(tmp_path, monkeypatch):
    """Between log points nothing asks the device for a number."""
    asked = []
    original = torch.Tensor.item
    monkeypatch.setattr(torch.Tensor, "item", lambda self: (asked.append(self), original(self))[1])
    tolist = torch.Tensor.tolist
    monkeypatch.setattr(torch.Tensor, "tolist", lambda self: (asked.append(self), tolist(self))[1])
    counts = []
    for epochs in (1, 3):
        train = f"epochs = {epochs}, loss = cross_entropy(output, label), optimizer = SGD(lr=0.1)"
        rest = "log { tensorboard = false, every = none }\ncheckpoint { every = none }\n"
        asked.clear()
        run(
            program(train, NET.replace("MIDDLE", "flow") + rest),
            out=tmp_path / f"{epochs}",
            device="cpu",
            progress=False,
        )
        counts.append(len(asked))
    assert counts[1] - counts[0] <= 2 * 6


def test_data_that_is_no_number(tmp_path, monkeypatch):
    monkeypatch.setenv("EXPC_DATA", str(tmp_path))
    np.savez(tmp_path / "a.npz", x=[[1.0], [float("nan")]], label=[0, 1])
    data = 'data { train = Npz("a.npz") -> as (x: f32[1], label: class(2)), batch = 2 }\n'
    train = "epochs = 1, loss = CrossEntropyLoss, optimizer = SGD(lr=0.1)"
    checked = program(train, "model Net(x: f32[N, 1]) { Linear(2) }\n", data)
    with pytest.raises(RunError) as raised:
        run(checked, out=tmp_path / "run", device="cpu", progress=False)
    assert raised.value.problem.message.endswith("at step 1: `x` of the data has some that are none")
    assert raised.value.problem.span.text.startswith("Npz")
