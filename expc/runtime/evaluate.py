"""Evaluation: one pass over a role's data, in evaluation mode and without gradients."""

import torch

from expc.frozen import dataclass, field
from expc.runtime.data.loader import Loader
from expc.runtime.device import move
from expc.runtime.gallery import Gallery
from expc.runtime.interrupts import Interrupts
from expc.runtime.means import Means
from expc.runtime.metrics import Metrics
from expc.runtime.precision import Precision
from expc.runtime.progress import Progress
from expc.runtime.seeds import drawing_from
from expc.runtime.task import Task, samples_in


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

    def measure(self, role: str, loader: Loader) -> dict[str, float] | None:
        """The losses and metrics over all samples, each counting the same; none when a signal came before the end.

        Random numbers of the model come from `seed`, and training goes on as if nothing had been drawn.
        """
        means = Means()
        self.metrics.reset()
        self.gallery.begin(role)
        self.progress.begin_steps(role, len(loader))
        self.task.eval()
        try:
            with torch.inference_mode(), drawing_from(self.seed, self.device):
                for cpu_batch in self.interrupts.until_one(loader.epoch(0)):
                    batch = move(cpu_batch, self.device)
                    samples = samples_in(batch)
                    with self.precision.autocast():
                        named = self.task.named(batch)
                        losses = self.task.losses(named, samples)
                    means.add(losses, samples)
                    named = {**named, **self.task.measured(named, samples)}
                    self.metrics.update(named, samples)
                    self.gallery.take(named, samples)
                    self.progress.step(samples)
                if self.interrupts.received:
                    return None
                return {**means.read(), **self.metrics.read()}
        finally:
            self.task.train()
