"""Optimizers, schedules and metrics that are Python code of an `extern`, held to what their kind must be."""

from collections.abc import Mapping
from typing import Any, Final

import torch
from torch import Tensor, nn
from torch.optim import Optimizer
from torch.optim.lr_scheduler import LRScheduler

from expc.compiler.lower.externs import make, wrong_object, wrong_result
from expc.compiler.ops.declare import PythonCode
from expc.compiler.types import TensorType
from expc.runtime.checkpoint.packing import LOST


def extern_optimizer(code: PythonCode, param_groups: list[dict[str, Any]], settings: Mapping[str, Any]) -> Optimizer:
    """The optimizer `Name(param_groups, **settings)`. Raises `ExecutionError` where it is none."""
    made = make(code, settings, param_groups)
    if not isinstance(made, Optimizer):
        raise wrong_object(code, f"makes a `{type(made).__name__}`", "a torch.optim.Optimizer")
    if any("lr" not in group for group in made.param_groups):
        raise wrong_object(code, "has parameter groups without `lr`", "an optimizer with a learning rate")
    return made


def extern_schedule(code: PythonCode, optimizer: Optimizer, settings: Mapping[str, Any]) -> LRScheduler:
    """The schedule `Name(optimizer, **settings)`. Raises `ExecutionError` where it is none."""
    made = make(code, settings, optimizer)
    if not isinstance(made, LRScheduler):
        raise wrong_object(code, f"makes a `{type(made).__name__}`", "a torch.optim.lr_scheduler.LRScheduler")
    return made


class ExternMetric:
    """A metric that is Python code: `update(output, target)`, `compute()` and `reset()`, as torchmetrics has them."""

    def __init__(self, code: PythonCode, settings: Mapping[str, Any]) -> None:
        self._code: Final = code
        self._made: Final = make(code, settings)
        missing = [name for name in ("update", "compute", "reset") if not callable(getattr(self._made, name, None))]
        if missing:
            found = f"makes a `{type(self._made).__name__}` without {' and '.join(f'`{name}`' for name in missing)}"
            raise wrong_object(code, found, "a metric")

    def to(self, device: torch.device) -> "ExternMetric":
        """Itself, on the device where it is a module."""
        if isinstance(self._made, nn.Module):
            self._made.to(device)
        return self

    def update(self, output: Tensor, target: Tensor) -> None:
        """Take in a batch."""
        self._made.update(output, target)

    def compute(self) -> float:
        """What was measured. Raises `ExecutionError` where that is not one number."""
        value = self._made.compute()
        if isinstance(value, Tensor) and value.numel() == 1:
            return float(value)
        if isinstance(value, int | float):
            return float(value)
        raise wrong_result(self._code, [TensorType("f32", ())], value, self._code.span)

    def reset(self) -> None:
        """Start again."""
        self._made.reset()

    def state(self) -> dict[str, Any]:
        """What a checkpoint must hold: the attributes of the object."""
        own = dict(getattr(self._made, "__dict__", {}))
        if hasattr(self._made, "metric_state"):  # a class of torchmetrics
            return {**self._made.metric_state, "_update_count": own["_update_count"]}
        if isinstance(self._made, nn.Module):
            own = {name: value for name, value in own.items() if name not in vars(nn.Module())}
            own |= self._made.named_buffers(recurse=False)
        return own

    def restore(self, state: Mapping[str, Any]) -> None:
        """Go on from what a checkpoint held; what it could not hold stays as it is."""
        for name, value in state.items():
            if value is not LOST:
                setattr(self._made, name, value)
