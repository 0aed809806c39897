"""A share of what `benchmarks/faults.py` does at length: a run that is killed again and again; disks that fail."""

import json
import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from unittest.mock import patch

import pytest
import torch
from by_hand import NET
from test_checkpoint import same, save
from test_resume import DATA, assert_same, killed, plain

from expc.runtime.checkpoint import saving
from expc.runtime.checkpoint.loading import newest
from expc.runtime.errors import RunError
from expc.runtime.exhaustion import exhaustion_told
from expc.runtime.resuming import Resume
from expc.runtime.run import run

CAMPAIGN = Path(__file__).parents[2] / "benchmarks" / "faults.py"
KIB = 1024


def test_killed_again_and_again_a_run_ends_as_if_nothing_had_happened(tmp_path: Path) -> None:
    command = [sys.executable, CAMPAIGN, "--kills", "3", "--steps", "400", "--set", "data.test=none"]
    answer = subprocess.run(
        [*command, "--folder", tmp_path],
        check=False,
        capture_output=True,
        text=True,
        timeout=300,
        env={**os.environ, "OMP_NUM_THREADS": "1"},
    )
    assert answer.returncode == 0, answer.stdout + answer.stderr
    assert "3 kills (1 while saving, 1 while starting, 1 at any moment)" in answer.stdout
    assert "the same, byte for byte" in answer.stdout
    facts = json.loads((tmp_path / "killed" / "run.json").read_text())
    assert facts["status"] == "finished"
    assert facts["resumed"]


@pytest.fixture
def disk(tmp_path: Path) -> Iterator[Path]:
    folder = tmp_path / "disk"
    folder.mkdir()
    if subprocess.run(["mount", "-t", "tmpfs", "-o", "size=2m", "tmpfs", folder], check=False).returncode:
        pytest.skip("only root can mount a small disk")
    try:
        yield folder
    finally:
        subprocess.run(["umount", folder], check=True)


def leave(disk: Path, free: int) -> Path:
    """Fill a disk but for `free` bytes."""
    filler = disk / "filler"
    filler.unlink(missing_ok=True)
    room = os.statvfs(disk)
    filler.write_bytes(b"x" * (room.f_bavail * room.f_bsize - free))
    return filler


def code_of(failing: Callable[[], None]) -> str:
    """The code of the problem that something ends with, if it does."""
    try:
        failing()
    except RunError as error:
        return error.problem.code
    return "none"


def test_wherever_a_disk_is_full_a_checkpoint_is_whole_or_not_there(disk: Path) -> None:
    """With each page of 4 KiB more it gets further; the look at the free space beforehand is left out."""
    folder, step, codes = disk / "checkpoints", 1, []
    save(folder, step)
    for pages in range(12):
        leave(disk, pages * 4 * KIB)
        with patch.object(saving, "refuse_little_space", lambda *_: None):
            codes.append(code_of(partial(save, folder, step + 1)))
        search = newest(folder)
        assert search.saved is not None
        assert not search.damaged
        same(search.saved, search.saved.step)
        assert search.saved.step == step + 1 or (search.saved.step == step and codes[-1] == "E0805")
        step = search.saved.step
        assert not list(disk.rglob("*.partial"))
    assert set(codes) == {"E0805", "none"}
    assert codes.count("E0805") >= 3


def test_a_run_whose_disk_was_full_goes_on_when_there_is_space(disk: Path, tmp_path: Path) -> None:
    """On another file system than the experiment and its data."""
    checked = plain(data=DATA.replace("keep = 3", "keep = 9"))
    whole, out = tmp_path / "whole", disk / "run"
    run(checked, out=whole, device="cpu", progress=False)
    killed(checked, out, 2)
    filler = leave(disk, 120 * KIB)
    with pytest.raises(RunError) as raised:
        run(checked, device="cpu", progress=False, resume=Resume(out))
    assert raised.value.problem.code == "E0805"
    assert "no space left" in json.loads((out / "run.json").read_text())["error"]
    search = newest(out / "checkpoints")
    assert search.saved is not None
    assert not search.damaged
    filler.unlink()
    assert run(checked, device="cpu", progress=False, resume=Resume(out)).status == "finished"
    assert_same(whole, out)


def test_a_run_that_nobody_may_write_to_is_refused(disk: Path) -> None:
    out = disk / "run"
    killed(plain(), out, 2)
    subprocess.run(["mount", "-o", "remount,ro", disk], check=True)
    with pytest.raises(RunError) as raised:
        run(plain(), device="cpu", progress=False, resume=Resume(out))
    assert raised.value.problem.code == "E0804"
    assert "Read-only file system" in raised.value.problem.message
    with pytest.raises(RunError) as raised:
        run(plain(), out=disk / "other", device="cpu", progress=False)
    assert raised.value.problem.code == "E0804"


def test_where_memory_ends_the_message_says_what_training_takes_and_what_helps(tmp_path: Path) -> None:
    """More than any machine has is asked for in the third step, when two are saved."""
    net = NET.replace("-> ReLU", "").replace("Dropout(0.1)", "ReLU -> Dropout(0.1)")
    checked, out, real = plain(net=net), tmp_path / "run", torch.nn.ReLU.forward
    steps = iter([real, real])

    def relu(module: torch.nn.ReLU, tensor: torch.Tensor) -> torch.Tensor:
        step = next(steps, None) if module.training else real
        return tensor.new_ones(10**15) if step is None else step(module, tensor)

    with patch.object(torch.nn.ReLU, "forward", relu), pytest.raises(RunError) as raised:
        run(checked, out=out, device="cpu", progress=False)
    problem = raised.value.problem
    assert problem.code == "E0605"
    assert problem.span.text == "ReLU"
    assert "3,725,290.3 GiB more were asked for" in problem.message
    assert any("training was estimated to take" in note for note in problem.notes)
    assert any("`accumulate = 2`" in note for note in problem.notes)
    assert problem.notes[-1] == f"the run is saved up to step 2; when that is mended, it goes on: expc resume {out}"
    assert run(checked, device="cpu", progress=False, resume=Resume(out)).status == "finished"
    run(checked, out=tmp_path / "whole", device="cpu", progress=False)
    assert_same(tmp_path / "whole", out)


def test_causes_that_go_round_in_a_circle_are_looked_at_once() -> None:
    first, second = RuntimeError("first"), RuntimeError("second")
    first.__cause__, second.__cause__ = second, first
    with pytest.raises(RuntimeError, match="first"), exhaustion_told(plain(), torch.device("cpu")):
        raise first
