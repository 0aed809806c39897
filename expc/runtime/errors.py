"""E08xx: what can only go wrong when files are read or written, and while a run goes on.

Each is a `Problem` like those of the checker, so that the command line prints it in the same way: `raise RunError(
DataNotFound(span=use.span, ...))`. Where nothing in the file is to blame, the span points at the option that is, as
`option_span("--out", path)`. Nothing here imports torch, so that `expc explain` prints these pages at once.
"""

import errno
from typing import ClassVar

from expc.diagnostics import Problem, ProblemError, Source, Span
from expc.frozen import dataclass


class RunError(ProblemError):
    """The run cannot go on; `problem` says what happened, and which line of the experiment asked for it."""


def option_span(option: str, value: str) -> Span:
    """The place of a value that was given on the command line: `option_span("--out", "runs/a")`."""
    return Span(Source(option, value), 0, len(value))


def from_os_error(error: OSError, path: str, span: Span) -> RunError:
    """What to raise when writing `path` failed: `DiskFull` when there was no space, else `OutputUnwritable`."""
    if error.errno in (errno.ENOSPC, errno.EDQUOT):
        return RunError(DiskFull(span=span, path=path))
    return RunError(OutputUnwritable(span=span, path=path, reason=error.strerror or str(error)))


@dataclass(frozen=True, kw_only=True)
class DataNotFound(Problem):
    """A data set is not where the experiment says, or could not be fetched.

    Relative paths start at the folder of the `.exp` file, or at the folder that the environment variable `EXPC_DATA`
    names. With `download=true` a data set that is missing is fetched once; what is there already is never changed.

    ```exp wrong
    data { train = MNIST("no/such/folder") -> ToTensor }
    ```

    ```exp right
    data { train = MNIST("data", download=true) -> ToTensor }
    ```
    """

    code: ClassVar[str] = "E0801"
    name: ClassVar[str] = "data-not-found"
    template: ClassVar[str] = "`{dataset}`: {reason} at {path}"

    dataset: str
    path: str
    reason: str
    """What is missing, in words that go before the path."""


@dataclass(frozen=True, kw_only=True)
class DataDamaged(Problem):
    """A file of a data set is there, but cannot be read: half of it is missing, or it is of another kind.

    expc never deletes or overwrites data. Move the file away and fetch it again, with `download=true` where the data
    set has it.

    ```exp wrong
    data { train = Text("photo.png", vocab=65, window=64) }
    ```

    ```exp right
    data { train = Text("tinyshakespeare.txt", vocab=65, window=64) }
    ```
    """

    code: ClassVar[str] = "E0802"
    name: ClassVar[str] = "data-damaged"
    template: ClassVar[str] = "`{dataset}` cannot read {path}: {reason}"

    dataset: str
    path: str
    reason: str


@dataclass(frozen=True, kw_only=True)
class UnexpectedData(Problem):
    """What was read is not what the experiment declares: the number of classes, a vocabulary, the size of images.

    What can only be known by reading is declared in the file, so that everything can be checked before; it is
    verified when the data is opened.

    ```exp wrong
    data { train = Text("tinyshakespeare.txt", vocab=64, window=128) }
    ```

    ```exp right
    data { train = Text("tinyshakespeare.txt", vocab=65, window=128) }
    ```
    """

    code: ClassVar[str] = "E0803"
    name: ClassVar[str] = "unexpected-data"
    template: ClassVar[str] = "`{dataset}` is declared with {declared}, but {path} has {found}"

    dataset: str
    path: str
    declared: str
    found: str


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
    template: ClassVar[str] = "cannot write {path}: no space left on the disk"

    path: str


@dataclass(frozen=True, kw_only=True)
class TooLittleData(Problem):
    """There are not enough samples: a part of a split is empty, a text is shorter than its window, or a batch that
    must be full never is.

    ```exp wrong
    data {
      train = FakeData(size=100) -> ToTensor
      batch = 128
      drop_last = true
    }
    ```

    ```exp right
    data {
      train = FakeData(size=100) -> ToTensor
      batch = 32
      drop_last = true
    }
    ```
    """

    code: ClassVar[str] = "E0806"
    name: ClassVar[str] = "too-little-data"
    template: ClassVar[str] = "{what} needs at least {needed}, but there are {found}"

    what: str
    needed: str
    found: int


@dataclass(frozen=True, kw_only=True)
class WorkerDied(Problem):
    """A process that prepares data ended before its time, most often because memory ran out.

    Each of the `workers` holds batches in memory; in containers the shared memory (`/dev/shm`) is often small. Use
    fewer workers, or a smaller `prefetch_factor`.

    ```exp wrong
    data { train = FakeData(size=100) -> ToTensor, batch = 8, workers = 4096 }
    ```

    ```exp right
    data { train = FakeData(size=100) -> ToTensor, batch = 8, workers = 2 }
    ```
    """

    code: ClassVar[str] = "E0807"
    name: ClassVar[str] = "worker-died"
    template: ClassVar[str] = "a data worker of `{role}` ended unexpectedly: {reason}"

    role: str
    reason: str


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
class LossNotFinite(Problem):
    """The loss became infinite or not a number: the run cannot learn from it any more, and stopped.

    Most often the learning rate is too high, at the start above all: lower it, warm it up with `LinearLR`, or limit the
    gradients with `clip`. In `f16` try `bf16`. A logarithm or a root of zero in a loss of one's own does it too. The
    checkpoints that were saved before are kept.

    ```exp wrong
    train { optimizer = SGD(lr=1e6) }
    ```

    ```exp right
    train { optimizer = SGD(lr=0.1), clip = norm(1.0) }
    ```
    """

    code: ClassVar[str] = "E0809"
    name: ClassVar[str] = "loss-not-finite"
    template: ClassVar[str] = "the {phase} loss `{term}` is {value} {when}"

    phase: str
    term: str
    value: str
    when: str
    """In words: `between steps 51 and 100`."""


