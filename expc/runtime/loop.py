"""The training loop, from top to bottom on a page."""

import math
import time
from collections.abc import Iterator, Mapping, Sequence
from functools import partial

import torch
from torch import Tensor
from torch.optim import Optimizer

from expc.compiler.program import TrainPlan
from expc.frozen import dataclass, field
from expc.runtime.accumulate import Gradients
from expc.runtime.average import Average
from expc.runtime.data.loader import Loader, Share
from expc.runtime.device import move
from expc.runtime.distributed.draws import Draws
from expc.runtime.distributed.strategies import Strategy
from expc.runtime.distributed.world import World
from expc.runtime.evaluate import Evaluator
from expc.runtime.histograms import Histograms
from expc.runtime.interrupts import Interrupts
from expc.runtime.keeping import Keeping
from expc.runtime.means import Means
from expc.runtime.metrics import Metrics
from expc.runtime.optim import Chains
from expc.runtime.precision import Precision
from expc.runtime.progress import Progress, numbers
from expc.runtime.records import Records
from expc.runtime.soundness import finite, sound_state
from expc.runtime.task import Batch, Task
from expc.runtime.turns import Turn
from expc.runtime.watch import Deadline, Every, Watcher


@dataclass
class Training:
    """Everything that a run trains with, and how far it is."""

    plan: TrainPlan
    described: Mapping[str, str]
    """What is run: every value of the experiment by name."""
    task: Task
    loader: Loader
    validation: Loader | None
    optimizers: Sequence[Optimizer]
    turns: tuple[Turn, ...]
    schedules: Chains
    average: Average
    precision: Precision
    metrics: Metrics
    evaluator: Evaluator
    device: torch.device
    total_steps: int
    thaws_after: int | None
    """The step after which what is frozen learns too; none where nothing is, or for the whole run."""
    gradients: Gradients
    log_every: Every
    rate_names: Sequence[str]
    early_stop: Watcher | None
    deadline: Deadline
    keeping: Keeping
    records: Records
    histograms: Histograms
    progress: Progress
    interrupts: Interrupts
    world: World = field(default_factory=World)
    strategy: Strategy = field(default_factory=Strategy)
    draws: Draws = field(default_factory=Draws)
    step: int = 0
    """Optimizer steps taken."""
    window: Means = field(init=False)
    """Losses since the last log point."""
    whole: Means = field(init=False)
    """Losses since the epoch began, up to the last log point."""
    window_start: int = 0
    epoch_start: float = field(default_factory=time.monotonic)
    values: dict[str, float] = field(default_factory=dict)
    """What was measured last, by the names that are watched: `val.accuracy`."""
    epoch_is_open: bool = False
    """Whether all steps of the epoch are taken, and a signal came before it was measured."""

    def __post_init__(self) -> None:
        self.window, self.whole = Means(self.world), Means(self.world)

    def is_over(self) -> bool:
        """Whether no step is left to take."""
        stopped = self.early_stop is not None and self.early_stop.lost_patience
        return stopped or self.interrupts.received is not None or self.step >= self.total_steps

    @property
    def steps_per_epoch(self) -> int:
        """Optimizer steps in one pass over the training data."""
        return len(self.loader)

    @property
    def shares(self) -> list[Share]:
        """What this process has of the batch of the present step, part by part."""
        return self.loader.shares((self.step - 1) % self.steps_per_epoch)

    @property
    def samples(self) -> int:
        """How many samples all processes together have in the present step."""
        return sum(share.whole for share in self.shares)

    @property
    def rates(self) -> dict[str, float]:
        """The learning rates of the last step, as they are logged: `lr`, and those of other groups."""
        return dict(zip(self.rate_names, self.schedules.rates, strict=True))

    @property
    def epochs(self) -> int:
        """Passes over the training data, the last perhaps not whole."""
        return math.ceil(self.total_steps / self.steps_per_epoch)

    @property
    def epoch(self) -> int:
        """The epoch that the last step belongs to, from 1."""
        return math.ceil(self.step / self.steps_per_epoch)


def train(run: Training) -> None:
    """Train to the end, until the time is over or it gets no better, or until a signal."""
    run.task.train()
    if run.epoch_is_open:
        finish_epoch(run)
    for batch in batches(run):
        if run.step == 1:
            run.records.graph(run.task.model, run.task.inputs(batch))
        run.histograms.expect(run.step)
        learn(run, batch)
        run.world.at(run.step, "training")
        run.interrupts.agree()
        run.progress.step(run.samples)
        if run.log_every.due(run.step):
            log(run)
        over = run.step == run.total_steps or run.deadline.reached()
        if over or run.step % run.steps_per_epoch == 0:
            finish_epoch(run)
        run.keeping.checkpoint_if_due(run.step, partial(sound_state, run))
        if over:
            break


