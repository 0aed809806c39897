"""What one process needs to make batches of a role: the open data set, and the transforms in order.

It holds plain values only, so that it can be sent to a worker whatever way workers are started.
"""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from expc.compiler.program import DataPlan, SplitUse, Use
from expc.diagnostics import Span
from expc.frozen import dataclass
from expc.runtime.data.datasets import Samples, open_dataset
from expc.runtime.data.randomness import Draws, Indices
from expc.runtime.data.split import select
from expc.runtime.data.transforms import apply
from expc.runtime.errors import RunError, TransformFailed

Batch = dict[str, Tensor]


@dataclass(frozen=True)
class Pipeline:
    """From indices of the data set to a batch; a pure function of (seed, epoch, indices)."""

    samples: Samples
    steps: tuple["Step", ...]
    """The transforms in order. All act on the first field."""
    field: str
    seed: int

    def batch(self, epoch: int, indices: Indices) -> Batch:
        """The samples at `indices`, transformed, as one tensor `[B, ...]` for each field. Raises `RunError`."""
        fields = self.samples.fetch(indices)
        values = fields[self.field]
        if isinstance(values, Tensor):
            made = self._transform(values, epoch, indices)
        else:
            each = zip(values, indices[:, None], strict=True)
            made = torch.cat([self._transform(value[None], epoch, index) for value, index in each])
        return {name: made if name == self.field else value for name, value in fields.items()}  # type: ignore[misc]

    def _transform(self, values: Tensor, epoch: int, indices: Indices) -> Tensor:
        for position, step in enumerate(self.steps):
            try:
                values = apply(step.transform, values, step.settings, Draws(self.seed, epoch, indices, position))
            except (RuntimeError, ValueError) as error:
                found, reason = f"{list(values.shape)}", str(error).split("\n")[0]
                problem = TransformFailed(span=step.span, transform=step.transform, found=found, reason=reason)
                raise RunError(problem) from error
        return values


@dataclass(frozen=True)
class Step:
    """One transform, its settings, and where it is written."""

    transform: str
    settings: Mapping[str, Any]
    span: Span


def open_pipeline(plan: DataPlan, root: Path, seed: int) -> tuple[Pipeline, Indices]:
    """The open data set of `plan` with its transforms, and the indices of the samples that its splits leave.

    Raises `RunError`.
    """
    samples = open_dataset(plan.dataset, root)
    steps = tuple(Step(stage.name, dict(stage.settings), stage.span) for stage in plan.stages if isinstance(stage, Use))
    splits = [stage for stage in plan.stages if isinstance(stage, SplitUse)]
    return Pipeline(samples, steps, plan.fields[0].name, seed), select(len(samples), splits, seed)