@dataclass(frozen=True, kw_only=True)
class NothingToTrain(Problem):
    """A run needs a model, training data, and a `train` section with a loss, an optimizer and a length.

    A file without them can be checked, built and imported, but there is nothing to run.

    ```exp wrong
    model Net(x: f32[N, 8]) -> f32[N, 2] { Linear(2) }
    ```

    ```exp right
    data { train = FakeData(size=64) -> ToTensor, batch = 8 }

    model Net(x: f32[N, 3, 224, 224]) -> f32[N, 10] { AdaptiveAvgPool2d(1) -> Flatten -> Linear(10) }

    train { epochs = 1, loss = CrossEntropyLoss, optimizer = SGD(lr=0.1) }
    ```
    """

    code: ClassVar[str] = "E0810"
    name: ClassVar[str] = "nothing-to-train"
    template: ClassVar[str] = "cannot run `{experiment}`: it has no {missing}"

    experiment: str
    missing: str


@dataclass(frozen=True, kw_only=True)
class DeviceUnavailable(Problem):
    """The device that was asked for is not there, or this PyTorch was built without support for it.

    Which device is said where the run starts, as `--device cuda:1`. `auto`, the default, takes a GPU where there is
    one, and the CPU otherwise.

    ```exp wrong
    distributed { backend = nccl }
    ```

    ```exp right
    distributed { backend = auto }
    ```
    """

    code: ClassVar[str] = "E0601"
    name: ClassVar[str] = "device-unavailable"
    template: ClassVar[str] = "cannot run on `{device}`: {reason}"

    device: str
    reason: str


@dataclass(frozen=True, kw_only=True)
class TransformFailed(Problem):
    """A transform could not be carried out on a sample, which no check of the types could tell before.

    `Resize` with a `max_size`, for instance, leaves nothing of an image that is very long and thin.

    ```exp wrong
    data { train = ImageFolder("photos", classes=3) -> Resize(64, max_size=65) -> CenterCrop(64) -> ToTensor }
    ```

    ```exp right
    data { train = ImageFolder("photos", classes=3) -> Resize(64) -> CenterCrop(64) -> ToTensor }
    ```
    """

    code: ClassVar[str] = "E0811"
    name: ClassVar[str] = "transform-failed"
    template: ClassVar[str] = "`{transform}` fails on {found}: {reason}"

    transform: str
    found: str
    reason: str


@dataclass(frozen=True, kw_only=True)
class PrecisionUnavailable(Problem):
    """The device does not compute in the precision that `train` asks for.

    `f16` needs a GPU: its gradients are scaled so that small ones do not vanish, and the CPU has no arithmetic for it
    that is worth using. `bf16` works everywhere; `auto` is `bf16` on GPUs that have it, and `f32` elsewhere.

    ```exp wrong
    train { precision = f16 }
    ```

    ```exp right
    train { precision = auto }
    ```
    """

    code: ClassVar[str] = "E0602"
    name: ClassVar[str] = "precision-unavailable"
    template: ClassVar[str] = (
        "`precision = {precision}` needs a GPU, and the run is on `{device}`: write `bf16` or `auto`"
    )

    precision: str
    device: str


@dataclass(frozen=True, kw_only=True)
class BadCell(Problem):
    """A row or a cell of a table is not what the experiment declares: text among numbers, an empty cell, a class that
    there is not, a cell too many.

    Every row is read before training starts. Mend the file, or declare what is in it: a column of names is a
    `class(n)`.

    ```exp wrong
    data { train = Csv("people.csv", sex="sex") -> as (sex: f32[]) }
    ```

    ```exp right
    data { train = Csv("people.csv", sex="sex") -> as (sex: class(2)) }
    ```
    """

    code: ClassVar[str] = "E0812"
    name: ClassVar[str] = "bad-cell"
    template: ClassVar[str] = "{path}, {place}: {reason}"

    path: str
    place: str
    """In words: `line 17, column `age``."""
    reason: str


@dataclass(frozen=True, kw_only=True)
class DataNotGiven(Problem):
    """`Tensors` are given by the program that runs the experiment, and this one gives none of that name.

    From Python: `expc.load("net.exp").run(data={"points": {"x": x, "label": label}})`. On the command line there is no
    way to give them; data in a file is `Npz` or `Csv`.

    ```exp wrong
    data { train = Tensors("points") -> as (x: f32[2], label: class(2)) }
    ```

    ```exp right
    data { train = Npz("points.npz") -> as (x: f32[2], label: class(2)) }
    ```
    """

    code: ClassVar[str] = "E0813"
    name: ClassVar[str] = "data-not-given"
    template: ClassVar[str] = 'no tensors are given for `Tensors("{set}")`: `experiment.run(data={{"{set}": ...}})`'

    set: str


@dataclass(frozen=True, kw_only=True)
class PackageMissing(Problem):
    """A data set is in a format that torchvision reads with a package that is not installed.

    Install it beside torch, for instance with `pip install scipy`. Nothing else needs it.

    ```exp wrong
    data { train = SVHN("data") -> ToTensor }
    ```

    ```exp right
    data { train = MNIST("data") -> ToTensor }
    ```
    """

    code: ClassVar[str] = "E0817"
    name: ClassVar[str] = "package-missing"
    template: ClassVar[str] = "`{dataset}` needs the package {package}, which is not installed: `pip install {package}`"

    dataset: str
    package: str
