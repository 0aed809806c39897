"""One process at a time writes to a run directory."""

import errno
import os
import socket
from contextlib import suppress
from pathlib import Path
from typing import Final

from expc.diagnostics import Span
from expc.runtime.errors import RunError
from expc.runtime.errors.checkpoints import RunInUse

LOCK: Final = ".lock"
_HELD: Final = (errno.EACCES, errno.EAGAIN)


class Lock:
    """Held from when it is made until it is closed, or the process is dead. Raises `RunError` (E0831) where it is held.

    It is a lock of the process on a file (`fcntl.lockf`): the operating system lets go of it however the process ends,
    and processes that this one starts do not hold it, as they would hold one of `flock`. Where there are no such
    locks, as on some file systems, nothing is locked.
    """

    def __init__(self, folder: Path, span: Span) -> None:
        """Raises OSError too, where the file cannot be made."""
        flags = os.O_RDWR | os.O_CREAT | getattr(os, "O_NOFOLLOW", 0)
        self._file: Final = os.fdopen(os.open(folder / LOCK, flags, 0o644), "r+b", buffering=0)
        try:
            with suppress(ImportError):
                self._take(folder, span)
            self._file.truncate(0)
            self._file.write(f" ({os.getpid()} on {socket.gethostname()})".encode())
        except BaseException:
            self._file.close()
            raise

    def _take(self, folder: Path, span: Span) -> None:
        import fcntl

        try:
            fcntl.lockf(self._file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            if error.errno in _HELD:
                owner = self._file.read(200).decode("utf-8", "replace")
                raise RunError(RunInUse(span=span, path=str(folder), owner=owner)) from error

    def close(self) -> None:
        """Let go of it."""
        self._file.close()
