"""Which precision `auto` is: measured on the run's own batches, without a trace in the model or its random numbers."""

import itertools
import math
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from statistics import median
from typing import Final

import torch

from expc.diagnostics import ProblemError
from expc.runtime.data.loader import Loader
from expc.runtime.device import move
from expc.runtime.distributed.world import World
from expc.runtime.precision import Precision
from expc.runtime.seeds import drawing_from
from expc.runtime.task import Batch, Task, split
from expc.spec.sections import Train

BATCHES: Final = 3
ROUNDS: Final = 3
WORTH: Final = 0.95
"""What a step in another precision than f32 may take of f32's time to be worth it."""


def choose_precision(
    train: Train,
    task: Task,
    loader: Loader,
    device: torch.device,
    world: World | None = None,
    *,
    alone: bool = True,
) -> Precision:
    """The precision that a run asks for. `auto` is the fastest in which loss and gradients of a few batches are finite.

    It is what the hardware suggests where measuring would not say the same each time (`deterministic`), or nothing
    of a model that is compiled first, or that a process cannot run `alone`. All processes take what the first one has
    found.
    """
    if train.precision != "auto":
        return Precision(train.precision, device)
    if train.deterministic or train.compile or not alone:
        return Precision(_suggested(device), device)
    names = ["f32", "bf16", *(["f16"] if device.type == "cuda" and _suggested(device) == "f32" else [])]
    seconds = measured(names, task, loader, device, parts=train.accumulate)
    best = min(seconds, key=lambda name: seconds[name])
    chosen = best if seconds[best] < WORTH * seconds["f32"] else "f32"
    return Precision((world or World()).firsts(chosen), device, {name: 1e3 * taken for name, taken in seconds.items()})


def measured(
    names: list[str], task: Task, loader: Loader, device: torch.device, *, parts: int = 1
) -> Mapping[str, float]:
    """Seconds of a forward and a backward pass in each precision; infinite where something is not finite.

    The model's buffers and gradients, and random numbers, are afterwards what they were.
    """
    epoch = loader.epoch(0)
    batches = [split(move(batch, device), parts)[0] for batch in itertools.islice(epoch, BATCHES)]
    taken: dict[str, list[float]] = {name: [] for name in names}
    with _untouched(task), drawing_from(0, device):
        task.train()
        # One after the other, again and again: a machine that is busy for a while is so for all of them.
        for number in range(ROUNDS + 1):
            for name, seconds in taken.items():
                found = math.inf if math.inf in seconds else _step(Precision(name, device), task, batches, device)
                # The first round also loads what the others use.
                if number or found == math.inf:
                    seconds.append(found)
    return {name: math.inf if math.inf in seconds else median(seconds) for name, seconds in taken.items()}


def _step(precision: Precision, task: Task, batches: list[Batch], device: torch.device) -> float:
    started = _now(device)
    try:
        for batch in batches:
            with precision.autocast():
                loss = task.losses(task.named(batch), len(next(iter(batch.values()))))["loss"]
            loss.backward()  # type: ignore[no-untyped-call]
    except torch.OutOfMemoryError:
        return math.inf
    except ProblemError:
        if precision.name == "f32":
            raise
        return math.inf
    seconds = (_now(device) - started) / len(batches)
    values = [loss, *(parameter.grad for parameter in task.model.parameters() if parameter.grad is not None)]
    return seconds if all(bool(value.isfinite().all()) for value in values) else math.inf


@contextmanager
def _untouched(task: Task) -> Iterator[None]:
    buffers = [(buffer, buffer.clone()) for buffer in task.model.buffers()]
    try:
        yield
    finally:
        for buffer, value in buffers:
            buffer.copy_(value)
        for parameter in task.model.parameters():
            parameter.grad = None


def _now(device: torch.device) -> float:
    if device.type == "cuda":
        torch.cuda.synchronize(device)
    return time.perf_counter()


def _suggested(device: torch.device) -> str:
    """bf16 where the hardware computes in it, else f32. The CPU's bf16 is rarely faster than its f32."""
    if device.type == "cuda" and torch.cuda.is_bf16_supported(including_emulation=False):
        return "bf16"
    return "f32"
