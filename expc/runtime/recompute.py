"""Activation checkpointing: modules that forget their activations, and compute them anew for the backward pass."""

from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext
from functools import partial
from typing import Any

import torch
from torch import nn
from torch.nn.modules.batchnorm import _BatchNorm
from torch.nn.modules.instancenorm import _InstanceNorm
from torch.utils.checkpoint import checkpoint


def recompute(model: nn.Module, paths: Sequence[str]) -> None:
    """Make the modules at `paths` compute their activations anew. Keys and results stay as they are, bit for bit."""
    for path in paths:
        module = model.get_submodule(path)
        # An attribute of the instance, so that the tree of modules, and with it every key, stays as it is.
        module.forward = partial(_forward, module)


def _forward(module: nn.Module, *inputs: Any, **named: Any) -> Any:
    run = partial(type(module).forward, module)
    if not (module.training and torch.is_grad_enabled()):
        return run(*inputs, **named)
    return checkpoint(run, *inputs, use_reentrant=False, context_fn=partial(_contexts, module), **named)


def _contexts(module: nn.Module) -> tuple[AbstractContextManager[None], AbstractContextManager[None]]:
    return nullcontext(), _without_statistics(module)


@contextmanager
def _without_statistics(module: nn.Module) -> Iterator[None]:
    """Batch statistics were taken in the first time: meanwhile they are computed, and not taken in."""
    keeping = [
        (m, m.momentum, m.num_batches_tracked)
        for m in module.modules()
        if isinstance(m, _BatchNorm | _InstanceNorm) and m.track_running_stats and m.training
    ]
    counts = [None if count is None else count.clone() for _, _, count in keeping]
    for inner, _, _ in keeping:
        inner.momentum = 0.0
    try:
        yield
    finally:
        for (inner, momentum, count), before in zip(keeping, counts, strict=True):
            inner.momentum = momentum
            if count is not None and before is not None:
                count.copy_(before)
