"""`predict_run`: what a run that is over says of new samples."""

from collections.abc import Mapping, Sequence
from contextlib import closing
from os import PathLike
from pathlib import Path

import torch
from torch import Tensor

from expc.compiler.program import Program
from expc.frozen import dataclass
from expc.runtime.data.datasets import class_names
from expc.runtime.device import choose_device, move
from expc.runtime.errors import RunError
from expc.runtime.errors.training import NothingToTrain
from expc.runtime.precision import Precision, refuse_precision
from expc.runtime.predict_inputs import needed, open_inputs
from expc.runtime.predict_outputs import Arrays, Meaning, Table, meanings, refuse_target, unshown, write
from expc.runtime.prepare import root_of, start_of
from expc.runtime.progress import Progress
from expc.runtime.seeds import algorithms, drawing_from
from expc.runtime.stored import Which, open_run
from expc.runtime.task import Task

NAME = "predictions.csv"


@dataclass(frozen=True)
class Predicted:
    """How many samples were predicted, through the transforms of which role, and the file that it was written to."""

    file: Path
    samples: int
    role: str


def predict_run(
    path: str | PathLike[str],
    given: str | PathLike[str] | None = None,
    *,
    out: str | PathLike[str] | None = None,
    weights: Which = "best",
    top: int = 1,
    device: str = "auto",
    progress: bool = True,
) -> Predicted:
    """Write what the network of the run in the directory `path` makes of the samples at `given`.

    They are an image, a folder of images, a table (`.csv`) or arrays (`.npz`); without them, the `predict` data of the
    experiment. `out` is a table, by default `predictions.csv` in the run directory, or a file of arrays (`.npz`). A
    classifier's table has the `top` likeliest classes. Raises `RunError`.
    """
    stored = open_run(path)
    program, train = stored.program, stored.program.experiment.train
    if train is None or program.model is None:
        raise RunError(NothingToTrain(span=start_of(program), experiment=program.name, missing="model that learnt"))
    source = None if given is None else Path(given)
    file = stored.path / NAME if out is None else Path(out)
    refuse_target(file, source)
    where = choose_device(device)
    refuse_precision(train.precision, where, program.experiment.places.get("train.precision"))
    precision = Precision(train.precision, where)
    task = Task(program, where, train.seed, start=False)
    stored.load(task.model, weights)
    inputs = open_inputs(stored, source)
    known = meanings(program)
    answers: Table | Arrays
    if file.suffix.lower() == ".npz":
        answers = Arrays(inputs.names)
    else:
        answers = Table(file, known, _classes(program, known), inputs.names, top)
    size = 1 if program.experiment.data is None else program.experiment.data.batch
    shown = Progress(shown=progress)
    task.eval()
    with (
        algorithms(deterministic=train.deterministic),
        closing(shown),
        torch.inference_mode(),
        drawing_from(train.seed, where),
    ):
        samples = "1 sample" if len(inputs) == 1 else f"{len(inputs):,} samples"
        shown.line(f"{program.name}: {samples} through the transforms of `{inputs.role}`")
        shown.begin_steps("predict", -(-len(inputs) // size))
        for batch in inputs.batches(size):
            with precision.autocast():
                outputs = task.outputs(move(batch, where))
            answers.add(_rows(outputs, len(next(iter(batch.values()))), file))
            shown.step(len(next(iter(batch.values()))))
    write(file, answers)
    return Predicted(file, len(inputs), inputs.role)


def _rows(outputs: Mapping[str, Tensor | None], samples: int, file: Path) -> dict[str, Tensor]:
    """The outputs that there are in evaluation, on the CPU; each must have something for each sample."""
    found = {name: output.cpu() for name, output in outputs.items() if output is not None}
    for name, output in found.items():
        if output.ndim == 0 or len(output) != samples:
            shape = f"[{', '.join(map(str, output.shape))}]"
            raise unshown(file, f"`{name}` is {shape} for {samples} samples, and has not one part for each")
    return found


def _classes(program: Program, known: Mapping[str, Meaning]) -> dict[str, Sequence[str]]:
    """What the classes of each output are called, where the data of its target has names for them."""
    found: dict[str, Sequence[str]] = {}
    for output, meaning in known.items():
        for plan in program.data.values():
            field = next((field for field in plan.fields if field.name == meaning.target), None)
            if field is None or not isinstance(field.type.classes, int):
                continue
            _, raw = needed(plan, [field.name])
            names = class_names(plan.dataset, root_of(program))
            if len(raw) == 1 and names is not None and len(names) == field.type.classes:
                found.setdefault(output, names)
    return found
