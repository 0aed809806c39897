"""Random numbers as a pure function of what they are for: (seed, epoch, sample, purpose).

There is no generator and so no state: the numbers of one sample are the same alone or in a batch, in any worker, on any
device, and when a run is resumed.
"""

from math import log, sqrt
from statistics import NormalDist
from typing import Any, Final

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from expc.frozen import dataclass

Words = NDArray[np.uint64]
Indices = NDArray[np.int64]

ORDER: Final = 1 << 31
"""The purpose "order of the samples". Below are the transforms, by position."""
SPLIT: Final = ORDER + 1
"""The purpose "parts of a split", and from here on those of the splits after it."""

_LOW: Final = np.uint64(0xFFFFFFFF)
_32: Final = np.uint64(32)
_INNER: Final = 0xFFFFFFFF
_HALF: Final = 2.0**-33
"""Half of the least step between random numbers, so that none is 0."""


def philox(counter: tuple[Words, Words, Words, Words], key: tuple[int, int]) -> tuple[Words, Words, Words, Words]:
    """Four random words of 32 bits (held in 64) for each counter: Philox4x32-10.

    J. Salmon, M. Moraes, R. Dror, D. Shaw: Parallel random numbers: as easy as 1, 2, 3 (SC 2011), the generator that
    torch uses on GPUs. Tested against the authors' own vectors.
    """
    a, b, c, d = counter
    k0, k1 = key
    for _ in range(10):
        left, right = a * np.uint64(0xD2511F53), c * np.uint64(0xCD9E8D57)
        a, b, c, d = (right >> _32) ^ b ^ np.uint64(k0), right & _LOW, (left >> _32) ^ d ^ np.uint64(k1), left & _LOW
        k0, k1 = (k0 + 0x9E3779B9) & 0xFFFFFFFF, (k1 + 0xBB67AE85) & 0xFFFFFFFF
    return a, b, c, d


@dataclass(frozen=True)
class Draws:
    """Random numbers for each of `samples`, for one purpose in one epoch."""

    seed: int
    epoch: int
    samples: Indices
    purpose: int

    def words(self, block: int = 0) -> tuple[Words, Words, Words, Words]:
        """Four random words for each sample; every block below 65,536 has other ones. Samples are below 2 ** 48."""
        samples = self.samples.astype(np.uint64)
        epoch, purpose = (np.array([value], dtype=np.uint64) for value in (self.epoch, self.purpose))
        key = (self.seed & 0xFFFFFFFF, self.seed >> 32 & 0xFFFFFFFF)
        return philox((samples & _LOW, samples >> _32 | np.uint64(block << 16), epoch, purpose), key)

    def uniform(self, which: int = 0) -> NDArray[np.float64]:
        """A number from 0 (included) to 1 (excluded) for each sample; another one for each `which`."""
        return self.words(which // 4)[which % 4] / 2.0**32

    def below(self, *bounds: int) -> tuple[Indices, ...]:
        """For each of at most four bounds a whole number from 0 to below it, for each sample."""
        words = self.words()
        return tuple((words[i] * np.uint64(bound) >> _32).astype(np.int64) for i, bound in enumerate(bounds))

    def about(self, purpose: int) -> "Draws":
        """The numbers of the same samples for another purpose."""
        return Draws(self.seed, self.epoch, self.samples, purpose)

    def of(self, chosen: NDArray[Any] | list[int]) -> "Draws":
        """The same numbers for some of the samples: `chosen` is a mask, or their positions."""
        return Draws(self.seed, self.epoch, self.samples[chosen], self.purpose)

    def inner(self, part: int) -> "Draws":
        """The numbers of a part of this purpose, such as a transform inside a transform."""
        counter = tuple(np.array([number], dtype=np.uint64) for number in (part, self.purpose, 0, _INNER))
        low, high, _, _ = philox(counter, (self.seed & 0xFFFFFFFF, self.seed >> 32 & 0xFFFFFFFF))  # type: ignore[arg-type]
        return Draws(int(low[0]) | int(high[0]) << 32, self.epoch, self.samples, 0)

    def streams(self) -> "list[Stream]":
        """The numbers of each sample, one after another."""
        blocks: list[tuple[Words, Words, Words, Words]] = []
        return [Stream(self, row, blocks) for row in range(len(self.samples))]


class Stream:
    """The random numbers of one sample for one purpose, one after another, however many are needed.

    The samples of a batch share `blocks`, so that each block of numbers is made once for all of them.
    """

    def __init__(self, draws: Draws, row: int, blocks: list[tuple[Words, Words, Words, Words]]) -> None:
        self._draws, self._row, self._blocks = draws, row, blocks
        self._taken = 0

    def word(self) -> int:
        """The next word of 32 bits."""
        block, which = divmod(self._taken, 4)
        if block == len(self._blocks):
            self._blocks.append(self._draws.words(block))
        self._taken += 1
        return int(self._blocks[block][which][self._row])

    def uniform(self, low: float = 0.0, high: float = 1.0) -> float:
        """A number from `low` (included) to `high` (excluded, where it is greater)."""
        return low + (high - low) * (self.word() / 2.0**32)

    def below(self, bound: int) -> int:
        """A whole number from 0 to below `bound`."""
        return self.word() * bound >> 32

    def permutation(self, length: int) -> list[int]:
        """The numbers below `length` in a random order."""
        order = list(range(length))
        for last in range(length - 1, 0, -1):
            other = self.below(last + 1)
            order[last], order[other] = order[other], order[last]
        return order

    def field(self, count: int) -> NDArray[np.float64]:
        """`count` numbers from 0 to 1, neither included: one for each pixel."""
        key = (self.word(), self.word())
        places = np.arange(-(-count // 4), dtype=np.uint64)
        zero = np.zeros_like(places)
        words = np.concatenate(philox((places, zero, zero, zero), key))[:count]
        return (words.astype(np.float64) + 0.5) / 2.0**32

    def gamma(self, shape: float) -> float:
        """A number with the gamma distribution of this shape and scale 1.

        G. Marsaglia, W. Tsang: A simple method for generating gamma variables (2000).
        """
        if shape < 1:
            smaller: float = (self.uniform() + _HALF) ** (1 / shape)
            return self.gamma(shape + 1) * smaller
        d = shape - 1 / 3
        while True:
            normal = NormalDist().inv_cdf(self.uniform() + _HALF)
            v = (1 + normal / sqrt(9 * d)) ** 3
            if v > 0 and log(self.uniform() + _HALF) < normal * normal / 2 + d - d * v + d * log(v):
                return d * v

    def dirichlet(self, *shapes: float) -> list[float]:
        """Numbers above 0 that sum to 1."""
        parts = [self.gamma(shape) for shape in shapes]
        # Shapes near 0 give numbers too small to be told from 0; then one part is everything.
        whole = sum(parts)
        return [part / whole for part in parts] if whole else [1.0, *[0.0] * (len(parts) - 1)]


def permutation(length: int, *, seed: int, epoch: int, purpose: int) -> Indices:
    """The numbers below `length` in a random order."""
    high, low, _, _ = Draws(seed, epoch, np.arange(length), purpose).words()
    return np.argsort(high << _32 | low, kind="stable")


def beside(numbers: NDArray[Any], values: Tensor) -> Tensor:
    """Numbers as a tensor on the device of `values`, without waiting for the device."""
    made = torch.from_numpy(numbers)
    if values.device.type == "cuda":
        made = made.pin_memory()
    return made.to(values.device, non_blocking=True)
