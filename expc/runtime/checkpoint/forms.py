"""Tensors of a checkpoint in the form in which they are needed: whole, or in parts.

They come from a checkpoint of one process as well as from one in parts (`shards`), of any number of processes.
"""

from collections.abc import Mapping

import torch
from torch import Tensor

from expc.runtime.checkpoint.packing import State, Tensors
from expc.runtime.distributed.parts import alike, is_split, local, spread


def filled(saved: State, file: str, like: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """The tensors of a file of a checkpoint, by the names of `like`, each in the form of that one: whole, or in parts.

    Each process reads what it needs. Raises KeyError and ValueError where `like` is of other names or shapes.
    """
    found: dict[str, Tensor] = {}
    wanted: dict[str, Tensor] = {}
    for name, form in like.items():
        tensor = saved.tensors[file][name]
        if tensor.shape != form.shape:
            raise ValueError(f"`{name}` is {list(form.shape)}, and was {list(tensor.shape)}")
        if tensor.is_meta:
            place = torch.empty_like(local(form), dtype=tensor.dtype, device=form.device if is_split(form) else "cpu")
            found[name] = spread(place, form.shape, form.device_mesh) if is_split(form) else place
            wanted[f"{file}/{name}"] = found[name]
        else:
            found[name] = alike(tensor, form)
    if wanted:
        from expc.runtime.checkpoint.shards import read

        assert saved.parts is not None  # noqa: S101 - what is there only in name is in them
        read(saved.parts, wanted)
    return found


def whole(saved: State, file: str) -> Tensors:
    """The tensors of a file of a checkpoint on the CPU, as if no process had had parts."""
    return filled(saved, file, saved.tensors[file])
