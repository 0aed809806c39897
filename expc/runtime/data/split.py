"""Which samples a role sees: the parts of its splits, as indices into the data set."""

from collections.abc import Sequence

import numpy as np

from expc.compiler.library.datasets import split_bounds
from expc.compiler.program import SplitUse
from expc.runtime.data.randomness import SPLIT, Indices, permutation
from expc.runtime.errors import RunError
from expc.runtime.errors.data import TooLittleData


def select(length: int, splits: Sequence[SplitUse], seed: int) -> Indices:
    """The indices below `length` that are left after `splits`, in rising order: a pure function of its arguments.

    Raises `RunError` where a part is empty.
    """
    chosen = np.arange(length)
    for depth, split in enumerate(splits):
        bounds = (0, *split_bounds(len(chosen), split.fractions))
        if split.shuffle:
            chosen = chosen[permutation(len(chosen), seed=seed, epoch=0, purpose=SPLIT + depth)]
        part = chosen[bounds[split.index] : bounds[split.index + 1]]
        if not len(part):
            of = "1 sample" if len(chosen) == 1 else f"{len(chosen)} samples"
            what = f"part {split.index + 1} of this split, {split.fractions[split.index]:g} of {of},"
            raise RunError(TooLittleData(span=split.span, what=what, needed="1 sample", found=0))
        chosen = np.sort(part)
    return chosen
