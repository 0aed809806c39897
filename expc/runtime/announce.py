"""What a run says of itself before it starts: a few lines, with what a person would want to have known."""

from collections.abc import Iterator, Sequence
from pathlib import Path

import torch

from expc.runtime.data.roles import say
from expc.runtime.loop import Training
from expc.runtime.prepare import Prepared


def announce(training: Training, prepared: Prepared, directory: Path) -> Iterator[str]:
    """The lines: model, data, the way of each role's data, length, device, and where the run goes."""
    program, loaders = prepared.program, prepared.loaders
    body = program.model.name if program.model is not None else ""
    yield program.name
    at_first = "" if training.thaws_after is None else " at first"
    yield _line("model", f"{body}: {_parameters(training.task.model)}{at_first}")
    samples = ", ".join(f"{loader.samples:,} {role}" for role, loader in loaders.items())
    data = program.experiment.data
    batch = "" if data is None else f"; {_batches(data.batch, prepared.train.accumulate)}"
    yield _line("data", f"{samples} samples{batch}")
    if data is not None:
        yield _line("path", say(loaders, data))
    epochs = "1 epoch" if training.epochs == 1 else f"{training.epochs:,} epochs"
    yield _line("length", f"{training.total_steps:,} steps: {epochs} of {training.steps_per_epoch:,}")
    threads = torch.get_num_threads()
    cores = f", {threads} thread{'s' if threads > 1 else ''}" if training.device.type == "cpu" else ""
    guessed = prepared.train.precision == "auto" and not training.precision.measured
    chosen = " (`auto`, not measured)" if guessed else ""
    yield _line("device", f"{name_of(training.device)}{cores}, {training.precision}{chosen}")
    if prepared.world.size > 1:
        noise = ", the same random numbers as one process" if prepared.train.deterministic else ""
        if prepared.draws.elsewhere:
            noise += f" but for {_some(prepared.draws.elsewhere)}"
        why = f" ({prepared.strategy.why})" if prepared.strategy.why else ""
        yield _line("world", f"{prepared.world.size} processes, {prepared.strategy.name}{why}{noise}")
    yield _line("run", str(directory))


def name_of(device: torch.device) -> str:
    """`cpu`; `cuda:0 (NVIDIA H200)`."""
    return f"{device} ({torch.cuda.get_device_name(device)})" if device.type == "cuda" else str(device)


def _line(what: str, text: str) -> str:
    return f"  {what:<7} {text}"


def _parameters(model: torch.nn.Module) -> str:
    every = sum(parameter.numel() for parameter in model.parameters())
    learn = sum(parameter.numel() for parameter in model.parameters() if parameter.requires_grad)
    return f"{every:,} parameters" + ("" if learn == every else f", {learn:,} of them learn")


def _some(texts: Sequence[str]) -> str:
    first, more = ", ".join(texts[:3]), len(texts) - 3
    return f"{first} and {more} more" if more > 0 else first


def _batches(size: int, parts: int) -> str:
    samples = "1 sample" if size == 1 else f"{size:,} samples"
    return f"batches of {samples}" + (f" in {parts} parts" if parts > 1 else "")
