"""What can be wrong with data when it is opened and read."""

from typing import ClassVar

from expc.diagnostics import Problem
from expc.frozen import dataclass


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
class WorkerSlow(Problem):
    """A process that prepares data took longer for a batch than `timeout` allows: a disk or a network that hangs.

    Without `timeout` a run waits as long as it takes.

    ```exp wrong
    data { train = FakeData(size=100) -> ToTensor, batch = 8, workers = 2, timeout = 0.001 s }
    ```

    ```exp right
    data { train = FakeData(size=100) -> ToTensor, batch = 8, workers = 2, timeout = 60 s }
    ```
    """

    code: ClassVar[str] = "E0842"
    name: ClassVar[str] = "worker-slow"
    template: ClassVar[str] = "no batch of `{role}` came from a data worker within the `timeout` of {seconds:g} s"

    role: str
    seconds: float


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
class DataTooLarge(Problem):
    """`path = resident` asks for decoded samples on the training device, and they do not fit.

    They may take `memory` of what is free there, a quarter unless the file says otherwise. `path = auto` takes them
    from the data set then, batch by batch, with the same numbers. Less is needed where images become small before the
    first random transform: `Resize([64, 64]) -> RandomHorizontalFlip`.

    ```exp wrong
    data {
      train = FakeData(size=10_000_000) -> ToTensor
      path = resident
    }
    ```

    ```exp right
    data {
      train = FakeData(size=10_000_000) -> ToTensor
      path = auto
    }
    ```
    """

    code: ClassVar[str] = "E0841"
    name: ClassVar[str] = "data-too-large"
    template: ClassVar[str] = "decoded, `{role}` takes {needed}, and may take {found}"

    role: str
    needed: str
    found: str
