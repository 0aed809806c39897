"""What is in parts in several processes (`fsdp`), in a checkpoint: each process writes its own (torch's `dcp`).

The parts are safetensors too, with where each lies in the header (torch's `HuggingFaceStorageWriter`): dcp's own format
has a pickle in the middle, which runs what it likes when it is read.

Any number of processes may read what any number has written.
"""

import errno
import os
import warnings
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

import torch
import torch.distributed as dist
from safetensors import SafetensorError
from torch import Tensor
from torch.distributed.checkpoint.api import CheckpointException
from torch.distributed.checkpoint.hf_storage import HuggingFaceStorageReader, HuggingFaceStorageWriter
from torch.distributed.checkpoint.metadata import TensorStorageMetadata
from torch.distributed.checkpoint.state_dict_loader import load
from torch.distributed.checkpoint.state_dict_saver import save
from torch.distributed.device_mesh import DeviceMesh
from torch.distributed.tensor import DTensor

from expc.runtime.checkpoint.manifest import SHARDS, Damaged, hash_of
from expc.runtime.checkpoint.packing import Tensors
from expc.runtime.distributed.parts import is_split, local, spread

_UNREADABLE: Final = (
    OSError,
    ValueError,
    KeyError,
    IndexError,
    TypeError,
    AttributeError,
    RuntimeError,
    SafetensorError,
)
"""What reading the headers of files raises that somebody has written who is no writer of ours."""


class Together:
    """The processes that save one checkpoint, each its part. Their group uses gloo, and nobody else uses it."""

    def __init__(self, group: dist.ProcessGroup) -> None:
        self._group: Final = group
        self._mesh: Final = DeviceMesh.from_group(self._group, "cpu")

    @property
    def is_first(self) -> bool:
        """Whether this process writes what is in no parts."""
        return self._mesh.get_local_rank() == 0

    def copied(self, tensors: Mapping[str, Tensors]) -> dict[str, DTensor]:
        """What is in parts, by file and name, in memory of its own on the CPU."""
        return {
            f"{file}/{name}": spread(local(tensor.detach()).to("cpu", copy=True), tensor.shape, self._mesh)
            for file, group in tensors.items()
            for name, tensor in group.items()
            if is_split(tensor)
        }

    def write(self, parts: Mapping[str, DTensor], folder: Path | None) -> dict[str, tuple[int, str]]:
        """Write the parts under `folder`, which only the first process knows; none: it could not make one.

        Gives sizes and hashes by name in all processes. Where one cannot write, all raise its OSError.
        """
        found: list[Any] = [None if folder is None else str(folder)]
        dist.broadcast_object_list(found, group_src=0, group=self._group)
        if found[0] is None:
            raise OSError(errno.EIO, "the first process could not begin to save")
        place = Path(found[0]) / SHARDS
        writer = HuggingFaceStorageWriter(str(place), save_distributed=True)
        try:
            save(dict(parts), storage_writer=writer, process_group=self._group)
        except CheckpointException as error:
            causes = [cause for cause, _ in error.failures.values()]
            raise next(
                (cause for cause in causes if isinstance(cause, OSError)), RuntimeError(str(causes[0]))
            ) from error
        mine: dict[str, tuple[int, str]] | OSError
        try:
            mine = {f"{SHARDS}/{path.name}": _flushed(path) for path in place.glob(self._pattern)}
        except OSError as error:
            mine = OSError(error.errno, error.strerror)
        everyones: list[Any] = [None] * self._mesh.size()
        dist.all_gather_object(everyones, mine, self._group)
        for each in everyones:
            if isinstance(each, OSError):
                raise each
        return {name: file for each in everyones for name, file in each.items()}

    def call_off(self) -> None:
        """Tell the others, which wait in `write`, that the first process cannot begin."""
        dist.broadcast_object_list([None], group_src=0, group=self._group)

    @property
    def _pattern(self) -> str:
        """The files that dcp writes in this process."""
        return f"shard-{self._mesh.get_local_rank() + 1:05d}-*"


def announced(folder: Path) -> dict[str, dict[str, Tensor]]:
    """What parts there are in the checkpoint in `folder`: by file and name, tensors on the meta device.

    Raises `Damaged` where the parts of one are not all there.
    """
    if not (folder / SHARDS).is_dir():
        return {}
    tensors: dict[str, dict[str, Tensor]] = {}
    try:
        for key, parts in HuggingFaceStorageReader(str(folder / SHARDS)).read_metadata().state_dict_metadata.items():
            assert isinstance(parts, TensorStorageMetadata)  # noqa: S101 - it reads nothing else
            if not _is_covered(parts):
                raise Damaged(f"a part of {key[:100]!r} is missing, or there twice")
            file, _, name = key.partition("/")
            tensors.setdefault(file, {})[name] = torch.empty(parts.size, dtype=parts.properties.dtype, device="meta")
    except _UNREADABLE as error:
        raise Damaged(f"{SHARDS} holds what is no part of a tensor: {error}") from error
    return tensors


def read(folder: Path, wanted: Mapping[str, Tensor]) -> None:
    """Read tensors, or parts of them, from the parts in `folder`, by file and name. Each process does so on its own.

    Raises ValueError where they cannot be read.
    """
    with warnings.catch_warnings():
        # dcp warns that nothing is agreed upon.
        warnings.filterwarnings("ignore", "torch.distributed is disabled")
        try:
            load(dict(wanted), storage_reader=HuggingFaceStorageReader(str(folder)), no_dist=True)
        except CheckpointException as error:
            cause, _ = next(iter(error.failures.values()))
            raise ValueError(f"{type(cause).__name__}: {cause}") from error


def _is_covered(tensor: TensorStorageMetadata) -> bool:
    """Whether the parts are rows that follow each other, from the first to the last."""
    row = 0
    for part in sorted(tensor.chunks, key=lambda part: (part.offsets[0], part.sizes[0])):
        if part.sizes[0] == 0:
            continue
        if part.offsets[0] != row or any(part.offsets[1:]) or part.sizes[1:] != tensor.size[1:]:
            return False
        row += part.sizes[0]
    return row == tensor.size[0]


def _flushed(path: Path) -> tuple[int, str]:
    """The size and the hash of a file that is on the disk now, every byte of it."""
    with path.open("rb") as file:
        os.fsync(file.fileno())
        return path.stat().st_size, hash_of(file)
