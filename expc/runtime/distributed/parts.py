"""Tensors of which each process has a part: some of the rows, and all of them together every row once."""

from collections.abc import Sequence
from typing import TYPE_CHECKING, TypeGuard

import torch
from torch import Tensor

if TYPE_CHECKING:
    from torch.distributed.device_mesh import DeviceMesh
    from torch.distributed.tensor import DTensor


def is_split(tensor: Tensor) -> "TypeGuard[DTensor]":
    """Whether this process has a part of a tensor only, or one that torch treats so."""
    return hasattr(tensor, "placements")  # importing the class takes a second, which one process need not spend


def part_of(tensor: Tensor, mesh: "DeviceMesh") -> Tensor:
    """What this process has of a tensor: so many rows as divide them, rounded up; the last processes may get none."""
    parts = tensor.chunk(mesh.size())
    return parts[mesh.get_local_rank()] if mesh.get_local_rank() < len(parts) else tensor[:0]


def spread(part: Tensor, shape: Sequence[int], mesh: "DeviceMesh") -> "DTensor":
    """The tensor of this shape of which every process has its `part_of`."""
    from torch.distributed.tensor import DTensor, Shard

    size = torch.Size(shape)
    strides = torch.empty(size, device="meta").stride()
    return DTensor.from_local(part, mesh, [Shard(0)], run_check=False, shape=size, stride=strides)


def local(tensor: Tensor) -> Tensor:
    """What this process has of a tensor, in the same memory."""
    return tensor.to_local() if is_split(tensor) else tensor


def gathered(tensor: Tensor) -> Tensor:
    """A tensor that may be in parts as a whole, without its history. All processes call it."""
    tensor = tensor.detach()
    return tensor.full_tensor() if is_split(tensor) else tensor


def alike(whole: Tensor, like: Tensor) -> Tensor:
    """A tensor that every process has, in the form of another one: the part of it where that is in parts."""
    if not is_split(like):
        return whole
    mesh = like.device_mesh
    return spread(part_of(whole, mesh).to(like.device, copy=True), whole.shape, mesh)
