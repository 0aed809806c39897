"""A running average of the weights (`ema`), which is measured and saved as the best in their place."""

from collections.abc import Mapping
from typing import Final

from torch import Tensor
from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn

from expc.runtime.task import Task


class Average:
    """Follows the weights of a task; without a decay, `measured` is the task itself."""

    def __init__(self, task: Task, decay: float | None) -> None:
        self._task: Final = task
        self._averaged: Final = (
            None if decay is None else AveragedModel(task.model, multi_avg_fn=get_ema_multi_avg_fn(decay))  # type: ignore[no-untyped-call]
        )
        self.measured: Final = task if self._averaged is None else task.with_model(self._averaged.module)
        """What is evaluated."""

    def update(self) -> None:
        """Take in the weights after a step; buffers, such as batch statistics, are copied."""
        if self._averaged is not None:
            self._averaged.update_parameters(self._task.model)

    def state(self) -> Mapping[str, Mapping[str, Tensor]]:
        """What a checkpoint must hold, by the name of its file."""
        return {} if self._averaged is None else {"ema": self._averaged.module.state_dict()}

    @property
    def count(self) -> int:
        """How many steps the average has taken in."""
        return 0 if self._averaged is None else int(self._averaged.n_averaged)

    def restore(self, tensors: Mapping[str, Mapping[str, Tensor]], count: int) -> None:
        """Go on from what a checkpoint held; without an average in it, the next step's weights are the first."""
        if self._averaged is not None and "ema" in tensors:
            self._averaged.module.load_state_dict(tensors["ema"])
            self._averaged.n_averaged.fill_(count)
