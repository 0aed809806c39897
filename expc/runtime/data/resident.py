"""Samples that live decoded where the training is: read once, and then gathered and transformed a batch at a time."""

import numpy as np
import torch
from torch import Tensor

from expc.runtime.data.datasets import Kind, Raw
from expc.runtime.data.fields import Values
from expc.runtime.data.pipeline import Pipeline
from expc.runtime.data.randomness import Indices, beside


class Resident:
    """The samples `chosen` after stages without random numbers, each made once and then held on `device`."""

    kind: Kind = "held"

    def __init__(self, source: Pipeline, chosen: Indices, device: torch.device) -> None:
        self.source, self._device = source, device
        self._length = len(source.samples)
        self._rows = np.full(self._length, -1)
        self._rows[chosen] = np.arange(len(chosen))
        self._there = np.zeros(len(chosen), dtype=np.bool_)
        self._held: dict[str, Values] = {}
        self.whole = False
        """Whether every sample is there."""

    def __len__(self) -> int:
        return self._length

    def fetch(self, indices: Indices) -> Raw:
        """The samples at `indices`; those that are not there are made first. Raises `RunError`."""
        if not self.whole and len(missing := self.missing(indices)):
            self.store(missing, self.source.fields(0, missing))
        rows = self._rows[indices]
        return {name: _gathered(values, rows) for name, values in self._held.items()}

    def missing(self, indices: Indices) -> Indices:
        """Those of `indices` that were not made yet, each once."""
        indices = indices % self._length
        return np.unique(indices[~self._there[self._rows[indices]]])

    def store(self, indices: Indices, fields: Raw) -> None:
        """Keep what was made of the samples at `indices`."""
        rows = self._rows[indices]
        with torch.inference_mode(mode=False):  # what validation reads first may be wanted elsewhere
            for name, values in fields.items():
                self._held[name] = _kept(self._held.get(name), values, rows, len(self._there), self._device)
        self._there[rows] = True
        self.whole = bool(self._there.all())
        if self.whole:
            # Nothing is made from it any more: what it holds in memory may go.
            self.source = Pipeline(self, (), self.source.seed)


def _kept(held: Values | None, values: Values, rows: Indices, count: int, device: torch.device) -> Values:
    """`held` with `values` at `rows`: one tensor as long as all samples are of one size."""
    if held is None and isinstance(values, Tensor):
        held = torch.empty((count, *values.shape[1:]), dtype=values.dtype, device=device)
    if isinstance(held, Tensor):
        if isinstance(values, Tensor) and values.shape[1:] == held.shape[1:]:
            return held.index_copy_(0, beside(rows, held), values.to(device))
        held = list(held.unbind())
    kept = [torch.empty(0)] * count if held is None else held
    for row, value in zip(rows, values, strict=True):
        kept[row] = value.to(device)
    return kept


def _gathered(values: Values, rows: Indices) -> Values:
    return values.index_select(0, beside(rows, values)) if isinstance(values, Tensor) else [values[row] for row in rows]
