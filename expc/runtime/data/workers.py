"""Processes that prepare data: torch's `DataLoader`, each of whose items is a whole batch."""

import signal
import threading
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import torch
from torch.utils.data import DataLoader, Dataset

from expc.diagnostics import Problem, ProblemError, Span
from expc.frozen import dataclass
from expc.runtime.data.randomness import Indices
from expc.runtime.errors import RunError
from expc.runtime.errors.data import WorkerDied, WorkerSlow

Request = tuple[int, Indices, Indices | None]
"""An epoch, the samples of a batch, and which of them are wanted; none: all."""
Make = Callable[[int, Indices, Indices | None], Any]
"""Answers a request."""


class Workers:
    """Processes that answer requests in order. `settings` are those of `DataLoader`, by its names."""

    def __init__(self, make: Make, role: str, span: Span, **settings: Any) -> None:
        self._role, self._span = role, span
        self._timeout = float(settings.get("timeout", 0))
        self._requests = _Requests()
        self._loader: DataLoader[Any] = DataLoader(
            _Answers(make),
            batch_size=None,
            sampler=self._requests,
            collate_fn=_unchanged,
            worker_init_fn=_start_worker,
            # Its own generator, since torch's default one would move on with every epoch that has workers.
            generator=torch.Generator(),
            **settings,
        )

    def answers(self, requests: Sequence[Request]) -> Iterator[Any]:
        """What `make` gives for each request. Raises `RunError`."""
        self._requests.pending = requests
        answers = _iterate(self._loader)
        while True:
            try:
                answer = next(answers)
            except StopIteration:
                return
            except (RuntimeError, OSError, EOFError) as error:
                if "DataLoader timed out" in str(error):
                    raise RunError(WorkerSlow(span=self._span, role=self._role, seconds=self._timeout)) from error
                if not _says_that_a_worker_died(error):
                    raise
                reason = str(error).split("\n")[0] or "it no longer answers"
                raise RunError(WorkerDied(span=self._span, role=self._role, reason=reason)) from error
            if isinstance(answer, _Failure):
                raise RunError(answer.problem)
            yield answer


@dataclass(frozen=True)
class _Failure:
    """What a worker sends in place of a batch; DataLoader itself would make an exception of another class of it."""

    problem: Problem


class _Requests:
    """The sampler: what is to be made."""

    def __init__(self) -> None:
        self.pending: Sequence[Request] = ()

    def __iter__(self) -> Iterator[Request]:
        return iter(self.pending)

    def __len__(self) -> int:
        return len(self.pending)


class _Answers(Dataset[Any]):
    """A function as DataLoader wants it: one item is one whole batch."""

    def __init__(self, make: Make) -> None:
        self._make = make

    def __getitem__(self, request: Request) -> Any:
        try:
            return self._make(*request)
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
