"""The arithmetic of `split`: fractions, and where each part ends."""

from collections.abc import Sequence
from typing import Final

from expc.compiler.errors.data import SplitFractions
from expc.compiler.ops.declare import Fault

_ROUNDING: Final = 1e-9
"""How far fractions such as 0.7, 0.2, 0.1 may be from 1 because of binary arithmetic."""


def split_fractions(written: Sequence[float]) -> tuple[float, ...]:
    """The fractions of all parts, which sum to 1: what is left is one more part. `(0.9,)` gives `(0.9, 0.1)`.

    Raises `Fault` with `SplitFractions`.
    """
    total = sum(written)
    if not written or min(written) <= 0 or total > 1 + _ROUNDING:
        raise Fault(SplitFractions, found=", ".join(map(str, written)) or "none")
    return tuple(written) if total > 1 - _ROUNDING else (*written, 1 - total)


def split_bounds(length: int, fractions: Sequence[float]) -> tuple[int, ...]:
    """Where each part of `length` samples ends; the last takes what rounding leaves."""
    ends = [round(length * sum(fractions[: i + 1])) for i in range(len(fractions) - 1)]
    return (*ends, length)


def split_length(length: int, fractions: Sequence[float], index: int) -> int:
    """The number of samples in part `index`."""
    bounds = (0, *split_bounds(length, fractions))
    return bounds[index + 1] - bounds[index]
