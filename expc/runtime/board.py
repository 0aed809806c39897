"""TensorBoard over a folder of runs, served from this process. Imports no torch."""

import contextlib
import logging
import os
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Final

from expc.runtime.errors import RunError, option_span
from expc.runtime.errors.output import PortTaken, TensorboardMissing

FIRST_PORT: Final = 6006
"""TensorBoard's own; where it is taken, one of the next ones."""


def serve(runs: Path, port: int | None = None) -> str:
    """Serve the runs in `runs` until this process ends; gives the address.

    Raises `RunError`: E0845 where TensorBoard is not installed, E0846 where `port` cannot be listened on.
    """
    try:
        with warnings.catch_warnings(), _quiet():
            warnings.simplefilter("ignore")
            from tensorboard import default, program
    except ImportError as error:
        raise RunError(TensorboardMissing(span=option_span("board", str(runs)), reason=str(error))) from error
    with warnings.catch_warnings(), _quiet():
        warnings.simplefilter("ignore")
        board = program.TensorBoard(default.get_plugins())
        asked = {} if port is None else {"port": port}
        board.configure(("", "--logdir", str(runs)), **asked)
        try:
            return str(board.launch()).removesuffix("/")
        except program.TensorBoardServerException as error:
            shown = str(port or f"{FIRST_PORT} and those after it")
            raise RunError(PortTaken(span=option_span("--port", shown), port=shown)) from error


def holds_events(runs: Path) -> bool:
    """Whether some run in the folder has written events."""
    return any(runs.rglob("events.out.tfevents.*"))


@contextlib.contextmanager
def _quiet() -> Iterator[None]:
    """Keep off standard error what TensorBoard, and the process that it starts to read events, say of themselves."""
    before = logging.root.manager.disable
    logging.disable(logging.CRITICAL)
    kept = os.dup(2)
    try:
        with Path(os.devnull).open("w") as nowhere:
            os.dup2(nowhere.fileno(), 2)
        yield
    finally:
        os.dup2(kept, 2)
        os.close(kept)
        logging.disable(before)
