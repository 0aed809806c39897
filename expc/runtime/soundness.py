"""Whether a run still learns: losses and weights that are numbers.

Nothing here waits for the device, but where something is written down anyway: at log points and at checkpoints.
"""

import math
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from expc.runtime.checkpoint.packing import State
from expc.runtime.distributed.parts import gathered, local
from expc.runtime.errors import RunError
from expc.runtime.errors.training import LossNotFinite
from expc.runtime.state import state_of

if TYPE_CHECKING:
    from collections.abc import Mapping

    from expc.runtime.loop import Training


def finite(run: "Training", losses: "Mapping[str, float]") -> "Mapping[str, float]":
    """The training losses themselves. Raises `RunError` (E0809) where one is infinite or not a number."""
    for term, value in losses.items():
        if not math.isfinite(value):
            raise not_finite(run, term, value)
    return losses


def not_finite(run: "Training", term: str, value: float) -> RunError:
    """The error about a loss, with the step where it was no number for the first time since the last log point."""
    step, when = run.step, f"between steps {run.window_start + 1} and {run.step}"
    if "loss" in run.window.first_not_finite:
        number, value = run.window.first_not_finite["loss"]
        step = run.window_start + -(-number // len(run.turns))
        when = f"at step {step}"
    span = run.plan.losses[0].body.span
    return RunError(LossNotFinite(span=span, what=f"the train loss `{term}`", value=str(value), when=when, step=step))


def sound_state(run: "Training") -> State:
    """The state of the run for a checkpoint. Raises `RunError` (E0809) where nothing could be learnt from it."""
    finite(run, run.window.read())
    run.strategy.settle(run.task.model)
    named = {key: weight for key, weight in run.task.model.named_parameters() if weight.is_floating_point()}
    bad = next(filter(None, run.world.everyones(unsound(named))), None)
    if bad is not None:
        span = run.plan.losses[0].body.span
        numbers = gathered(named[bad]).flatten()
        value = str(numbers[~numbers.isfinite()][0].item())
        when = f"after step {run.step}"
        raise RunError(LossNotFinite(span=span, what=f"the weight `{bad}`", value=value, when=when, step=run.step))
    return state_of(run)


def unsound(tensors: "Mapping[str, Tensor]") -> str | None:
    """The first of these tensors that holds something infinite or not a number; waits for the device once.

    Of tensors in parts, each process looks at its own.
    """
    sound = [local(tensor.detach()).isfinite().all() for tensor in tensors.values()]
    verdicts = torch.stack(sound).tolist() if sound else []
    return next((name for name, verdict in zip(tensors, verdicts, strict=True) if not verdict), None)
