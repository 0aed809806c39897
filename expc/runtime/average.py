"""A running average of the weights (`ema`), which is measured and saved as the best in their place."""

from collections.abc import Mapping
from copy import deepcopy
from typing import Final

import torch
from torch import Tensor, nn

from expc.runtime.checkpoint.forms import filled
from expc.runtime.checkpoint.packing import State
from expc.runtime.task import Task


class Average:
    """Follows the weights of a task; without a decay, `measured` is the task itself.

    It does what torch's `AveragedModel` does with `get_ema_multi_avg_fn`, which waits for the device in every step to
    see whether it is the first.
    """

    def __init__(self, task: Task, decay: float | None) -> None:
        self._averaged: Final = None if decay is None else deepcopy(task.model)
        self._share: Final = 0.0 if decay is None else 1 - decay
        self.measured: Final = task if self._averaged is None else task.with_model(self._averaged)
        """What is evaluated."""
        self.count = 0
        """How many steps the average has taken in."""
        old, new = (_Tensors(model) for model in (self.measured.model, task.model))
        self._blended: Final = old.blended, new.blended
        self._copied: Final = old.copied, new.copied

    def update(self) -> None:
        """Take in the weights after a step; buffers, such as batch statistics, are copied."""
        if self._averaged is None:
            return
        with torch.no_grad():
            average, weights = self._blended
            if average and self.count == 0:
                torch._foreach_copy_(average, weights)
            elif average:
                torch._foreach_lerp_(average, weights, self._share)
            for old, new in zip(*self._copied, strict=True):
                old.copy_(new)
        self.count += 1

    def state(self) -> Mapping[str, Mapping[str, Tensor]]:
        """What a checkpoint must hold, by the name of its file."""
        return {} if self._averaged is None else {"ema": self._averaged.state_dict()}

    def restore(self, saved: State, count: int) -> None:
        """Go on from what a checkpoint held; without an average in it, the next step's weights are the first."""
        if self._averaged is not None and "ema" in saved.tensors:
            self._averaged.load_state_dict(filled(saved, "ema", self._averaged.state_dict()))
            self.count = count


class _Tensors:
    """Those of a model that are averaged, and those that are copied: buffers, and parameters of whole numbers."""

    def __init__(self, model: nn.Module) -> None:
        parameters = list(model.parameters())
        self.blended = [each.detach() for each in parameters if each.is_floating_point() or each.is_complex()]
        whole = [each.detach() for each in parameters if not (each.is_floating_point() or each.is_complex())]
        self.copied = [*whole, *model.buffers()]
