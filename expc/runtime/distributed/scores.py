"""What several processes have measured: brought together to be read, and each by itself to be saved."""

from collections.abc import Sequence
from copy import deepcopy
from typing import Any

import torch
from safetensors.torch import load, save
from torch import Tensor

from expc.runtime.checkpoint.packing import pack, unpack
from expc.runtime.distributed.world import World


def everyones(held: Any, world: World, device: torch.device) -> list[Any]:
    """What each process holds, nested values with tensors on `device` in them, in their order; all call this."""
    if world.size == 1:
        return [held]
    tensors: dict[str, Tensor] = {}
    plain = world.everyones(pack(held, "held", tensors))
    copies = {name: tensor.detach().cpu().contiguous().clone() for name, tensor in tensors.items()}
    found = zip(plain, world.bytes_of_all(save(copies)), strict=True)
    return [
        held if rank == world.rank else unpack(each, load(written), device)
        for rank, (each, written) in enumerate(found)
    ]


def mine(saved: Sequence[Any], world: World) -> list[Any]:
    """Of what so many processes have held, what this one goes on with: its own, where there are as many again."""
    return list(saved[world.rank :: world.size])


def together(metrics: Sequence[Any], world: World) -> Any:
    """A metric of torchmetrics that has taken in what all `metrics` of all processes have; all processes call this.

    torchmetrics' own way (`Metric.sync`) needs every process to have taken in something: one without a batch does not
    know what kind of tensors the others hold.
    """
    found = deepcopy(metrics[0])
    found.reset()
    used = [metric for metric in metrics if metric._update_count > 0]  # noqa: SLF001 - it has no other name
    for name, reduction in found._reductions.items():  # noqa: SLF001
        values = [getattr(metric, name) for metric in used]
        if isinstance(getattr(found, name), Tensor):
            everything = world.of_those_who_have(torch.stack(values) if values else None)
            # Where none has taken in anything, what it starts with stays.
            value: Any = torch.cat(everything) if everything else getattr(found, name)[None]
            setattr(found, name, reduction(value) if callable(reduction) else value)
        else:
            pieces = [each.reshape(-1) if each.ndim == 0 else each for value in values for each in value]
            setattr(found, name, world.of_those_who_have(torch.cat(pieces) if pieces else None))
    found._update_count = int(sum(world.sums([sum(metric._update_count for metric in used)])))  # noqa: SLF001
    return found
