"""Whether an optimizer moves all its parameters in one call of torch: on the CPU that takes a third of the time.

Other classes are left to torch, which moves many tensors at once (`foreach`) on GPUs; on the CPU that gains little.
"""

from collections.abc import Iterable
from inspect import signature
from typing import Final

from torch import nn
from torch.optim import Optimizer

from expc.compiler.graph import Apply
from expc.compiler.library.optimizers import SPARSE
from expc.compiler.lower.block import Block

DEVICES: Final = frozenset({"cpu", "cuda"})


def can_fuse(kind: type[Optimizer], parameters: Iterable[nn.Parameter], model: nn.Module) -> bool:
    """Whether torch has a fused `kind` for these parameters of `model`; sparse gradients it refuses."""
    if "fused" not in signature(kind).parameters:
        return False
    if kind.__name__ in SPARSE and any(map(_has_sparse_gradients, model.modules())):
        return False
    return all(parameter.is_floating_point() and parameter.device.type in DEVICES for parameter in parameters)


def _has_sparse_gradients(module: nn.Module) -> bool:
    if not isinstance(module, Block):
        return getattr(module, "sparse", False) is True
    functions = (step for step in module.plan.container.steps if isinstance(step, Apply))
    return any(step.arguments.get(name) is True for step in functions for name in ("sparse", "sparse_grad"))
