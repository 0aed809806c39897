"""Batches of a role, epoch by epoch, prepared in this process or by workers: the same ones, bit for bit."""

import signal
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import torch
from torch.utils.data import DataLoader, Dataset

from expc.compiler.program import DataPlan
from expc.diagnostics import Problem, ProblemError
from expc.frozen import dataclass
from expc.runtime.data.declared import Given
from expc.runtime.data.pipeline import Batch, Pipeline, open_pipeline
from expc.runtime.data.randomness import ORDER, Indices, permutation
from expc.runtime.errors import RunError
from expc.runtime.errors.data import TooLittleData, WorkerDied


class Loader:
    """The batches of one role.

    `batch` is the number of samples of one global batch; rank `rank` of `world` gets its slice of it. Other settings
    are those of `torch.utils.data.DataLoader`. `root` is where relative paths start, `given` the tensors that a program
    gives for `Tensors`. Raises `RunError` where the data
    cannot be opened or is not what the plan says.
    """

    def __init__(
        self,
        plan: DataPlan,
        *,
        root: Path,
        seed: int,
        batch: int,
        shuffle: bool,
        drop_last: bool = False,
        workers: int = 0,
        pin_memory: bool = False,
        persistent_workers: bool = False,
        prefetch_factor: int | None = None,
        rank: int = 0,
        world: int = 1,
        given: Given | None = None,
    ) -> None:
        self._plan = plan
        self._pipeline, self._chosen = open_pipeline(plan, root, seed, given)
        self._seed, self._batch, self._shuffle = seed, batch, shuffle
        self._rank, self._world = rank, world
        self.samples = len(self._chosen)
        """The number of samples in an epoch, those of an incomplete last batch included."""
        self._steps = self.samples // batch if drop_last else -(-self.samples // batch)
        if not self._steps:
            what = f"a full batch of `{plan.role}`"
            raise RunError(TooLittleData(span=plan.span, what=what, needed=f"{batch} samples", found=self.samples))
        self._pin = pin_memory and torch.cuda.is_available()
        self._requests = _Requests()
        self._loader: DataLoader[Any] | None = None
        if workers:
            self._loader = DataLoader(
                _Answers(self._pipeline),
                batch_size=None,
                sampler=self._requests,
                collate_fn=_unchanged,
                num_workers=workers,
                worker_init_fn=_start_worker,
                pin_memory=self._pin,
                persistent_workers=persistent_workers,
                prefetch_factor=prefetch_factor,
                # Its own generator, since torch's default one would move on with every epoch that has workers.
                generator=torch.Generator(),
            )

    def __len__(self) -> int:
        """The number of batches in an epoch."""
        return self._steps

    def epoch(self, epoch: int, start_step: int = 0) -> Iterator[Batch]:
        """The batches of `epoch` from `start_step` on, each `{field: tensor [B, ...]}`. Raises `RunError`."""
        order = self._order(epoch)
        requests = [(epoch, *self._slice(order, step)) for step in range(start_step, self._steps)]
        if self._loader is None:
            for request in requests:
                yield self._pinned(self._pipeline.batch(*request))
        else:
            self._requests.pending = requests
            yield from self._answers(self._loader)

    def close(self) -> None:
        """End persistent workers now; without this they end with the loader."""
        self._loader = None

    def _order(self, epoch: int) -> Indices:
        if not self._shuffle:
            return self._chosen
        return self._chosen[permutation(self.samples, seed=self._seed, epoch=epoch, purpose=ORDER)]

    def _slice(self, order: Indices, step: int) -> tuple[Indices, slice]:
        """The global batch of a step, and this rank's part of it."""
        whole = order[step * self._batch : (step + 1) * self._batch]
        return whole, slice(len(whole) * self._rank // self._world, len(whole) * (self._rank + 1) // self._world)

    def _pinned(self, batch: Batch) -> Batch:
        return {name: value.pin_memory() for name, value in batch.items()} if self._pin else batch

    def _answers(self, loader: "DataLoader[Any]") -> Iterator[Batch]:
        answers = _iterate(loader)
        while True:
            try:
                answer = next(answers)
            except StopIteration:
                return
            except (RuntimeError, OSError, EOFError) as error:
                if not _says_that_a_worker_died(error):
                    raise
                reason = str(error).split("\n")[0] or "it no longer answers"
                raise RunError(WorkerDied(span=self._plan.span, role=self._plan.role, reason=reason)) from error
            if isinstance(answer, _Failure):
                raise RunError(answer.problem)
            yield answer


@dataclass(frozen=True)
class _Failure:
    """What a worker sends in place of a batch; DataLoader itself would make an exception of another class of it."""

    problem: Problem


class _Requests:
    """The sampler: the epoch, the indices and the part of each batch that is to be made."""

    def __init__(self) -> None:
        self.pending: list[tuple[int, Indices, slice]] = []

    def __iter__(self) -> Iterator[tuple[int, Indices, slice]]:
        return iter(self.pending)

    def __len__(self) -> int:
        return len(self.pending)


class _Answers(Dataset[Any]):
    """The pipeline as DataLoader wants it: one item is one whole batch."""

    def __init__(self, pipeline: Pipeline) -> None:
        self._pipeline = pipeline

    def __getitem__(self, request: tuple[int, Indices, slice]) -> Batch | _Failure:
        try:
            return self._pipeline.batch(*request)
        except ProblemError as error:
            return _Failure(error.problem)


def _iterate(loader: "DataLoader[Any]") -> Iterator[Any]:
    """`iter(loader)`, without the handler of signals that it installs.

    That handler raises when a worker dies, wherever this process happens to be. Without it the next batch raises.
    """
    before = signal.getsignal(signal.SIGCHLD)
    answers = iter(loader)
    if before is not None and threading.current_thread() is threading.main_thread():
        signal.signal(signal.SIGCHLD, before)
    return answers


def _says_that_a_worker_died(error: Exception) -> bool:
    """Whether DataLoader noticed the death of a worker, or met a connection to one that had broken off."""
    text = str(error)
    return "DataLoader worker (pid" in text or (not isinstance(error, RuntimeError) and not text.startswith("Caught"))


def _unchanged(answer: Any) -> Any:
    return answer


def _start_worker(_: int) -> None:
    # Ctrl-C reaches every process of the group; the run ends its workers itself. torch has set one thread already.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
