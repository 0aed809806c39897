"""How parameters start, where a file says so."""

from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file

import expc
from expc.diagnostics import ProblemError

BLOCK = """
block Part(out: int) {
  fc: Linear(out) -> norm: BatchNorm1d
  init "fc.*" = zeros
  init "*"    = load("part.safetensors", drop="old.")
}
"""
MODEL = """
model Net(x: f32[N, 3]) {
  a: Part(3) -> b: Part(3) -> tied: Linear(3, weight=a.fc.weight)
  init "b.fc.weight" = ones
}
"""


def test_files_of_weights_inside_a_block_are_relative_to_it_and_to_its_file(tmp_path: Path) -> None:
    state = {"fc.weight": torch.rand(3, 3), "fc.bias": torch.rand(3), "norm.weight": torch.rand(3)}
    state |= {"norm.bias": torch.rand(3), "norm.running_mean": torch.rand(3), "norm.running_var": torch.rand(3)}
    state["norm.num_batches_tracked"] = torch.tensor(7)
    (tmp_path / "parts").mkdir()
    file = tmp_path / "parts" / "part.safetensors"
    save_file({f"old.{key}": value for key, value in state.items()}, file)
    (tmp_path / "parts" / "part.exp").write_text(BLOCK)
    (tmp_path / "net.exp").write_text('from "parts/part.exp" import Part\n' + MODEL)
    built = expc.load(tmp_path / "net.exp").build(seed=0).state_dict()
    expected = {f"{name}.{key}": value for name in "ab" for key, value in state.items()}
    expected |= {"b.fc.weight": torch.ones(3, 3), "tied.weight": state["fc.weight"], "tied.bias": built["tied.bias"]}
    assert built.keys() == expected.keys()
    assert all(torch.equal(built[key], value) for key, value in expected.items())
    assert expc.load(tmp_path / "net.exp").build(device="meta").a.fc.weight.is_meta

    absolute = BLOCK.replace("part.safetensors", str(file))
    with pytest.raises(ProblemError, match=r"7 of the 7 tensors that `\*` matches do not fit") as longer:
        expc.load(text=absolute.replace("old.", "") + MODEL).build()
    assert longer.value.problem.notes[1:] == ('it has `old.fc.weight`: write `drop="old."`',)
    outside = MODEL.replace('"b.fc.weight" = ones', f'"b.*" = load("{file}", drop="old.")')
    with pytest.raises(ProblemError, match="do not fit") as shorter:
        expc.load(text=absolute + outside).build()
    assert "it has no `old.b.fc.weight`" in shorter.value.problem.notes[0]
    assert "inside the block" not in str(shorter.value.problem.notes)
