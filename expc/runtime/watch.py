"""Watching: whether a measured number has become better, and whether it is time again."""

import math
from collections.abc import Mapping
from typing import Any, Final

from expc.compiler.program import Watch
from expc.runtime.distributed.world import World
from expc.spec.values import Quantity

SECONDS: Final = {"second": 1.0, "minute": 60.0, "hour": 3600.0}


class Watcher:
    """Follows one measured number, such as `val.accuracy`."""

    def __init__(self, watch: Watch) -> None:
        self.metric: Final = watch.metric
        self._sign: Final = 1.0 if watch.mode == "max" else -1.0
        self._min_delta: Final = float(watch.settings.get("min_delta", 0.0))
        self._patience: Final = watch.settings.get("patience")
        self._baseline: Final = watch.settings.get("baseline")
        self.best: float | None = None
        self.best_step = 0
        self.waited = 0
        """Measurements since the best one; with a `baseline`, since the last best one that was better than it."""

    def improved(self, values: Mapping[str, float], step: int) -> bool:
        """Take in what was measured after `step`; whether it is the best so far. Not a number is never better."""
        value = values.get(self.metric)
        if value is None:
            return False
        self.waited += 1
        if math.isnan(value) or not self._is_better(value, self.best):
            return False
        self.best, self.best_step = value, step
        if self._is_better(value, self._baseline):
            self.waited = 0
        return True

    def _is_better(self, value: float, than: float | None) -> bool:
        return than is None or self._sign * (value - than) > self._min_delta

    @property
    def lost_patience(self) -> bool:
        """Whether `patience` measurements in a row were no better."""
        return self._patience is not None and self.waited >= int(self._patience)

    def state(self) -> dict[str, Any]:
        """What a checkpoint must hold."""
        return {
            "metric": self.metric,
            "sign": self._sign,
            "best": self.best,
            "best_step": self.best_step,
            "waited": self.waited,
        }

    def restore(self, state: Mapping[str, Any]) -> None:
        """Go on from what a checkpoint held; where something else was followed then, begin anew."""
        if (state["metric"], state["sign"]) == (self.metric, self._sign):
            self.best, self.best_step, self.waited = state["best"], state["best_step"], state["waited"]


class Deadline:
    """The time that a run may take, all its parts together; without a limit it never passes."""

    def __init__(self, limit: Quantity | None, world: World | None = None) -> None:
        self._world: Final = world or World()
        self.limit: Final = limit
        self._seconds: Final = math.inf if limit is None else limit.number * SECONDS[limit.unit]
        self._begun = self._world.now
        self.passed = False
        """Whether the time was over when last asked."""

    def reached(self) -> bool:
        """Whether the time is over."""
        self.passed = self.spent() >= self._seconds
        return self.passed

    def spent(self) -> float:
        """Seconds until now: what a checkpoint must hold."""
        return self._world.now - self._begun

    def restore(self, spent: float) -> None:
        """Count what earlier parts of the run have taken."""
        self._begun -= spent


class Every:
    """Says when an interval (`50 steps`, `2 epochs`, `30 min`) has passed; never, for none."""

    def __init__(self, interval: Quantity | None, steps_per_epoch: int, world: World | None = None) -> None:
        self._world: Final = world or World()
        self._steps = 0
        self._seconds = math.inf
        if interval is not None and interval.unit in SECONDS:
            self._seconds = interval.number * SECONDS[interval.unit]
        elif interval is not None:
            self._steps = max(1, round(interval.number * (steps_per_epoch if interval.unit == "epoch" else 1)))
        self._last = self._world.now

    def due(self, step: int) -> bool:
        """Whether it is time after `step` optimizer steps."""
        if self._steps:
            return step % self._steps == 0
        if self._world.now - self._last < self._seconds:
            return False
        self._last = self._world.now
        return True
