"""What `expc summary` counts is what torch has."""

import json
import re
from pathlib import Path
from typing import Any

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
        for shared in ((), ("--devices", "64")):
            assert invoke(["summary", str(EXAMPLES / example), *asked, *shared]) == 0
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


SHARED = """
data {
  train = Npz("none.npz") -> as (x: f32[6], y: f32[6])
  batch = 10
}
block Layer(x: f32[N, C]) { flow + (Linear(9) -> ReLU -> Linear(C)) }
model Net(x: f32[N, 6]) -> f32[N, 6] { repeat 3 { Layer } -> Linear(6) }
train { epochs = 1, optimizer = SGD(lr=0.1, momentum=0.9), loss = mse_loss(output, y) }
"""
UNIT = 3 * 6 + 3 + 2 * 9 + 2
"""The numbers of a `Layer` that the first of four devices has: 3 of 9 rows, 2 of 6."""
REST = 2 * 6 + 2


def _of_devices(tmp_path: Path, capsys: pytest.CaptureFixture[str], *options: str) -> dict[str, Any]:
    (tmp_path / "net.exp").write_text(SHARED)
    assert invoke(["summary", str(tmp_path / "net.exp"), "--devices", "4", "--format", "json", *options]) == 0
    found: dict[str, Any] = json.loads(capsys.readouterr().out)["devices"]
    return found


def test_what_each_of_several_devices_holds(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    found = _of_devices(tmp_path, capsys)
    ddp, fsdp = found["ddp"], found["fsdp"]
    assert (found["samples"], found["strategy"]) == (3, "auto")
    assert [ddp[key] for key in ("weights", "gradients", "optimizer", "buckets")] == [4 * 411] * 4
    assert [fsdp[key] for key in ("weights", "gradients", "optimizer")] == [4 * (3 * UNIT + REST)] * 3
    assert fsdp["gathered"] == 4 * 4 * (2 * UNIT + REST)
    assert fsdp["unreduced"] == 4 * 4 * (UNIT + REST)
    assert fsdp["buckets"] == 4 * 4 * UNIT
    assert [unit["parameters"] for unit in fsdp["units"]] == [123, 123, 123, 42]
    for way in (ddp, fsdp):
        parts = ("weights", "gradients", "optimizer", "buckets", "gathered", "unreduced", "kept", "kept_by_loss")
        assert way["total"] == sum(way[part] for part in parts)


def test_what_each_of_several_devices_sends(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    found = _of_devices(tmp_path, capsys)
    assert found["ddp"]["sends"] == 2 * 3 / 4 * 4 * 411
    # Units are gathered on both ways, the rest once; three others have what a device lacks of a sum.
    assert found["fsdp"]["sends"] == 3 * 4 * (2 * 3 * UNIT + REST) + 3 * 4 * (3 * UNIT + REST)


def test_settings_of_shared_runs_are_counted(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    views = _of_devices(tmp_path, capsys, "--set", "distributed.gradient_as_bucket_view=true")
    assert views["ddp"]["buckets"] == 0
    parts = _of_devices(tmp_path, capsys, "--set", "train.accumulate=3")
    assert (parts["samples"], parts["ddp"]["sends"]) == (1, 2 * 3 / 4 * 4 * 411)
    half = _of_devices(tmp_path, capsys, "--set", "train.precision=bf16")
    assert half["fsdp"]["gathered"] == 2 * 4 * (2 * (3 * 6 + 2 * 9) + 2 * 6)
    assert half["fsdp"]["weights"] == 4 * (3 * (3 * 6 + 9 + 2 * 9 + 6) + 2 * 6 + 6)


def test_statistics_that_are_shared_are_sent(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    asked = ["--devices", "4", "--set", "distributed.sync_batchnorm=true", "--at", "H=32", "--at", "W=32"]
    assert invoke(["summary", str(EXAMPLES / "unet.exp"), *asked, "--format", "json"]) == 0
    sent = json.loads(capsys.readouterr().out)["devices"]["ddp"]["sent"]
    channels = [64, 64, 128, 128, 256, 256, 512, 512, 1024, 1024, 512, 512, 256, 256, 128, 128, 64, 64]
    payloads = {one["by"]: one["payload"] for one in sent if one["what"] == "batch statistics"}
    assert payloads == {
        "all_gather": 4 * sum(2 * number + 1 for number in channels),
        "all_reduce": 4 * sum(2 * number for number in channels),
    }


def test_of_data_that_is_sent_what_a_loss_counts_is_all(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    counting = SHARED.replace("y: f32[6]", "y: class(6)").replace(
        "mse_loss(output, y)", "cross_entropy(output, y, ignore_index=0)"
    )
    (tmp_path / "net.exp").write_text(counting)
    assert invoke(["summary", str(tmp_path / "net.exp"), "--devices", "4", "--format", "json"]) == 0
    sent = json.loads(capsys.readouterr().out)["devices"]["ddp"]["sent"]
    # The targets of 3 samples, and how many they are.
    assert [one["payload"] for one in sent if one["what"] == "data"] == [3 * 8 + 8]


def test_devices_in_a_table(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "net.exp").write_text(SHARED)
    asked = ["summary", str(tmp_path / "net.exp"), "--set", "distributed.strategy=fsdp", "--devices"]
    assert invoke([*asked, "16"]) == 0
    out = capsys.readouterr().out
    assert re.search(r"^each of 16 devices, as f32, for N=1 at once +ddp +fsdp$", out, re.MULTILINE)
    assert re.search(r"^  weights +1\.6 KiB +232 B$", out, re.MULTILINE)
    assert "fsdp gathers 3 units, of 123 parameters at most; 42 are in none\n  `0` to `2`\n" in out
    assert out.endswith("the file asks for fsdp\na batch is too small: 6 of the devices have no sample in it\n")
    assert invoke([*asked, "1"]) == 2
    capsys.readouterr()
    assert invoke(["summary", str(EXAMPLES / "vae.exp"), "--devices", "2"]) == 0
    assert "\nfsdp gathers the whole model: no block in it stands beside" in capsys.readouterr().out


def test_what_auto_takes_is_said(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "net.exp").write_text(SHARED)
    assert invoke(["summary", str(tmp_path / "net.exp"), "--devices", "4"]) == 0
    said = "`strategy = auto` takes ddp where 7.2 KiB are free on each device, and else fsdp\n"
    assert capsys.readouterr().out.endswith(said)


def test_what_fsdp_cannot_do_is_said(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "net.exp").write_text(SHARED)
    asked = ["--set", "train.ema=0.9", "--set", "train.compile=true", "--devices", "2"]
    assert invoke(["summary", str(tmp_path / "net.exp"), *asked]) == 0
    assert "\n`strategy = auto` takes ddp, since fsdp does not go with `ema` and `compile`\n" in capsys.readouterr().out
    assert invoke(["summary", str(tmp_path / "net.exp"), *asked, "--set", "distributed.strategy=ddp"]) == 0
    assert "\nthe file asks for ddp; fsdp does not go with `ema` and `compile`\n" in capsys.readouterr().out
    assert _of_devices(tmp_path, capsys)["fsdp"]["refused"] == []
