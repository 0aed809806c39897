"""The random numbers of the network in several processes: each draws its own, or all draw the same.

With `deterministic = true` the noise of a batch is that of one process: all have generators in the same state, draw for
the whole batch, and take their rows (`expc.runtime.distributed.noise`). That costs each process the drawing of all.
Else each draws from a seed of its own.
"""

from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext
from typing import Any, Final

import torch
from torch import nn

from expc.runtime.distributed.scores import everyones
from expc.runtime.distributed.world import World
from expc.runtime.seeds import all_generators, restore_generators, seed_all


class Draws:
    """One process: it draws as torch does."""

    elsewhere: Sequence[str] = ()
    """The steps that draw what they would not draw in one process, though the others do, as the file writes them."""

    def begin(self, step: int) -> None:
        """Where a run starts, or goes on after `step` with another number of processes: start anew."""

    def state(self) -> list[Any]:
        """Where the generators of each process stand, where they differ. All call this."""
        return []

    def restore(self, state: Sequence[Any], step: int) -> None:
        """Go on, after `step`, from what a checkpoint held; this process's generators stand where the first's did."""

    def rows(self, start: int, stop: int, whole: int) -> AbstractContextManager[None]:  # noqa: ARG002 - for others
        """Around a pass over some samples of a batch of `whole`."""
        return nullcontext()


class Apart(Draws):
    """Each process draws its own."""

    def __init__(self, world: World, seed: int, device: torch.device) -> None:
        self._world: Final = world
        self._seed: Final = seed
        self._device: Final = device

    def begin(self, step: int) -> None:
        """As `Draws` says."""
        if not self._world.is_first:
            # Far from the seeds that people choose, and from those of other processes and steps.
            seed_all(hash((self._seed, self._world.rank, step)) % 2**63)

    def state(self) -> list[Any]:
        """As `Draws` says."""
        return everyones(all_generators(self._device), self._world, torch.device("cpu"))

    def restore(self, state: Sequence[Any], step: int) -> None:
        """As `Draws` says; in another number of processes they start anew."""
        if len(state) == self._world.size:
            restore_generators(state[self._world.rank], self._device)
        else:
            self.begin(step)


class Alike(Draws):
    """All processes draw the same for a whole batch."""

    def __init__(self, model: nn.Module, losses: Sequence[nn.Module]) -> None:
        from expc.runtime.distributed.noise import WholeDraws, not_repeatable  # it takes a second to import

        self._whole: Final = WholeDraws(model, losses)
        self.elsewhere = not_repeatable(model, losses)

    @contextmanager
    def rows(self, start: int, stop: int, whole: int) -> Iterator[None]:
        """As `Draws` says."""
        with self._whole.drawing(start, stop, whole):
            yield
