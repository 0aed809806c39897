"""What one process needs to make batches of a role: the open data set, and its stages in order.

It holds plain values only, so that it can be sent to a worker whatever way workers are started.
"""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from expc.compiler.program import DataPlan, Declared, Fields, SplitUse
from expc.diagnostics import Span
from expc.frozen import dataclass
from expc.runtime.data.datasets import Raw, Samples
from expc.runtime.data.declared import Given, Shape, declaration_of, open_source
from expc.runtime.data.externs import ExternTransform
from expc.runtime.data.fields import Values, through
from expc.runtime.data.mixtures import MIXING, mix
from expc.runtime.data.randomness import Draws, Indices, beside
from expc.runtime.data.split import select
from expc.runtime.data.transforms import batched, plain
from expc.runtime.errors import RunError
from expc.runtime.errors.data import TransformFailed

Batch = dict[str, Tensor]


@dataclass(frozen=True)
class Step:
    """One transform, its settings, and where it is written: `reads` go through it with one draw, into `writes`."""

    transform: str
    settings: Mapping[str, Any]
    span: Span
    reads: tuple[str, ...]
    writes: tuple[str, ...]
    masks: tuple[bool, ...]
    purpose: int
    """Which of the role's transforms it is: what its random numbers are for."""
    one_draw: bool
    """It draws places, which mean the same for all of `reads` only if they are of one size."""
    random: bool = True
    """It gives the same sample something else in each epoch."""
    python: ExternTransform | None = None
    """The Python code of an `extern transform`."""

    @property
    def batched(self) -> bool:
        """Whether a whole batch goes through it at once, and not image by image."""
        return self.python is None and (self.transform in MIXING or batched(self.transform, self.settings))


@dataclass(frozen=True)
class Select:
    """The fields that there are from here on: (new name, old name)."""

    kept: tuple[tuple[str, str], ...]


@dataclass(frozen=True)
class Pipeline:
    """From indices of the data set to a batch; a pure function of (seed, epoch, indices)."""

    samples: Samples
    stages: tuple[Step | Select | Shape, ...]
    seed: int

    @property
    def mixes(self) -> bool:
        """Whether a sample depends on the others of its batch."""
        return any(step.transform in MIXING for step in self.transforms)

    @property
    def transforms(self) -> tuple[Step, ...]:
        """What is done to every batch."""
        return tuple(stage for stage in self.stages if isinstance(stage, Step))

    @property
    def one_by_one(self) -> Step | None:
        """The first transform that images go through one after the other."""
        return next((step for step in self.transforms if not step.batched), None)

    def batch(self, epoch: int, numbers: Indices, part: Indices | None = None) -> Batch:
        """The samples called `numbers`, transformed, as one tensor `[B, ...]` for each field; of these those at `part`.

        A number is the index of a sample; adding the length of the data set gives the same sample with other random
        numbers, for one that is drawn several times in an epoch. Raises `RunError`.
        """
        if part is not None and self.mixes:
            # What mixes the samples of a batch needs all of them.
            return {name: values[beside(part, values)] for name, values in self.batch(epoch, numbers).items()}
        fields = self.fields(epoch, numbers, part)
        return {name: value if isinstance(value, Tensor) else torch.stack(value) for name, value in fields.items()}

    def fields(self, epoch: int, numbers: Indices, part: Indices | None = None) -> Raw:
        """The same before it is put together: a list of tensors where samples differ in size. Raises `RunError`."""
        numbers = numbers if part is None else numbers[part]
        fields = self.samples.fetch(numbers % len(self.samples))
        for stage in self.stages:
            fields = through_stage(stage, fields, Draws(self.seed, epoch, numbers, 0))
        return fields


def through_stage(stage: "Step | Select | Shape", fields: Raw, draws: Draws) -> Raw:
    """The fields of some samples after one stage. Raises `RunError`."""
    if isinstance(stage, Select):
        return {new: fields[old] for new, old in stage.kept}
    if isinstance(stage, Shape):
        stage.verify(fields)
        return fields
    return {**fields, **_transformed(stage, fields, draws.about(stage.purpose))}


def _transformed(step: Step, fields: Raw, draws: Draws) -> Raw:
    values = [fields[name] for name in step.reads]
    if step.python is not None:
        through_it = (step.python.through(i, value, draws) for i, value in enumerate(values))
        return dict(zip(step.writes, through_it, strict=True))
    if step.transform in MIXING:
        images, labels = (value if isinstance(value, Tensor) else torch.stack(value) for value in values)
        return dict(zip(step.writes, mix(step.transform, images, labels, step.settings, draws), strict=True))
    if step.one_draw and len(values) > 1 and len({_sides(value) for value in values}) > 1:
        found = " and ".join(shapes(value) for value in values)
        reason = "what is piped together must be of one size"
        raise RunError(TransformFailed(span=step.span, transform=step.transform, found=found, reason=reason))
    made: Raw = {}
    for name, value, mask in zip(step.writes, values, step.masks, strict=True):
        try:
            made[name] = through(step.transform, value, step.settings, draws, mask=mask)
        except (RuntimeError, ValueError) as error:
            reason = str(error).split("\n")[0]
            problem = TransformFailed(span=step.span, transform=step.transform, found=shapes(value), reason=reason)
            raise RunError(problem) from error
    return made


def _sides(images: Values) -> tuple[tuple[int, ...], ...]:
    if isinstance(images, Tensor):
        return (tuple(images.shape[-2:]),) * len(images)
    return tuple(tuple(image.shape[-2:]) for image in images)


def shapes(values: Values) -> str:
    """The shape of what arrived, for a message."""
    return f"{list(values.shape)}" if isinstance(values, Tensor) else f"{list(values[0].shape)}, and others,"


def open_pipeline(plan: DataPlan, root: Path, seed: int, given: Given | None = None) -> tuple[Pipeline, Indices]:
    """The open data set of `plan` with its stages, and the indices of the samples that its splits leave.

    `given` are the tensors of `Tensors`. Raises `RunError`.
    """
    samples = open_source(plan, root, given or {})
    splits = [stage for stage in plan.stages if isinstance(stage, SplitUse)]
    return Pipeline(samples, stages_of(plan), seed), select(len(samples), splits, seed)


def stages_of(plan: DataPlan) -> tuple[Step | Select | Shape, ...]:
    """What samples of `plan` go through. Raises `RunError` where a transform cannot be made."""
    stages: list[Step | Select | Shape] = []
    purpose = 0
    for stage in plan.stages:
        if isinstance(stage, Fields):
            stages.append(Select(stage.kept))
        elif isinstance(stage, Declared):
            if stage is not declaration_of(plan):
                stages.append(Shape(plan.dataset.name, stage.fields, stage.span))
        elif not isinstance(stage, SplitUse):
            use, one_draw = stage.use, stage.use.declaration.random and stage.use.declaration.geometric
            settings = plain(use.settings)
            python = None if use.declaration.python is None else ExternTransform(use, stage.types)
            fields = stage.reads, stage.writes, stage.masks
            random = use.declaration.random or python is not None or use.name in MIXING
            stages.append(Step(use.name, settings, use.span, *fields, purpose, one_draw, random, python))
            purpose += 1
    return tuple(stages)
