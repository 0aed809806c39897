"""Evaluation: one pass over a role's data, in evaluation mode and without gradients.

Processes take whole batches in turn: what is computed of a batch is the same however many there are.
"""

import torch
from torch import Tensor

from expc.frozen import dataclass, field
from expc.runtime.data.loader import Loader
from expc.runtime.device import move
from expc.runtime.distributed.world import World
from expc.runtime.gallery import Gallery
from expc.runtime.interrupts import Interrupts
from expc.runtime.means import Means
from expc.runtime.metrics import Metrics
from expc.runtime.precision import Precision
from expc.runtime.progress import Progress
from expc.runtime.seeds import drawing_from
from expc.runtime.task import Batch, Task, samples_in


@dataclass(frozen=True)
class Evaluator:
    """Measures one model, with metrics of its own: those of training go on meanwhile."""

    task: Task
    metrics: Metrics
    precision: Precision
    device: torch.device
    seed: int
    interrupts: Interrupts
    progress: Progress
    gallery: Gallery = field(default_factory=Gallery)
    """What keeps some samples of `val` to be drawn."""
    world: World = field(default_factory=World)
    in_step: bool = False
    """Whether processes run the network at the same time only."""

    def measure(self, role: str, loader: Loader) -> dict[str, float] | None:
        """The losses and metrics over all samples, each counting the same; none when a signal came before the end.

        Random numbers of the model come from `seed` and the number of the batch, and training goes on as if nothing
        had been drawn.
        """
        means = Means(self.world)
        means.samples = loader.samples
        self.metrics.reset()
        self.gallery.begin(role)
        self.progress.begin_steps(role, len(loader))
        self.world.share_buffers(self.task.model)
        self.task.eval()
        self.world.at(self.world.step, f"measuring {role}")
        try:
            # What fsdp gathers must be usable in training again.
            quick = torch.no_grad() if self.in_step else torch.inference_mode()
            with quick, drawing_from(self.seed, self.device):
                mine = self.interrupts.until_one(loader.epoch(0, self.world.rank, every=self.world.size))
                for first in range(0, len(loader), self.world.size):
                    number = first + self.world.rank
                    batch = next(mine, None) if number < len(loader) else None
                    if batch is not None:
                        torch.manual_seed(self.seed + number)
                        means.add(*self._take(move(batch, self.device)), again=True)
                    elif self.in_step:
                        self._keep_company(loader)
                    self.interrupts.agree()
                    if self.interrupts.received:
                        return None
                return {**means.read(), **self.metrics.read()}
        finally:
            self.world.at(self.world.step, "training")
            self.task.train()

    def _keep_company(self, loader: Loader) -> None:
        """Run the network where others do, on a batch that counts elsewhere."""
        batch = next(iter(loader.epoch(0)))
        with self.precision.autocast():
            self.task.named(move(batch, self.device))

    def _take(self, batch: Batch) -> tuple[dict[str, Tensor], int]:
        """Measure a batch; gives its losses, and of how many samples they are the mean."""
        samples = samples_in(batch)
        with self.precision.autocast():
            named = self.task.named(batch)
            losses = self.task.losses(named, samples)
        named = {**named, **self.task.measured(named, samples)}
        self.metrics.update(named, samples)
        self.gallery.take(named, samples)
        self.progress.step(samples)
        return losses, samples
