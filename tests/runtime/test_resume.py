"""A run that stopped at any step and goes on is, bit for bit, the run that never stopped."""

import json
import shutil
from contextlib import closing
from pathlib import Path
from unittest.mock import patch

import pytest
import torch
from by_hand import GAN, NET, program
from safetensors.torch import load_file

from expc.runtime import loop
from expc.runtime.errors import RunError
from expc.runtime.lock import Lock
from expc.runtime.resuming import Resume, last_run
from expc.runtime.run import run

DATA = """
data {
  train, val = FakeData(size=44, image_size=[1, 4, 4], num_classes=4) -> split(0.75) -> RandomCrop(4, padding=1) -> ToTensor
  test = FakeData(size=11, image_size=[1, 4, 4], num_classes=4, random_offset=44) -> ToTensor
  batch = 9
}
checkpoint { every = 1 steps, keep = 3 }
log { every = 3 steps, graph = false }
"""
BASE = "epochs = 3, loss = CrossEntropyLoss, deterministic = true"
CASES = {
    "momentum": "optimizer = SGD(lr=0.1, momentum=0.9, nesterov=true)",
    "a chain of schedules": "optimizer = AdamW(lr=1e-2), clip = norm(0.5)\n"
    "schedule = LinearLR(start_factor=0.1) for 3 steps -> OneCycleLR(max_lr=0.1)",
    "a plateau and an average": "optimizer = RMSprop(lr=1e-2, momentum=0.5), ema = 0.7, metrics = [Accuracy, AUROC]\n"
    "schedule = ReduceLROnPlateau(val.loss, factor=0.5, patience=0)",
    "early stopping": "optimizer = SGD(lr=0.0), early_stop = min(val.loss, patience=1)",
    "line search": "optimizer = LBFGS(lr=0.1, max_iter=3, history_size=4)",
    "frozen for a while": 'optimizer = Adam(lr=1e-2, amsgrad=true), freeze = ["body.*", "norm.*"] for 5 steps',
    "recomputing": 'optimizer = NAdam(lr=1e-2), recompute = ["norm"]',
    "optimizers of groups": 'optimizer = AdamW(lr=1e-2)\ngroup "*.bias" { schedule = CosineAnnealingWarmRestarts(2) }\n'
    'group "body.weight" { optimizer = Muon(lr=0.02) }',
    "parts and half precision": "optimizer = Adagrad(lr=0.1), accumulate = 3, precision = bf16, metrics = [F1Score]",
    "cycles": "optimizer = SGD(lr=0.1, momentum=0.9)\n"
    "schedule = CyclicLR(base_lr=0.01, max_lr=0.1, step_size_up=2) for 4 steps -> MultiStepLR([1], gamma=0.5)",
}
TURNS = """epochs = 3, deterministic = true
group "d.*" { loss = binary_cross_entropy_with_logits(real, ones_like(real)) + binary_cross_entropy_with_logits(fake, zeros_like(fake)), optimizer = Adam(lr=0.01) }
group "g.*" { loss = binary_cross_entropy_with_logits(fake, ones_like(fake)), optimizer = RMSprop(lr=0.01) }
"""


class Killed(Exception):
    """Stands for what ends a run between two steps."""


def killed(checked, out, after, resume=None):
    """A run that ends when it has learnt from `after` batches."""
    taken, learn = [], loop.learn

    def learning(*arguments):
        if len(taken) == after:
            raise Killed
        taken.append(learn(*arguments))

    with patch.object(loop, "learn", learning), pytest.raises(Killed):
        run(checked, out=None if resume else out, device="cpu", progress=False, resume=resume)


def left(out):
    """What must be the same: weights, and what was measured; what TensorBoard shows."""
    from tensorboard.backend.event_processing.event_file_loader import EventFileLoader

    files = {name: (out / name).read_bytes() for name in ("final.safetensors", "best.safetensors", "metrics.jsonl")}
    events = sorted((out / "tensorboard").iterdir(), key=lambda path: path.stat().st_mtime_ns)
    points = [
        (value.tag, event.step, value.tensor.float_val[:])
        for path in events
        for event in EventFileLoader(str(path)).Load()
        for value in event.summary.value
        if "hparams" not in value.tag
    ]
    last = max((out / "checkpoints").glob("step-*"))
    state = {path.name: path.read_bytes() for path in last.glob("*.safetensors") if path.name != "sums.safetensors"}
    return files, points, state


def assert_same(one, other):
    (files, points, state), (files_too, points_too, state_too) = left(one), left(other)
    for name, content in (files | state).items():
        assert content == (files_too | state_too)[name], name
    assert points == points_too


@pytest.mark.parametrize("name", [*CASES, "turns"])
def test_a_run_goes_on_as_if_it_had_never_stopped(name, tmp_path):
    """Killed in the first epoch, resumed, killed at the end of the second, and resumed again."""
    checked = program(TURNS, GAN, DATA) if name == "turns" else program(f"{BASE}\n{CASES[name]}", NET, DATA)
    whole, parts = tmp_path / "whole", tmp_path / "parts"
    result = run(checked, out=whole, device="cpu", progress=False)
    killed(checked, parts, 2)
    torch.rand(3)
    if result.steps > 8:
        killed(checked, parts, 6, Resume(parts))
    again = run(checked, device="cpu", progress=False, resume=Resume(parts))
    assert again == type(again)(**{**vars(result), "directory": parts})
    assert_same(whole, parts)
