"""The samplers of `torch.utils.data` that the language leaves out, each with the reason."""

from collections.abc import Mapping
from types import MappingProxyType
from typing import Final

EXCLUDED: Final[Mapping[str, str]] = MappingProxyType(
    {
        "Sampler": "It is the base class of all samplers.",
        "BatchSampler": "`batch` and `drop_last` say how samples are put together.",
        "SubsetRandomSampler": "`split` gives a part of a data set: `fit, _ = MNIST(...) -> split(0.1)`.",
        "DistributedSampler": "Every device takes its part of each batch without being told.",
    }
)
"""Name -> why it is left out."""
