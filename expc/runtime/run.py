"""`run`: from a checked program to a run directory."""

import math
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import closing, contextmanager, suppress
from dataclasses import replace
from functools import partial
from os import PathLike
from pathlib import Path
from typing import Literal

from expc.compiler.program import Program
from expc.diagnostics import ProblemError
from expc.frozen import dataclass
from expc.runtime.announce import announce, name_of
from expc.runtime.checkpoint.saving import steps_in
from expc.runtime.checkpoint.writer import Writer
from expc.runtime.data.declared import Given
from expc.runtime.data.loader import Loader
from expc.runtime.distributed.bystanders import BystandersDirectory
from expc.runtime.distributed.environment import Place
from expc.runtime.distributed.joining import device_of, joined, launch_ids
from expc.runtime.distributed.world import World
from expc.runtime.errors import RunError
from expc.runtime.errors.checkpoints import CheckpointUnfit
from expc.runtime.errors.data import WorkerDied
from expc.runtime.errors.training import LossNotFinite
from expc.runtime.exhaustion import exhaustion_told
from expc.runtime.hyperparameters import hyperparameters
from expc.runtime.interrupts import Interrupts
from expc.runtime.keeping import CHECKPOINTS, FINAL
from expc.runtime.loop import Training, train
from expc.runtime.origin import explained
from expc.runtime.prepare import Prepared, make_training, prepare, root_of
from expc.runtime.progress import Progress, numbers
from expc.runtime.records import finite
from expc.runtime.resuming import (
    Resume,
    Start,
    earlier_part,
    go_on,
    home_of,
    refuse_other_checkpoints,
    refuse_other_network,
    reopen,
    start_of_run,
    tidy,
)
from expc.runtime.rundir import RunDirectory, now, refuse_used, versions
from expc.runtime.seeds import algorithms, seed_all
from expc.runtime.soundness import sound_state


@dataclass(frozen=True)
class RunResult:
    """How a run ended. `metrics` has what was measured last, by name: `val.accuracy`, `test.loss`."""

    status: Literal["finished", "interrupted"]
    directory: Path
    metrics: Mapping[str, float]
    steps: int
    """Optimizer steps taken."""
    signal: int | None = None
    """The number of the signal that ended the run, if one did."""


def run(
    program: Program,
    *,
    out: str | PathLike[str] | None = None,
    device: str = "auto",
    progress: bool = True,
    command: Sequence[str] | None = None,
    data: Given | None = None,
    resume: Resume | None = None,
    place: Place | None = None,
) -> RunResult:
    """Train, validate and test what `program` says, and leave a run directory: `out`, or a new one under `runs/`.

    `data` has the tensors of the experiment's `Tensors`, by name and field. `progress` shows lines and bars on standard
    error. `command` is noted in `run.json`. `resume` names a run to go on in, from its last checkpoint that is whole.
    `place` says which of several processes this is; the others run the same, and the first one writes and shows.
    Ctrl-C, SIGTERM and SIGUSR1 end the run cleanly: at the next step, or at once where it waits for data. Raises
    `RunError` where the run cannot go on; what was saved before stays.
    """
    path = None if out is None else Path(out)
    where = device_of(place, device)
    with _as_run_errors(), joined(place, program, where) as world, closing(Progress(shown=progress)) as shown:
        if not world.is_first:
            shown.hush()
        if resume is None:
            resume = earlier_part(program, path, world)
            if resume is not None:
                shown.line(f"started again in {world.size} processes: some were lost, or have come")
        if resume is None:
            if path is not None and world.is_first:
                refuse_used(path)
            prepared = prepare(program, where, data, world=world)
            with closing(_directory(world, partial(RunDirectory.create, program.name, path))) as directory:
                return _run(prepared, directory, shown, command, None, None)
        with closing(_directory(world, partial(reopen, resume))) as directory:
            start = start_of_run(directory, program, resume)
            refuse_other_checkpoints(start, resume, world)
            if world.firsts(directory.facts.get("status")) == "finished" and not start.changed:
                shown.line(f"{directory.path} is finished: there is nothing left to do")
                return _finished(directory)
            prepared = prepare(program, where, data, start.precision, world)
            refuse_other_network(start, prepared.task.model, resume)
            return _run(prepared, directory, shown, command, start, resume)


def _directory(world: World, make: Callable[[], RunDirectory]) -> RunDirectory:
    """The run directory, which the first process makes or opens, and the others see."""
    mine = make() if world.is_first else None
    path = world.firsts(None if mine is None else str(mine.path))
    return mine or BystandersDirectory(Path(path))


def _run(
    prepared: Prepared,
    directory: RunDirectory,
    shown: Progress,
    command: Sequence[str] | None,
    start: Start | None,
    resume: Resume | None,
) -> RunResult:
    try:
        if start is not None and prepared.world.is_first:
            tidy(directory, start)
        _describe(prepared, directory, sys.argv if command is None else command, start)
        prepared.world.begun(directory.path)
        writer = Writer(background=prepared.checkpoint.async_)
        with (
            exhaustion_told(prepared.program, prepared.device),
            algorithms(deterministic=prepared.train.deterministic),
            Interrupts(prepared.world) as interrupts,
        ):
            after = start.saved.state.plain.get("records") if start is not None and start.saved is not None else None
            training = make_training(prepared, directory, shown, interrupts, writer, after)
            with closing(training.records), writer:
                shown.lines(announce(training, prepared, directory.path))
                seed_all(prepared.train.seed)
                prepared.draws.begin(0)
                if start is not None and resume is not None:
                    go_on(training, start, resume, shown.line)
                return _train_and_test(training, prepared.loaders.get("test"), directory, prepared.program)
    except BaseException as error:
        status = "interrupted" if isinstance(error, KeyboardInterrupt) else "failed"
        # What went wrong may be the disk: then the status cannot be written either, and the first error matters.
        with suppress(RunError):
            directory.record(status=status, ended=now(), error=str(error) or type(error).__name__)
        told = _with_a_way_on(error, directory)
        if told is None:
            raise
        raise told from error


