"""Runs of the installed command, stopped at any moment: what was saved is whole, and `run.json` says the truth."""

import json
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any
from unittest.mock import patch

import pytest
from by_hand import program
from safetensors.torch import load_file
from torch import Tensor

import expc
from expc.runtime import prepare
from expc.runtime import run as run_module
from expc.runtime.checkpoint.loading import newest
from expc.runtime.data.loader import Loader
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


ENVIRONMENT = {**os.environ, "OMP_NUM_THREADS": "1"}


class Stopped:
    """A run that is sent signals when something has happened, and how it ended."""

    def __init__(self, folder: Path, when: Callable[[Path], bool], *signals: int) -> None:
        self.experiment = folder / "slow.exp"
        self.experiment.write_text(SLOW)
        self.out = folder / "run"
        log = folder / "stderr"
        command = [EXPC, "run", self.experiment, "--out", self.out, "--device", "cpu"]
        with log.open("w") as stream:
            process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=stream, text=True, env=ENVIRONMENT)
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
        search = newest(self.out / "checkpoints")
        assert search.saved is not None
        assert not search.damaged
        for line in (self.out / "metrics.jsonl").read_text().splitlines():
            json.loads(line)

    def goes_on(self, whole: Path) -> None:
        """And ends as the run that was never stopped."""
        again = subprocess.run(
            [EXPC, "resume", self.out], check=False, capture_output=True, text=True, env=ENVIRONMENT, timeout=60
        )
        assert again.returncode == 0, again.stderr
        assert "going on from step" in again.stderr
        for name in ("final.safetensors", "best.safetensors", "metrics.jsonl"):
            assert (self.out / name).read_bytes() == (whole / name).read_bytes()


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The run that was never stopped."""
    run = Stopped(tmp_path_factory.mktemp("whole"), lambda _: False)
    assert run.status == 0
    return run.out


def said(words: str) -> Callable[[Path], bool]:
    return lambda folder: words in (folder / "stderr").read_text()


def measured(words: str) -> Callable[[Path], bool]:
    path = Path("run", "metrics.jsonl")
    return lambda folder: (folder / path).exists() and words in (folder / path).read_text()


def exists(pattern: str) -> Callable[[Path], bool]:
    return lambda folder: any(folder.glob(pattern))


@pytest.mark.parametrize(
    ("when", "number", "status"),
    [
        pytest.param(measured('"step": 3,'), signal.SIGINT, 130, id="in an epoch"),
        pytest.param(measured('"step": 50,'), signal.SIGTERM, 75, id="in the validation"),
        pytest.param(exists("run/checkpoints/.*.partial"), signal.SIGUSR1, 75, id="in a checkpoint"),
        pytest.param(exists("run/final.safetensors"), signal.SIGHUP, 129, id="in the test"),
    ],
)
def test_what_was_learnt_is_saved(
    when: Callable[[Path], bool], number: int, status: int, tmp_path: Path, whole: Path
) -> None:
    run = Stopped(tmp_path, when, number)
    assert run.status == status
    assert run.facts["status"] == "interrupted"
    assert f"stopped by {signal.Signals(number).name} after step {run.facts['steps']} of 50" in run.said
    assert f"Go on: expc resume {run.out}" in run.said
    assert run.printed.splitlines()[-1] == str(run.out)
    run.left_whole()
    assert not list(run.out.rglob("*.partial"))
    last = max(run.out.glob("checkpoints/step-*"))
    assert int(last.name[5:]) == run.facts["steps"]
    expc.load(run.experiment).build().load_state_dict(load_file(run.out / "final.safetensors"), strict=True)
    if number in (signal.SIGTERM, signal.SIGHUP):
        assert json.loads((last / "state.json").read_text())["epoch_is_open"] == (number == signal.SIGTERM)
        run.goes_on(whole)


def test_before_a_run_begins_nothing_is_left(tmp_path: Path) -> None:
    run = Stopped(tmp_path, said("no problems"), signal.SIGINT)
    assert run.status == 130
    assert not run.out.exists()
    assert len(run.said.splitlines()) <= 2


def test_asked_twice_a_run_ends_at_once(tmp_path: Path) -> None:
    run = Stopped(tmp_path, measured('"step": 50,'), signal.SIGINT, signal.SIGINT)
    assert run.status == 130
    assert run.facts["status"] == "interrupted"
    run.left_whole()  # what was being written stands under a name that nobody reads, and goes when the run goes on


def test_killed_while_it_saves_a_run_has_what_it_had(tmp_path: Path, whole: Path) -> None:
    saving = exists("run/checkpoints/.*.partial")
    run = Stopped(
        tmp_path, lambda folder: exists("run/checkpoints/step-000010")(folder) and saving(folder), signal.SIGKILL
    )
    assert run.status == -signal.SIGKILL
    assert run.facts["status"] == "running"
    run.left_whole()
    assert list(run.out.glob("checkpoints/step-*"))
    before = sorted(run.out.rglob("*"))
    with pytest.raises(RunError) as raised:
        expc.load(run.experiment).run(out=run.out, device="cpu")
    assert raised.value.problem.code == "E0808"
    assert sorted(run.out.rglob("*")) == before
    run.goes_on(whole)


class Endless:
    """A loader of which one batch never comes, while a signal does."""

    def __init__(self, loader: Loader, missing: int) -> None:
        self._loader, self._missing = loader, missing
        self.samples, self.shares = loader.samples, loader.shares

    def __len__(self) -> int:
        return len(self._loader)

    def epoch(self, epoch: int, start_step: int = 0, every: int = 1) -> Iterator[dict[str, Tensor]]:
        for step, batch in enumerate(self._loader.epoch(epoch, start_step)):
            if step == self._missing:
                threading.Timer(0.3, os.kill, (os.getpid(), signal.SIGUSR1)).start()
                time.sleep(60)
            yield batch


@pytest.mark.parametrize(("role", "missing", "steps"), [("train", 2, 2), ("val", 0, 3)])
def test_a_run_that_waits_for_data_ends_at_once(role: str, missing: int, steps: int, tmp_path: Path) -> None:
    real = prepare.prepare

    def endless(*arguments: Any, **settings: Any) -> prepare.Prepared:
        prepared = real(*arguments, **settings)
        return replace(prepared, loaders={**prepared.loaders, role: Endless(prepared.loaders[role], missing)})

    begun = time.monotonic()
    with patch.object(run_module, "prepare", endless):
        train = "epochs = 2, loss = CrossEntropyLoss, optimizer = Adam(lr=0.01)"
        result = run_module.run(program(train), out=tmp_path / "run", device="cpu", progress=False)
    assert time.monotonic() - begun < 30
    assert (result.status, result.signal, result.steps) == ("interrupted", signal.SIGUSR1, steps)
    search = newest(tmp_path / "run" / "checkpoints")
    assert search.saved is not None
    assert search.saved.step == steps
