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


def test_a_file_of_a_part_alone_fills_that_part(tmp_path: Path) -> None:
    file = tmp_path / "part.safetensors"
    text = """
    block Part(out: int) {{ Linear(out) -> BatchNorm1d }}
    model Net(x: f32[N, 3]) {{
      whole: {{ encoder: Part(4) -> Part(5) }}
      init "{selector}" = load("{file}")
    }}
    """
    state = {"0.weight": torch.rand(4, 3), "0.bias": torch.rand(4)}
    save_file(state | {"1.weight": torch.rand(4)}, file)
    for selector in ("whole.encoder.0.*", "whole.encoder.*.weight"):
        built = expc.load(text=text.format(selector=selector, file=file)).build(seed=0).state_dict()
        taken = {key for key, value in state.items() if torch.equal(built[f"whole.encoder.{key}"], value)}
        assert taken == (state.keys() if selector.endswith("0.*") else {"0.weight"})
    with pytest.raises(ProblemError) as refused:
        expc.load(text=text.format(selector="whole.encoder.*", file=file)).build()
    assert "it has no `1.bias`, `1.running_mean`" in refused.value.problem.notes[0]
    with pytest.raises(ProblemError) as wider:
        expc.load(text=text.format(selector="*", file=file)).build()
    assert wider.value.problem.notes[1] == (
        'it has `0.weight`: for what is in `whole.encoder` here, write `init "whole.encoder.*"`'
    )


def test_a_loop_over_selectors_writes_them_in_braces() -> None:
    text = """
    data {{ train = FakeData(size=8, image_size=[1, 2, 2], num_classes=2) -> ToTensor }}
    model Net(x: f32[N, 1, 2, 2]) -> f32[N, 2] {{ Flatten -> a: Linear(3) -> ReLU -> b: Linear(2) }}
    train {{
      epochs = 1, loss = CrossEntropyLoss, optimizer = SGD(lr=0.1)
      for part in ["a.*", "b.*"] {{ {rule} }}
    }}
    """
    for rule in ("init {} = normal(std=0.02)", "group {} {{ lr = 0.01 }}"):
        (bare,) = expc.check(text=text.format(rule=rule.format("part")))
        assert bare.code == "E0234"
        assert bare.notes[-1].endswith('a text that is called so is written `"{part}"`')
        assert not expc.check(text=text.format(rule=rule.format('"{part}"')))
