"""The table of data sets: torchvision's settings, and the samples that each gives.

What can only be known by reading (the classes of a folder, the vocabulary of a text) is a setting that must be given,
and that `expc.runtime.data` verifies on opening. Sizes that differ from sample to sample are symbols. One file per
family; what is left out, and why, is in `expc.compiler.library.excluded.datasets`.
"""

from collections.abc import Mapping
from functools import cache

from expc.compiler.library.datasets.annotated import annotated
from expc.compiler.library.datasets.digits import small_images
from expc.compiler.library.datasets.general import general
from expc.compiler.library.datasets.photographs import photograph_sets
from expc.compiler.library.datasets.splitting import split_bounds, split_fractions, split_length
from expc.compiler.program import Dataset

__all__ = ["datasets", "split_bounds", "split_fractions", "split_length"]


@cache
def datasets() -> Mapping[str, Dataset]:
    """Every data set by name."""
    families = (small_images(), photograph_sets(), annotated(), general())
    return {dataset.name: dataset for family in families for dataset in family}
