"""expc: the run of `case.exp`, as `expc run` makes it. It waits for its turn where a run looks for signals."""

import json
from collections.abc import Iterable, Iterator
from typing import Any

from case import CASE, FOLDER, Chunks

from expc.compiler.session import check_file
from expc.runtime import run

RUN = FOLDER / "run"


class Turns(run.Interrupts):
    def until_one(self, items: Iterable[Any]) -> Iterator[Any]:
        if not hasattr(self, "chunks"):
            self.chunks, self.steps = Chunks(), 0
        for item in super().until_one(items):
            yield item
            self.steps += 1
            if self.steps % CASE["chunk"] == 0:
                rows = [json.loads(line) for line in (RUN / "metrics.jsonl").read_bytes().splitlines()[-2:]]
                self.chunks.chunk_done([row["loss"] for row in rows if row["over"] == "steps"][-1])


run.Interrupts = Turns
run.run(check_file(FOLDER / "case.exp").program, out=RUN, device="cpu", progress=False)
