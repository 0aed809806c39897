"""What is kept of a run: checkpoints along the way, the best weights, and the last ones."""

from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path
from typing import Any, Final

from torch import nn

from expc.frozen import dataclass, field
from expc.runtime.average import Average
from expc.runtime.checkpoint.forms import whole
from expc.runtime.checkpoint.loading import Saved
from expc.runtime.checkpoint.packing import State
from expc.runtime.checkpoint.saving import BEST, Snapshot, snapshot, write
from expc.runtime.checkpoint.writer import Writer
from expc.runtime.distributed.strategies import Strategy
from expc.runtime.distributed.world import World
from expc.runtime.records import Records
from expc.runtime.rundir import RunDirectory, now, writing
from expc.runtime.watch import Every, Watcher
from expc.runtime.weights import read_weights, weights_as_bytes

FINAL: Final = "final.safetensors"
CHECKPOINTS: Final = "checkpoints"


@dataclass(frozen=True)
class Keeping:
    """Saves what one run has learnt."""

    directory: RunDirectory
    writer: Writer
    keep: int
    """How many of the last checkpoints stay."""
    every: Every
    """When checkpoints are due."""
    model: nn.Module
    average: Average
    """What is measured, and saved as the best: the model itself, or a running average of it."""
    best: Watcher | None
    """What the best weights are best at; none: the last weights are the best."""
    records: Records
    """Which must be on the disk before a checkpoint counts that refers to them."""
    facts: Mapping[str, Any]
    """What the manifests say of the run."""
    world: World = field(default_factory=World)
    """The first of whose processes writes."""
    strategy: Strategy = field(default_factory=Strategy)
    begun: list[int] = field(default_factory=list)
    """The steps of which there is a checkpoint, or will be."""

    @property
    def folder(self) -> Path:
        """Where the checkpoints are."""
        return self.directory.path / CHECKPOINTS

    @property
    def has_best(self) -> bool:
        """Whether some weights were found to be the best."""
        return self.best is not None and self.best.best is not None

    def weigh(self, values: Mapping[str, float], step: int) -> None:
        """Save the weights as the best ones, if what was measured is better than ever."""
        if self.best is not None and self.best.improved(values, step):
            self._save(BEST, self.average.measured.model)

    def checkpoint_if_due(self, step: int, state: Callable[[], State]) -> None:
        """Save a checkpoint if it is time."""
        if self.every.due(step):
            self.checkpoint(step, state)

    def checkpoint(self, step: int, state: Callable[[], State]) -> None:
        """Save everything from which the run could go on after `step`, unless that was done."""
        if step in self.begun:
            return
        self.begun.append(step)
        everything = state()
        if not self.world.is_first and self.strategy.together is None:
            return
        facts = {**self.facts, "step": step, "saved": now()}
        best_step = 0 if self.best is None else self.best.best_step
        taken = snapshot(step, everything, best_step, facts, self.strategy.together)
        self.writer.do(partial(self._write, taken))

    def finish(self, step: int, state: Callable[[], State]) -> None:
        """Save a last checkpoint and the last weights; as the best ones too, where nothing tells which are."""
        self.world.at(step, "saving")
        self.checkpoint(step, state)
        self._save(FINAL, self.model)
        if not self.has_best:
            self._save(BEST, self.average.measured.model)
        self.writer.finish()
        self.world.wait()

    def load_best(self) -> None:
        """Give what is measured the best weights. All processes see the file that the first one has written."""
        self.strategy.load(self.average.measured.model, read_weights(self.directory.path / BEST))

    def restore_best(self, saved: Saved | None) -> None:
        """Put the best weights back that belong to a checkpoint; those of later steps go. Raises KeyError."""
        if saved is not None:
            self.begun.append(saved.step)
        if not self.world.is_first:
            return
        if saved is None or self.best is None or self.best.best is None:
            with writing(self.directory.path / BEST):
                (self.directory.path / BEST).unlink(missing_ok=True)
            return
        own = "ema" if "ema" in saved.state.tensors else "model"
        weights = whole(saved.state, own if saved.step == self.best.best_step else "best")
        self.directory.write(BEST, weights_as_bytes(weights))

    def _save(self, name: str, model: nn.Module) -> None:
        if not (self.world.is_first or self.strategy.in_step):
            return
        weights = self.strategy.whole(model)
        if self.world.is_first:
            self.writer.do(lambda: self.directory.write(name, weights_as_bytes(weights)))

    def _write(self, taken: Snapshot) -> None:
        best = None
        if self.world.is_first and taken.best_step not in (0, taken.step):
            with writing(self.directory.path / BEST):
                best = (self.directory.path / BEST).read_bytes()
        self.records.flush()
        write(self.folder, taken, self.keep, best, self.strategy.together)
