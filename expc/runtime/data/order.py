"""Which samples an epoch has, in which order: a pure function of (seed, epoch)."""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from expc.compiler.program import DataPlan, Use
from expc.runtime.data.datasets import Samples, column
from expc.runtime.data.randomness import ORDER, Draws, Indices, permutation
from expc.runtime.errors import RunError
from expc.runtime.errors.data import UnexpectedData

Weights = NDArray[np.float64]


class Order:
    """The order of the samples `chosen`: as they are, shuffled, or as the plan's sampler draws them.

    A sample that comes again within an epoch has the length of the data set added to its number, so that its random
    transforms draw anew. Raises `RunError` where the weights that the data gives are none.
    """

    def __init__(self, plan: DataPlan, samples: Samples, chosen: Indices, seed: int, *, shuffle: bool) -> None:
        self._chosen, self._length, self._seed = chosen, len(samples), seed
        self._shuffle = shuffle
        self._replacement, self._count = False, len(chosen)
        self._weights: Weights | None = None
        if plan.sampler is not None:
            self._shuffle = plan.sampler.name != "SequentialSampler"
            self._replacement = bool(plan.sampler.settings.get("replacement"))
            self._count = plan.sampler.settings.get("num_samples") or len(chosen)
            if not self._replacement and self._count > len(chosen):
                raise _refused(plan.sampler, f"num_samples={self._count} without replacement", f"{len(chosen)} samples")
            if plan.sampler.name == "WeightedRandomSampler":
                self._weights = _weights(plan.sampler, samples, chosen)
                drawable = int((self._weights > 0).sum())
                if not self._replacement and drawable < self._count:
                    found = f"{drawable} samples whose weight is above 0"
                    raise _refused(plan.sampler, f"num_samples={self._count} without replacement", found)

    def __len__(self) -> int:
        """The number of samples in an epoch."""
        return self._count

    def of(self, epoch: int) -> Indices:
        """The numbers of the samples of an epoch."""
        if not self._shuffle:
            return self._chosen
        size = len(self._chosen)
        if not self._replacement and self._weights is None:
            return self._chosen[permutation(size, seed=self._seed, epoch=epoch, purpose=ORDER)[: self._count]]
        draws = Draws(self._seed, epoch, np.arange(self._count if self._replacement else size), ORDER)
        # 53 bits, all that a number has, so that weights of a very large data set are told apart.
        high, low, _, _ = draws.words()
        uniform = ((high << np.uint64(21)) | (low >> np.uint64(11))).astype(np.float64) / 2.0**53
        if self._replacement:
            ends = np.cumsum(np.ones(size) if self._weights is None else self._weights)
            drawn = np.searchsorted(ends / ends[-1], uniform, side="right")
            return self._chosen[drawn] + self._length * _times_before(drawn)
        # P. Efraimidis, P. Spirakis: Weighted random sampling with a reservoir (2006). The first is the one whose
        # waiting time, exponential with its weight as the rate, is least.
        with np.errstate(divide="ignore"):
            waiting = -np.log1p(-uniform) / self._weights
        return self._chosen[np.argsort(waiting, kind="stable")[: self._count]]


def _times_before(drawn: Indices) -> Indices:
    """For each number how often it stands before."""
    order = np.argsort(drawn, kind="stable")
    ranked = drawn[order]
    starts = np.flatnonzero(np.r_[True, ranked[1:] != ranked[:-1]])
    lengths = np.diff(np.r_[starts, len(ranked)])
    times = np.empty_like(drawn)
    times[order] = np.arange(len(ranked)) - np.repeat(starts, lengths)
    return times


def _weights(sampler: Use, samples: Samples, chosen: Indices) -> Weights:
    """The weight of each of the samples."""
    written, field = sampler.settings["weights"], sampler.settings["label"]
    if isinstance(written, str) and written != "balanced":
        weights = column(samples, written, chosen).numpy().astype(np.float64)
        if not np.isfinite(weights).all() or weights.min() < 0 or not weights.any():
            bad = weights[~(np.isfinite(weights) & (weights >= 0))]
            found = f"{bad[0]:g}" if len(bad) else "only zeros"
            raise _refused(sampler, f"weights of at least 0 in `{written}`, some above it", found)
        return weights
    labels = column(samples, field, chosen).numpy()
    if written == "balanced":
        counts = np.bincount(labels)
        return np.asarray(1.0 / counts[labels])
    by_class = np.array(written, dtype=np.float64)
    weights = np.asarray(by_class[labels])
    if not weights.any():
        raise _refused(sampler, f"weights={list(written)}", "no sample of a class whose weight is above 0")
    return weights


def _refused(sampler: Use, declared: str, found: str) -> RunError:
    problem: Any = UnexpectedData(
        span=sampler.span, dataset=sampler.name, path="the data", declared=declared, found=found
    )
    return RunError(problem)
