"""Parameters that no loss reaches, where `auto` comes to ddp, which would wait for their gradients."""

import os
import subprocess
import sys

import torch
from safetensors.torch import load_file

import expc

EXPERIMENT = """
data { train = FakeData(size=9, image_size=[1, 4, 4], num_classes=4) -> ToTensor, batch = 4 }
model Net(x: f32[N, 1, 4, 4]) -> (scores: f32[N, 4], extra: f32[N, 2], more: f32[N, 2]) {
  hidden = Flatten -> body: Linear(8) -> Tanh
  scores = hidden -> head: Linear(4)
  extra  = hidden -> side: Linear(2)
  more   = hidden -> rest: Linear(2)
}
train {
  epochs = 3, optimizer = SGD(lr=0.1), deterministic = true
  loss   = cross_entropy(scores, label)
  freeze = ["rest.*"] for 1 epochs
  group "side.*" { loss = cross_entropy(scores, label) + l2(weights("side.bias")) }
}
log { tensorboard = false }
"""


def test_two_processes_learn_what_one_learns(tmp_path):
    """`rest` is reached by no loss, and `side.weight` not by its own, which sees `side.bias` by a penalty alone."""
    path = tmp_path / "net.exp"
    path.write_text(EXPERIMENT)
    expc.load(path).run(out=tmp_path / "one", device="cpu", progress=False)
    command = [sys.executable, "-m", "expc", "run", str(path), "--cpus", "2", "--out", str(tmp_path / "two")]
    environ = os.environ | {"OMP_NUM_THREADS": "1"}
    done = subprocess.run(command, env=environ, capture_output=True, text=True, timeout=90, check=False)
    assert done.returncode == 0, done.stderr
    one, two = (load_file(tmp_path / name / "final.safetensors") for name in ("one", "two"))
    assert one.keys() == two.keys()
    for key, value in one.items():
        torch.testing.assert_close(two[key], value, rtol=1e-6, atol=1e-6)
