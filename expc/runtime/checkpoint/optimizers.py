"""The states of optimizers by the keys of their parameters: `exp_avg/conv1.weight`."""

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torch.optim import Optimizer

from expc.runtime.checkpoint.forms import filled
from expc.runtime.checkpoint.packing import LOST, State, Tensors, pack, unpack


def optimizer_state(optimizers: Sequence[Optimizer], model: nn.Module, tensors: dict[str, Tensor]) -> list[Any]:
    """What each optimizer knows of its parameters, and the settings of its groups, packed; tensors go to `tensors`."""
    keys: dict[Tensor, str] = {parameter: key for key, parameter in model.named_parameters()}
    return [
        {
            "kind": type(optimizer).__name__,
            "state": {
                keys[parameter]: {
                    name: pack(value, f"{name}/{keys[parameter]}", tensors) for name, value in values.items()
                }
                for parameter, values in optimizer.state.items()
            },
            "groups": [
                {
                    "params": [keys[parameter] for parameter in group["params"]],
                    **{
                        name: pack(value, f"{name}/group {place}.{number}", tensors)
                        for name, value in group.items()
                        if name != "params"
                    },
                }
                for number, group in enumerate(optimizer.param_groups)
            ],
        }
        for place, optimizer in enumerate(optimizers)
    ]


def restore_optimizers(
    optimizers: Sequence[Optimizer],
    model: nn.Module,
    saved: State,
    device: torch.device,
    home: str,
    *,
    settings: bool,
) -> list[str]:
    """Give the optimizers back what they knew, and with `settings` their groups' settings too.

    Where a parameter is in parts, so is what an optimizer knows of each number of it.
    What was on a device of the kind `home` comes to `device`. The count of steps stays on the CPU but for fused and
    captured steps: that is torch's own rule.
    An optimizer knows nothing of a parameter that another kind of optimizer moved before: their keys are returned.
    Raises KeyError, TypeError and ValueError where `saved` does not have what was saved of such optimizers.
    """
    packed = saved.plain["optimizers"]
    tensors = {**saved.tensors.get("optimizer", {}), **filled(saved, "optimizer", _forms(model, saved))}
    known = {key: (each["kind"], state) for each in packed for key, state in each["state"].items()}
    keys = {parameter: key for key, parameter in model.named_parameters()}
    if settings:
        for optimizer, each in zip(optimizers, packed, strict=True):
            for group, then in zip(optimizer.param_groups, each["groups"], strict=True):
                if then["params"] != [keys[parameter] for parameter in group["params"]]:
                    raise ValueError("the groups of the optimizer are others")
                for name, value in then.items():
                    if name != "params":
                        group[name] = unpack(value, tensors, device, home)
    forgotten = []
    for optimizer in optimizers:
        optimizer.state.clear()
        for group in optimizer.param_groups:
            on_device = group.get("fused") or group.get("capturable")
            for parameter in group["params"]:
                kind, state = known.get(keys[parameter], (None, {}))
                if kind not in (None, type(optimizer).__name__):
                    forgotten.append(keys[parameter])
                elif state:
                    found = {
                        name: unpack(value, tensors, device, home if name != "step" or on_device else "")
                        for name, value in state.items()
                    }
                    optimizer.state[parameter] = {name: value for name, value in found.items() if value is not LOST}
    return forgotten


def _forms(model: nn.Module, saved: State) -> Tensors:
    """What each tensor that is known of a parameter looks like: as that does, where it is of the same shape."""
    parameters = dict(model.named_parameters())
    return {
        value["$tensor"]: parameters[key] if tensor.shape == parameters[key].shape else tensor
        for each in saved.plain["optimizers"]
        for key, state in each["state"].items()
        for value in state.values()
        if key in parameters and isinstance(value, dict) and "$tensor" in value and "numpy" not in value
        for tensor in (saved.tensors["optimizer"][value["$tensor"]],)
    }
