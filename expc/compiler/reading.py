"""Reading the text of an experiment: whole files of a sensible size, and nothing that could block."""

import errno
import re
import stat
from pathlib import Path
from typing import Final

MOST_BYTES: Final = 2**20
"""The largest file that is read as an experiment: a hundred times what people write."""

_KINDS: Final = {stat.S_IFIFO: "a pipe", stat.S_IFSOCK: "a socket"}


def read_text(path: str | Path) -> str:
    """The text of the file at `path`, in which each character stands where it does in the file.

    Raises OSError where there is no file, or none that can be read or be an experiment, and UnicodeDecodeError where it
    is not UTF-8.
    """
    if not str(path):  # which `Path` would take for the working directory
        raise FileNotFoundError(errno.ENOENT, "it has no name", "")
    path = Path(path)
    kind = stat.S_IFMT(path.stat().st_mode)  # before it is opened: a pipe would wait for somebody to write to it
    if kind == stat.S_IFDIR:
        raise IsADirectoryError(errno.EISDIR, "it is a folder", str(path))
    if kind != stat.S_IFREG:
        raise OSError(errno.EINVAL, f"it is {_KINDS.get(kind, 'a device')}, not a file", str(path))
    with path.open("rb") as file:
        content = file.read(MOST_BYTES + 1)
    if len(content) > MOST_BYTES:
        raise OSError(errno.EFBIG, f"it is larger than {MOST_BYTES // 2**20} MiB", str(path))
    return re.sub(r"\r(?!\n)", "\n", content.decode("utf-8"))
