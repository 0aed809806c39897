"""What `expc summary --devices N` says on paper is what torch does, byte for byte; `benchmarks/scaling.py` at length.

torch's fake process group lives in a process of its own, which takes every case.
"""

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[3]
TINY = {"width": 10, "heads": 2, "depth": 2, "context": 7}
"""Sizes that neither 4 nor 64 divide."""
WIDE = {"width": 96, "heads": 2, "depth": 3, "context": 7, "p": 0}
"""What is gathered is more than what any operator makes."""

AGAIN = """
data {
  train = Npz("none.npz") -> as (x: f32[8], y: class(3))
  batch = 130
}
block Layer(x: f32[N, C]) { flow + (Linear(2 * C + 1) -> ReLU -> Linear(C)) }
model Net(x: f32[N, 8]) -> f32[N, 3] {
  a: Layer
  b: Layer
  a
  c: Layer
  a
  Linear(3)
}
train {
  epochs    = 1
  freeze    = ["c.*"]
  optimizer = SGD(lr=0.1, momentum=0.9)
  loss      = cross_entropy(output, y, ignore_index=1)
}
"""
"""A unit runs thrice, another learns nothing; how many targets count is known from all of them."""

OF_OUTPUTS = """
data {
  train = Npz("none.npz") -> as (x: f32[8], y: f32[3])
  batch = 256
}
block Layer(x: f32[N, C]) {
  param scale: f32[] = 1
  flow * scale + (Linear(2 * C + 1) -> BatchNorm1d -> ReLU -> Linear(C))
}
model Net(x: f32[N, 8]) -> f32[N, 3] {
  repeat 3 { Layer }
  Linear(3)
}
train {
  epochs     = 1
  accumulate = 2
  optimizer  = Adam(lr=0.1)
  loss       = sqrt(mse_loss(output, y) + 1) + 0.01 * l2(weights("1.*weight"))
}
"""
"""The loss is no sum over parts, and reads what would else be a unit; a parameter has no dimension to cut."""

FINE_TUNED = """
data {
  train = Npz("none.npz") -> as (x: f32[8], y: class(3))
  batch = 13
}
block Layer(x: f32[N, C]) { flow + (Linear(2 * C + 1) -> ReLU -> Linear(C)) }
model Net(x: f32[N, 8]) -> f32[N, 3] { repeat 4 { Layer } -> Linear(3) }
train { epochs = 1, freeze = ["0.*", "1.*", "2.*"], optimizer = Adagrad(lr=0.1), loss = cross_entropy(output, y) }
"""
"""Where nothing learns yet, nothing is gathered to go back."""

ALL = """
import json, sys
sys.path.insert(0, sys.argv[1])
from scaling import compared
print(json.dumps([compared(*case, peak=peak) for *case, peak in json.loads(sys.argv[2])]))
"""


def _cases(folder: Path) -> dict[str, tuple[str, dict[str, Any], int, str, bool]]:
    gpt, gan = (str(ROOT / "examples" / f"{name}.exp") for name in ("gpt", "dcgan"))
    again, of_outputs, fine_tuned = (folder / f"{name}.exp" for name in ("again", "of_outputs", "fine_tuned"))
    again.write_text(AGAIN)
    of_outputs.write_text(OF_OUTPUTS)
    fine_tuned.write_text(FINE_TUNED)
    bf16 = {**TINY, "train.precision": "bf16"}
    return {
        **{f"gpt {way} {size}": (gpt, TINY, size, way, False) for way in ("ddp", "fsdp") for size in (4, 64)},
        **{f"bf16 {way}": (gpt, bf16, 4, way, False) for way in ("ddp", "fsdp")},
        **{f"again {way}": (str(again), {}, 4, way, False) for way in ("ddp", "fsdp")},
        **{
            f"of outputs {way} {size}": (str(of_outputs), {}, size, way, False)
            for way in ("ddp", "fsdp")
            for size in (4, 64)
        },
        "fine tuned fsdp": (str(fine_tuned), {}, 4, "fsdp", False),
        "in turns ddp": (gan, {}, 4, "ddp", False),
        "peak": (gpt, WIDE, 64, "fsdp", True),
    }


def test_what_is_held_and_sent_is_what_was_said(tmp_path: Path) -> None:
    cases = _cases(tmp_path)
    done = subprocess.run(
        [sys.executable, "-c", ALL, str(ROOT / "benchmarks"), json.dumps(list(cases.values()))],
        capture_output=True,
        text=True,
        timeout=300,
        env={**os.environ, "OMP_NUM_THREADS": "1"},
        check=False,
    )
    assert done.returncode == 0, done.stderr
    rows = dict(zip(cases, json.loads(done.stdout), strict=True))
    paper, torchs = rows["peak"]["paper"], rows["peak"]["torch"]
    assert 0.9 < paper.pop("peak") / torchs.pop("peak") < 1.25
    for name, row in rows.items():
        assert row["torch"] == row["paper"], name
        sent = ("all_reduce",) if "ddp" in name else ("all_gather", "reduce_scatter")
        assert all(row["torch"][kind] > 0 for kind in ("weights", *sent)), name
