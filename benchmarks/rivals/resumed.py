"""What every rival of `benchmarks/rival_faults.py` trains, and how it takes orders.

A rival imports its framework once and calls `serve(train)`: each line of standard input is a job, carried out in a
process forked for it, whose id is answered at once and whose exit status when it has ended. `losses.jsonl` in the
job's folder has a line for each step as soon as it is done; the weights of a run that ended are in `final.safetensors`.
"""

import json
import os
import random
import signal
import sys
import traceback
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import torch
from safetensors.torch import save_file
from torch import Tensor, nn
from torch.nn.functional import pad
from torch.utils.data import Dataset

SAMPLES = 640
BATCH = 16
EPOCH = SAMPLES // BATCH
"""Steps of an epoch."""
KEEP = 2
"""How many checkpoints stay."""
SEED = 0
RATE = 1e-3


class Job(NamedTuple):
    """One life of a run: `resume` is false in the first."""

    folder: str
    images: str
    steps: int
    every: int
    width: int
    dropout: bool
    crop: bool
    resume: bool
    stateful: bool
    die_at: int | None
    """The step after which the process kills itself, as `kill -9` would."""

    @property
    def checkpoints(self) -> Path:
        return Path(self.folder, "checkpoints")


class Digits(Dataset[dict[str, Tensor]]):
    """The first digits, each shifted by up to two pixels anew, as torchvision's `RandomCrop(28, padding=2)` does it."""

    def __init__(self, job: Job) -> None:
        folder = Path(job.images, "MNIST", "raw")
        pixels = bytearray((folder / "train-images-idx3-ubyte").read_bytes()[16:])
        self._images = torch.frombuffer(pixels, dtype=torch.uint8).view(-1, 1, 28, 28)[:SAMPLES] / 255
        labels = bytearray((folder / "train-labels-idx1-ubyte").read_bytes()[8:])
        self._targets = torch.frombuffer(labels, dtype=torch.uint8)[:SAMPLES].long()
        self._crop = job.crop

    def __len__(self) -> int:
        return SAMPLES

    def __getitem__(self, row: int) -> dict[str, Tensor]:
        image = self._images[row]
        if self._crop:
            top = int(torch.randint(0, 5, (1,)))
            left = int(torch.randint(0, 5, (1,)))
            image = pad(image, (2, 2, 2, 2))[:, top : top + 28, left : left + 28]
        return {"row": torch.tensor(row), "image": image, "target": self._targets[row]}


class Net(nn.Module):
    """Two layers, which answer with their loss, as models of the Trainer do."""

    def __init__(self, job: Job) -> None:
        super().__init__()
        dropout = nn.Dropout(0.25) if job.dropout else nn.Identity()
        self.layers = nn.Sequential(
            nn.Flatten(), nn.Linear(784, job.width), nn.ReLU(), dropout, nn.Linear(job.width, 10)
        )
        self.last: tuple[float, list[int]] = (0.0, [])
        """The loss of the last batch, and which samples it had."""

    def forward(self, row: Tensor, image: Tensor, target: Tensor) -> dict[str, Tensor]:
        loss = nn.functional.cross_entropy(self.layers(image), target)
        self.last = (loss.item(), row.tolist())
        return {"loss": loss}


class Steps:
    """What was trained, step by step."""

    def __init__(self, job: Job) -> None:
        self._job = job
        self._path = Path(job.folder, "losses.jsonl")

    def done(self, step: int, loss: float, rows: list[int]) -> None:
        """A step is done: the number that the framework gives it, from 1, its loss, and the samples of its batch."""
        with self._path.open("a") as file:
            file.write(json.dumps({"step": step, "loss": loss, "rows": rows}) + "\n")
        if step == self._job.die_at:
            os.kill(os.getpid(), signal.SIGKILL)

    def end(self, net: nn.Module) -> None:
        save_file(net.state_dict(), Path(self._job.folder, "final.safetensors"))


def serve(train: Callable[[Job], None]) -> None:
    """Carry out jobs, one at a time, until standard input ends."""
    for line in sys.stdin:
        job = Job(**json.loads(line))
        child = os.fork()
        if child == 0:
            _live(train, job)
        print(json.dumps({"process": child}), flush=True)
        print(json.dumps({"status": os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])}), flush=True)


def _live(train: Callable[[Job], None], job: Job) -> None:
    status = 1
    try:
        log = os.open(Path(job.folder, "log"), os.O_WRONLY | os.O_CREAT | os.O_APPEND)
        os.dup2(log, 1)
        os.dup2(log, 2)
        torch.set_num_threads(1)
        torch.use_deterministic_algorithms(True)
        # What is there without a seed must be another in each life, as in a process of its own.
        torch.seed()
        random.seed()
        train(job)
        status = 0
    finally:
        if status:
            traceback.print_exc()
        os._exit(status)
