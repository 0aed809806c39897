"""What several processes have written in parts, read by one that trusts nothing."""

import hashlib
import json
import pickle
from pathlib import Path

import pytest
import safetensors.torch
import torch

from expc.runtime.checkpoint.forms import whole
from expc.runtime.checkpoint.loading import load
from expc.runtime.checkpoint.manifest import SHARDS, Damaged, Manifest
from expc.runtime.checkpoint.saving import folder_of

ROWS = torch.arange(6.0).view(3, 2)
HALVES = {"a.safetensors": (0, ROWS[:2]), "b.safetensors": (2, ROWS[2:])}


class Harm:
    """What a pickle runs."""

    def __init__(self, path):
        self.path = path

    def __reduce__(self):
        return Path.touch, (self.path,)


def part(row, rows, **info):
    where = json.dumps({"model/w": {"saved_offsets": [row, 0]} | info})
    return safetensors.torch.save({"model/w": rows.clone()}, {"DCP_SHARDING_INFO": where})


def checkpoint(folder, files):
    """A checkpoint with these files, and a manifest that agrees with them."""
    path = folder / folder_of(1)
    (path / SHARDS).mkdir(parents=True)
    contents = {"state.json": b"{}"} | {f"{SHARDS}/{name}": content for name, content in files.items()}
    listed = {}
    for name, content in contents.items():
        (path / name).write_bytes(content)
        listed[name] = (len(content), hashlib.sha256(content).hexdigest())
    (path / "manifest.json").write_bytes(Manifest(listed, {"step": 1}).text())
    return path


def test_parts_are_read_without_the_processes_that_wrote_them(tmp_path):
    saved = load(checkpoint(tmp_path, {name: part(*half) for name, half in HALVES.items()})).state
    assert saved.tensors["model"]["w"].is_meta
    assert torch.equal(whole(saved, "model")["w"], ROWS)


@pytest.mark.parametrize(
    ("files", "reason"),
    [
        ({"b.safetensors": part(2, ROWS[2:])}, "a part of 'model/w' is missing"),
        ({"a.safetensors": part(0, ROWS[:2]), "b.safetensors": part(1, ROWS[2:])}, "a part of 'model/w' is missing"),
        ({"a.safetensors": part(0, ROWS, saved_offsets="up")}, "is no part of a tensor"),
        ({"a.safetensors": part(0, ROWS, saved_offsets=[])}, "is no part of a tensor"),
        ({"a.safetensors": part(0, ROWS, saved_offsets=[-1, 0])}, "a part of 'model/w' is missing"),
        ({"a.safetensors": b"\xff" * 64}, "is no part of a tensor"),
        ({"a.safetensors": "pickle"}, "is no part of a tensor"),
        ({"a.safetensors": part(0, ROWS), ".metadata": "pickle"}, "which is no file of a checkpoint"),
    ],
)
def test_what_is_no_part_is_refused_and_nothing_is_run(tmp_path, files, reason):
    harm = tmp_path / "harm"
    harmful = pickle.dumps(Harm(harm))
    path = checkpoint(tmp_path, {name: harmful if file == "pickle" else file for name, file in files.items()})
    with pytest.raises(Damaged, match=reason):
        load(path)
    assert not harm.exists()
    pickle.loads(harmful)
    assert harm.exists()


def test_a_byte_that_changed_and_a_file_that_came_are_seen(tmp_path):
    path = checkpoint(tmp_path, {name: part(*half) for name, half in HALVES.items()})
    with (path / SHARDS / "b.safetensors").open("r+b") as file:
        file.seek(-1, 2)
        file.write(b"!")
    with pytest.raises(Damaged, match=r"b\.safetensors is not what was saved"):
        load(path)
    (path / SHARDS / ".metadata").write_bytes(b"")
    with pytest.raises(Damaged, match="which its manifest does not list"):
        load(path)
    (path / SHARDS).rename(tmp_path / "elsewhere")
    (path / SHARDS).symlink_to(tmp_path / "elsewhere")
    with pytest.raises(Damaged, match="which its manifest does not list"):
        load(path)
