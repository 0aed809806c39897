"""Reading a checkpoint: the newest that is whole, and what was found wrong with newer ones."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

import safetensors.torch
from safetensors import SafetensorError
from torch import Tensor

from expc.frozen import dataclass
from expc.runtime.checkpoint.manifest import SHARDS, Damaged, plain_json, read_plain, verified
from expc.runtime.checkpoint.packing import State
from expc.runtime.checkpoint.saving import LATEST, folder_of, step_of, steps_in

_LARGEST_HEADER: Final = 1 << 26
"""Bytes of a safetensors header: a million tensors have fewer."""


@dataclass(frozen=True)
class Saved:
    """A checkpoint that was read and verified."""

    path: Path
    step: int
    state: State
    facts: Mapping[str, Any]


@dataclass(frozen=True)
class Search:
    """What was found among the checkpoints of a run."""

    saved: Saved | None
    """The newest that is whole."""
    damaged: tuple[tuple[str, str], ...]
    """Those after it, by name, and what is wrong with each."""


def newest(folder: Path) -> Search:
    """The newest checkpoint in `folder` that is whole. Nothing is changed, and no code is run, whatever is there."""
    if folder.is_symlink():
        return Search(None, ((folder.name, "it is a link"),))
    steps, damaged = steps_in(folder), []
    pointed = _pointed_at(folder)
    if pointed is not None and pointed not in steps:
        damaged.append((folder_of(pointed), f"it is missing, and `{LATEST}` names it"))
    for step in reversed(steps):
        try:
            return Search(load(folder / folder_of(step)), tuple(damaged))
        except Damaged as error:
            damaged.append((folder_of(step), str(error)))
    return Search(None, tuple(damaged))


def load(path: Path) -> Saved:
    """The checkpoint in a folder. Raises `Damaged`."""
    manifest, contents = verified(path)
    step = step_of(path.name)
    if step is None or manifest.facts.get("step") != step:
        raise Damaged(f"its manifest is that of step {manifest.facts.get('step')}")
    plain = plain_json(contents.pop("state.json", b""), "state.json")
    if not isinstance(plain, dict):
        raise Damaged("state.json is no table")
    tensors = {name.removesuffix(".safetensors"): _tensors(name, content) for name, content in contents.items()}
    if not any(name.startswith(f"{SHARDS}/") for name in manifest.files):
        return Saved(path, step, State(tensors, plain), manifest.facts)
    from expc.runtime.checkpoint.shards import announced

    for file, names in announced(path).items():
        tensors[file] = {**tensors.get(file, {}), **names}
    return Saved(path, step, State(tensors, plain, path / SHARDS), manifest.facts)


def _tensors(name: str, content: bytes) -> dict[str, Tensor]:
    if int.from_bytes(content[:8], "little") > min(_LARGEST_HEADER, len(content)):
        raise Damaged(f"{name} has a header longer than itself, or than any that expc writes")
    try:
        return safetensors.torch.load(content)
    except (SafetensorError, ValueError, KeyError, RuntimeError, TypeError, AttributeError) as error:
        raise Damaged(f"{name} is no safetensors file: {error}") from error


def _pointed_at(folder: Path) -> int | None:
    try:
        return step_of(read_plain(folder, LATEST, 100).decode("ascii", "replace").strip())
    except Damaged:
        return None
