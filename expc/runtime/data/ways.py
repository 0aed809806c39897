"""Which way the batches of a role come: from samples that live decoded on a device, or made anew, also by workers.

Both ways give the same batches, so it is a question of speed and memory alone.
"""

from collections.abc import Iterator, Mapping
from typing import Final

import numpy as np
import torch
from torch import Tensor

from expc.compiler.program import DataPlan
from expc.frozen import dataclass
from expc.runtime.data.datasets import Raw, Stored, Windows
from expc.runtime.data.memory import Memory, shown
from expc.runtime.data.pipeline import Pipeline, Step, through_stage
from expc.runtime.data.randomness import Draws, Indices
from expc.runtime.data.resident import Resident
from expc.runtime.errors import RunError
from expc.runtime.errors.data import DataTooLarge

CPU: Final = torch.device("cpu")
PROBED: Final = 16
"""How many samples are read to know how large they are."""


@dataclass(frozen=True)
class Way:
    """The way of one role. Samples live on `device` as the first `done` stages leave them, and take `size` bytes.

    Without a device, every batch is made from the data set itself, for a `reason`.
    """

    device: torch.device | None = None
    done: int = 0
    size: int = 0
    reason: str = ""


def choose(
    plan: DataPlan,
    pipeline: Pipeline,
    chosen: Indices,
    *,
    path: str,
    workers: int,
    passes: float,
    device: torch.device,
    memory: Memory,
) -> Way:
    """The way that `path` asks for; for `auto` the resident one, wherever it fits and is worth it.

    `passes` is how often the run goes through the samples. Raises `RunError` where samples that must be resident do
    not fit.
    """
    if path == "workers":
        return Way(reason="as `path` says")
    slow = pipeline.one_by_one
    one_by_one = None if slow is None else slow.transform
    if one_by_one is not None and device.type != "cpu":
        device = CPU
    if path == "auto":
        name = plan.dataset.name
        if pipeline.samples.kind == "python":
            return Way(reason=f"`{name}` is Python code, which may give something else each time")
        if pipeline.samples.kind == "read" and passes < 2:
            return Way(reason="each sample is read only once")
        if one_by_one is not None and workers:
            return Way(reason=f"`{one_by_one}` goes image by image")
    sizes = list(_sizes(pipeline, chosen, device))
    if path == "auto" and passes < 2:
        sizes = sizes[:1]  # nothing is gained by keeping what is made of them
    left = memory.left(device)
    done = next((done for done, size in reversed(sizes) if size <= left), None)
    if done is not None:
        size = dict(sizes)[done]
        memory.take(device, size)
        return Way(device, done, size)
    least = shown(min(size for _, size in sizes))
    if path == "auto":
        return Way(reason=f"decoded it takes {least}, and it may take {shown(left)}")
    found = f"{memory.share:g} of what is free on {device}: {shown(left)}"
    raise RunError(DataTooLarge(span=plan.span, role=plan.role, needed=least, found=found))


def follow(pipeline: Pipeline, chosen: Indices, way: Way) -> tuple[Pipeline, Resident | None]:
    """The pipeline on its way; and the samples that live on a device, where workers may help to decode them."""
    if way.device is None:
        return pipeline, None
    samples, stages, seed = pipeline.samples, pipeline.stages, pipeline.seed
    if not way.done and isinstance(samples, Stored | Windows):
        return Pipeline(samples.on(way.device), stages, seed), None
    resident = Resident(Pipeline(samples, stages[: way.done], seed), chosen, way.device)
    return Pipeline(resident, stages[way.done :], seed), resident if samples.kind == "read" else None


def described(ways: Mapping[str, Way], workers: int) -> str:
    """A line for people: `train, val: resident on cpu, 213 MiB`."""
    parts: dict[str, list[str]] = {}
    for role, way in ways.items():
        how = f"by {workers} worker{'s' * (workers > 1)}" if workers else "made batch by batch"
        text = f"resident on {way.device}" if way.device is not None else f"{how}: {way.reason}"
        parts.setdefault(text, []).append(role)
    sizes = {text: sum(ways[role].size for role in roles) for text, roles in parts.items()}
    return " · ".join(
        f"{', '.join(roles)} {text}{f', {shown(sizes[text])}' if sizes[text] else ''}" for text, roles in parts.items()
    )


def _sizes(pipeline: Pipeline, chosen: Indices, device: torch.device) -> Iterator[tuple[int, int]]:
    """How many stages could be done once, and the bytes that all samples take then."""
    probe = chosen[np.linspace(0, len(chosen) - 1, min(PROBED, len(chosen))).astype(np.int64)]
    samples = pipeline.samples
    held = isinstance(samples, Stored | Windows)
    fields = samples.fetch(probe)
    if isinstance(samples, Stored | Windows):
        # What is in memory already takes nothing more there.
        yield 0, 0 if device.type == "cpu" else samples.size
    else:
        yield 0, _bytes(fields) * len(chosen) // len(probe)
    worth = not held
    for done, stage in enumerate(pipeline.stages, 1):
        if isinstance(stage, Step) and stage.random:
            return
        fields = through_stage(stage, fields, Draws(pipeline.seed, 0, probe, 0))
        worth = worth or isinstance(stage, Step)
        if worth:
            yield done, _bytes(fields) * len(chosen) // len(probe)


def _bytes(fields: Raw) -> int:
    each = (value for values in fields.values() for value in ([values] if isinstance(values, Tensor) else values))
    return sum(value.nbytes for value in each)
