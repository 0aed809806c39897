"""Batches of a role, epoch by epoch: the same ones, bit for bit, whoever prepares them and wherever samples live."""

from collections.abc import Callable, Iterator, Sequence
from math import inf
from pathlib import Path
from typing import Final, NamedTuple

import numpy as np
import torch

from expc.compiler.program import DataPlan
from expc.runtime.data.declared import Given
from expc.runtime.data.memory import Memory
from expc.runtime.data.order import Order
from expc.runtime.data.pipeline import Batch, open_pipeline
from expc.runtime.data.randomness import Indices
from expc.runtime.data.resident import Resident
from expc.runtime.data.ways import Way, choose, follow
from expc.runtime.data.workers import Request, Workers
from expc.runtime.distributed.world import World
from expc.runtime.errors import RunError
from expc.runtime.errors.data import TooLittleData

AT_ONCE: Final = 1 << 19
"""Bytes of batches that are made in one go: for small batches, calling operators takes longer than their work."""


class Share(NamedTuple):
    """What a process has of one part of a global batch: its samples from `start` to `stop`, of `whole` in all."""

    start: int
    stop: int
    whole: int

    @property
    def samples(self) -> int:
        """How many of them count: none, where there are fewer samples than processes."""
        return self.stop - self.start

    @property
    def run(self) -> int:
        """How many go through the network: one that does not count, where none does, so that processes meet."""
        return max(self.samples, 1)


