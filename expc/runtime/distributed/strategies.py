"""How processes share a model: each has a copy of it (ddp), or a part of it (fsdp).

The processes' gradients are added up, since each process's loss is its share of the whole loss. torch's wrappers take
the mean instead, so that losses are multiplied by the number of processes before.
"""

import warnings
from collections.abc import Collection, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext
from typing import TYPE_CHECKING, Any, Final

import torch
from torch import Tensor, nn
from torch.nn.parallel import DistributedDataParallel
from torch.nn.utils import clip_grad_norm_, clip_grad_value_
from torch.optim import Optimizer

from expc.runtime.checkpoint.saving import copied
from expc.runtime.distributed.ordered import mean_in_order
from expc.runtime.distributed.parts import is_split
from expc.runtime.task import Task
from expc.spec.sections import Distributed

if TYPE_CHECKING:
    from expc.runtime.checkpoint.shards import Together


class Strategy:
    """One process: nothing is shared."""

    name: str = "none"
    why: str = ""
    """Why `auto` is this one."""
    shares_statistics: bool = False
    """Whether batch norms take their statistics over all processes."""
    in_step: bool = False
    """Whether no process can run the network alone: what one runs, all run at the same time."""
    together: "Together | None" = None
    """How processes that have parts of tensors save them; none where each has all."""

    def passing(self, turn: int | None, *, last: bool) -> AbstractContextManager[None]:  # noqa: ARG002 - for others
        """Around a pass forward and backward for a loss: in the `last` one of a step gradients meet those of others."""
        return nullcontext()

    def clip_norm(self, parameters: Sequence[Tensor], limit: float) -> None:
        """Limit the norm of all gradients together."""
        clip_grad_norm_(parameters, limit)

    def clip_value(self, parameters: Sequence[Tensor], limit: float) -> None:
        """Limit every number of the gradients. torch does not take those in parts together with others."""
        for in_parts in (True, False):
            alike = [parameter for parameter in parameters if is_split(parameter) is in_parts]
            if alike:
                clip_grad_value_(alike, limit)

    def whole(self, model: nn.Module) -> Mapping[str, Tensor]:
        """The `state_dict` of the model, copied to the CPU; of a model in parts only in the first process."""
        return copied(model.state_dict())

    def load(self, model: nn.Module, weights: Mapping[str, Tensor]) -> None:
        """Give the model a whole `state_dict`."""
        model.load_state_dict(weights)

    def settle(self, model: nn.Module) -> None:
        """Let the model's parameters be those that optimizers know: an evaluation may have left others."""

    def counting(self, model: nn.Module, counts: bool) -> AbstractContextManager[None]:
        """Around a pass over samples that count, or do not, in the statistics of all processes' samples."""
        if counts or not self.shares_statistics:
            return nullcontext()
        from expc.runtime.distributed.batchnorm import counting

        return counting(model, counts)

    def moved_by(self, optimizers: Sequence[Optimizer]) -> None:
        """Take note of what moves the weights."""


class Copies(Strategy):
    """`ddp`: every process has the whole model (torch's `DistributedDataParallel`).

    torch looks once at which parameters learn. So each turn has a wrapper of its own, and gets another one when
    something is thawed. It waits for the gradient of each of those, so that it is not told of the `unreached` ones,
    which never have one.
    """

    name = "ddp"

    def __init__(
        self,
        task: Task,
        settings: Distributed,
        device: torch.device,
        *,
        find_unused: bool,
        unreached: Collection[str] = (),
        in_order: bool = False,
    ) -> None:
        self._task: Final = task
        self._unreached: Final = unreached
        self._in_order: Final = in_order
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
                with self._without_unreached():
                    wrapper = DistributedDataParallel(self._task.model, **self._settings)
            if self._in_order:
                wrapper.register_comm_hook(None, mean_in_order)
            # The last to let go of a group waits for its threads. It must be Python, which lets go of its lock for
            # that: where it is the reducer, they wait for each other, for ever. Attributes are freed in this order.
            vars(wrapper)["freed_after_reducer"] = wrapper.process_group
            known = self._wrapped[turn] = (learning, wrapper, self._task.compiled(wrapper))
        return known[1:]

    @contextmanager
    def _without_unreached(self) -> Iterator[None]:
        named = self._task.model.named_parameters()
        unreached = [parameter for key, parameter in named if key in self._unreached and parameter.requires_grad]
        for parameter in unreached:
            parameter.requires_grad_(False)
        try:
            yield
        finally:
            for parameter in unreached:
                parameter.requires_grad_(True)