def _with_a_way_on(error: BaseException, directory: RunDirectory) -> RunError | None:
    """Where a run has failed by what can be mended, and something is saved: the same error, with how to go on."""
    saved = steps_in(directory.path / CHECKPOINTS)
    if not saved or not isinstance(error, ProblemError) or isinstance(error.problem, LossNotFinite | CheckpointUnfit):
        return None
    note = f"the run is saved up to step {saved[-1]:,}; when that is mended, it goes on: expc resume {directory.path}"
    return RunError(replace(error.problem, notes=(*error.problem.notes, note)))


def _finished(directory: RunDirectory) -> RunResult:
    facts = directory.facts
    metrics = {name: math.nan if value is None else float(value) for name, value in facts.get("metrics", {}).items()}
    return RunResult("finished", directory.path, metrics, int(facts.get("steps", 0)))


def _train_and_test(training: Training, test: Loader | None, directory: RunDirectory, program: Program) -> RunResult:
    training.progress.begin(training.epochs, training.step // training.steps_per_epoch)
    training.world.at(training.step, "training")
    with explained(training, program):
        with _workers_may_die_of_signals(training.interrupts):
            train(training)
        training.keeping.finish(training.step, partial(sound_state, training))
    stopped = None
    if training.early_stop is not None and training.early_stop.lost_patience:
        stopped = "early_stop"
        training.progress.line(f"stopped early: {training.early_stop.metric} got no better")
    elif training.deadline.passed and training.step < training.total_steps:
        stopped = "max_time"
        where = f"after step {training.step:,} of {training.total_steps:,}"
        training.progress.line(f"stopped {where}: the time of {training.deadline.limit} is over")
    if test is not None and training.interrupts.received is None:
        with _workers_may_die_of_signals(training.interrupts):
            _test(training, test)
    training.world.at(training.step, "ending")
    training.progress.close()
    training.records.settings(hyperparameters(program))
    received = training.interrupts.received
    if received is not None:
        training.progress.line(
            f"stopped by {received.name} after step {training.step:,} of {training.total_steps:,}; "
            f"what was learnt is in {directory.path / FINAL}. Go on: expc resume {directory.path}"
        )
    status: Literal["finished", "interrupted"] = "finished" if received is None else "interrupted"
    directory.record(
        status=status,
        ended=now(),
        steps=training.step,
        stopped=stopped,
        best=_best_so_far(training),
        metrics=finite(training.values),
    )
    return RunResult(status, directory.path, training.values, training.step, received)


@contextmanager
def _workers_may_die_of_signals(interrupts: Interrupts) -> Iterator[None]:
    """A signal that ends this run may have reached its data workers first: then they are not to blame."""
    try:
        yield
    except RunError as error:
        if interrupts.received is None or not isinstance(error.problem, WorkerDied):
            raise


def _test(training: Training, test: Loader) -> None:
    training.keeping.load_best()
    measured = training.evaluator.measure("test", test)
    if measured is None:
        return
    matrices = training.evaluator.metrics.matrices
    training.records.write("test", training.step, training.epoch, measured, over="epoch", matrices=matrices)
    training.values |= {f"test.{name}": value for name, value in measured.items()}
    best = _best_so_far(training)
    weights = "the last weights" if best is None else f"the best weights, of step {best['step']:,}"
    training.progress.line(f"test  {numbers(measured)}  ·  {weights}")


def _best_so_far(training: Training) -> dict[str, float] | None:
    best = training.keeping.best
    if best is None or best.best is None:
        return None
    return {best.metric: best.best, "step": best.best_step}


def _describe(prepared: Prepared, directory: RunDirectory, command: Sequence[str], start: Start | None) -> None:
    if start is not None:
        gone_on = {"at": now(), "step": 0 if start.saved is None else start.saved.step, "changed": dict(start.changed)}
        directory.record(processes=prepared.world.size, launch=launch_ids(prepared.world))
        directory.record(status="running", resumed=[*directory.facts.get("resumed", []), gone_on])
        if start.changed:
            directory.describe(prepared.program, root_of(prepared.program), prepared.precision.name)
        return
    directory.record(
        name=prepared.program.name,
        file=home_of(prepared.program),
        status="running",
        started=now(),
        versions=versions(),
        device=name_of(prepared.device),
        precision=prepared.precision.name,
        precision_measured=finite(prepared.precision.measured),
        processes=prepared.world.size,
        strategy=prepared.strategy.name,
        launch=launch_ids(prepared.world),
        command=list(command),
    )
    directory.describe(prepared.program, root_of(prepared.program), prepared.precision.name)


@contextmanager
def _as_run_errors() -> Iterator[None]:
    """Any problem that a part has found, such as a step of the network that torch refused, ends a run as `RunError`."""
    try:
        yield
    except RunError:
        raise
    except ProblemError as error:
        raise RunError(error.problem) from error
