"""Runs by one, two and four processes, which are started once and carry out all runs of a test, one after the other.

The processes meet once, for all runs. Runs compute in double precision, and every process writes down which samples it
learnt from, by what is in them.
"""

import hashlib
import json
import multiprocessing
import os
import signal
import time
import traceback
import warnings
from collections import Counter
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import Any
from unittest.mock import patch

import torch
from safetensors.torch import load_file
from torch import distributed as dist

import expc
from expc.runtime import evaluate, loop
from expc.runtime.announce import announce
from expc.runtime.distributed.environment import Place
from expc.runtime.distributed.world import Many
from expc.runtime.resuming import Resume
from expc.runtime.run import run


@dataclass(frozen=True)
class Job:
    """A run, to the end or until a signal after the step `stop`; it may go `on` with another one."""

    name: str
    file: str
    """The text of the experiment, or the path of its file."""
    settings: dict[str, Any] | None = None
    data: dict[str, dict[str, torch.Tensor]] | None = None
    stop: int | None = None
    on: str | None = None
    double: bool = True


@dataclass(frozen=True)
class Done:
    """What a run of some processes has left."""

    folder: Path
    name: str

    @property
    def directory(self) -> Path:
        return self.folder / self.name

    @property
    def lines(self) -> list[dict[str, Any]]:
        return list(map(json.loads, (self.directory / "metrics.jsonl").read_text().splitlines()))

    def values(self, phase: str, over: str) -> list[dict[str, Any]]:
        return [line for line in self.lines if (line["phase"], line["over"]) == (phase, over)]

    @property
    def losses(self) -> list[float]:
        """Of every step."""
        return [values["loss"] for values in self.values("train", "steps")]

    @property
    def weights(self) -> dict[str, torch.Tensor]:
        return load_file(self.directory / "final.safetensors")

    def samples(self, role: str = "train") -> dict[int, Counter[str]]:
        """By step, which samples all processes together have taken, and how often."""
        steps: dict[int, Counter[str]] = {}
        for path in self.folder.glob(f"{self.name}.*.{role}"):
            for line in path.read_text().splitlines():
                step, *rows = line.split()
                steps.setdefault(int(step), Counter()).update(rows)
        return steps


def together(size: int, jobs: list[Job], folder: Path, seconds: float = 100) -> dict[str, Done]:
    """Carry out all jobs by so many processes; what each has left in `folder`."""
    folder.mkdir(parents=True, exist_ok=True)
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(["preloaded"])
    processes = [context.Process(target=_process, args=(rank, size, jobs, folder)) for rank in range(size)]
    with patch.dict(os.environ, PYTHONPATH=str(Path(__file__).parent)):
        for process in processes:
            process.start()
    deadline = time.monotonic() + seconds
    while any(process.is_alive() for process in processes):
        if time.monotonic() > deadline or any(process.exitcode for process in processes):
            time.sleep(0.5)  # others may have something to say as well
            for process in processes:
                process.kill()
        time.sleep(0.02)
    failed = [(rank, process.exitcode) for rank, process in enumerate(processes) if process.exitcode]
    errors = "\n".join(path.read_text() for path in sorted(folder.glob("error.*")))
    assert not failed, f"of {size} processes (rank, exit code): {failed}\n{errors}"
    return {job.name: Done(folder, job.name) for job in jobs}


def _process(rank: int, size: int, jobs: list[Job], folder: Path) -> None:
    torch.set_num_threads(1)
    warnings.simplefilter("error")
    place = Place(rank, size, rank, size, 1, "localhost", 1, "torchrun") if size > 1 else None
    name = "nobody"
    try:
        if place is not None:
            store = dist.FileStore(str(folder / f"store.{jobs[0].name}"), size)
            dist.init_process_group("gloo", store=store, rank=rank, world_size=size, timeout=timedelta(seconds=60))
        with patch.object(dist, "init_process_group"), patch.object(Many, "close"):
            for job in jobs:
                name = job.name
                _carry_out(job, place, folder)
    except BaseException as error:  # noqa: BLE001 - the test says it
        (folder / f"error.{rank}").write_text(f"{name}, rank {rank}: {error}\n{traceback.format_exc()}")
        os._exit(1)
    if place is not None:
        dist.destroy_process_group()


def _carry_out(job: Job, place: Place | None, folder: Path) -> None:
    given = {"text": job.file} if "\n" in job.file else {"path": job.file}
    program = expc.load(**given, set=job.settings or {}).program
    with ExitStack() as stack:
        stack.enter_context(_watched(folder / f"{job.name}.{place.rank if place else 0}", job))
        if job.double:
            stack.enter_context(_in_double_precision())
        run(
            program,
            out=None if job.on else folder / job.name,
            device="cpu",
            progress=False,
            data=job.data,
            place=place,
            resume=None if job.on is None else Resume(folder / job.on, allow_changed=True),
        )


@contextmanager
def _in_double_precision():
    """What files call f32 has twice the bits."""
    before = torch.get_default_dtype()
    torch.set_default_dtype(torch.float64)
    try:
        with patch.object(torch, "float32", torch.float64), patch.object(torch.Tensor, "float", torch.Tensor.double):
            yield
    finally:
        torch.set_default_dtype(before)


@contextmanager
def _watched(path: Path, job: Job):
    """Write down which samples are learnt from, and end where the job says."""
    learn, take = loop.learn, evaluate.Evaluator._take

    def learning(training, batch):
        rows, start = [], 0
        for share in training.shares:
            rows += range(start, start + share.samples)
            start += share.run
        _note(f"{path}.train", training.step, batch, rows)
        learn(training, batch)
        if training.step == job.stop and training.world.is_first:
            signal.raise_signal(signal.SIGTERM)

    def taking(evaluator, batch):
        _note(f"{path}.val", 0, batch, range(len(next(iter(batch.values())))))
        return take(evaluator, batch)

    def saying(*given):
        lines = list(announce(*given))
        Path(f"{path}.said").write_text("\n".join(lines))
        return lines

    with (
        patch.object(loop, "learn", learning),
        patch.object(evaluate.Evaluator, "_take", taking),
        patch("expc.runtime.run.announce", saying),
    ):
        yield


def _note(path: str, step: int, batch: dict[str, torch.Tensor], rows: Any) -> None:
    digests = (hashlib.sha1(b"".join(value[row].numpy().tobytes() for value in batch.values())) for row in rows)
    with Path(path).open("a") as file:
        print(step, *(digest.hexdigest()[:16] for digest in digests), file=file)
