"""The processes of a run together: who this one is, and what they tell each other.

One process alone is no special case: its `World` answers everything with what it was given.
"""

import json
import math
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from datetime import timedelta
from pathlib import Path
from typing import Any, Final

import torch
import torch.distributed as dist
from torch import Tensor, nn

from expc.runtime.distributed.reports import Report


class World:
    """One process alone."""

    rank: int = 0
    """The number of this process, from 0."""
    size: int = 1
    """How many processes there are."""
    local_rank: int = 0
    """The number of this process among those of its machine."""
    local_size: int = 1
    step: int = 0
    """The step that this process is at."""

    @property
    def group(self) -> Any:
        """Torch's name for the processes, between whose devices data is carried."""
        return dist.group.WORLD

    def at(self, step: int, phase: str) -> None:
        """Say how far this process is, for whoever started it."""

    def begun(self, directory: Path) -> None:
        """The run begins: say where its files are, for whoever started it, and wait no longer than the file says."""

    @property
    def is_first(self) -> bool:
        """Whether this is the process that writes and shows."""
        return self.rank == 0

    @property
    def now(self) -> float:
        """Seconds of a clock that all processes read alike: the first one's, as of the last `agree`."""
        return time.monotonic()

    def agree(self, number: int) -> int:
        """The largest of what all processes give; sets the clock. All must call it, once a step."""
        return number

    def largest(self, number: float) -> float:
        """The largest of the numbers that the processes give."""
        return number

    def sums(self, numbers: Sequence[float]) -> list[float]:
        """The sums over the processes, number by number, in double precision."""
        return list(numbers)

    def summed(self, tensor: Tensor) -> Tensor:
        """The sum over the processes, on the device."""
        return tensor

    def everyones(self, value: Any) -> list[Any]:
        """A plain value (what JSON holds) of each process, in their order."""
        return [value]

    def firsts(self, value: Any) -> Any:
        """The plain value that the first process gives."""
        return value

    def joined(self, tensor: Tensor, dim: int = 0) -> list[Tensor]:  # noqa: ARG002 - for several
        """A tensor of each process, in their order; they may differ in size along `dim`."""
        return [tensor]

    def of_those_who_have(self, tensor: Tensor | None) -> list[Tensor]:
        """The tensors of those processes that have one; they may differ in their first dimension."""
        return [] if tensor is None else [tensor]

    def bytes_of_all(self, written: bytes) -> list[bytes]:
        """What each process has written, in their order."""
        return [written]

    def share_buffers(self, model: nn.Module) -> None:
        """Give all processes the first one's buffers, such as batch statistics."""

    @contextmanager
    def first_here(self) -> Iterator[None]:
        """Inside, the first process of each machine is alone at first; the others follow when it is done."""
        yield

    def wait(self) -> None:
        """Wait until all processes are here."""

    def close(self) -> None:
        """Part from the others."""

    def slice_of(self, samples: int) -> slice:
        """The part of this process of so many samples; the first ones get one more where they do not divide.

        Where there are fewer samples than processes, some get none.
        """
        return slice(-(-samples * self.rank // self.size), -(-samples * (self.rank + 1) // self.size))


class Many(World):
    """One of several processes, which have found each other through `torch.distributed`.

    Every method is a collective: all processes call it, in the same order.
    """

    def __init__(self, *, local_rank: int, local_size: int, starting: timedelta, timeout: timedelta) -> None:
        """`torch.distributed` is initialised already. What is no tensor of the model goes over gloo.

        A process waits `starting` for another one until the run has begun, and then `timeout`.
        """
        self.rank = dist.get_rank()
        self.size = dist.get_world_size()
        self.local_rank, self.local_size = local_rank, local_size
        apart = dist.get_backend() != "gloo"
        self._group: Final = dist.new_group(backend="gloo", timeout=starting) if apart else dist.group.WORLD
        self._timeout: Final = timeout
        self._now = time.monotonic()
        self._report: Final = Report(self.rank)
        self.agree(0)

    def at(self, step: int, phase: str) -> None:
        """As `World` says."""
        self.step = step
        self._report.at(step, phase)

    @property
    def now(self) -> float:
        """As `World` says."""
        return self._now

    def begun(self, directory: Path) -> None:
        """As `World` says."""
        if self.local_rank == 0:  # each machine has a launcher, which wants to know
            self._report.begun(directory)
        for group in {dist.group.WORLD, self._group}:
            dist.distributed_c10d._set_pg_timeout(self._timeout, group)  # noqa: SLF001 - torch has no other way

    def agree(self, number: int) -> int:
        """As `World` says."""
        told = torch.tensor([float(number), time.monotonic() if self.is_first else -math.inf], dtype=torch.float64)
        dist.all_reduce(told, dist.ReduceOp.MAX, self._group)
        agreed, self._now = told.tolist()
        return int(agreed)

    def largest(self, number: float) -> float:
        """As `World` says."""
        told = torch.tensor(number, dtype=torch.float64)
        dist.all_reduce(told, dist.ReduceOp.MAX, self._group)
        return float(told)

    def sums(self, numbers: Sequence[float]) -> list[float]:
        """As `World` says."""
        if not numbers:
            return []
        told = torch.tensor(numbers, dtype=torch.float64)
        dist.all_reduce(told, group=self._group)
        return list(map(float, told))

    def summed(self, tensor: Tensor) -> Tensor:
        """As `World` says."""
        total = tensor.detach().clone()
        dist.all_reduce(total)
        return total

    def bytes_of_all(self, written: bytes) -> list[bytes]:
        """As `World` says."""
        found = self._gathered(torch.frombuffer(bytearray(written), dtype=torch.uint8))
        return [each.numpy().tobytes() for each in found]

    def everyones(self, value: Any) -> list[Any]:
        """As `World` says."""
        return [json.loads(each) for each in self.bytes_of_all(json.dumps(value).encode())]

    def firsts(self, value: Any) -> Any:
        """As `World` says."""
        return self.everyones(value if self.is_first else None)[0]

    def joined(self, tensor: Tensor, dim: int = 0) -> list[Tensor]:
        """As `World` says."""
        # Over the default group, which is made for the device that the tensor lives on.
        moved = tensor.detach().movedim(dim, 0).contiguous()
        return [each.movedim(0, dim) for each in self._gathered(moved, dist.group.WORLD)]

    def of_those_who_have(self, tensor: Tensor | None) -> list[Tensor]:
        """As `World` says."""
        mine = None if tensor is None else [str(tensor.dtype)[6:], list(tensor.shape), tensor.device.type]
        kinds = self.everyones(mine)
        known = next((kind for kind in kinds if kind is not None), None)
        if known is None:
            return []
        if tensor is None:
            dtype, shape, device = known
            tensor = torch.empty([0, *shape[1:]], dtype=getattr(torch, dtype), device=device)
        return [each for each, kind in zip(self.joined(tensor), kinds, strict=True) if kind is not None]

    def share_buffers(self, model: nn.Module) -> None:
        """As `World` says."""
        for buffer in model.buffers():
            dist.broadcast(buffer.detach(), 0)

    @contextmanager
    def first_here(self) -> Iterator[None]:
        """As `World` says."""
        if self.local_rank:
            self.wait()
        yield
        if not self.local_rank:
            self.wait()

    def wait(self) -> None:
        """As `World` says."""
        dist.barrier(self._group)

    def close(self) -> None:
        """As `World` says."""
        if dist.is_initialized():
            dist.destroy_process_group()

    def _gathered(self, tensor: Tensor, group: Any = None) -> list[Tensor]:
        group = group or self._group
        length = torch.tensor([len(tensor)], device=tensor.device)
        lengths = [torch.empty_like(length) for _ in range(self.size)]
        dist.all_gather(lengths, length, group)
        sizes = [int(each) for each in lengths]
        # gloo gathers tensors of one size only.
        padded = tensor.new_zeros((max(sizes), *tensor.shape[1:]))
        padded[: len(tensor)] = tensor
        found = [torch.empty_like(padded) for _ in sizes]
        dist.all_gather(found, padded, group)
        return [each[:size] for each, size in zip(found, sizes, strict=True)]
