"""Histograms of weights and gradients, for TensorBoard."""

from collections.abc import Iterable
from math import ceil
from typing import Any, Final

from torch import Tensor, nn
from torch.optim import Optimizer

from expc.runtime.distributed.parts import gathered
from expc.runtime.events import Events

TIMES: Final = 50
"""How often in a run they are written, about: for large models each takes a while."""


class Histograms:
    """Writes what an optimizer moves, and by which gradients, when it takes a step that is wanted.

    Without events, never. At that moment gradients are whole, clipped, and not scaled any more. Where each process has
    a part of every weight (`in_parts`) all put them together, whoever writes.
    """

    def __init__(
        self,
        events: Events | None,
        model: nn.Module,
        optimizers: Iterable[Optimizer],
        total_steps: int,
        *,
        in_parts: bool = False,
    ) -> None:
        self._events: Final = events
        self._names: Final = {parameter: name for name, parameter in model.named_parameters()}
        self._every: Final = max(1, ceil(total_steps / TIMES))
        self._step: int | None = None
        if events is not None or in_parts:
            for optimizer in optimizers:
                optimizer.register_step_pre_hook(self._before_step)

    def expect(self, step: int) -> None:
        """Optimizer step `step` is next."""
        self._step = step if step == 1 or step % self._every == 0 else None

    def _before_step(self, optimizer: Optimizer, *_: Any) -> None:
        if self._step is None:
            return
        scale = getattr(optimizer, "grad_scale", None)  # GradScaler leaves its work to a fused optimizer
        for group in optimizer.param_groups:
            for parameter in group["params"]:
                name = self._names.get(parameter)
                if name is None:
                    continue
                self._write(f"weights/{name}", parameter, self._step)
                gradient = parameter.grad
                if gradient is not None:
                    values = gradient.coalesce().values() if gradient.is_sparse else gradient
                    values = values if scale is None else values / scale
                    self._write(f"gradients/{name}", values, self._step)

    def _write(self, tag: str, values: Tensor, step: int) -> None:
        values = gathered(values)
        if self._events is not None:
            self._events.histogram(tag, values, step)
