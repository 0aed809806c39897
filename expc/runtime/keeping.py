"""What is kept of a run: checkpoints along the way, the best weights, and the last ones."""

from collections.abc import Mapping, Sequence
from typing import Any, Final

import torch
from torch import Tensor, nn
from torch.optim import Optimizer

from expc.frozen import dataclass
from expc.runtime.average import Average
from expc.runtime.checkpoint import Checkpoints, optimizer_state
from expc.runtime.optim import Chains
from expc.runtime.precision import Precision
from expc.runtime.rundir import RunDirectory
from expc.runtime.seeds import generator_state
from expc.runtime.watch import Every, Watcher
from expc.runtime.weights import read_weights, weights_as_bytes

BEST: Final = "best.safetensors"
FINAL: Final = "final.safetensors"


@dataclass(frozen=True)
class Keeping:
    """Saves what one run has learnt."""

    directory: RunDirectory
    checkpoints: Checkpoints
    every: Every
    """When checkpoints are due."""
    model: nn.Module
    average: Average
    """What is measured, and saved as the best: the model itself, or a running average of it."""
    optimizers: Sequence[Optimizer]
    schedules: Chains
    precision: Precision
    device: torch.device
    best: Watcher | None
    """What the best weights are best at; none: the last weights are the best."""
    early_stop: Watcher | None

    @property
    def has_best(self) -> bool:
        """Whether some weights were found to be the best."""
        return self.best is not None and self.best.best is not None

    def weigh(self, values: Mapping[str, float], step: int) -> None:
        """Save the weights as the best ones, if what was measured is better than ever."""
        if self.best is not None and self.best.improved(values, step):
            self._save(BEST, self.average.measured.model)

    def checkpoint_if_due(self, step: int, epoch: int) -> None:
        """Save a checkpoint if it is time."""
        if self.every.due(step):
            self.checkpoint(step, epoch)

    def checkpoint(self, step: int, epoch: int) -> None:
        """Save everything from which the run could go on after `step`, unless that was done."""
        tensors, optimizer = optimizer_state(self.optimizers, self.model)
        state: dict[str, Any] = {
            "step": step,
            "epoch": epoch,
            "optimizer": optimizer,
            "schedule": self.schedules.state(),
            "scaler": self.precision.state(),
            "best": None if self.best is None else self.best.state(),
            "early_stop": None if self.early_stop is None else self.early_stop.state(),
        }
        groups: dict[str, Mapping[str, Tensor]] = {
            "model": self.model.state_dict(),
            "optimizer": tensors,
            "random": generator_state(self.device),
        }
        groups |= self.average.state()
        self.checkpoints.save(step, groups, state, 0 if self.best is None else self.best.best_step)

    def finish(self, step: int, epoch: int) -> None:
        """Save a last checkpoint and the last weights; as the best ones too, where nothing tells which are."""
        self.checkpoint(step, epoch)
        self._save(FINAL, self.model)
        if not self.has_best:
            self._save(BEST, self.average.measured.model)

    def load_best(self) -> None:
        """Give what is measured the best weights."""
        self.average.measured.model.load_state_dict(read_weights(self.directory.path / BEST))

    def _save(self, name: str, model: nn.Module) -> None:
        self.directory.write(name, weights_as_bytes(model.state_dict()))
