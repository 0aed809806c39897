"""The names of `torch.optim` that are no optimizers of the language, each with the reason."""

from collections.abc import Mapping
from types import MappingProxyType
from typing import Final

EXCLUDED: Final[Mapping[str, str]] = MappingProxyType(
    {
        "Optimizer": "It is the base class of all optimizers, and moves nothing itself.",
        "swap_in_optimizer_params_and_state": "It is a helper for programs that train in functional style.",
        "lr_scheduler": "It is the module of the schedules.",
        "swa_utils": "It is a module of helpers for averages of weights, which `ema` keeps.",
    }
)
"""Name -> why it is left out."""
