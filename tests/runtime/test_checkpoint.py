"""What is written is whole or not there; what is read was verified, byte by byte, whoever has written it."""

import hashlib
import json
import math
import os
import pickle
import shutil
from pathlib import Path
from unittest.mock import patch

import numpy as np
import pytest
import torch

from expc.runtime.checkpoint import saving
from expc.runtime.checkpoint.loading import load, newest
from expc.runtime.checkpoint.manifest import Manifest
from expc.runtime.checkpoint.packing import LOST, State, pack, unpack
from expc.runtime.checkpoint.saving import copied, snapshot, write
from expc.runtime.checkpoint.writer import Writer
from expc.runtime.errors import RunError, option_span
from expc.runtime.errors.output import DiskFull

CPU = torch.device("cpu")


def state(step):
    generator = torch.Generator().manual_seed(step)
    model = {"weight": torch.randn(3, 2, generator=generator), "bias": torch.randn(3, generator=generator).bfloat16()}
    return State({"model": model, "optimizer": {"exp_avg/weight": model["weight"] ** 2}}, {"step": step, "sums": [1.5]})


def save(folder, step, keep=9, best_step=0, best=None):
    write(folder, snapshot(step, state(step), best_step, {"step": step}), keep, best)


def same(saved, step):
    expected = state(step)
    assert saved.step == step
    assert saved.state.plain == expected.plain
    for name, tensors in expected.tensors.items():
        assert all(torch.equal(saved.state.tensors[name][key], value) for key, value in tensors.items())


@pytest.fixture
def folder(tmp_path):
    for step in (10, 20):
        save(tmp_path / "checkpoints", step)
    return tmp_path / "checkpoints"


def test_values_come_back_as_they_were():
    shared = torch.arange(4.0)
    value = {
        "numbers": [1, -(2**70), True, None, 0.1, math.inf, -math.inf, "text", "$tensor"],
        "pairs": (1, (2.5, "b"), []),
        "by number": {3: "c", (1, 2): shared},
        "$tensor": {"$float": "1"},
        "tensors": [shared, None, torch.tensor([], dtype=torch.bfloat16), torch.tensor(True)],
        "arrays": [np.arange(6, dtype=np.uint32).reshape(2, 3), np.array(2.5, np.float32)],
    }
    tensors = {}
    packed = json.loads(json.dumps(pack({**value, "lost": object(), "nan": math.nan}, "v", tensors), allow_nan=False))
    found = unpack(packed, tensors, CPU)
    assert found.pop("lost") is LOST
    assert math.isnan(found.pop("nan"))
    for before, after in zip(value.pop("arrays"), found.pop("arrays"), strict=True):
        np.testing.assert_array_equal(before, after, strict=True)
    for before, after in zip(value.pop("tensors"), found.pop("tensors"), strict=True):
        assert before is after is None or (torch.equal(before, after) and before.dtype == after.dtype)
    assert torch.equal(found.pop("by number")[1, 2], value.pop("by number")[1, 2])
    assert found == value


def test_copies_are_of_this_moment_and_share_what_is_shared():
    tensor = torch.arange(6.0).reshape(2, 3)
    taken = copied({"a": tensor, "tied": tensor, "turned": tensor.T, "none": torch.empty(0)})
    tensor.zero_()
    assert taken["a"].tolist() == [[0, 1, 2], [3, 4, 5]]
    assert taken["tied"] is taken["a"]
    assert taken["turned"].tolist() == [[0, 3], [1, 4], [2, 5]]


def test_the_last_ones_stay_and_the_best(tmp_path):
    for step in (1, 2, 3, 4, 5):
        save(tmp_path, step, keep=2, best_step=2, best=None if step <= 2 else b"0" * 8)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["latest", "step-000002", "step-000004", "step-000005"]
    assert (tmp_path / "latest").read_text() == "step-000005\n"


def rewritten(folder, **changed):
    """A manifest that agrees with whatever files the folder has: nothing but what they are can give it away."""
    files = {
        path.name: (path.stat().st_size, hashlib.sha256(path.read_bytes()).hexdigest())
        for path in folder.iterdir()
        if path.name != "manifest.json"
    }
    (folder / "manifest.json").write_bytes(Manifest(files, {"step": int(folder.name[5:]), **changed}).text())


