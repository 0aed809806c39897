"""What a person sees while a run goes on: bars where standard error is a terminal, else a line now and then."""

import os
import sys
import time
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any, Final, Never, TextIO

from tqdm import tqdm

QUIET_SECONDS: Final = 10.0
"""Where there are no bars, how long nothing is said at least."""
ALIVE_SECONDS: Final = 60.0
"""How long at most, though there is nothing new to say."""


class Progress:
    """Writes to standard error; nothing at all where `shown` is false."""

    def __init__(self, *, shown: bool, stream: TextIO | None = None) -> None:
        self._stream: Final = sys.stderr if stream is None else stream
        self._shown = shown
        self.has_bars = shown and _has_room(self._stream)
        self._epochs: tqdm[Never] | None = None
        self._steps: _Steps | None = None
        self._pass = _Pass("", 0, 0)
        self._epoch = self._last_epoch = 0
        self._spoke = time.monotonic()
        self._remarked: Final[set[str]] = set()

    def hush(self) -> None:
        """Show nothing: another process does."""
        self._shown = self.has_bars = False

    def line(self, text: str) -> None:
        """One line, above the bars."""
        self._spoke = time.monotonic()
        if self._shown:
            with self._if_anybody_reads():
                tqdm.write(text, file=self._stream)

    def lines(self, texts: Iterable[str]) -> None:
        """Several lines; what makes them is not asked where nobody reads."""
        for text in texts if self._shown else ():
            self.line(text)

    def remark(self, text: str) -> None:
        """A line that is said once, however often it is true."""
        if text not in self._remarked:
            self._remarked.add(text)
            self.line(text)

    def begin(self, epochs: int, done: int = 0) -> None:
        """The bar of all epochs, of which `done` are over."""
        self._epoch, self._last_epoch = done + 1, epochs
        if self.has_bars:
            with self._if_anybody_reads():
                self._epochs = tqdm(
                    total=epochs,
                    initial=done,
                    desc="epochs",
                    unit="epoch",
                    position=0,
                    leave=False,
                    file=self._stream,
                    dynamic_ncols=True,
                    bar_format="{desc}: {n_fmt}/{total_fmt} |{bar:12}| {remaining} left{postfix}",
                )

    def begin_steps(self, title: str, steps: int, done: int = 0) -> None:
        """The bar of one pass over a role's data, in the place of the last one's; `done` batches are over."""
        self._pass = _Pass(title, steps, done)
        if self.has_bars:
            with self._if_anybody_reads():
                if self._steps is not None:
                    self._steps.close()
                self._steps = _Steps(
                    total=steps,
                    initial=done,
                    desc=f"{title:>6}",
                    unit="step",
                    position=1,
                    leave=False,
                    file=self._stream,
                    dynamic_ncols=True,
                    bar_format="{desc}: {n_fmt}/{total_fmt} |{bar:12}| {remaining} left, {speed}{postfix}",
                )

    def step(self, samples: int) -> None:
        """One step more, of so many samples."""
        self._pass.take(samples)
        if self._steps is not None:
            self._steps.samples += samples
            with self._if_anybody_reads():
                self._steps.update()
        elif self._shown and time.monotonic() - self._spoke > ALIVE_SECONDS:
            self._say({})

    @property
    def is_due(self) -> bool:
        """Whether `show` would show anything: what costs time to measure can be left out where not."""
        return self.has_bars or (self._shown and time.monotonic() - self._spoke >= QUIET_SECONDS)

    def show(self, values: Mapping[str, float]) -> None:
        """Numbers beside the bar of steps; in a line where there is none and the last one is a while ago."""
        if self._steps is not None:
            with self._if_anybody_reads():
                if self._epochs is not None:
                    self._epochs.refresh()
                self._steps.set_postfix_str(numbers(values, " "))
        elif self.is_due:
            self._say(values)

    def end_epoch(self, values: Mapping[str, float]) -> None:
        """One epoch more, with numbers beside its bar."""
        self._epoch += 1
        if self._epochs is not None:
            with self._if_anybody_reads():
                self._epochs.set_postfix_str(numbers(values, " "), refresh=False)
                self._epochs.update()

    def close(self) -> None:
        """Take the bars away."""
        with self._if_anybody_reads():
            for bar in (self._steps, self._epochs):
                if bar is not None:
                    bar.close()
        self._steps = self._epochs = None

    def _say(self, values: Mapping[str, float]) -> None:
        where = f"epoch {self._epoch}/{self._last_epoch}  {self._pass.where}"
        measured = f"  {numbers(values)}" if values else ""
        self.line(f"{where}{measured}  ·  {speed(self._pass.samples, self._pass.seconds)}")

    @contextmanager
    def _if_anybody_reads(self) -> Iterator[None]:
        """A terminal or a pipe that is gone is no reason to stop a run: nothing is shown any more."""
        try:
            yield
        except OSError:
            self._shown = False
            self.has_bars = False
            self._steps = self._epochs = None


def _has_room(stream: TextIO) -> bool:
    """Whether it is a terminal that can move its cursor and has lines for two bars; one of no size has none."""
    if not stream.isatty() or os.environ.get("TERM") == "dumb":
        return False
    try:
        columns, lines = os.get_terminal_size(stream.fileno())
    except OSError:
        return True
    return columns > 1 and lines > 2


class _Pass:
    """How far one pass over a role's data is, where no bar counts it."""

    def __init__(self, title: str, steps: int, done: int) -> None:
        self._title: Final = title
        self._steps: Final = steps
        self._done = done
        self._began: Final = time.monotonic()
        self.samples = 0

    def take(self, samples: int) -> None:
        """One step more."""
        self._done += 1
        self.samples += samples

    @property
    def where(self) -> str:
        """`step 20/57` in training; `val  step 20/57` elsewhere."""
        role = "" if self._title == "train" else f"{self._title}  "
        return f"{role}step {self._done:,}/{self._steps:,}"

    @property
    def seconds(self) -> float:
        """Since it began."""
        return time.monotonic() - self._began


class _Steps(tqdm):  # type: ignore[type-arg] # tqdm takes no type at run time
    """A bar of batches that tells samples per second."""

    samples = 0

    @property
    def format_dict(self) -> Any:
        """What the bar's format speaks of."""
        found = super().format_dict
        done = found["n"] - found["initial"]
        if not done:
            return {**found, "speed": "starting"}
        seconds = done / found["rate"] if found["rate"] else found["elapsed"]
        return {**found, "speed": speed(self.samples, seconds)}


def numbers(values: Mapping[str, float], joint: str = "  ") -> str:
    """`loss 0.1234  accuracy 0.9876`."""
    return joint.join(f"{name} {value:.4g}" for name, value in values.items())


def speed(samples: int, seconds: float) -> str:
    """`1,234 samples/s`."""
    rate = samples / seconds if seconds else 0.0
    return f"{rate:,.0f} samples/s" if rate >= 10 else f"{rate:.2g} samples/s"
