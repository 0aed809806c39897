"""What `expc summary` counts is what torch has."""

import json
import re
from pathlib import Path

import pytest
import torch
from torch import nn

import expc
from expc.cli import invoke
from expc.compiler.cost.count import rows
from expc.compiler.graph import Model

EXAMPLES = Path(__file__).parents[3] / "examples"

INPUTS = {
    "mnist.exp": ({}, torch.zeros(1, 1, 28, 28, device="meta")),
    "resnet18.exp": ({"H": 224, "W": 224}, torch.zeros(1, 3, 224, 224, device="meta")),
    "unet.exp": ({"H": 32, "W": 48}, torch.zeros(1, 3, 32, 48, device="meta")),
    "vae.exp": ({}, torch.zeros(1, 1, 28, 28, device="meta")),
    "gpt.exp": ({"T": 16}, torch.zeros(1, 16, dtype=torch.long, device="meta")),
}


def macs(network: nn.Module, *inputs: torch.Tensor) -> int:
    """Multiply-accumulates as torch counts them: two floating-point operations each."""
    from torch.utils.flop_counter import FlopCounterMode

    with FlopCounterMode(display=False) as counter:
        network.eval()(*inputs)
    return counter.get_total_flops() // 2


@pytest.mark.parametrize("example", INPUTS)
def test_counts_are_those_of_torch(example: str) -> None:
    sizes, given = INPUTS[example]
    experiment = expc.load(EXAMPLES / example)
    network = experiment.build(device="meta")
    model = experiment.program.model
    assert isinstance(model, Model)
    total, *layers = rows(model.body, {"N": 1, **sizes})
    assert total.parameters == sum(parameter.numel() for parameter in network.parameters())
    assert sum(row.parameters for row in layers if row.depth == 1) == total.parameters
    assert total.macs == macs(network, given)


def test_table(capsys: pytest.CaptureFixture[str]) -> None:
    assert invoke(["summary", str(EXAMPLES / "resnet18.exp"), "--at", "H=224", "--at", "W=224"]) == 0
    out = capsys.readouterr().out
    assert out.startswith("ResNet18(x: f32[N, 3, H, W]) -> f32[N, 1000]   at H=224, W=224\n")
    assert re.search(r"^  0 +BasicBlock ", out, re.MULTILINE)
    assert re.search(r"^fc +Linear +f32\[N, 1000\] +513,000 +512,000 +2\.0 KiB +16$", out, re.MULTILINE)
    assert "11,689,512 parameters (44.6 MiB as f32, buffers included)" in out
    assert "1,814,073,344 multiply-accumulates for one sample" in out


@pytest.mark.parametrize("example", sorted(path.relative_to(EXAMPLES).as_posix() for path in EXAMPLES.rglob("*.exp")))
def test_every_table_fits_a_screen(example: str, capsys: pytest.CaptureFixture[str]) -> None:
    model = expc.load(EXAMPLES / example).program.model
    assert isinstance(model, Model)
    for sizes in ((), ("--at", "H=224", "--at", "W=224")):
        asked = sizes if {"H", "W"} <= set(model.symbols) else ()
        assert invoke(["summary", str(EXAMPLES / example), *asked]) == 0
        assert max(map(len, capsys.readouterr().out.splitlines())) <= 120


def test_sizes_that_the_data_tells(capsys: pytest.CaptureFixture[str]) -> None:
    assert invoke(["summary", str(EXAMPLES / "gpt.exp")]) == 0
    out = capsys.readouterr().out
    assert out.startswith("GPT(tokens: i64[N, T]) -> f32[N, 256, 65]   at T=256\n")
    assert re.search(r"^ +kept by the network +4\.3 GiB$", out, re.MULTILINE)
    assert "kept at N=64" in out


def test_what_is_recomputed_is_counted_as_if_it_were_kept_and_said(capsys: pytest.CaptureFixture[str]) -> None:
    assert invoke(["summary", str(EXAMPLES / "gpt.exp"), "--set", "train.recompute=2"]) == 0
    assert "4.3 GiB  without `recompute`, which keeps less\n" in capsys.readouterr().out


def test_what_nobody_knows_is_asked_for(capsys: pytest.CaptureFixture[str]) -> None:
    assert invoke(["summary", str(EXAMPLES / "resnet18.exp")]) == 0
    assert "~ depends on H, W: say how large, as in `--at H=224 --at W=224`\n" in capsys.readouterr().out


def test_as_data(capsys: pytest.CaptureFixture[str]) -> None:
    assert invoke(["summary", str(EXAMPLES / "mnist.exp"), "--format", "json"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert (found["parameters"], found["macs"], found["sizes"]) == (421_738, 4_241_152, {"N": 128})
    assert found["kept"] == sum(layer["kept"] for layer in found["layers"] if layer["depth"] == 1)
    parts = ("weights", "gradients", "optimizer", "average", "kept", "kept_by_loss")
    assert found["total"] == sum(found[part] for part in parts)


def test_a_size_that_the_model_does_not_have(capsys: pytest.CaptureFixture[str]) -> None:
    assert invoke(["summary", str(EXAMPLES / "resnet18.exp"), "--at", "T=4"]) == 2
    assert "no size called T; its sizes are N, H, W" in capsys.readouterr().err
