"""Activation checkpointing: modules that forget their activations, and compute them anew for the backward pass."""

from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext
from functools import partial
from itertools import pairwise
from typing import Any, Final, TypeGuard

import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm
from torch.nn.modules.instancenorm import _InstanceNorm
from torch.utils.checkpoint import checkpoint, set_checkpoint_early_stop

from expc.compiler.errors.python import ExecutionError, RuntimeFailure
from expc.compiler.lower.block import Block
from expc.compiler.lower.steps import Run
from expc.compiler.program import Segments


def recompute(model: nn.Module, paths: Sequence[str]) -> None:
    """Make the modules at `paths` compute their activations anew. Keys and results stay as they are, bit for bit."""
    for path in paths:
        module = model.get_submodule(path)
        # An attribute of the instance, so that the tree of modules, and with it every key, stays as it is.
        module.forward = partial(_forward, module)


def recompute_in_segments(model: nn.Module, segments: Segments) -> None:
    """Make the steps of one module compute their activations anew, segment by segment, all but the last.

    That one's are needed at once, as in `torch.utils.checkpoint.checkpoint_sequential`.
    """
    block = model.get_submodule(segments.path)
    assert isinstance(block, Block)  # noqa: S101 - what has steps is one
    runs = block.plan.in_training
    first = {origin.step: get for get, origin in block.plan.origins.items()}
    heads = [first[block.plan.container.steps[start]] for start in segments.starts[1:]]
    bounds = [0, *(index for index, (get, _) in enumerate(runs) if get in heads), len(runs)]
    parts = [runs[start:end] for start, end in pairwise(bounds)]
    block.forward = partial(_walk_in_segments, block, parts)  # type: ignore[method-assign]


def _forward(module: nn.Module, *inputs: Any, **named: Any) -> Any:
    run = partial(type(module).forward, module)
    if not (module.training and torch.is_grad_enabled()):
        return run(*inputs, **named)
    return _anew(module, run, *inputs, **named)


def _walk_in_segments(block: Block, parts: Sequence[Sequence[Run]], *inputs: Any, **named: Any) -> Any:
    if not (block.training and torch.is_grad_enabled()):
        return Block.forward(block, *inputs, **named)
    plan = block.plan
    env = [*plan.inputs(inputs, named), *plan.added]
    try:
        for runs in parts[:-1]:
            env = _anew(block, partial(_walk, block, runs), *env)
    except _ChangedInPlace as error:
        span, step = plan.container.span, plan.container.title
        raise ExecutionError(RuntimeFailure(span=span, step=step, reason=str(error))) from error
    return plan.result(block, _walk(block, parts[-1], *env))


def _walk(block: Block, runs: Sequence[Run], *values: Any) -> list[Any]:
    env = list(values)
    block.walk(block.plan, runs, env)
    return env


class _ChangedInPlace(RuntimeError):
    """What is computed anew has changed what it starts from: the second time it would start from something else."""

    REASON: Final = (
        "`recompute` cannot compute anew what starts with a layer that changes its input in place: "
        "write `inplace=false` there"
    )


def _anew(module: nn.Module, run: Any, *inputs: Any, **named: Any) -> Any:
    if torch.compiler.is_compiling() and not any(map(_has_statistics, module.modules())):
        return checkpoint(run, *inputs, use_reentrant=False, **named)  # a part of the graph
    before = _versions(inputs)
    # torch would stop as soon as it has all it needs, by an exception, which blocks take for a failure of the step.
    with set_checkpoint_early_stop(False):
        result = checkpoint(run, *inputs, use_reentrant=False, context_fn=partial(_contexts, module), **named)
    if before != _versions(inputs):
        raise _ChangedInPlace(_ChangedInPlace.REASON)
    return result


def _versions(values: Sequence[Any]) -> list[int]:
    """How often each tensor was changed in place."""
    return [value._version for value in values if isinstance(value, Tensor)]  # noqa: SLF001 - torch has no other name


def _contexts(module: nn.Module) -> tuple[AbstractContextManager[None], AbstractContextManager[None]]:
    return nullcontext(), _without_statistics(module)


@contextmanager
def _without_statistics(module: nn.Module) -> Iterator[None]:
    """Batch statistics were taken in the first time: meanwhile they are computed, and not taken in."""
    keeping = [(m, m.momentum, m.num_batches_tracked) for m in module.modules() if _has_statistics(m) and m.training]
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


def _has_statistics(module: nn.Module) -> TypeGuard[_BatchNorm | _InstanceNorm]:
    return isinstance(module, _BatchNorm | _InstanceNorm) and module.track_running_stats
