"""What is measured, written down: `metrics.jsonl`, one object for each log point, and TensorBoard events."""

import contextlib
import errno
import io
import json
import logging
import math
import os
import threading
import warnings
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import torch
from torch import Tensor, nn

from expc.runtime.rundir import RunDirectory, writing

if TYPE_CHECKING:
    from torch.utils.tensorboard.writer import SummaryWriter


class Records:
    """The numbers of one run, on disk as soon as they are known."""

    def __init__(self, directory: RunDirectory, *, tensorboard: bool, graph: bool) -> None:
        self._graph: Final = graph
        self._path: Final = directory.path / "metrics.jsonl"
        with writing(self._path):
            self._file: Final = self._path.open("xb", buffering=0)
        self._events_folder: Final = directory.path / "tensorboard"
        self._excepthook: Final = threading.excepthook
        threading.excepthook = _silent_writer(self._excepthook)
        self._events: Final = _events(self._events_folder) if tensorboard else None
        self._finer: Final[set[str]] = set()

    def write(
        self, phase: str, step: int, epoch: int, values: Mapping[str, float], *, over: str, lr: float | None = None
    ) -> None:
        """Write the means of `values` over what `over` says (`steps` or `epoch`), measured after `step` steps.

        A number that is not finite is `null`. TensorBoard has no place for two means of one loss: it gets the finer.
        """
        row: dict[str, Any] = {"step": step, "epoch": epoch, "phase": phase, "over": over}
        if lr is not None:
            row["lr"] = lr
        with writing(self._path):
            self._append(json.dumps(row | finite(values), allow_nan=False).encode() + b"\n")
        if self._events is None:
            return
        scalars = {f"{phase}/{name}": value for name, value in (values if lr is None else {**values, "lr": lr}).items()}
        if over == "steps":
            self._finer.update(scalars)
        with writing(self._events_folder):
            for name, value in scalars.items():
                if over == "steps" or name not in self._finer:
                    self._events.add_scalar(name, value, step)

    def _append(self, line: bytes) -> None:
        """Write a line whole or not at all."""
        end = self._file.tell()
        try:
            if self._file.write(line) != len(line):
                raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        except OSError:
            self._file.truncate(end)
            raise

    def graph(self, model: nn.Module, inputs: tuple[Tensor, ...]) -> None:
        """Write the model's graph for TensorBoard, if torch can trace it; the model and its random numbers stay."""
        if self._events is None or not self._graph:
            return
        training = [module for module in model.modules() if module.training]
        few = tuple(tensor[:2] for tensor in inputs)
        devices = {tensor.device for tensor in inputs if tensor.device.type == "cuda"}
        try:
            model.eval()
            with torch.random.fork_rng(devices), warnings.catch_warnings(), _silent():
                warnings.simplefilter("ignore")
                self._events.add_graph(model, few, use_strict_trace=False)
        except Exception:  # noqa: BLE001, S110 - tracing fails in many ways, and a picture is no reason to stop a run
            pass
        finally:
            # One by one: what is frozen acts as in evaluation while the rest trains.
            for module in training:
                module.training = True

    def close(self) -> None:
        """Write what is left."""
        try:
            self._file.close()
            if self._events is not None:
                with writing(self._events_folder):
                    self._events.close()
        finally:
            threading.excepthook = self._excepthook


def finite(values: Mapping[str, float]) -> dict[str, float | None]:
    """The values as JSON can hold them: none for what is infinite or not a number."""
    return {name: value if math.isfinite(value) else None for name, value in values.items()}


def _events(folder: Path) -> "SummaryWriter":
    with warnings.catch_warnings(), _silent():
        warnings.simplefilter("ignore")
        from torch.utils.tensorboard.writer import SummaryWriter

        with writing(folder):
            return SummaryWriter(str(folder))


def _silent_writer(before: Callable[[threading.ExceptHookArgs], Any]) -> Callable[[threading.ExceptHookArgs], Any]:
    """TensorBoard writes in a thread, which fails with a traceback; the next call to it raises the same error."""

    def hook(failed: threading.ExceptHookArgs) -> None:
        if not (isinstance(failed.exc_value, OSError) and type(failed.thread).__module__.startswith("tensorboard.")):
            before(failed)

    return hook


@contextlib.contextmanager
def _silent() -> Iterator[None]:
    """Keep quiet what libraries print and log; errors still rise."""
    before = logging.root.manager.disable
    logging.disable(logging.CRITICAL)
    try:
        with contextlib.redirect_stdout(io.StringIO()), contextlib.redirect_stderr(io.StringIO()):
            yield
    finally:
        logging.disable(before)
