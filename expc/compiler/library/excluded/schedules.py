"""The names of `torch.optim.lr_scheduler` that are no schedules of the language, each with the reason."""

from collections.abc import Mapping
from types import MappingProxyType
from typing import Final

EXCLUDED: Final[Mapping[str, str]] = MappingProxyType(
    {
        "LRScheduler": "It is the base class of all schedules, and changes nothing itself.",
        "LambdaLR": "It takes Python code; `extern schedule` names such code.",
        "MultiplicativeLR": "It takes Python code; `extern schedule` names such code.",
        "SequentialLR": "A chain says it: `LinearLR for 500 steps -> CosineAnnealingLR`.",
        "ChainedScheduler": "It multiplies the rates of several schedules at once, where a chain runs one at a time.",
    }
)
"""Name -> why it is left out."""
