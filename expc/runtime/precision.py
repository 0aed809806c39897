"""In which precision a run computes: weights stay f32, and torch's autocast chooses for each operator."""

import math
from collections.abc import Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from typing import Any, Final

import torch
from torch import Tensor
from torch.optim import Optimizer

from expc.diagnostics import Span
from expc.runtime.errors import RunError, option_span
from expc.runtime.errors.training import PrecisionUnavailable

DTYPES: Final = {"f32": torch.float32, "bf16": torch.bfloat16, "f16": torch.float16}


class Precision:
    """Autocast and, for f16, the scaling of the loss that keeps small gradients from vanishing.

    For f32 there is neither.
    """

    def __init__(self, name: str, device: torch.device, measured: Mapping[str, float] | None = None) -> None:
        self.name: Final = name
        self.measured: Final = measured or {}
        """Where `auto` has measured: milliseconds of a step in each precision."""
        self._device: Final = device
        self._scaler: Final = torch.amp.GradScaler(device.type, enabled=name == "f16")

    def __str__(self) -> str:
        """The precision, and what it was chosen by."""
        times = ", ".join(
            f"{name} {'is not finite' if math.isinf(taken) else f'{taken:.3g} ms'}"
            for name, taken in self.measured.items()
        )
        return f"{self.name} (of a step's passes: {times})" if times else self.name

    def autocast(self) -> AbstractContextManager[None]:
        """The context in which model and loss are computed."""
        if self.name == "f32":
            return nullcontext()
        return torch.autocast(self._device.type, dtype=DTYPES[self.name])

    def backward(self, loss: Tensor) -> None:
        """Add the gradients of `loss` to the parameters, scaled."""
        self._scaler.scale(loss).backward()  # type: ignore[no-untyped-call]

    def unscale(self, optimizers: Sequence[Optimizer]) -> None:
        """Make gradients what they are, to be clipped."""
        for optimizer in optimizers:
            self._scaler.unscale_(optimizer)

    def step(self, optimizers: Sequence[Optimizer]) -> None:
        """Move the weights; with f16, skipped when a gradient overflowed."""
        for optimizer in optimizers:
            self._scaler.step(optimizer)
        self._scaler.update()

    def state(self) -> dict[str, float]:
        """What a checkpoint must hold: empty but for f16."""
        return self._scaler.state_dict()

    def restore(self, state: Mapping[str, Any]) -> None:
        """Go on from what a checkpoint held; where that was another precision, start as at first."""
        if state and self._scaler.is_enabled():
            self._scaler.load_state_dict(dict(state))


def refuse_precision(asked: str, device: torch.device, place: Span | None) -> None:
    """Raises `RunError` (E0602) where the device does not compute in the precision that was asked for at `place`."""
    if asked == "f16" and device.type == "cpu":
        span = place or option_span("--device", str(device))
        raise RunError(PrecisionUnavailable(span=span, precision=asked, device=str(device)))
