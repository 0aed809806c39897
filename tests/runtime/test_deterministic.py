"""The same bits each time."""

import json
import random

import numpy as np
import pytest
import torch
from by_hand import program, same, trained

from expc.runtime.errors import RunError
from expc.runtime.precision import Precision

TRAIN = "epochs = 2, loss = CrossEntropyLoss, optimizer = AdamW(lr=1e-2), deterministic = true, {}"


def lines(directory):
    return [json.loads(line) for line in (directory / "metrics.jsonl").read_text().splitlines()]


@pytest.mark.parametrize("how", ["precision = auto", "accumulate = 3", "ema = 0.9", "precision = bf16"])
def test_two_runs_give_the_same_bits(tmp_path, how):
    found, first = trained(program(TRAIN.format(how)), tmp_path / "a")
    # What happens before a run starts is nothing to it.
    torch.rand(7), np.random.rand(3), random.random()  # noqa: NPY002
    again, second = trained(program(TRAIN.format(how)), tmp_path / "b")
    same(found, again)
    assert lines(first) == lines(second)
    other, third = trained(program(TRAIN.format(how) + ", seed = 1"), tmp_path / "c")
    assert lines(first) != lines(third)
    assert any(not torch.equal(found[key], other[key]) for key in found)


def test_a_run_says_what_torch_refuses(tmp_path):
    """torch has no deterministic way back from `max_unpool2d` on the CPU either: the checker knew."""
    model = """
    model Net(image: f32[N, 1, 4, 4]) {
      small, places = max_pool2d(2, return_indices=true)
      (small, places) -> MaxUnpool2d(2) -> Flatten -> Linear(4)
    }
    """
    checked = program(TRAIN.format("accumulate = 1"), model)
    with pytest.raises(RunError, match="deterministic"):
        trained(checked, tmp_path / "run")


def test_what_torch_refuses_on_the_way_back_is_no_traceback(tmp_path, monkeypatch):
    """As it does on a GPU: the CPU has nothing that is refused there."""

    def refuse(*_):
        raise RuntimeError("pool_backward_cuda does not have a deterministic implementation, but you set ...")

    monkeypatch.setattr(Precision, "backward", refuse)
    with pytest.raises(RunError) as raised:
        trained(program(TRAIN.format("accumulate = 1")), tmp_path / "run")
    assert raised.value.problem.code == "E0604"
    assert raised.value.problem.message == (
        "the training step 1 failed after the loss was computed: "
        "pool_backward_cuda does not have a deterministic implementation"
    )
