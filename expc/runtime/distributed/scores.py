"""Metrics of torchmetrics, over what several processes have taken in."""

from copy import deepcopy
from typing import Any

import torch
from torch import Tensor

from expc.runtime.distributed.world import World


def can_be_added(metric: Any) -> bool:
    """Whether what a metric holds can be made one with what another one holds, to go on from."""
    return all(reduction is not None for reduction in metric._reductions.values())  # noqa: SLF001 - it has no other name


def together(metric: Any, world: World) -> Any:
    """A metric that has taken in what those of all processes have; all processes call this.

    torchmetrics' own way (`Metric.sync`) needs every process to have taken in something: one without a batch does not
    know what kind of tensors the others hold.
    """
    found = deepcopy(metric)
    found.reset()
    has_some = metric._update_count > 0  # noqa: SLF001
    for name, reduction in metric._reductions.items():  # noqa: SLF001
        mine = getattr(metric, name)
        if isinstance(mine, Tensor):
            everyones = world.of_those_who_have(mine[None] if has_some else None)
            # Where none has taken in anything, what it starts with stays.
            value: Any = torch.cat(everyones) if everyones else mine[None]
            setattr(found, name, reduction(value) if callable(reduction) else value)
        else:
            pieces = world.of_those_who_have(
                torch.cat([each.reshape(-1) if each.ndim == 0 else each for each in mine]) if mine else None
            )
            setattr(found, name, pieces)
    found._update_count = int(sum(world.sums([metric._update_count])))  # noqa: SLF001
    return found
