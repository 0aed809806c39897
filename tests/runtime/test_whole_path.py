"""From the text of an experiment to trained weights, against plain torch written by hand."""

import json
from pathlib import Path

import torch
import yaml
from safetensors.torch import load_file
from torch import nn
from torch.nn.functional import cross_entropy

from expc.compiler.lower import lower
from expc.compiler.session import check_file, check_text
from expc.runtime.data.datasets import data_root
from expc.runtime.data.loader import Loader
from expc.runtime.run import run

DIGITS = Path(__file__).parents[2] / "examples" / "mnist.exp"


def test_the_digits_are_learnt_as_a_plain_loop_would(tmp_path):
    overrides = ["train.steps=4", "train.epochs=none", "data.batch=32", "train.schedule=LinearLR(start_factor=0.1)"]
    program = check_file(DIGITS, overrides).program
    assert program is not None
    result = run(program, out=tmp_path / "run", device="cpu", progress=False)
    assert result.steps == 4

    model = nn.Sequential(
        nn.Conv2d(1, 32, 3, padding=1, bias=False),
        nn.BatchNorm2d(32),
        nn.ReLU(),
        nn.MaxPool2d(2),
        nn.Conv2d(32, 64, 3, padding=1, bias=False),
        nn.BatchNorm2d(64),
        nn.ReLU(),
        nn.MaxPool2d(2),
        nn.Flatten(),
        nn.Dropout(0.25),
        nn.Linear(3136, 128),
        nn.ReLU(),
        nn.Linear(128, 10),
    )
    start = lower(program.model, seed=42).state_dict()
    # Functions and `Flatten` take numbers in the text as they do here: the keys are the same.
    model.load_state_dict(start, strict=True)
    optimizer = torch.optim.AdamW(model.parameters(), lr=2e-3, weight_decay=0.01, fused=True)
    warm_up = torch.optim.lr_scheduler.LinearLR(optimizer, start_factor=0.1, total_iters=4)
    root = data_root(DIGITS.parent)
    batches = Loader(program.data["train"], root=root, seed=42, batch=32, shuffle=True).epoch(0)
    torch.manual_seed(42)
    for _ in range(4):
        batch = next(batches)
        optimizer.zero_grad()
        cross_entropy(model(batch["image"]), batch["label"], label_smoothing=0.1).backward()
        nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        warm_up.step()
    found, expected = load_file(result.directory / "final.safetensors"), model.state_dict()
    assert set(found) == set(expected)
    assert all(torch.equal(found[key], expected[key]) for key in expected)


EXPERIMENT = """
let classes = 4

data {
  train = FakeData(size=40, image_size=[3, 8, 8], num_classes=classes) -> ToTensor
  val   = FakeData(size=20, image_size=[3, 8, 8], num_classes=4) -> ToTensor
  batch = 16
}

model Net(x: f32[N, 3, 8, 8]) -> (scores: f32[N, 4], code: f32[N, 5]) {
  code   = Flatten -> encode: Linear(5)
  scores = code -> ReLU -> head: Linear(4)
}

train {
  epochs     = 3
  accumulate = 2
  optimizer  = SGD(lr=0.1, momentum=0.9)
  group "*.bias" { lr = 0.01 }
  schedule   = LinearLR for 2 steps -> ReduceLROnPlateau(val.fit, patience=0)
  early_stop = min(val.loss, patience=1)
  clip       = value(0.1)
  precision  = bf16
  loss {
    fit   = cross_entropy(scores, label)
    small = 0.01 * mean(code ** 2)
  }
}
"""


def test_settings_of_every_kind_go_through(tmp_path):
    checked = check_text(EXPERIMENT, "net.exp")
    assert [problem.message for problem in checked.problems] == []
    assert checked.program is not None
    result = run(checked.program, out=tmp_path / "run", device="cpu", progress=False)
    assert result.status == "finished"
    assert set(result.metrics) == {f"{role}.{term}" for role in ("train", "val") for term in ("loss", "fit", "small")}
    resolved = yaml.safe_load((result.directory / "resolved.yaml").read_text())
    assert resolved["let"] == {"classes": {"value": 4, "from": "net.exp:2"}}
    assert resolved["train"]["accumulate"] == {"value": 2, "from": "net.exp:17"}
    weights = load_file(result.directory / "best.safetensors")
    assert set(weights) == {"encode.weight", "encode.bias", "head.weight", "head.bias"}
    assert all(tensor.dtype == torch.float32 for tensor in weights.values())


def test_a_plateau_without_validation_data_watches_the_training_loss(tmp_path):
    text = """
data { train = FakeData(size=20, image_size=[1, 4, 4]) -> ToTensor, batch = 10 }
model Net(x: f32[N, 1, 4, 4]) -> f32[N, 10] { Flatten -> Linear(10) }
train {
  epochs = 4, loss = CrossEntropyLoss, optimizer = SGD(lr=1e-3)
  schedule = ReduceLROnPlateau(train.loss, factor=0.5, patience=0, threshold=0.9)
}
"""
    program = check_text(text, "net.exp").program
    assert program is not None
    result = run(program, out=tmp_path / "run", device="cpu", progress=False)
    lines = [json.loads(line) for line in (result.directory / "metrics.jsonl").read_text().splitlines()]
    rates = [line["lr"] for line in lines if line["over"] == "epoch"]
    assert sorted(set(rates), reverse=True) == [1e-3, 5e-4, 2.5e-4]