def shares_of(samples: int, parts: int, world: World) -> list[Share]:
    """What a process has of a global batch of so many samples that is learnt in at most so many parts.

    It has its slice of each part. So the parts hold the same samples whatever the number of processes, and what a
    network does with the samples of a part together, it can do with the same ones.
    """
    size = -(-samples // parts)
    wholes = [min(size, samples - start) for start in range(0, samples, size)]
    slices = map(world.slice_of, wholes)
    return [Share(mine.start, mine.stop, whole) for mine, whole in zip(slices, wholes, strict=True)]


class Loader:
    """The batches of one role.

    `batch` is the number of samples of one global batch; each process of `world` gets its slice of it, or of each of
    the `parts` in which it is learnt. Other settings
    are those of `torch.utils.data.DataLoader`. `root` is where relative paths start, `given` the tensors that a program
    gives for `Tensors`. With `memory`, samples may live on `device` as `path` says; `passes` gives for the steps of an
    epoch how often the run goes through the data. Raises `RunError` where the data cannot be opened or is not what the
    plan says.
    """

    def __init__(
        self,
        plan: DataPlan,
        *,
        root: Path,
        seed: int,
        batch: int,
        parts: int = 1,
        shuffle: bool,
        drop_last: bool = False,
        workers: int = 0,
        pin_memory: bool = False,
        persistent_workers: bool = False,
        prefetch_factor: int | None = None,
        timeout: float = 0,
        multiprocessing_context: str | None = None,
        world: World | None = None,
        given: Given | None = None,
        path: str = "auto",
        device: torch.device | None = None,
        memory: Memory | None = None,
        passes: Callable[[int], float] = lambda _: inf,
    ) -> None:
        pipeline, chosen = open_pipeline(plan, root, seed, given)
        self._order = Order(plan, pipeline.samples, chosen, seed, shuffle=shuffle)
        self._batch, self._parts, self._world = batch, parts, world or World()
        self.samples = len(self._order)
        """The number of samples in an epoch, those of an incomplete last batch included."""
        self._steps = self.samples // batch if drop_last else -(-self.samples // batch)
        if not self._steps:
            what = f"a full batch of `{plan.role}`"
            raise RunError(TooLittleData(span=plan.span, what=what, needed=f"{batch} samples", found=self.samples))
        self.way = Way(reason="nothing is kept")
        """Where samples live."""
        if memory is not None:
            self.way = choose(
                plan,
                pipeline,
                chosen,
                path=path,
                workers=workers,
                passes=passes(self._steps),
                device=device or torch.device("cpu"),
                memory=memory,
            )
        self._pipeline, self._missing = follow(pipeline, chosen, self.way)
        self._group = 1
        alone = self._pipeline.mixes or self._pipeline.one_by_one is not None
        self._together = self.way.device is not None and bool(self._pipeline.transforms) and not alone
        on_device = self.way.device is not None and self.way.device.type != "cpu"
        self._pin = pin_memory and torch.cuda.is_available() and not on_device
        self._workers: Workers | None = None
        if workers and (self.way.device is None or self._missing is not None):
            self._workers = Workers(
                self._pipeline.batch if self._missing is None else self._missing.source.fields,
                plan.role,
                plan.span,
                num_workers=workers,
                pin_memory=self._pin and self._missing is None,
                persistent_workers=persistent_workers and self._missing is None,
                prefetch_factor=prefetch_factor,
                timeout=timeout,
                multiprocessing_context=multiprocessing_context,
            )

    def __len__(self) -> int:
        """The number of batches in an epoch."""
        return self._steps

    def epoch(self, epoch: int, start_step: int = 0, every: int = 1) -> Iterator[Batch]:
        """The batches of `epoch`: that of `start_step`, and then each `every`-th one, `{field: tensor [B, ...]}`.

        A process that gets no sample of a part is given one of it, which does not count (`shares`). Raises `RunError`.
        """
        order = self._order.of(epoch)
        requests = [(epoch, *self._of_step(order, step)) for step in range(start_step, self._steps, every)]
        if self._workers is not None and self._missing is None:
            yield from self._workers.answers(requests)
            return
        if self._workers is not None and self._missing is not None and not self._missing.whole:
            yield from map(self._made, self._kept(requests, self._workers, self._missing))
            return
        first = 0
        while first < len(requests):
            for batch in self._in_one_go(requests[first : first + self._group]):
                first += 1
                yield batch

    def close(self) -> None:
        """End persistent workers now; without this they end with the loader."""
        self._workers = None

    def shares(self, step: int) -> list[Share]:
        """Which samples of the batch of a step of an epoch are this process's, part by part."""
        return shares_of(min(self._batch, self.samples - step * self._batch), self._parts, self._world)

    def _of_step(self, order: Indices, step: int) -> tuple[Indices, Indices | None]:
        """The global batch of a step, and where in it this process's samples are."""
        whole = order[step * self._batch : (step + 1) * self._batch]
        if self._world.size == 1:
            return whole, None
        mine, before = [], 0
        for share in self.shares(step):
            first = before + share.start if share.samples else before
            mine.append(np.arange(first, first + share.run))
            before += share.whole
        return whole, np.concatenate(mine)

    def _kept(self, requests: Sequence[Request], workers: Workers, samples: Resident) -> Iterator[Request]:
        """The requests, each when workers have made what it needs that was not there yet."""
        everything = [numbers if self._pipeline.mixes else _wanted(numbers, part) for _, numbers, part in requests]
        missing = [samples.missing(numbers) for numbers in everything]
        answers = workers.answers([(0, numbers, None) for numbers in missing if len(numbers)])
        for request, numbers in zip(requests, missing, strict=True):
            if len(numbers):
                samples.store(numbers, next(answers))
            yield request

    def _in_one_go(self, requests: Sequence[Request]) -> Iterator[Batch]:
        """Several batches as parts of a larger one, where samples do not depend on each other."""
        parts = [_wanted(numbers, part) for _, numbers, part in requests]
        if len(parts) == 1:
            batch = self._made(requests[0])
            if self._together:
                self._group = max(1, AT_ONCE // max(1, sum(value.nbytes for value in batch.values())))
            yield batch
            return
        whole = self._made((requests[0][0], np.concatenate(parts), None))
        start = 0
        for part in parts:
            # Detached, so that code which changes a batch in place leaves no trace in the history of its neighbours.
            yield {name: values[start : start + len(part)].detach() for name, values in whole.items()}
            start += len(part)

    def _made(self, request: Request) -> Batch:
        batch = self._pipeline.batch(*request)
        return {name: value.pin_memory() for name, value in batch.items()} if self._pin else batch


def _wanted(numbers: Indices, part: Indices | None) -> Indices:
    return numbers if part is None else numbers[part]
