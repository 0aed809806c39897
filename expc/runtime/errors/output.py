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


@dataclass(frozen=True, kw_only=True)
class TensorboardMissing(Problem):
    """Events are asked for, and the package that writes and shows them cannot be imported.

    It comes with expc; install it again (`pip install tensorboard`), or write no events. `metrics.jsonl` has the same
    numbers.

    ```exp wrong
    log { tensorboard = true }
    ```

    ```exp right
    log { tensorboard = false }
    ```
    """

    code: ClassVar[str] = "E0845"
    name: ClassVar[str] = "tensorboard-missing"
    template: ClassVar[str] = "TensorBoard cannot be imported: {reason}"

    notes: tuple[str, ...] = ("`pip install tensorboard` installs it; `log { tensorboard = false }` does without",)

    reason: str


@dataclass(frozen=True, kw_only=True)
class PortTaken(Problem):
    """TensorBoard cannot listen on the port that it was given, mostly since another program does.

    That may be another TensorBoard. Give another port, or none: then the next free one is taken.

    ```exp wrong
    # expc board --port 6006, where another board is open
    log { tensorboard = true }
    ```

    ```exp right
    # expc board --port 6007
    log { tensorboard = true }
    ```
    """

    code: ClassVar[str] = "E0846"
    name: ClassVar[str] = "port-taken"
    template: ClassVar[str] = "cannot listen on port {port}: give another one with `--port`, or none"

    port: str
