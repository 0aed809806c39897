"""Writing a checkpoint: beside its place, flushed to the disk file by file, and then moved there."""

import hashlib
import json
import os
import re
import secrets
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import torch
from torch import Tensor

from expc.frozen import dataclass, field
from expc.runtime.checkpoint.manifest import NAME, SHARDS, Manifest
from expc.runtime.checkpoint.packing import State, Tensors
from expc.runtime.distributed.parts import is_split
from expc.runtime.errors import RunError, option_span
from expc.runtime.errors.output import DiskFull
from expc.runtime.rundir import flush, write_whole, writing
from expc.runtime.weights import weights_as_bytes

if TYPE_CHECKING:
    from torch.distributed.tensor import DTensor

    from expc.runtime.checkpoint.shards import Together

STEP_DIGITS: Final = 6
LATEST: Final = "latest"
BEST: Final = "best.safetensors"
_STEP: Final = re.compile(r"step-(\d{6,18})")
_ROOM: Final = 1 << 16
"""Bytes besides: the manifest, folders."""


@dataclass(frozen=True)
class Snapshot:
    """The state of a run at one moment, in memory of its own; of what is in parts, those of this process."""

    step: int
    tensors: Mapping[str, Tensors]
    plain: Mapping[str, Any]
    best_step: int
    """The step with the best weights; 0 where none are."""
    facts: Mapping[str, Any]
    parts: "Mapping[str, DTensor]" = field(default_factory=dict)
    """Tensors of which this process has a part, by file and name."""

    @property
    def size(self) -> int:
        """Bytes that its tensors take on the disk, or a few more; those of the parts of all processes too."""
        tensors = [tensor for group in self.tensors.values() for tensor in group.values()] + [*self.parts.values()]
        return sum(t.numel() * t.element_size() + 256 for t in tensors)


def snapshot(
    step: int, state: State, best_step: int, facts: Mapping[str, Any], together: "Together | None" = None
) -> Snapshot:
    """Copy what training goes on to change: the one part of saving that it waits for.

    What `state` has besides tensors was made for it, and changes no more. What is in parts is saved `together`.
    """
    if together is None:
        return Snapshot(
            step, {name: copied(group) for name, group in state.tensors.items()}, state.plain, best_step, facts
        )
    whole = {
        file: {name: tensor for name, tensor in group.items() if not is_split(tensor)}
        for file, group in state.tensors.items()
        if together.is_first
    }
    tensors = {file: copied(group) for file, group in whole.items() if group}
    return Snapshot(step, tensors, state.plain, best_step, facts, together.copied(state.tensors))


def copied(tensors: Tensors) -> dict[str, Tensor]:
    """The tensors in memory of their own, on the CPU; those that share memory share their copy."""
    copies: dict[Any, Tensor] = {}
    result: dict[str, Tensor] = {}
    for name, tensor in tensors.items():
        where = (tensor.device, tensor.data_ptr(), tensor.shape, tensor.stride(), tensor.dtype)
        if where not in copies or not tensor.numel():
            copies[where] = tensor.detach().to("cpu", copy=True, memory_format=torch.contiguous_format)
        result[name] = copies[where]
    return result


def folder_of(step: int) -> str:
    """The name of the folder of a step's checkpoint."""
    return f"step-{step:0{STEP_DIGITS}d}"


def step_of(name: str) -> int | None:
    """The step of the checkpoint in a folder of this name; none for other folders."""
    found = _STEP.fullmatch(name)
    return None if found is None else int(found[1])


def steps_in(folder: Path) -> list[int]:
    """The steps that have a checkpoint, whole or not, in order."""
    return sorted(step for entry in folder.glob("step-*") if (step := step_of(entry.name)) is not None)


def write(
    folder: Path, taken: Snapshot, keep: int, best: bytes | None = None, together: "Together | None" = None
) -> None:
    """Write a checkpoint, point `latest` at it, and remove older ones than the last `keep`, but for the best.

    `best` is the file with the best weights, where those are not of this step. Processes that have parts call this
    `together`; the first one writes all the rest. Raises `RunError` and leaves no trace where the checkpoint cannot be
    written.
    """
    final = folder / folder_of(taken.step)
    with writing(final):
        if together is not None and not together.is_first:
            together.write(taken.parts, None)
            return
        plain = json.dumps(taken.plain, allow_nan=False).encode() + b"\n"
        partial = _unique(final)
        try:
            folder.mkdir(parents=True, exist_ok=True)
            refuse_little_space(folder, final, taken.size + len(plain) + len(best or b"") + _ROOM)
            partial.mkdir()
        except BaseException:
            if together is not None:
                together.call_off()
            raise
        try:
            files: dict[str, tuple[int, str]] = {}
            if together is not None:
                files |= together.write(taken.parts, partial)
                flush(partial / SHARDS)
            for name, group in taken.tensors.items():
                files[f"{name}.safetensors"] = _write(partial / f"{name}.safetensors", weights_as_bytes(group))
            if best is not None:
                files[BEST] = _write(partial / BEST, best)
            files["state.json"] = _write(partial / "state.json", plain)
            _write(partial / NAME, Manifest(files, taken.facts).text())
            flush(partial)
            partial.rename(final)
        except BaseException:
            shutil.rmtree(partial, ignore_errors=True)
            raise
        flush(folder)
        write_whole(folder / LATEST, final.name.encode() + b"\n")
        flush(folder)
        _prune(folder, keep, taken.best_step)


def refuse_little_space(folder: Path, path: Path, size: int) -> None:
    """Raise `RunError` (E0805) where `size` bytes more do not fit on the disk of `folder`."""
    free = shutil.disk_usage(folder).free
    if free < size:
        span = option_span("--out", str(path))
        raise RunError(DiskFull(span=span, path=str(path), detail=f": it takes {size:,} bytes, and {free:,} are free"))


def _write(path: Path, content: bytes) -> tuple[int, str]:
    with path.open("wb") as file:
        file.write(content)
        file.flush()
        os.fsync(file.fileno())
    return len(content), hashlib.sha256(content).hexdigest()


def _prune(folder: Path, keep: int, best_step: int) -> None:
    for step in steps_in(folder)[:-keep]:
        if step != best_step:
            remove(folder / folder_of(step))


def remove(old: Path) -> None:
    """Remove a checkpoint: its name goes first, so that no part of one ever stands under it."""
    doomed = _unique(old)
    old.rename(doomed)
    shutil.rmtree(doomed)


def _unique(path: Path) -> Path:
    """A name beside `path` that no other process chooses, nor this one again."""
    return path.with_name(f".{path.name}.{os.getpid()}.{secrets.token_hex(4)}.partial")
