"""TensorBoard events of one run, all in one folder: numbers, graph, histograms, pictures and hyperparameters.

Nothing is imported before a run asks for events. What libraries print and log meanwhile is kept quiet.
"""

import contextlib
import io
import logging
import threading
import warnings
from collections.abc import Callable, Collection, Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import torch
from torch import Tensor, nn

from expc.runtime.errors import RunError, option_span
from expc.runtime.errors.output import TensorboardMissing
from expc.runtime.rewinding import sizes
from expc.runtime.rundir import writing

if TYPE_CHECKING:
    from torch.utils.tensorboard.writer import SummaryWriter

    from expc.runtime.pictures import Picture

FLUSH_SECONDS: Final = 10
"""How long a number waits until TensorBoard sees it."""


class Events:
    """The events in `folder`. Raises `RunError` (E0804, E0805) where they cannot be written."""

    def __init__(self, folder: Path, purge_step: int | None = None) -> None:
        """`purge_step`: a board that is open forgets what it has read from this step on."""
        self._folder: Final = folder
        self._excepthook: Final = threading.excepthook
        threading.excepthook = _silent_writer(self._excepthook)
        self._writer: Final = _writer(folder, purge_step)

    def scalars(self, values: Mapping[str, float], step: int) -> None:
        """Numbers by tag: `train/loss`."""
        with writing(self._folder):
            for tag, value in values.items():
                self._writer.add_scalar(tag, value, step)

    def histogram(self, tag: str, values: Tensor, step: int) -> None:
        """How the numbers of a tensor are distributed, without those that are not finite."""
        values = values.detach().float()
        values = values[values.isfinite()]
        if values.numel():
            with writing(self._folder):
                self._writer.add_histogram(tag, values, step)

    def picture(self, tag: str, picture: "Picture", step: int) -> None:
        """A picture."""
        with writing(self._folder):
            self._writer.add_image(tag, picture, step, dataformats="HWC")

    def hyperparameters(self, values: Mapping[str, Any], measured: Collection[str]) -> None:
        """What this run was set to, and the tags of the numbers that runs are compared by.

        `SummaryWriter.add_hparams` would write them, and the numbers once more, to a run of their own.
        """
        from torch.utils.tensorboard.summary import hparams

        with writing(self._folder):
            # torch gives these two no types, and no other way to write a summary of any kind.
            to_file = self._writer._get_file_writer()  # type: ignore[no-untyped-call]  # noqa: SLF001
            for summary in hparams(dict(values), dict.fromkeys(measured, 0.0)):  # type: ignore[no-untyped-call]
                to_file.add_summary(summary)

    def graph(self, model: nn.Module, inputs: tuple[Tensor, ...]) -> None:
        """The model's graph, if torch can trace it; the model and its random numbers stay."""
        training = [module for module in model.modules() if module.training]
        few = tuple(tensor[:2] for tensor in inputs)
        devices = {tensor.device for tensor in inputs if tensor.device.type == "cuda"}
        try:
            model.eval()
            with torch.random.fork_rng(devices), warnings.catch_warnings(), _silent():
                warnings.simplefilter("ignore")
                self._writer.add_graph(model, few, use_strict_trace=False)
        except Exception:  # noqa: BLE001, S110 - tracing fails in many ways, and a picture is no reason to stop a run
            pass
        finally:
            # One by one: what is frozen acts as in evaluation while the rest trains.
            for module in training:
                module.training = True

    def flush(self) -> dict[str, int]:
        """Write what is left; gives the files of the folder with their sizes in bytes."""
        with writing(self._folder):
            self._writer.flush()
            return sizes(self._folder)

    def close(self) -> None:
        """Write what is left."""
        try:
            with writing(self._folder):
                self._writer.close()
        finally:
            threading.excepthook = self._excepthook


def _writer(folder: Path, purge_step: int | None) -> "SummaryWriter":
    with warnings.catch_warnings(), _silent():
        warnings.simplefilter("ignore")
        try:
            from torch.utils.tensorboard.writer import SummaryWriter
        except ImportError as error:
            span = option_span("log", "tensorboard")
            raise RunError(TensorboardMissing(span=span, reason=str(error))) from error

        with writing(folder):
            return SummaryWriter(str(folder), purge_step=purge_step, flush_secs=FLUSH_SECONDS)


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
