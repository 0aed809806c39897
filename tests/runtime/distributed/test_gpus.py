"""On GPUs, where there are some: a process each over nccl, in every precision, compiled and not."""

import json
import os
import subprocess
import sys

import pytest
import torch

pytestmark = [
    pytest.mark.gpu,
    pytest.mark.skipif(not torch.cuda.is_available(), reason="there is no GPU that torch can use"),
]

TEXT = """
data {{
  train, val = FakeData(size=96, image_size=[1, 8, 8], num_classes=4) -> split(0.75) -> ToTensor
  batch = 24
}}
model Net(image: f32[N, 1, 8, 8]) {{
  Conv2d(8, 3, padding=1, bias=false) -> BatchNorm2d -> ReLU
  repeat 2 {{ {{ Conv2d(8, 3, padding=1) -> ReLU }} }}
  Flatten -> Linear(4)
}}
train {{
  epochs = 2, loss = CrossEntropyLoss, optimizer = AdamW(lr=1e-3), clip = norm(1.0), metrics = [Accuracy]
  {train}
}}
log {{ every = 1 steps, tensorboard = false }}
distributed {{ {distributed} }}
"""


def losses(tmp_path, name, *options, train="", distributed="sync_batchnorm = true"):
    """The loss of each step of a run by the command line."""
    file = tmp_path / f"{name}.exp"
    file.write_text(TEXT.format(train=train, distributed=distributed), "utf-8")
    command = [sys.executable, "-m", "expc", "run", str(file), "--out", str(tmp_path / name), *options]
    done = subprocess.run(command, capture_output=True, text=True, timeout=300, env={**os.environ}, check=False)
    assert done.returncode == 0, done.stderr
    rows = map(json.loads, (tmp_path / name / "metrics.jsonl").read_text("utf-8").splitlines())
    return [row["loss"] for row in rows if row["over"] == "steps"]


@pytest.mark.parametrize("count", ["1", "all"])
def test_gpus_train_as_the_cpu_does(tmp_path, count):
    alone = losses(tmp_path, "alone", "--device", "cpu")
    assert losses(tmp_path, "gpus", "--gpus", count) == pytest.approx(alone, rel=1e-3)


@pytest.mark.parametrize("strategy", ["ddp", "fsdp"])
@pytest.mark.parametrize("settings", ["precision = bf16", "precision = f16", "compile = true"])
def test_precisions_and_compiled_networks(tmp_path, strategy, settings):
    if strategy == "fsdp" and settings != "precision = bf16":
        pytest.skip("the checker refuses it with fsdp")
    exact = losses(tmp_path, "exact", "--device", "cpu")
    found = losses(tmp_path, "found", "--gpus", "1", train=settings, distributed=f"strategy = {strategy}")
    assert found == pytest.approx(exact, rel=5e-2)


def test_more_gpus_than_there_are_start_nothing(tmp_path):
    many = str(torch.cuda.device_count() + 1)
    with pytest.raises(AssertionError, match="E0608"):
        losses(tmp_path, "none", "--gpus", many)
    assert not (tmp_path / "none").exists()
