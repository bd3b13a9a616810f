"""Statistics of the order of scores, for any counts of the rows: they are sorted once, however often they are resampled."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

Array = NDArray[Any]


class RocAuc:
    """The share of (positive, negative) pairs in which the positive scores higher; a tie counts half (Mann–Whitney).

    NaN if a class is missing. `positive` is boolean.

    >>> RocAuc(np.array([False, True, True]), np.array([0.1, 0.1, 0.9])).value()
    0.75
    """

    def __init__(self, positive: Array, scores: Array) -> None:
        self.size = int(scores.size)
        self._order = np.argsort(scores)
        ordered = scores[self._order]
        self._positive = positive[self._order]
        self._starts = np.flatnonzero(np.append(True, ordered[1:] != ordered[:-1])) if self.size else np.arange(0)
        self._tied = self._starts.size < self.size

    def value(self) -> float:
        """The area of the rows as they are."""
        count = int(np.count_nonzero(self._positive))
        if count in (0, self.size):
            return float("nan")
        if not self._tied:
            below = np.flatnonzero(self._positive).sum() - count * (count - 1) / 2
            return float(below / (count * (self.size - count)))
        ends = np.append(self._starts[1:], self.size)
        hits = np.cumsum(self._positive)[ends - 1]
        misses = ends - hits
        # All negatives of lower groups, and half of the own group.
        won = np.sum(np.diff(hits, prepend=0) * (misses - np.diff(misses, prepend=0) / 2))
        return float(won / (count * (self.size - count)))

    def __call__(self, counts: Array) -> Array:
        counts = np.take(counts, self._order, axis=1).astype(np.float64, copy=False)
        positives = counts * self._positive
        return self._areas(positives, counts - positives)

    def _areas(self, positives: Array, negatives: Array) -> Array:
        if self._tied:
            positives = np.add.reduceat(positives, self._starts, axis=1)
            negatives = np.add.reduceat(negatives, self._starts, axis=1)
        upto = np.cumsum(negatives, axis=1)
        won = np.einsum("ij,ij->i", positives, upto) - np.einsum("ij,ij->i", positives, negatives) / 2
        with np.errstate(divide="ignore", invalid="ignore"):
            return np.asarray(won / (positives.sum(axis=1) * upto[:, -1]), np.float64)


class AveragePrecision:
    """Precision averaged over recall, stepwise at each distinct score; NaN without a positive.

    >>> AveragePrecision(np.array([False, True, True]), np.array([0.5, 0.2, 0.9])).value().__round__(4)
    0.8333
    """

    def __init__(self, positive: Array, scores: Array) -> None:
        self.size = int(scores.size)
        self._order = np.argsort(scores)[::-1]
        ordered = scores[self._order]
        self._positive = positive[self._order]
        self._ends = np.append(np.flatnonzero(ordered[1:] != ordered[:-1]), self.size - 1)

    def value(self) -> float:
        """The average of the rows as they are."""
        hits = np.cumsum(self._positive)[self._ends]
        if not hits[-1]:
            return float("nan")
        return float(np.sum(np.diff(hits, prepend=0) * (hits / (self._ends + 1.0))) / hits[-1])

    def __call__(self, counts: Array) -> Array:
        counts = np.take(counts, self._order, axis=1).astype(np.float64, copy=False)
        hits = np.cumsum(counts * self._positive, axis=1)[:, self._ends]
        called = np.cumsum(counts, axis=1)[:, self._ends]
        steps = np.diff(hits, prepend=0.0, axis=1)
        with np.errstate(divide="ignore", invalid="ignore"):
            # Nothing called means no step either.
            return np.asarray(np.sum(steps * hits / np.maximum(called, 1.0), axis=1) / hits[:, -1], np.float64)
