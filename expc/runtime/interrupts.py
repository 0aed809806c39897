"""Ctrl-C, SIGTERM, SIGUSR1 and a lost terminal: end cleanly at the next step; at once when asked a second time.

Of several processes some get a signal earlier than others, or alone: each notes it, and at the end of a step all
receive what one of them has noted.
"""

import os
import signal
import threading
from collections.abc import Iterable, Iterator
from types import FrameType, TracebackType
from typing import Any, Final, Self, TypeVar

from expc.runtime.distributed.world import World

SIGNALS: Final = tuple(
    getattr(signal, name) for name in ("SIGINT", "SIGTERM", "SIGUSR1", "SIGHUP") if hasattr(signal, name)
)
T = TypeVar("T")


class _Stop(BaseException):
    """Ends the wait for something that may never come."""


class Interrupts:
    """A context that takes note of the first signal; the loop looks at `received` after each step.

    Handlers are those from before again when the context ends, or on the second signal. Outside the main thread, where
    Python allows no handlers, it does nothing.
    """

    def __init__(self, world: World | None = None) -> None:
        self._world: Final = world or World()
        self.received: signal.Signals | None = None
        """The signal that ends the run."""
        self._noted: signal.Signals | None = None
        self._before: dict[signal.Signals, Any] = {}
        self._waiting = False
        self._process: Final = os.getpid()

    def __enter__(self) -> Self:
        if threading.current_thread() is threading.main_thread():
            # What is ignored stays so: `nohup`, and shells that start a run in the background, mean it.
            heeded = [number for number in SIGNALS if signal.getsignal(number) is not signal.SIG_IGN]
            self._before = {number: signal.signal(number, self._take_note) for number in heeded}
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._restore()

    def agree(self) -> None:
        """Let all processes receive what one of them has noted. All call it, once a step."""
        number = self._world.agree(self._noted or 0)
        if number and self.received is None:
            self.received = signal.Signals(number)

    def until_one(self, items: Iterable[T]) -> Iterator[T]:
        """The items until a signal comes; then no more, even where the next one would never have come."""
        waited_for = iter(items)
        while self.received is None:
            try:
                self._waiting = True
                try:
                    item = next(waited_for)
                finally:
                    self._waiting = False
            except (StopIteration, _Stop):
                return
            yield item

    def _take_note(self, number: int, _: FrameType | None) -> None:
        if os.getpid() != self._process:
            return  # a worker, which the run ends itself: signals for all processes of a job reach it as well
        if self._noted is None:
            self._noted = signal.Signals(number)
            if self._world.size > 1:
                return
            self.received = self._noted
            if self._waiting:
                self._waiting = False
                raise _Stop
            return
        self._restore()
        signal.raise_signal(number)

    def _restore(self) -> None:
        while self._before:
            signal.signal(*self._before.popitem())
