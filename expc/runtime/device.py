"""Which device a run uses."""

import torch
from torch import Tensor

from expc.runtime.errors import RunError, option_span
from expc.runtime.errors.training import DeviceUnavailable


def choose_device(name: str) -> torch.device:
    """The device called `name`, as torch names them; `auto` is a GPU where there is one, else the CPU.

    Raises `RunError` (E0601) when it is not there.
    """
    if name == "auto":
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    try:
        device = torch.device(name)
        # Asking for memory is the one question that every kind of device answers in the same way.
        torch.empty(1, device=device)
    except (RuntimeError, AssertionError, NotImplementedError) as error:
        reason = (str(error).strip().splitlines() or ["it is not there"])[0]
        raise RunError(DeviceUnavailable(span=option_span("--device", name), device=name, reason=reason)) from error
    return device


def move(batch: dict[str, Tensor], device: torch.device) -> dict[str, Tensor]:
    """The batch on `device`, without waiting for the copy where its memory is pinned."""
    return {name: value.to(device, non_blocking=True) for name, value in batch.items()}
