"""Random numbers as a pure function of what they are for: (seed, epoch, sample, purpose).

There is no generator and so no state: the numbers of one sample are the same alone or in a batch, in any worker, on any
device, and when a run is resumed.
"""

from typing import Final

import numpy as np
from numpy.typing import NDArray

from expc.frozen import dataclass

Words = NDArray[np.uint64]
Indices = NDArray[np.int64]

ORDER: Final = 1 << 31
"""The purpose "order of the samples". Below are the transforms, by position."""
SPLIT: Final = ORDER + 1
"""The purpose "parts of a split", and from here on those of the splits after it."""

_LOW: Final = np.uint64(0xFFFFFFFF)
_32: Final = np.uint64(32)


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
    """Up to four random numbers for each of `samples`, for one purpose in one epoch."""

    seed: int
    epoch: int
    samples: Indices
    purpose: int

    def words(self) -> tuple[Words, Words, Words, Words]:
        """The random words themselves."""
        samples = self.samples.astype(np.uint64)
        epoch, purpose = (np.full_like(samples, value) for value in (self.epoch, self.purpose))
        key = (self.seed & 0xFFFFFFFF, self.seed >> 32 & 0xFFFFFFFF)
        return philox((samples & _LOW, samples >> _32, epoch, purpose), key)

    def uniform(self, which: int = 0) -> NDArray[np.float64]:
        """A number from 0 (included) to 1 (excluded) for each sample; `which` is 0 to 3."""
        return self.words()[which] / 2.0**32

    def below(self, *bounds: int) -> tuple[Indices, ...]:
        """For each of at most four bounds a whole number from 0 to below it, for each sample."""
        words = self.words()
        return tuple((words[i] * np.uint64(bound) >> _32).astype(np.int64) for i, bound in enumerate(bounds))


def permutation(length: int, *, seed: int, epoch: int, purpose: int) -> Indices:
    """The numbers below `length` in a random order."""
    high, low, _, _ = Draws(seed, epoch, np.arange(length), purpose).words()
    return np.argsort(high << _32 | low, kind="stable")
