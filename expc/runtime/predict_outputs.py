"""What the outputs of a model mean, as the loss tells, and how they are written: a table, or arrays.

A class index target makes a classifier: the table has the class and its probability. Everything else is numbers.
"""

import csv
import io
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Final, Literal
from zipfile import ZipFile

import numpy as np
import torch
from numpy.lib.format import write_array
from numpy.typing import NDArray
from torch import Tensor

from expc.compiler.graph import Apply, Value
from expc.compiler.program import Program
from expc.compiler.types import is_known
from expc.diagnostics import Span
from expc.frozen import dataclass
from expc.runtime.errors import RunError, option_span
from expc.runtime.errors.output import OutputUnwritable
from expc.runtime.errors.stored import PredictionUnshown
from expc.runtime.rundir import write_whole, writing

Kind = Literal["one of", "yes or no", "numbers"]

_ONE_OF: Final = ("CrossEntropyLoss", "cross_entropy", "NLLLoss", "nll_loss")
_BY_MARGIN: Final = ("MultiMarginLoss", "multi_margin_loss")
_LOGITS: Final = ("BCEWithLogitsLoss", "binary_cross_entropy_with_logits")
_PROBABILITIES: Final = ("BCELoss", "binary_cross_entropy")


@dataclass(frozen=True)
class Meaning:
    """What one output is."""

    kind: Kind = "numbers"
    scores: Literal["logits", "probabilities", "scores"] = "scores"
    target: str | None = None
    """The field that the loss compares it with."""


def meanings(program: Program) -> dict[str, Meaning]:
    """What the outputs of the model are that a loss takes as they are; the others are numbers."""
    found: dict[str, Meaning] = {}
    for loss in () if program.train is None else program.train.losses:
        names = dict(zip(map(id, loss.body.inputs), loss.body.input_names, strict=True))
        for step in loss.body.steps:
            if not isinstance(step, Apply):
                continue
            tensors = [value for value in step.arguments.values() if isinstance(value, Value)][:2]
            if len(tensors) == 2 and id(tensors[0]) in names:
                meaning = _meaning(step.operator.name, tensors[0], names.get(id(tensors[1])))
                if meaning is not None:
                    found.setdefault(names[id(tensors[0])], meaning)
    return found


def _meaning(operator: str, output: Value, target: str | None) -> Meaning | None:
    rank = output.type.rank if is_known(output.type) else 0
    if operator in _ONE_OF and rank == 2:
        return Meaning("one of", "logits", target)  # logarithms of probabilities are logits too
    if operator in _BY_MARGIN and rank == 2:
        return Meaning("one of", "scores", target)
    if operator in _LOGITS:
        return Meaning("yes or no", "logits", target)
    return Meaning("yes or no", "probabilities", target) if operator in _PROBABILITIES else None


# ------------------------------------------------------------------------------------------------------------ columns


class Table:
    """The rows of a table, while batches come in."""

    def __init__(
        self,
        path: Path,
        known: Mapping[str, Meaning],
        classes: Mapping[str, Sequence[str]],
        names: Sequence[str],
        top: int,
    ) -> None:
        self._path, self._known, self._classes, self._names, self._top = path, known, classes, names, top
        self.header: list[str] = ["file" if names else "row"]
        self._rows: list[Sequence[str]] = []

    def add(self, outputs: Mapping[str, Tensor]) -> None:
        """Take in the outputs of a batch. Raises `RunError` (E0857) where they are no rows of numbers."""
        columns: dict[str, Sequence[str]] = {}
        for name, output in outputs.items():
            if output.ndim > 2:
                reason = f"`{name}` is {_shape(output)} for each sample, which a row has no place for"
                raise unshown(self._path, reason, "`--out predictions.npz` takes arrays of any shape")
            columns |= self._columns(name, output, alone=len(outputs) == 1)
        first = len(self._rows)
        samples = len(next(iter(outputs.values())))
        called = self._names[first : first + samples] or [str(first + i) for i in range(samples)]
        self.header = [self.header[0], *columns]
        self._rows += zip(called, *columns.values(), strict=True)

    def content(self) -> bytes:
        """The table as a file."""
        text = io.StringIO()
        writer = csv.writer(text, lineterminator="\n")
        writer.writerow(self.header)
        writer.writerows(self._rows)
        return text.getvalue().encode()

    def _columns(self, name: str, output: Tensor, *, alone: bool) -> dict[str, Sequence[str]]:
        meaning, prefix = self._known.get(name, Meaning()), "" if alone else f"{name}."
        one = output.ndim == 1 or output.shape[1] == 1
        if meaning.kind == "one of":
            return self._one_of(name, prefix, output, meaning)
        if meaning.kind == "yes or no":
            chances = output.float().sigmoid() if meaning.scores == "logits" else output.float()
            if not one:
                return {f"{prefix}probability[{i}]": _texts(column) for i, column in enumerate(chances.unbind(1))}
            chance = chances.reshape(-1)
            yes = (chance >= 0.5).long()
            probability = chance.where(yes == 1, 1 - chance)
            return {f"{prefix}class": self._called(name, yes), f"{prefix}probability": _texts(probability)}
        if one:
            return {name: _texts(output.reshape(-1))}
        return {f"{name}[{i}]": _texts(column) for i, column in enumerate(output.unbind(1))}

    def _one_of(self, name: str, prefix: str, output: Tensor, meaning: Meaning) -> dict[str, Sequence[str]]:
        """The likeliest classes, each with its probability where the loss makes one of the scores."""
        scores = output.double().softmax(1).float() if meaning.scores == "logits" else output
        best = scores.topk(min(self._top, scores.shape[1]), dim=1)
        found: dict[str, Sequence[str]] = {}
        for i in range(best.indices.shape[1]):
            rank = "" if i == 0 else str(i + 1)
            found[f"{prefix}class{rank}"] = self._called(name, best.indices[:, i])
            if meaning.scores == "logits":
                found[f"{prefix}probability{rank}"] = _texts(best.values[:, i])
        return found

    def _called(self, name: str, classes: Tensor) -> list[str]:
        names = self._classes.get(name)
        return [str(number) if names is None else names[number] for number in classes.tolist()]


