"""What is measured, written down: `metrics.jsonl`, an object for each log point, and the same as TensorBoard events."""

import errno
import json
import math
import os
from collections.abc import Mapping
from typing import Any, Final

from torch import Tensor, nn

from expc.runtime.events import Events
from expc.runtime.gallery import Gallery
from expc.runtime.rewinding import NOTHING, rewind
from expc.runtime.rundir import RunDirectory, writing


class Records:
    """The numbers of one run, on disk as soon as they are known."""

    def __init__(
        self, directory: RunDirectory, *, tensorboard: bool, graph: bool, after: Mapping[str, Any] | None = None
    ) -> None:
        """`after` is what a checkpoint held: what was written after it goes, and is written anew."""
        self._graph: Final = graph
        self._path: Final = directory.path / "metrics.jsonl"
        folder = directory.path / "tensorboard"
        with writing(self._path):
            rewind(self._path, folder, after or NOTHING)
            self._file: Final = self._path.open("ab", buffering=0)
        self.events: Final = Events(folder, None if after is None else int(after["step"]) + 1) if tensorboard else None
        self._tags: Final[dict[str, str]] = {} if after is None else dict(after["tags"])
        """Where TensorBoard has what was written last, by the names that are watched."""
        self._finer: Final[set[str]] = set() if after is None else set(after["finer"])
        """Tags of means over steps."""
        self._rates_written = 0 if after is None else int(after["rates_written"])
        """The last step of which TensorBoard has the learning rates."""

    def write(
        self,
        phase: str,
        step: int,
        epoch: int,
        values: Mapping[str, float],
        *,
        over: str,
        rates: Mapping[str, float] | None = None,
        matrices: Mapping[str, Tensor] | None = None,
    ) -> None:
        """Write the means of `values` over what `over` says (`steps` or `epoch`), measured after `step` steps.

        A number that is not finite is `null`. TensorBoard has every number under `phase/name`; where that is a mean
        over steps, the one over the epoch is `phase/epoch/name`. Matrices are lists of rows, and pictures there.
        """
        rates, matrices = rates or {}, matrices or {}
        row = {"step": step, "epoch": epoch, "phase": phase, "over": over}
        tables = {name: finite(matrix.tolist()) for name, matrix in matrices.items()}
        with writing(self._path):
            self._append(json.dumps({**row, **finite({**rates, **values}), **tables}, allow_nan=False).encode() + b"\n")
        if self.events is None:
            return
        tags = {name: f"{phase}/{name}" for name in values}
        if over == "steps":
            self._finer.update(tags.values())
        else:
            tags = {name: f"{phase}/epoch/{name}" if tag in self._finer else tag for name, tag in tags.items()}
            self._tags.update({f"{phase}.{name}": tag for name, tag in tags.items()})
        self.events.scalars({tags[name]: value for name, value in values.items()}, step)
        if step > self._rates_written:
            self.events.scalars({f"{phase}/{name}": rate for name, rate in rates.items()}, step)
            self._rates_written = step if rates else self._rates_written
        for name, matrix in matrices.items():
            from expc.runtime.pictures import of_matrix

            self.events.picture(f"{phase}/{name}", of_matrix(matrix), step)

    def images(self, gallery: Gallery, step: int) -> None:
        """Draw the samples that an evaluation has kept, for TensorBoard."""
        if self.events is not None:
            for name, picture in gallery.pictures():
                self.events.picture(f"val/{name}", picture, step)

    def graph(self, model: nn.Module, inputs: tuple[Tensor, ...]) -> None:
        """Draw the model's graph for TensorBoard, if torch can trace it."""
        if self.events is not None and self._graph:
            self.events.graph(model, inputs)

    def settings(self, values: Mapping[str, Any]) -> None:
        """Tell TensorBoard what this run was set to, to be compared by what was measured last."""
        if self.events is not None:
            self.events.hyperparameters(values, self._tags.values())

    def state(self, step: int) -> dict[str, Any]:
        """What a checkpoint must hold: how far each file is, and what TensorBoard calls the numbers."""
        return {
            "step": step,
            "bytes": self._file.tell(),
            "events": {} if self.events is None else self.events.flush(),
            "tags": dict(self._tags),
            "finer": sorted(self._finer),
            "rates_written": self._rates_written,
        }

    def flush(self) -> None:
        """Make sure that what was measured survives a power cut."""
        with writing(self._path):
            os.fsync(self._file.fileno())

    def close(self) -> None:
        """Write what is left."""
        try:
            self._file.close()
        finally:
            if self.events is not None:
                self.events.close()

    def _append(self, line: bytes) -> None:
        """Write a line whole or not at all."""
        end = self._file.tell()
        try:
            if self._file.write(line) != len(line):
                raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        except OSError:
            self._file.truncate(end)
            raise


def finite(value: Any) -> Any:
    """A number, or mappings and lists of numbers, as JSON can hold them: none for what is infinite or not a number."""
    if isinstance(value, Mapping):
        return {name: finite(item) for name, item in value.items()}
    if isinstance(value, list):
        return [finite(item) for item in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value
