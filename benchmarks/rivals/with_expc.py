"""expc: the run of `case.exp`, as `expc run` makes it. It waits where a run looks for signals, after each step."""

import json
from pathlib import Path

from case import CASE, FOLDER, Chunks

from expc.compiler.session import check_file
from expc.runtime.loop import train
from expc.runtime.prepare import make_training, prepare
from expc.runtime.progress import Progress
from expc.runtime.rundir import RunDirectory


class Turns:
    """Stands in for the watch for signals."""

    def __init__(self, metrics: Path) -> None:
        self._metrics = metrics
        self._chunks = Chunks()
        self._steps = 0

    @property
    def received(self) -> None:
        self._steps += 1
        if self._steps % CASE["chunk"] == 0:
            rows = [json.loads(line) for line in self._metrics.read_bytes().splitlines()[-2:]]
            self._chunks.chunk_done([row["loss"] for row in rows if row["over"] == "steps"][-1])


program = check_file(FOLDER / "case.exp").program
prepared = prepare(program, "cpu")
directory = RunDirectory.create("speed", FOLDER / "run")
training = make_training(prepared, directory, Progress(shown=False), None)
training.interrupts = Turns(directory.path / "metrics.jsonl")
train(training)
