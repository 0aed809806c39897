"""How an optimizer computes, where the file does not say: all its parameters in one call of torch, where it can.

Measured on one core (`benchmarks/optimizers.py`): fused, a step takes a fifth to three quarters of the time (`SGD`,
`Adam`, `AdamW`, `Adagrad`). With all parameters together, call by call (`foreach`), `RAdam` takes two thirds to three
quarters of it; the others 0.6, for many small tensors, to 1.5. On GPUs torch itself chooses `foreach`.
"""

from collections.abc import Collection, Iterable, Mapping
from inspect import signature
from typing import Any, Final

import torch
from torch import nn
from torch.optim import SGD, Optimizer

from expc.compiler.graph import Apply
from expc.compiler.library.optimizers import FUSED_WHOLE, SPARSE
from expc.compiler.lower.block import Block
from expc.runtime.distributed.parts import is_split

TOGETHER: Final = frozenset({"RAdam"})
"""The classes that `foreach` makes faster on the CPU, whatever the sizes."""
DEVICES: Final = frozenset({"cpu", "cuda"})


def chosen(
    kind: type[Optimizer], settings: Mapping[str, Any], parameters: Collection[nn.Parameter], model: nn.Module
) -> dict[str, bool]:
    """`fused` or `foreach` for an optimizer with these settings, where they leave both open; else nothing."""
    if settings.get("fused") is not None or settings.get("foreach") is not None:
        return {}
    if can_fuse(kind, parameters, model) and not settings.get("dampening"):
        return {"fused": True}
    on_cpu = all(parameter.device.type == "cpu" for parameter in parameters)
    return {"foreach": True} if kind.__name__ in TOGETHER and on_cpu else {}


def can_fuse(kind: type[Optimizer], parameters: Iterable[nn.Parameter], model: nn.Module) -> bool:
    """Whether torch has a fused `kind` for these parameters of `model`.

    It refuses sparse gradients, and for some kinds parameters in parts.
    """
    if "fused" not in signature(kind).parameters:
        return False
    if kind.__name__ in SPARSE and any(map(_has_sparse_gradients, model.modules())):
        return False
    parameters = list(parameters)
    if kind.__name__ in FUSED_WHOLE and any(map(is_split, parameters)):
        return False
    return all(parameter.is_floating_point() and parameter.device.type in DEVICES for parameter in parameters)


def let_some_come_later(optimizer: Optimizer) -> None:
    """Let parameters get their first gradient after others have had one, such as those that are thawed.

    torch's fused `SGD` fails where some have momentum and some not yet. One of zero leads to the same first step, where
    there is no `dampening`.
    """
    if isinstance(optimizer, SGD):
        optimizer.register_step_pre_hook(_start_momentum)


def _start_momentum(optimizer: Optimizer, *_: Any) -> None:
    for group in optimizer.param_groups:
        if group["fused"] and group["momentum"]:
            moving = [parameter for parameter in group["params"] if parameter.grad is not None]
            new = [each for each in moving if optimizer.state[each].get("momentum_buffer") is None]
            for parameter in new if len(new) < len(moving) else ():
                optimizer.state[parameter]["momentum_buffer"] = torch.zeros_like(parameter)


def _has_sparse_gradients(module: nn.Module) -> bool:
    if not isinstance(module, Block):
        return getattr(module, "sparse", False) is True
    functions = (step for step in module.plan.container.steps if isinstance(step, Apply))
    return any(step.arguments.get(name) is True for step in functions for name in ("sparse", "sparse_grad"))
