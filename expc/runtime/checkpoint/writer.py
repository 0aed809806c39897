"""Writing while training goes on: one thread that does what it is given, in order."""

from collections.abc import Callable
from contextlib import suppress
from queue import Full, Queue
from threading import Thread
from typing import Final, Self

Job = Callable[[], None]


class Writer:
    """Does jobs one after another, at most `waiting` of them put off. After one has failed, the others are left out.

    `do` and `finish` raise what a job has raised. The thread ends with the process: what it leaves half done stands
    under no name that anybody reads.
    """

    def __init__(self, *, background: bool, waiting: int = 1) -> None:
        self._jobs: Final[Queue[Job | None]] = Queue(waiting)
        self._background: Final = background
        self._thread: Thread | None = None
        self._failure: BaseException | None = None

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        """Wait for what was begun, unless asked to end at once."""
        if self._thread is None:
            return
        if kind is None or issubclass(kind, Exception):
            self._jobs.join()
        with suppress(Full):
            self._jobs.put_nowait(None)
        self._thread = None

    def do(self, job: Job) -> None:
        """Do it now, or soon. Raises what an earlier job has raised."""
        self._raise()
        if not self._background:
            job()
            return
        if self._thread is None:
            self._thread = Thread(target=self._work, name="checkpoints", daemon=True)
            self._thread.start()
        self._jobs.put(job)

    def finish(self) -> None:
        """Wait until everything is done. Raises what a job has raised."""
        self._jobs.join()
        self._raise()

    def _raise(self) -> None:
        if self._failure is not None:
            raise self._failure

    def _work(self) -> None:
        while (job := self._jobs.get()) is not None:
            try:
                if self._failure is None:
                    job()
            except BaseException as error:  # noqa: BLE001 - it is raised again where somebody listens
                self._failure = error
            finally:
                del job  # and the memory that it holds
                self._jobs.task_done()