class Arrays:
    """The outputs themselves, under their names, while batches come in."""

    def __init__(self, names: Sequence[str]) -> None:
        self._names = names
        self._parts: dict[str, list[NDArray[Any]]] = {}

    def add(self, outputs: Mapping[str, Tensor]) -> None:
        """Take in the outputs of a batch."""
        for name, output in outputs.items():
            self._parts.setdefault(name, []).append(_numpy(output))

    @property
    def header(self) -> list[str]:
        """The names of the arrays."""
        return [*(["file"] if self._names else []), *self._parts]

    def content(self) -> bytes:
        """The arrays as a file of `numpy.savez`."""
        arrays = {name: np.concatenate(parts) for name, parts in self._parts.items()}
        called = {"file": np.array(self._names)} if self._names else {}
        whole = io.BytesIO()
        with ZipFile(whole, "w") as archive:  # `savez` itself takes no array called `file`
            for name, array in (called | arrays).items():
                with archive.open(f"{name}.npy", "w", force_zip64=True) as part:
                    write_array(part, array, allow_pickle=False)
        return whole.getvalue()


def _numpy(values: Tensor) -> NDArray[Any]:
    """Values as numpy has them, which has no bf16."""
    made: NDArray[Any] = (values.float() if values.dtype == torch.bfloat16 else values).numpy()
    return made


def _texts(values: Tensor) -> list[str]:
    """Each value with as many digits as tell it apart from its neighbours."""
    return [str(value) for value in _numpy(values)]


def _shape(output: Tensor) -> str:
    return " x ".join(map(str, output.shape[1:]))


# ------------------------------------------------------------------------------------------------------------ writing


def unshown(path: Path, reason: str, *notes: str) -> RunError:
    """What to raise where outputs have no place in a file."""
    return RunError(PredictionUnshown(span=_span(path), path=str(path), reason=reason, notes=notes))


def refuse_target(path: Path, read: Path | None) -> None:
    """Raise `RunError` where predictions cannot be written to `path`; `read` is what they are made from."""
    if path.suffix.lower() not in (".csv", ".npz"):
        raise unshown(path, "they are a table, `.csv`, or arrays, `.npz`")
    if not path.parent.is_dir():
        raise RunError(OutputUnwritable(span=_span(path), path=str(path), reason=f"there is no folder {path.parent}"))
    if path.is_dir() or (read is not None and path.exists() and read.exists() and path.samefile(read)):
        reason = "it is a folder" if path.is_dir() else "the predictions are made from it"
        raise RunError(OutputUnwritable(span=_span(path), path=str(path), reason=reason))


def write(path: Path, answers: Table | Arrays) -> None:
    """Write the file whole, in the place of older predictions with the same columns. Raises `RunError`."""
    if path.exists() and _header(path) != answers.header:
        reason = "it holds something else, which stays as it is: name another file with --out"
        raise RunError(OutputUnwritable(span=_span(path), path=str(path), reason=reason))
    with writing(path, _span(path)):
        write_whole(path, answers.content())


def _header(path: Path) -> list[str] | None:
    """The names of the columns, or of the arrays, of a file; none where it is of another kind."""
    try:
        if path.suffix.lower() == ".npz":
            with np.load(path, allow_pickle=False) as there:
                return list(there.files)
        with path.open(encoding="utf-8", newline="") as file:
            return next(csv.reader(file), None)
    except Exception:  # noqa: BLE001 - a file of another kind raises whatever it meets
        return None


def _span(path: Path) -> Span:
    return option_span("--out", str(path))
