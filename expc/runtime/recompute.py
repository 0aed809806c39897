"""Activation checkpointing: modules that forget their activations, and compute them anew for the backward pass."""

from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext
from functools import partial
from typing import Any

import torch
from torch import nn
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
    """Batch statistics were taken in already: the second time they are computed, and not kept."""
    keeping = [m for m in module.modules() if getattr(m, "track_running_stats", False)]
    for inner in keeping:
        inner.track_running_stats = False  # type: ignore[assignment]
    try:
        yield
    finally:
        for inner in keeping:
            inner.track_running_stats = True  # type: ignore[assignment]
