"""Sums of gradients over processes, in the order of the processes.

torch adds the parts of a buffer in an order that depends on where in the buffer a number lies, and it lays the buffer
out anew after the first step of a process. So a run that goes on from a checkpoint would differ in its last digits from
one that never stopped, where three or more numbers are added.
"""

from typing import Any

import torch
import torch.distributed as dist
from torch import Tensor


def mean_in_order(
    _: Any,
    bucket: dist.GradBucket,  # type: ignore[name-defined] # torch's stubs do not list it
) -> torch.futures.Future[Tensor]:
    """A communication hook for `DistributedDataParallel`: the mean of a bucket over all processes.

    Each process adds its part of the bucket and gives the others the sum: as much is sent as torch's own way sends.
    """
    buffer = bucket.buffer()
    size = dist.get_world_size()
    length = -(-buffer.numel() // size)
    given = buffer.new_zeros(size * length)
    given[: buffer.numel()] = buffer
    taken = torch.empty_like(given)
    dist.all_to_all_single(taken, given)
    first, *others = taken.view(size, length)
    total = first.clone()
    for part in others:
        total += part
    dist.all_gather(list(given.view(size, length).unbind()), total / size)
    buffer.copy_(given[: buffer.numel()])
    future: torch.futures.Future[Tensor] = torch.futures.Future()
    future.set_result(buffer)
    return future
