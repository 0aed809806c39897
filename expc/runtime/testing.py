"""`measure_run`: the losses and metrics of a run that is over, as it would measure them itself."""

import json
from collections.abc import Mapping
from contextlib import closing
from dataclasses import replace
from math import isfinite
from os import PathLike
from pathlib import Path
from typing import Any, Literal

from expc.compiler.program import TrainPlan
from expc.frozen import dataclass
from expc.runtime.data.roles import open_roles
from expc.runtime.device import choose_device
from expc.runtime.errors import RunError, option_span
from expc.runtime.errors.output import OutputUnwritable
from expc.runtime.errors.stored import RoleMissing
from expc.runtime.errors.training import NothingToTrain
from expc.runtime.evaluate import Evaluator
from expc.runtime.interrupts import Interrupts
from expc.runtime.metrics import Metrics, scores_of
from expc.runtime.precision import Precision, refuse_precision
from expc.runtime.prepare import root_of, start_of
from expc.runtime.progress import Progress
from expc.runtime.records import finite
from expc.runtime.rundir import now, versions, write_whole, writing
from expc.runtime.seeds import algorithms
from expc.runtime.stored import FILES, StoredRun, Which, open_run
from expc.runtime.task import Task
from expc.spec.sections import Train

Role = Literal["test", "val"]


@dataclass(frozen=True)
class Measured:
    """What was measured, and the file that it was written to; `metrics` by name, as `test.accuracy`."""

    file: Path
    samples: int
    metrics: Mapping[str, float]


def measure_run(
    path: str | PathLike[str],
    *,
    role: Role = "test",
    weights: Which = "best",
    out: str | PathLike[str] | None = None,
    device: str = "auto",
    progress: bool = True,
) -> Measured | None:
    """Measure weights of the run in the directory `path` on its `role` data; none when a signal came before the end.

    The numbers are those that the run finds itself, bit for bit on the same machine. They are written to `out`, by
    default a JSON file in the run directory, which is named after what was asked: `test.json`, `val-final.json`. Only
    an answer to the same question is replaced. Raises `RunError`.
    """
    stored = open_run(path)
    program = stored.program
    file = stored.path / f"{role}{'' if weights == 'best' else f'-{weights}'}.json" if out is None else Path(out)
    question = {"data": role, "weights": FILES[weights], **({} if out is None else {"run": str(stored.path.resolve())})}
    _refuse_other(file, question)
    train, plan = _learning(stored)
    if role not in program.data:
        there = [other for other in ("test", "val") if other in program.data]
        advice = f"; it has `{there[0]}`: `--data {there[0]}`" if there else " to be measured on"
        raise RunError(RoleMissing(span=start_of(program), role=role, advice=advice))
    where = choose_device(device)
    refuse_precision(train.precision, where, stored.program.experiment.places.get("train.precision"))
    precision, shown = Precision(train.precision, where), Progress(shown=progress)
    with algorithms(deterministic=train.deterministic), Interrupts() as interrupts, closing(shown):
        task = Task(program, where, train.seed, start=False)
        stored.load(task.model, weights)
        only = replace(program, data={role: program.data[role]})
        loader = open_roles(only, root=root_of(program), device=where)[role]
        measuring = Metrics(plan.metrics, where, scores_of([loss.body for loss in plan.losses]), shown.remark)
        evaluator = Evaluator(task, measuring, precision, where, train.seed, interrupts, shown)
        found = evaluator.measure(role, loader)
    if found is None:
        return None
    metrics = {f"{role}.{name}": value for name, value in found.items()}
    matrices = {f"{role}.{name}": _plain(matrix.tolist()) for name, matrix in measuring.matrices.items()}
    answer: dict[str, Any] = {**question, "run": str(stored.path.resolve()), "samples": loader.samples}
    answer["metrics"] = finite(metrics)
    answer |= {"matrices": matrices} if matrices else {}
    answer |= {"data_root": str(root_of(program)), "device": str(where), "precision": precision.name}
    answer |= {"measured": now(), "versions": dict(versions())}
    with writing(file):
        write_whole(file, (json.dumps(answer, indent=2, allow_nan=False) + "\n").encode())
    return Measured(file, loader.samples, metrics)


def _learning(stored: StoredRun) -> tuple[Train, TrainPlan]:
    """What `train` says. Raises `RunError` where the file has no such section any more, or no model."""
    program = stored.program
    train, plan = program.experiment.train, program.train
    if train is None or plan is None or program.model is None:
        missing = "`train` section" if program.model is not None else "model"
        raise RunError(NothingToTrain(span=start_of(program), experiment=program.name, missing=missing))
    return train, plan


def _plain(value: Any) -> Any:
    """Numbers, and lists of them, as JSON can hold them."""
    if isinstance(value, list):
        return [_plain(item) for item in value]
    return value if isfinite(value) else None


def _refuse_other(file: Path, question: Mapping[str, str]) -> None:
    """Raise `RunError` (E0804) where the answer cannot be written to `file`, or would replace anything else."""
    span = option_span("--out", str(file))
    if not file.parent.is_dir():
        raise RunError(OutputUnwritable(span=span, path=str(file), reason=f"there is no folder {file.parent}"))
    if not file.exists():
        return
    try:
        there = json.loads(file.read_bytes())
    except (OSError, ValueError, RecursionError):
        there = None
    if not isinstance(there, dict) or any(there.get(key) != value for key, value in question.items()):
        reason = "it holds something else, which stays as it is: name another file with --out"
        raise RunError(OutputUnwritable(span=span, path=str(file), reason=reason))
