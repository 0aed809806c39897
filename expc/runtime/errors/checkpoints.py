"""What can keep a run from going on."""

from typing import ClassVar

from expc.diagnostics import Problem
from expc.frozen import dataclass


@dataclass(frozen=True, kw_only=True)
class NotARun(Problem):
    """What is to go on is no run: there is no run directory, or it is not as a run leaves it.

    A run directory holds `run.json`, and nothing in it is a link: a link could lead anywhere, and what is no longer
    needed is removed. Without `--resume RUN`, `--resume auto` finds the last run of a file.

    ```exp wrong
    checkpoint { every = 1 epochs, keep = 0 }
    ```

    ```exp right
    checkpoint { every = 1 epochs, keep = 3 }
    ```
    """

    code: ClassVar[str] = "E0830"
    name: ClassVar[str] = "not-a-run"
    template: ClassVar[str] = "{path} is no run that could go on: {reason}"

    path: str
    reason: str


@dataclass(frozen=True, kw_only=True)
class RunInUse(Problem):
    """Another process writes to this run directory. Two that write would ruin each other's work.

    Wait until it has ended, or stop it. Nothing is left behind by a process that is dead: then the run can go on at
    once.

    ```exp wrong
    checkpoint { every = 0 steps }
    ```

    ```exp right
    checkpoint { every = 500 steps }
    ```
    """

    code: ClassVar[str] = "E0831"
    name: ClassVar[str] = "run-in-use"
    template: ClassVar[str] = "{path} is being written by another process{owner}"

    path: str
    owner: str
    """In words: ` (12345 on node7)`, or nothing where it is not known."""


@dataclass(frozen=True, kw_only=True)
class NoWholeCheckpoint(Problem):
    """Every checkpoint of the run is damaged or incomplete: some byte is not what was saved.

    Each file's size and SHA-256 stand in the checkpoint's manifest. What does not agree is never used, nor any part of
    it. A checkpoint is whole when it gets its name, so this is the work of a disk, a copy or a person. With `keep` more
    checkpoints stay to fall back to.

    ```exp wrong
    checkpoint { every = 1 epochs, keep = 0 }
    ```

    ```exp right
    checkpoint { every = 1 epochs, keep = 3 }
    ```
    """

    code: ClassVar[str] = "E0832"
    name: ClassVar[str] = "no-whole-checkpoint"
    template: ClassVar[str] = "{path} has no checkpoint that is whole: {damaged}"

    path: str
    damaged: str
    """In words: `step-000012: model.safetensors is not what was saved`."""


@dataclass(frozen=True, kw_only=True)
class ExperimentChanged(Problem):
    """The experiment is not what it was when the checkpoint was saved: it would go on as another one.

    Write the values as they were, or go on with the new ones: `--allow-changed`. What the optimizer knows of the
    parameters is kept; learning rates and schedules are then as if the file had always said so. What decides nothing
    that is learnt (`log`, `checkpoint`, `data.workers`, `train.max_time`) may change at any time.

    ```exp wrong
    train { epochs = 0, loss = CrossEntropyLoss, optimizer = SGD(lr=0.1) }
    ```

    ```exp right
    train { epochs = 20, loss = CrossEntropyLoss, optimizer = SGD(lr=0.1) }
    ```
    """

    code: ClassVar[str] = "E0833"
    name: ClassVar[str] = "experiment-changed"
    template: ClassVar[str] = (
        "the experiment has changed since {checkpoint} was saved: {changes}. Go on: `--allow-changed`"
    )

    checkpoint: str
    changes: str


@dataclass(frozen=True, kw_only=True)
class ShapesChanged(Problem):
    """The network is another one than that of the checkpoint: weights are missing, new, or of another shape.

    A run goes on with all of its weights or not at all. To start a new run from some of them, name the file that they
    are in: `init "*" = load("runs/first/best.safetensors")`.

    ```exp wrong
    model Net(x: f32[N, 8]) -> f32[N, 2] { Linear(3) }
    ```

    ```exp right
    model Net(x: f32[N, 8]) -> f32[N, 2] { Linear(2) }
    ```
    """

    code: ClassVar[str] = "E0834"
    name: ClassVar[str] = "shapes-changed"
    template: ClassVar[str] = "the network is not that of {checkpoint}: {changes}"

    checkpoint: str
    changes: str


@dataclass(frozen=True, kw_only=True)
class CheckpointUnfit(Problem):
    """A checkpoint is whole, but it is not one of such a run: what it holds does not fit the optimizer, the schedule or
    the metrics.

    It was made by another version of expc, or by somebody else. Nothing of the run was changed.

    ```exp wrong
    train { epochs = 1, loss = CrossEntropyLoss, optimizer = SDG(lr=0.1) }
    ```

    ```exp right
    train { epochs = 1, loss = CrossEntropyLoss, optimizer = SGD(lr=0.1) }
    ```
    """

    code: ClassVar[str] = "E0835"
    name: ClassVar[str] = "checkpoint-unfit"
    template: ClassVar[str] = "{checkpoint} cannot be gone on from: {reason}"

    checkpoint: str
    reason: str
