"""Runs of the installed command, stopped at any moment: what was saved is whole, and `run.json` says the truth."""

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest
from safetensors.torch import load_file

import expc
from expc.runtime.errors import RunError

EXPC = Path(sys.executable).with_name("expc")

SLOW = """\
data {
  train = FakeData(size=400, image_size=[3, 16, 16], num_classes=4) -> ToTensor
  val   = FakeData(size=2000, image_size=[3, 16, 16], num_classes=4, random_offset=400) -> ToTensor
  test  = FakeData(size=2000, image_size=[3, 16, 16], num_classes=4, random_offset=2400) -> ToTensor
  batch = 8
}

model Net(x: f32[N, 3, 16, 16]) -> f32[N, 4] { Flatten -> Linear(1000) -> ReLU -> Linear(4) }

train { epochs = 1, loss = CrossEntropyLoss, optimizer = Adam(lr=0.001) }
checkpoint { every = 10 steps, keep = 2 }
log { every = 1 steps, tensorboard = false }
"""


class Stopped:
    """A run that is sent signals when something has happened, and how it ended."""

    def __init__(self, folder: Path, when: Callable[[Path], bool], *signals: int) -> None:
        self.experiment = folder / "slow.exp"
        self.experiment.write_text(SLOW)
        self.out = folder / "run"
        log = folder / "stderr"
        command = [EXPC, "run", self.experiment, "--out", self.out, "--device", "cpu"]
        environment = {**os.environ, "OMP_NUM_THREADS": "1"}
        with log.open("w") as stream:
            process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=stream, text=True, env=environment)
        deadline = time.monotonic() + 60
        while process.poll() is None and not when(folder) and time.monotonic() < deadline:
            time.sleep(0.001)
        for number in signals:
            process.send_signal(number)
            time.sleep(0.01)
        self.printed, _ = process.communicate(timeout=60)
        self.status = process.returncode
        self.said = log.read_text()
        assert "Traceback" not in self.said
        assert "mistake in expc" not in self.said

    @property
    def facts(self) -> dict[str, object]:
        """What `run.json` says."""
        return json.loads((self.out / "run.json").read_text())

    def left_whole(self) -> None:
        """Everything that stands under its name can be read."""
        for path in self.out.glob("*.safetensors"):
            load_file(path)
        for folder in self.out.glob("checkpoints/step-*"):
            assert json.loads((folder / "state.json").read_text())["step"] == int(folder.name[5:])
            for name in ("model", "optimizer", "random"):
                load_file(folder / f"{name}.safetensors")
        for line in (self.out / "metrics.jsonl").read_text().splitlines():
            json.loads(line)


def said(words: str) -> Callable[[Path], bool]:
    return lambda folder: words in (folder / "stderr").read_text()


def measured(words: str) -> Callable[[Path], bool]:
    path = Path("run", "metrics.jsonl")
    return lambda folder: (folder / path).exists() and words in (folder / path).read_text()


def exists(pattern: str) -> Callable[[Path], bool]:
    return lambda folder: any(folder.glob(pattern))


@pytest.mark.parametrize(
    ("when", "number"),
    [
        pytest.param(measured('"step": 3,'), signal.SIGINT, id="in an epoch"),
        pytest.param(measured('"over": "epoch"'), signal.SIGTERM, id="in the validation"),
        pytest.param(exists("run/checkpoints/.*.partial"), signal.SIGINT, id="in a checkpoint"),
        pytest.param(exists("run/final.safetensors"), signal.SIGHUP, id="in the test"),
    ],
)
def test_what_was_learnt_is_saved(when: Callable[[Path], bool], number: int, tmp_path: Path) -> None:
    run = Stopped(tmp_path, when, number)
    assert run.status == 128 + number
    assert run.facts["status"] == "interrupted"
    assert f"stopped by {signal.Signals(number).name} after step {run.facts['steps']} of 50" in run.said
    assert run.printed.splitlines()[-1] == str(run.out)
    run.left_whole()
    assert not list(run.out.rglob("*.partial"))
    last = max(run.out.glob("checkpoints/step-*"))
    assert int(last.name[5:]) == run.facts["steps"]
    expc.load(run.experiment).build().load_state_dict(load_file(run.out / "final.safetensors"), strict=True)


def test_before_a_run_begins_nothing_is_left(tmp_path: Path) -> None:
    run = Stopped(tmp_path, said("no problems"), signal.SIGINT)
    assert run.status == 130
    assert not run.out.exists()
    assert len(run.said.splitlines()) <= 2


def test_asked_twice_a_run_ends_at_once(tmp_path: Path) -> None:
    run = Stopped(tmp_path, measured('"over": "epoch"'), signal.SIGINT, signal.SIGINT)
    assert run.status == 130
    assert run.facts["status"] == "interrupted"
    run.left_whole()
    assert not list(run.out.rglob("*.partial"))


def test_killed_while_it_saves_a_run_has_what_it_had(tmp_path: Path) -> None:
    saving = exists("run/checkpoints/.*.partial")
    run = Stopped(
        tmp_path, lambda folder: exists("run/checkpoints/step-000010")(folder) and saving(folder), signal.SIGKILL
    )
    assert run.status == -signal.SIGKILL
    assert run.facts["status"] == "running"
    run.left_whole()
    assert list(run.out.glob("checkpoints/step-*"))
    again = expc.load(
        run.experiment, set={"data.val": "FakeData(size=8, image_size=[3, 16, 16], num_classes=4) -> ToTensor"}
    )
    before = sorted(run.out.rglob("*"))
    with pytest.raises(RunError) as raised:
        again.run(out=run.out, device="cpu")
    assert raised.value.problem.code == "E0808"
    assert sorted(run.out.rglob("*")) == before
    assert again.run(out=tmp_path / "again", device="cpu").status == "finished"
