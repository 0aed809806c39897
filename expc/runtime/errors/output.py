"""What can go wrong where a run writes."""

import errno
from typing import ClassVar

from expc.diagnostics import Problem, Span
from expc.frozen import dataclass
from expc.runtime.errors import RunError


def from_os_error(error: OSError, path: str, span: Span) -> RunError:
    """What to raise when writing `path` failed: `DiskFull` when there was no space, else `OutputUnwritable`."""
    if error.errno in (errno.ENOSPC, errno.EDQUOT):
        return RunError(DiskFull(span=span, path=path))
    return RunError(OutputUnwritable(span=span, path=path, reason=error.strerror or str(error)))


@dataclass(frozen=True, kw_only=True)
class OutputUnwritable(Problem):
    """A file or a folder cannot be written.

    Check that the folder given with `--out` exists or can be made, and that you may write there.

    ```exp wrong
    export { onnx = "/proc/net.onnx" }
    ```

    ```exp right
    export { onnx = "net.onnx" }
    ```
    """

    code: ClassVar[str] = "E0804"
    name: ClassVar[str] = "output-unwritable"
    template: ClassVar[str] = "cannot write {path}: {reason}"

    path: str
    reason: str


@dataclass(frozen=True, kw_only=True)
class DiskFull(Problem):
    """There was no space left to write a file.

    What was written before is whole: files are written beside their place and moved there when they are complete. Make
    space, or keep fewer checkpoints, and resume the run.

    ```exp wrong
    checkpoint { every = 1 epochs, keep = 1000 }
    ```

    ```exp right
    checkpoint { every = 1 epochs, keep = 3 }
    ```
    """

    code: ClassVar[str] = "E0805"
    name: ClassVar[str] = "disk-full"
    template: ClassVar[str] = "cannot write {path}: no space left on the disk{detail}"

    path: str
    detail: str = ""
    """How much is needed, where that is known: `: it takes 12 bytes, and 4 are free`."""


@dataclass(frozen=True, kw_only=True)
class OutputExists(Problem):
    """The folder given with `--out` holds something already, perhaps another run. Nothing in it was touched.

    Give the name of a folder that does not exist yet, or is empty. Without `--out`, each run makes a new folder of its
    own under `runs/`.

    ```exp wrong
    export { onnx = "." }
    ```

    ```exp right
    export { onnx = "net.onnx" }
    ```
    """

    code: ClassVar[str] = "E0808"
    name: ClassVar[str] = "output-exists"
    template: ClassVar[str] = "{path} {reason}: give the name of a new folder"

    path: str
    reason: str
