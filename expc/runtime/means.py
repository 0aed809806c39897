"""Running means, of the losses.

They stay on the device until they are asked for, so that no step waits for the one before.
"""

import math
from collections.abc import Mapping
from typing import Any, Final

import torch
from torch import Tensor

from expc.runtime.distributed.scores import mine
from expc.runtime.distributed.world import World

MANY: Final = 1024
"""Numbers that wait, at most, until they become one tensor."""


class Means:
    """Means over samples of scalars by name.

    They wait on the device until they are read, and are added up in double precision, one by one: the sum is the same
    however often it was read in between. Of several processes each takes in what it has computed, and all read the
    same: the sum over all of them, by the number of samples, which is that of all together.
    """

    def __init__(self, world: World | None = None) -> None:
        self._world: Final = world or World()
        self._waiting: list[tuple[str, int, Tensor]] = []
        self._packed: list[tuple[list[tuple[str, int]], Tensor]] = []
        self._sums: dict[str, float] = {}
        self._added: dict[str, int] = {}
        self.first_not_finite: dict[str, tuple[int, float]] = {}
        """Of what was read: which number under a name, from 1, was the first that is not finite, and what it was."""
        self.samples = 0

    def add(self, values: Mapping[str, Tensor], samples: int, *, again: bool = False) -> None:
        """Take in means over `samples` samples; `again`: over samples that are counted already."""
        for name, value in values.items():
            # A copy, since it may be a parameter, which goes on changing.
            self._waiting.append((name, samples, value.detach().clone()))
        self.samples += 0 if again else samples
        if len(self._waiting) >= MANY:
            self._pack()

    def merge(self, other: "Means") -> None:
        """Take in all that `other` has taken in."""
        self._settle()
        for name, total in other.sums.items():
            self._sums[name] = self._sums.get(name, 0.0) + total
        self.samples += other.samples

    @property
    def sums(self) -> Mapping[str, float]:
        """Sums of this process over samples, by name; waits for the device once, if anything came since."""
        self._settle()
        return self._sums

    def read(self) -> dict[str, float]:
        """The means so far; waits for the device as `sums` does, and for the other processes."""
        return {name: total / self.samples for name, total in self._of_all().items()}

    def reset(self) -> None:
        """Start again."""
        self._waiting, self._packed, self._sums, self.samples = [], [], {}, 0
        self._added, self.first_not_finite = {}, {}

    def state(self) -> dict[str, Any]:
        """What a checkpoint must hold: the sums of each process. All call this."""
        return {"sums": self._world.everyones(dict(self.sums)), "samples": self.samples}

    def restore(self, state: Mapping[str, Any]) -> None:
        """Go on from what a checkpoint held."""
        self.reset()
        self.samples = state["samples"]
        for sums in mine(state["sums"], self._world):
            for name, total in sums.items():
                self._sums[name] = self._sums.get(name, 0.0) + total

    def _of_all(self) -> dict[str, float]:
        """The sums of all processes; `first_not_finite` is that of all of them, too."""
        everyones = self._world.everyones([dict(self.sums), self.first_not_finite])
        total: dict[str, float] = {}
        for sums, bad in everyones:
            for name, value in sums.items():
                total[name] = total.get(name, 0.0) + value
            for name, (number, value) in bad.items():
                known = self.first_not_finite.get(name)
                if known is None or number < known[0]:
                    self.first_not_finite[name] = (number, value)
        return total

    def _pack(self) -> None:
        """One tensor for many."""
        if self._waiting:
            values = torch.stack([value for _, _, value in self._waiting]).double()
            self._packed.append(([(name, samples) for name, samples, _ in self._waiting], values))
            self._waiting = []

    def _settle(self) -> None:
        self._pack()
        if not self._packed:
            return
        values = torch.cat([values for _, values in self._packed]).tolist()
        known = (pair for pairs, _ in self._packed for pair in pairs)
        for (name, samples), value in zip(known, values, strict=True):
            self._sums[name] = self._sums.get(name, 0.0) + value * samples
            self._added[name] = self._added.get(name, 0) + 1
            if not math.isfinite(value):
                self.first_not_finite.setdefault(name, (self._added[name], value))
        self._packed = []