def batches(run: Training) -> Iterator[Batch]:
    """The batches of all steps that are left; `run.step` counts the one being taken."""
    while not run.is_over():
        done = run.step % run.steps_per_epoch
        run.progress.begin_steps("train", run.steps_per_epoch, done)
        epoch = run.loader.epoch(run.step // run.steps_per_epoch, start_step=done)
        for batch in run.interrupts.until_one(epoch):
            run.step += 1
            yield move(batch, run.device)
            if run.is_over():
                return


def learn(run: Training, batch: Batch) -> None:
    """One step: one turn, or one for each loss."""
    if run.thaws_after is not None and run.step > run.thaws_after:
        run.task.thaw()
    for turn in run.turns:
        with turn.alone():
            take(run, turn, batch)
    run.schedules.step()
    run.average.update()


def take(run: Training, turn: Turn, batch: Batch) -> None:
    """Move what one loss moves. Nothing has gradients before and after."""
    if turn.plain:
        gradients(run, turn, batch, measure=True)
        run.precision.step(turn.plain)
    if turn.searching:
        search(run, turn, batch)
    turn.clear()


def search(run: Training, turn: Turn, batch: Batch) -> None:
    """Let optimizers move the weights that ask for the gradients again and again."""
    measured = bool(turn.plain)

    def closure() -> Tensor:
        nonlocal measured
        turn.clear()
        loss = gradients(run, turn, batch, measure=not measured)
        measured = True
        # By the loss it decides how far to go: all must decide the same.
        return run.world.summed(loss)

    for searching in turn.searching:
        searching.step(closure)  # type: ignore[no-untyped-call]


def gradients(run: Training, turn: Turn, batch: Batch, *, measure: bool) -> Tensor:
    """The gradients of a loss, clipped; gives this process's part of the loss itself."""
    first = turn is run.turns[0]

    def see(named: Mapping[str, Tensor], samples: int) -> None:
        if measure and first and run.plan.measures_training:
            run.metrics.update({**named, **run.task.measured(named, samples)}, samples)

    losses = run.gradients.add(batch, turn.index, see, run.shares)
    if measure:
        run.window.add(losses, run.samples, again=not first)
    if turn.limits:
        run.precision.unscale(turn.plain)
        for (kind, limit, _), parameters in turn.limits:
            if kind == "norm":
                run.strategy.clip_norm(parameters, limit)
            else:
                run.strategy.clip_value(parameters, limit)
    return losses["loss"].detach()


def log(run: Training) -> None:
    """Write down the losses since the last log point; the one place in an epoch that waits for the device."""
    values = finite(run, run.window.read())
    run.records.write("train", run.step, run.epoch, values, over="steps", rates=run.rates)
    if run.progress.is_due:
        run.progress.show({**values, **run.metrics.read(quick=True), "lr": run.schedules.rate})
    run.whole.merge(run.window)
    run.window.reset()
    run.window_start = run.step


def finish_epoch(run: Training) -> None:
    """Validate, write down the epoch's losses and metrics, and see whether this is the best so far.

    Where a signal comes before the validation is over, the epoch stays open, and the run that goes on starts with this.
    """
    finite(run, run.window.read())
    run.whole.merge(run.window)
    run.window.reset()
    measured = {**run.whole.read(), **run.metrics.read()}
    run.epoch_is_open = run.validation is not None
    validated = validate(run)
    if run.epoch_is_open and validated is None:
        return
    run.epoch_is_open = False
    matrices = run.metrics.matrices
    run.records.write("train", run.step, run.epoch, measured, over="epoch", rates=run.rates, matrices=matrices)
    run.values |= {f"train.{name}": value for name, value in measured.items()}
    line = f"epoch {run.epoch}/{run.epochs}  train {numbers(measured)}"
    if validated is not None:
        matrices = run.evaluator.metrics.matrices
        run.records.write("val", run.step, run.epoch, validated, over="epoch", matrices=matrices)
        run.records.images(run.evaluator.gallery, run.step)
        run.values |= {f"val.{name}": value for name, value in validated.items()}
        line += f"  ·  val {numbers(validated)}"
    run.whole.reset()
    run.metrics.reset()
    run.window_start = run.step
    run.schedules.validated(run.values)
    run.keeping.weigh(run.values, run.step)
    if run.early_stop is not None:
        run.early_stop.improved(run.values, run.step)
    run.progress.line(f"{line}  ·  {time.monotonic() - run.epoch_start:.1f} s")
    run.progress.end_epoch(validated or measured)
    run.epoch_start = time.monotonic()


def validate(run: Training) -> dict[str, float] | None:
    """Measure the model on the validation data, if there is any and no signal comes."""
    return None if run.validation is None else run.evaluator.measure("val", run.validation)