def test_whatever_byte_changes_the_one_before_is_used(folder):
    last = folder / "step-000020"
    same(newest(folder).saved, 20)
    names = [path.name for path in last.iterdir()]
    assert sorted(names) == ["manifest.json", "model.safetensors", "optimizer.safetensors", "state.json"]
    for name in names:
        content = (last / name).read_bytes()
        flipped = [content[:i] + bytes([content[i] ^ 1 << i % 8]) + content[i + 1 :] for i in range(len(content))]
        cut = [content[:-1], content[: len(content) // 2], b"", content + b"\n"]
        for other in (*flipped, *cut, None):
            if other is None:
                (last / name).unlink()
            else:
                (last / name).write_bytes(other)
            search = newest(folder)
            assert search.saved.step == 10
            ((damaged, reason),) = search.damaged
            assert damaged == "step-000020"
            assert name in reason or name == "manifest.json"
        (last / name).write_bytes(content)
    same(newest(folder).saved, 20)
    shutil.rmtree(last)
    search = newest(folder)
    same(search.saved, 10)
    assert search.damaged == (("step-000020", "it is missing, and `latest` names it"),)


class Payload:
    """Leaves a mark where somebody unpickles it."""

    def __init__(self, mark):
        self.mark = mark

    def __reduce__(self):
        return os.system, (f"touch {self.mark}",)


def hostile(last, outside):
    """Ways to make a checkpoint, each beginning with one that is whole."""
    weights = last / "model.safetensors"
    secret = outside / "secret.safetensors"
    secret.write_bytes(weights.read_bytes())
    header = b'{"weight":{"dtype":"F32","shape":[9223372036854775807],"data_offsets":[0,4]}}'
    yield "pickle", lambda: weights.write_bytes(pickle.dumps(Payload(outside / "mark"))), True
    yield "pickle beside", lambda: (last / "model.pkl").write_bytes(pickle.dumps(Payload(outside / "mark"))), False
    yield "pickle listed", lambda: (last / "model.pkl").write_bytes(pickle.dumps(Payload(outside / "mark"))), True
    yield "a long header", lambda: weights.write_bytes((2**62).to_bytes(8, "little") + b"{}"), True
    yield "a gigantic header", lambda: weights.write_bytes((2**27).to_bytes(8, "little") + b" " * 2**27), True
    yield "gigantic tensors", lambda: weights.write_bytes(len(header).to_bytes(8, "little") + header + b"0000"), True
    yield "deep", lambda: (last / "state.json").write_bytes(b"[" * 200_000), True
    yield "a list", lambda: (last / "state.json").write_bytes(b"[]"), True
    yield "a long number", lambda: (last / "state.json").write_bytes(b'{"step": ' + b"9" * 10_000 + b"}"), True
    yield "a link", lambda: (weights.unlink(), weights.symlink_to(secret)), True
    yield "a pipe", lambda: (weights.unlink(), os.mkfifo(weights)), False
    yield "a folder", lambda: (weights.unlink(), weights.mkdir()), False
    yield "large", lambda: os.truncate(last / "manifest.json", 2**40), False
    yield "another step", lambda: rewritten(last, step=10), False
    for name in ("../secret.safetensors", str(secret), "a/b.safetensors", ".hidden.json", "model.safetensors\n"):
        text = Manifest({name: (1, "0" * 64)}, {"step": 20}).text()
        yield repr(name), lambda text=text: (last / "manifest.json").write_bytes(text), False


def test_what_somebody_else_has_made_is_refused_and_nothing_runs(folder, tmp_path):
    whole = tmp_path / "whole"
    last = folder / "step-000020"
    shutil.copytree(last, whole)
    for name, attack, agreeing in hostile(last, tmp_path):
        attack()
        if agreeing:
            rewritten(last)
        search = newest(folder)
        assert search.saved.step == 10, name
        assert [damaged for damaged, _ in search.damaged] == ["step-000020"], name
        assert not (tmp_path / "mark").exists()
        shutil.rmtree(last)
        shutil.copytree(whole, last)
    shutil.rmtree(last)
    last.symlink_to(whole)
    assert newest(folder).saved.step == 10
    folder.rename(tmp_path / "elsewhere")
    folder.symlink_to(tmp_path / "elsewhere")
    assert newest(folder).saved is None


def test_killed_at_any_moment_of_saving_it_has_the_last_or_the_one_before(folder):
    """A process for each moment: it dies at its first, its second, ... change of the disk."""
    calls = [(os, "fsync"), (Path, "rename"), (Path, "replace"), (Path, "mkdir"), (os, "unlink"), (Path, "open")]
    survived, moment = [], 0
    while not survived or survived[-1] != "finished":
        moment += 1
        if (child := os.fork()) == 0:
            try:
                left = [moment]
                for owner, name in calls:
                    setattr(owner, name, dying(getattr(owner, name), left))
                save(folder, 30 + moment, keep=2)
            finally:
                os._exit(0)
        _, status = os.waitpid(child, 0)
        search = newest(folder)
        assert not [name for name, _ in search.damaged]
        same(search.saved, search.saved.step)
        assert search.saved.step == max(saving.steps_in(folder))
        for step in saving.steps_in(folder):
            same(load(folder / saving.folder_of(step)), step)
        assert len(saving.steps_in(folder)) >= 2
        survived.append("finished" if os.WEXITSTATUS(status) == 0 else "before" if search.saved.step < 30 else "after")
    assert {"before", "after"} < set(survived)
    assert saving.steps_in(folder)[-1] == 30 + moment


def dying(function, left):
    def call(*arguments, **named):
        left[0] -= 1
        if left[0] == 0:
            os._exit(9)
        return function(*arguments, **named)

    return call


def test_what_goes_wrong_beside_training_is_told_at_the_next_save_and_at_the_end(tmp_path):
    def full():
        raise RunError(problem)

    problem, done = DiskFull(span=option_span("--out", "here"), path="here"), []
    with Writer(background=True) as writer:
        writer.do(full)
        writer.do(lambda: done.append("after it"))
        with pytest.raises(RunError) as raised:
            writer.finish()
    assert raised.value.problem is problem
    with Writer(background=True) as writer:
        writer.do(full)
        with pytest.raises(RunError):
            [writer.do(lambda: done.append("after it")) for _ in range(9)]  # more than wait
    assert done == []
    with Writer(background=False) as writer, pytest.raises(RunError):
        writer.do(full)


def test_a_disk_that_is_too_small_is_seen_before_anything_is_written(folder):
    before = sorted(folder.rglob("*"))
    with (
        patch.object(shutil, "disk_usage", lambda _: shutil._ntuple_diskusage(10**9, 10**9 - 100, 100)),
        pytest.raises(RunError) as raised,
    ):
        save(folder, 30)
    assert raised.value.problem.code == "E0805"
    assert "and 100 are free" in raised.value.problem.message
    assert sorted(folder.rglob("*")) == before
