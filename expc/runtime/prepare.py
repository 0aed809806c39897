"""Putting a run together: first what may fail without a trace, then what writes to the run directory."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch

from expc.compiler.library.schedules import steps_of
from expc.compiler.program import Program, TrainPlan, Watch
from expc.diagnostics import Span
from expc.frozen import dataclass
from expc.runtime.accumulate import Splitting, make_gradients
from expc.runtime.average import Average
from expc.runtime.checkpoint.writer import Writer
from expc.runtime.comparing import digest, values_of
from expc.runtime.data.datasets import data_root
from expc.runtime.data.declared import Given
from expc.runtime.data.loader import Loader
from expc.runtime.data.roles import open_roles
from expc.runtime.device import choose_device
from expc.runtime.distributed.bystanders import BystandersRecords
from expc.runtime.distributed.draws import Draws
from expc.runtime.distributed.sharing import shared
from expc.runtime.distributed.strategies import Strategy
from expc.runtime.distributed.world import World
from expc.runtime.errors import RunError
from expc.runtime.errors.training import NothingToTrain
from expc.runtime.evaluate import Evaluator
from expc.runtime.gallery import Gallery
from expc.runtime.histograms import Histograms
from expc.runtime.interrupts import Interrupts
from expc.runtime.keeping import Keeping
from expc.runtime.later import refuse_what_comes_later
from expc.runtime.loop import Training
from expc.runtime.measuring import choose_precision
from expc.runtime.metrics import Metrics, scores_of
from expc.runtime.optim import Chains, Schedules, make_optimizers, rate_names
from expc.runtime.precision import Precision, refuse_precision
from expc.runtime.progress import Progress
from expc.runtime.python_parameters import with_python
from expc.runtime.records import Records
from expc.runtime.rundir import RunDirectory, versions
from expc.runtime.task import Task
from expc.runtime.turns import make_turns
from expc.runtime.watch import Deadline, Every, Watcher
from expc.spec.sections import Checkpoint, Log, Train


@dataclass(frozen=True)
class Prepared:
    """What a run needs before anything is written: open data, and a model on its device."""

    program: Program
    plan: TrainPlan
    train: Train
    checkpoint: Checkpoint
    log: Log
    device: torch.device
    precision: Precision
    loaders: Mapping[str, Loader]
    """By role: `train`, and `val` and `test` where the file has them."""
    task: Task
    world: World
    strategy: Strategy
    draws: Draws


def prepare(
    program: Program,
    device: str,
    given: Given | None = None,
    precision: str | None = None,
    world: World | None = None,
) -> Prepared:
    """Open the data, `given` for `Tensors`, and build the model. Raises `RunError` where something is missing.

    `precision` is what an earlier part of the run has chosen for `auto`.
    """
    world = world or World()
    experiment, plan = program.experiment, program.train
    refuse_what_comes_later(program)
    if program.model is None:
        raise _incomplete(program, "model")
    if plan is None or experiment.train is None:
        raise _incomplete(program, "`train` section")
    if "train" not in program.data or experiment.data is None:
        raise _incomplete(program, "data to train on")
    if experiment.train.epochs is None and experiment.train.steps is None:
        raise _incomplete(program, "length: `epochs` or `steps`")
    where = choose_device(device)
    train = experiment.train if precision is None else experiment.train.model_copy(update={"precision": precision})
    refuse_precision(train.precision, where, experiment.places.get("train.precision"))
    task, strategy, draws = shared(program, where, world, train.precision)
    with world.first_here():  # which downloads what others find
        loaders = open_roles(program, root=root_of(program), device=where, given=given, world=world)
    return Prepared(
        program=program,
        plan=with_python(plan, program.model, task.model),
        train=experiment.train,
        checkpoint=experiment.checkpoint or Checkpoint(),
        log=experiment.log or Log(),
        device=where,
        precision=choose_precision(train, task, loaders["train"], where, world, alone=not strategy.in_step),
        loaders=loaders,
        task=task,
        world=world,
        strategy=strategy,
        draws=draws,
    )


def make_training(
    run: Prepared,
    directory: RunDirectory,
    progress: Progress,
    interrupts: Interrupts,
    writer: Writer,
    after: Mapping[str, Any] | None = None,
) -> Training:
    """The training of a prepared run, which writes to `directory`, and checkpoints by `writer`.

    `after` is the state of the records in the checkpoint that it goes on from.
    """
    steps_per_epoch = len(run.loaders["train"])
    total_steps = run.train.steps or (run.train.epochs or 0) * steps_per_epoch
    moving = make_optimizers(run.plan, run.task.model)
    optimizers = [each.optimizer for each in moving]
    run.strategy.moved_by(optimizers)
    turns = make_turns(run.plan, run.task.model, optimizers)
    thaws_after = None
    if run.plan.freeze is not None:
        run.task.freeze(run.plan.freeze.keys)
        if run.plan.freeze.duration is not None:
            thaws_after = steps_of(run.plan.freeze.duration, steps_per_epoch)
    average = Average(run.task, run.train.ema)
    world = run.world
    directions = {metric.name: bool(metric.higher_is_better) for metric in run.plan.metrics}
    schedules = Chains(
        [Schedules(each.schedule, each.optimizer, steps_per_epoch, total_steps, directions) for each in moving]
    )
    best = _best(run)
    early_stop = None if run.plan.early_stop is None else Watcher(run.plan.early_stop)
    scores = scores_of([loss.body for loss in run.plan.losses])
    measuring = Metrics(run.plan.metrics, run.device, scores, progress.remark, world)
    gallery = Gallery(run.log.images, run.program.data.get("val"), run.plan.metrics, progress.remark)
    graph = run.log.graph and not run.strategy.in_step  # which one process cannot draw alone
    records = (
        Records(directory, tensorboard=run.log.tensorboard, graph=graph, after=after)
        if world.is_first
        else BystandersRecords()
    )
    keeping = Keeping(
        directory=directory,
        writer=writer,
        keep=run.checkpoint.keep,
        every=Every(run.checkpoint.every, steps_per_epoch, world),
        model=run.task.model,
        average=average,
        best=None if best is None else Watcher(best),
        records=records,
        facts=facts_of(run),
        world=world,
        strategy=run.strategy,
    )
    measured = run.plan.metrics if run.plan.measures_training else ()
    drawn = records.events if run.log.histograms else None
    in_parts = run.log.histograms and run.strategy.in_step
    return Training(
        plan=run.plan,
        described=values_of(run.program),
        task=run.task,
        loader=run.loaders["train"],
        validation=run.loaders.get("val"),
        optimizers=optimizers,
        turns=turns,
        schedules=schedules,
        average=average,
        precision=run.precision,
        metrics=Metrics(measured, run.device, scores, progress.remark, world),
        evaluator=Evaluator(
            average.measured,
            measuring,
            run.precision,
            run.device,
            run.train.seed,
            interrupts,
            progress,
            gallery,
            world,
            in_step=run.strategy.in_step,
        ),
        device=run.device,
        total_steps=total_steps,
        thaws_after=thaws_after,
        gradients=make_gradients(
            run.program,
            run.task,
            run.precision,
            run.device,
            Splitting(run.train.accumulate, world, run.strategy, run.draws),
        ),
        log_every=Every(run.log.every, steps_per_epoch, world),
        rate_names=rate_names(optimizers, run.task.model, run.plan.groups),
        early_stop=early_stop,
        deadline=Deadline(run.train.max_time, world),
        keeping=keeping,
        records=records,
        histograms=Histograms(drawn, run.task.model, optimizers, total_steps, in_parts=in_parts),
        progress=progress,
        interrupts=interrupts,
        world=world,
        strategy=run.strategy,
        draws=run.draws,
    )


def facts_of(run: Prepared) -> dict[str, Any]:
    """What the manifests of its checkpoints say of a run: what its numbers depend on besides the state."""
    return {
        "experiment": run.program.name,
        "spec": digest(values_of(run.program)),
        "versions": dict(versions()),
        "device": str(run.device),
        "precision": run.precision.name,
        "world": {"processes": run.world.size, "threads": torch.get_num_threads()},
    }


def root_of(program: Program) -> Path:
    """Where relative paths of the experiment's data start."""
    return data_root(Path(program.data_root or program.source.folder))


def start_of(program: Program) -> Span:
    """The start of the experiment's file: the place of what is nowhere in it."""
    return Span(program.source, 0, 0)


def _incomplete(program: Program, missing: str) -> RunError:
    return RunError(NothingToTrain(span=start_of(program), experiment=program.name, missing=missing))


def _best(run: Prepared) -> Watch | None:
    """What the best weights are best at: as the file says; else the lowest validation loss, where there is one."""
    if run.program.best is not None or "val" not in run.loaders:
        return run.program.best
    return Watch("val.loss", "min", {}, start_of(run.program))
