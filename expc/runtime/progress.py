"""What a person sees while a run goes on: a few lines, and bars where standard error is a terminal."""

import os
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Final, Never, TextIO

from tqdm import tqdm


class Progress:
    """Writes to standard error; nothing at all where `shown` is false."""

    def __init__(self, *, shown: bool, stream: TextIO | None = None) -> None:
        self._stream: Final = sys.stderr if stream is None else stream
        self._shown = shown
        self.has_bars = shown and self._stream.isatty() and os.environ.get("TERM") != "dumb"
        self._epochs: tqdm[Never] | None = None
        self._steps: tqdm[Never] | None = None

    def line(self, text: str) -> None:
        """One line, above the bars."""
        if self._shown:
            with self._if_anybody_reads():
                tqdm.write(text, file=self._stream)

    def begin(self, epochs: int) -> None:
        """The bar of all epochs."""
        with self._if_anybody_reads():
            self._epochs = self._bar(epochs, "epochs", "epoch", position=0)

    def begin_steps(self, title: str, steps: int) -> None:
        """The bar of one pass over a role's data, in the place of the last one's."""
        with self._if_anybody_reads():
            if self._steps is not None:
                self._steps.close()
            self._steps = self._bar(steps, title, "step", position=1)

    def step(self) -> None:
        """One step more."""
        if self._steps is not None:
            with self._if_anybody_reads():
                self._steps.update()

    def show(self, values: Mapping[str, float]) -> None:
        """Numbers beside the bar of steps."""
        if self._steps is not None:
            with self._if_anybody_reads():
                self._steps.set_postfix_str(numbers(values, " "))

    def end_epoch(self, values: Mapping[str, float]) -> None:
        """One epoch more, with numbers beside its bar."""
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

    @contextmanager
    def _if_anybody_reads(self) -> Iterator[None]:
        """A terminal or a pipe that is gone is no reason to stop a run: nothing is shown any more."""
        try:
            yield
        except OSError:
            self._shown = False
            self.has_bars = False
            self._steps = self._epochs = None

    def _bar(self, total: int, title: str, unit: str, position: int) -> "tqdm[Never] | None":
        if not self.has_bars:
            return None
        return tqdm(
            total=total, desc=title, unit=unit, position=position, leave=False, file=self._stream, dynamic_ncols=True
        )


def numbers(values: Mapping[str, float], joint: str = "  ") -> str:
    """`loss 0.1234  accuracy 0.9876`."""
    return joint.join(f"{name} {value:.4g}" for name, value in values.items())
