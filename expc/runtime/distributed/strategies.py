"""How processes share a model: each has a copy of it (ddp), or a part of it (fsdp).

The processes' gradients are added up, since each process's loss is its share of the whole loss. torch's wrappers take
the mean instead, so that losses are multiplied by the number of processes before.
"""

import warnings
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from typing import Any, Final

import torch
from torch.nn.parallel import DistributedDataParallel

from expc.runtime.task import Task
from expc.spec.sections import Distributed


class Strategy:
    """One process: nothing is shared."""

    name: str = "none"

    def passing(self, turn: int | None, *, last: bool) -> AbstractContextManager[None]:  # noqa: ARG002 - for others
        """Around a pass forward and backward for a loss: in the `last` one of a step gradients meet those of others."""
        return nullcontext()


class Copies(Strategy):
    """`ddp`: every process has the whole model (torch's `DistributedDataParallel`).

    torch looks once at which parameters learn. So each turn has a wrapper of its own, and gets another one when
    something is thawed.
    """

    name = "ddp"

    def __init__(self, task: Task, settings: Distributed, device: torch.device, *, find_unused: bool) -> None:
        self._task: Final = task
        self._wrapped: dict[int | None, tuple[int, Any, Any]] = {}
        self._settings: Final[dict[str, Any]] = {
            "device_ids": [device] if device.type == "cuda" else None,
            # Who needs the first process's buffers is given them (`World.share_buffers`), and not at every pass.
            "broadcast_buffers": False,
            "find_unused_parameters": find_unused,
            "static_graph": settings.static_graph,
            "gradient_as_bucket_view": settings.gradient_as_bucket_view,
            **({} if settings.bucket_cap_mb is None else {"bucket_cap_mb": settings.bucket_cap_mb}),
        }

    @contextmanager
    def passing(self, turn: int | None, *, last: bool) -> Iterator[None]:
        """As `Strategy` says."""
        wrapper, run = self._wrapper(turn)
        with nullcontext() if last else wrapper.no_sync(), self._task.run_by(run):
            yield

    def _wrapper(self, turn: int | None) -> tuple[Any, Any]:
        learning = sum(parameter.requires_grad for parameter in self._task.model.parameters())
        known = self._wrapped.get(turn)
        if known is None or known[0] != learning:
            with warnings.catch_warnings():
                # Newer versions of torch have another name for it, which older ones lack.
                warnings.filterwarnings("ignore", "`broadcast_buffers` is deprecated", FutureWarning)
                wrapper = DistributedDataParallel(self._task.model, **self._settings)
            known = self._wrapped[turn] = (learning, wrapper, self._task.compiled(wrapper))
        return known[1:]
