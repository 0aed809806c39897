"""A device whose memory is used up: what a step was estimated to take, and what would make it less."""

import re
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import Final

import torch

from expc.compiler.errors.python import RuntimeFailure
from expc.compiler.program import Program
from expc.diagnostics import ProblemError
from expc.runtime.errors import RunError
from expc.runtime.errors.training import OutOfMemory

_ASKED: Final = re.compile(r"[Tt]ried to allocate ([\d.]+) (\w+)")
_SAYINGS: Final = ("out of memory", "can't allocate memory", "Cannot allocate memory")


@contextmanager
def exhaustion_told(program: Program, device: torch.device) -> Iterator[None]:
    """Raise `RunError` (E0605) where memory ends inside, with what training was estimated to take of it."""
    try:
        yield
    except (ProblemError, RuntimeError, MemoryError) as error:
        reason = _reason(error)
        if reason is None or program.train is None:
            raise
        problem = error.problem if isinstance(error, ProblemError) else None
        span = problem.span if isinstance(problem, RuntimeFailure) else program.train.losses[0].body.span
        told = OutOfMemory(span=span, device=str(device), reason=reason, notes=tuple(_advice(program)))
        raise RunError(told) from error


def _reason(error: BaseException) -> str | None:
    """What was asked for, in words, where memory is among the causes of an error; none where it is not."""
    for cause in _causes(error):
        text = str(cause)
        if isinstance(cause, torch.OutOfMemoryError | MemoryError) or any(saying in text for saying in _SAYINGS):
            asked = _ASKED.search(text)
            return "none is left" if asked is None else f"{_shown(asked[1], asked[2])} more were asked for"
    return None


def _causes(error: BaseException | None) -> Iterator[BaseException]:
    """An error and what led to it, each once: what a thread hands over may be raised while it is itself handled."""
    seen: set[int] = set()
    while error is not None and id(error) not in seen:
        seen.add(id(error))
        yield error
        error = error.__cause__ or error.__context__


def _shown(number: str, unit: str) -> str:
    from expc.compiler.cost.summary import sizes_text

    return sizes_text(int(number)) if unit == "bytes" else f"{number} {unit}"


def _advice(program: Program) -> Iterator[str]:
    from expc.compiler.cost.summary import sizes_text, summarise

    train, data = program.experiment.train, program.experiment.data
    with suppress(ValueError):
        memory = summarise(program, {}).memory
        if isinstance(memory.total, int):
            kept = memory.activations if isinstance(memory.activations, int) else 0
            takes = f"training was estimated to take {sizes_text(memory.total)} (`expc summary`)"
            yield f"{takes}; {sizes_text(kept)} of it are activations that are kept for the way back"
    if train is None or data is None:
        return
    if data.batch > train.accumulate:
        more = max(2, 2 * train.accumulate)
        yield f"`accumulate = {more}` in `train` computes each batch in {more} parts, with the same result"
    if train.recompute is None:
        yield "`recompute = 4` keeps the activations of one segment in four, and computes the others anew"
    if train.precision == "f32":
        yield "`precision = bf16` halves most activations"
    if data.batch > 1:
        yield f"a smaller `batch` than {data.batch} takes less, and learns differently"
