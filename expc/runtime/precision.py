"""In which precision a run computes: weights stay f32, and torch's autocast chooses for each operator."""

from collections.abc import Sequence
from contextlib import AbstractContextManager
from typing import Final

import torch
from torch import Tensor
from torch.optim import Optimizer

from expc.runtime.errors import RunError, option_span
from expc.runtime.errors.training import PrecisionUnavailable

DTYPES: Final = {"f32": torch.float32, "bf16": torch.bfloat16, "f16": torch.float16}


class Precision:
    """Autocast and, for f16, the scaling of the loss that keeps small gradients from vanishing.

    For f32 both are torch's own, switched off.
    """

    def __init__(self, asked: str, device: torch.device) -> None:
        self.name: Final = _automatic(device) if asked == "auto" else asked
        self._device: Final = device
        if self.name == "f16" and device.type == "cpu":
            span = option_span("--device", str(device))
            raise RunError(PrecisionUnavailable(span=span, precision=self.name, device=str(device)))
        self._scaler: Final = torch.amp.GradScaler(device.type, enabled=self.name == "f16")

    def autocast(self) -> AbstractContextManager[None]:
        """The context in which model and loss are computed."""
        return torch.autocast(self._device.type, dtype=DTYPES[self.name], enabled=self.name != "f32")

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


def _automatic(device: torch.device) -> str:
    """bf16 where the hardware computes in it, else f32. The CPU's bf16 is rarely faster than its f32."""
    if device.type == "cuda" and torch.cuda.is_bf16_supported(including_emulation=False):
        return "bf16"
    return "f32"
