"""Fetching a data set once, without ever touching what is there."""

import socket
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory

from expc.compiler.program import Use
from expc.runtime.errors import RunError
from expc.runtime.errors.data import DataNotFound
from expc.runtime.errors.output import DiskFull, from_os_error

PATIENCE = 30.0
"""Seconds to wait for an answer from the network."""


def fetch(use: Use, folder: Path, download: Callable[[str], object], names: Sequence[str] | None = None) -> None:
    """Let `download` fill an empty folder, and move those of `names` that `folder` does not have into it.

    Without `names`, everything that was fetched is moved.

    What was fetched is complete before it is moved, so that an interruption leaves nothing half done. Raises
    `RunError`.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with TemporaryDirectory(prefix=".download-", dir=folder) as temporary:
            _download(use, folder, download, temporary)
            for name in sorted(path.name for path in Path(temporary).iterdir()) if names is None else names:
                target = folder / name
                target.parent.mkdir(parents=True, exist_ok=True)
                if not target.exists():
                    (Path(temporary) / name).rename(target)
    except OSError as error:
        raise from_os_error(error, str(folder), use.span) from error


def _download(use: Use, folder: Path, download: Callable[[str], object], temporary: str) -> None:
    try:
        with _patience():
            download(temporary)
    except (OSError, RuntimeError, ValueError, EOFError) as error:
        failure = from_os_error(error, str(folder), use.span) if isinstance(error, OSError) else None
        if failure is not None and isinstance(failure.problem, DiskFull):
            raise failure from error
        lines = str(error).strip().splitlines() or [type(error).__name__]
        problem = DataNotFound(
            span=use.span,
            dataset=use.name,
            path=str(folder),
            reason="there are no files, and fetching them failed,",
            notes=(f"the answer was: {lines[-1]}", "with no network, copy the files there yourself"),
        )
        raise RunError(problem) from error


@contextmanager
def _patience() -> Iterator[None]:
    """A limit on how long the network may stay silent; torchvision sets none."""
    before = socket.getdefaulttimeout()
    socket.setdefaulttimeout(PATIENCE)
    try:
        yield
    finally:
        socket.setdefaulttimeout(before)
