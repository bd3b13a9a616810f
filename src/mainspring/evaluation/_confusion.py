"""Metrics of a confusion matrix: one function for two classes and for many, and for many resamples at once.

A matrix has the truth in its rows and the decision in its columns; leading axes are resamples.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray

Array = NDArray[Any]


class Cells:
    """A function of the confusion matrix of `kinds` classes, as a statistic of its rows."""

    def __init__(self, truth: Array, decided: Array, kinds: int, combine: Callable[[Array], Array]) -> None:
        self.size, self.kinds, self.combine = int(truth.size), kinds, combine
        self._codes = truth.astype(np.intp) * kinds + decided

    def value(self) -> float:
        """The metric of the rows as they are."""
        return float(self._combined(np.bincount(self._codes, minlength=self.kinds**2)[None])[0])

    def __call__(self, counts: Array) -> Array:
        cells = [np.bincount(self._codes, weights=row, minlength=self.kinds**2) for row in counts]
        return self._combined(np.array(cells))

    def _combined(self, cells: Array) -> Array:
        with np.errstate(divide="ignore", invalid="ignore"):
            return self.combine(cells.reshape(-1, self.kinds, self.kinds).astype(np.float64))


def accuracy(matrix: Array) -> Array:
    """The share of rows decided rightly."""
    return np.asarray(_right(matrix).sum(-1) / matrix.sum((-1, -2)))


def recalls(matrix: Array) -> Array:
    """For each class the share of its rows that are decided so; NaN without a row."""
    return np.asarray(_right(matrix) / matrix.sum(-1))


def precisions(matrix: Array) -> Array:
    """For each class the share of right ones among those decided so; 0 if there is none."""
    called = matrix.sum(-2)
    return np.asarray(_right(matrix) / np.maximum(called, 1.0))


def f1s(matrix: Array) -> Array:
    """For each class the harmonic mean of precision and recall; NaN where it neither is nor is decided."""
    return np.asarray(2 * _right(matrix) / (matrix.sum(-1) + matrix.sum(-2)))


def balanced_accuracy(matrix: Array) -> Array:
    """The mean recall of the classes that there are."""
    return _mean_of_known(recalls(matrix))


def matthews(matrix: Array) -> Array:
    """Matthews' correlation of truth and decision (Gorodkin 2004 for many classes); 0 if one of them never varies."""
    truth, decided, total = matrix.sum(-1), matrix.sum(-2), matrix.sum((-1, -2))
    both = _right(matrix).sum(-1) * total - (truth * decided).sum(-1)
    spread = np.sqrt((total**2 - (truth**2).sum(-1)) * (total**2 - (decided**2).sum(-1)))
    return np.asarray(np.where(spread > 0, both / np.where(spread > 0, spread, 1.0), 0.0))


def macro(per_class: Callable[[Array], Array]) -> Callable[[Array], Array]:
    """The mean over the classes that are in the truth or were decided; an undefined one counts 0, as in scikit-learn."""

    def mean(matrix: Array) -> Array:
        there = matrix.sum(-1) + matrix.sum(-2) > 0
        values = np.where(there, np.nan_to_num(per_class(matrix)), 0.0)
        return np.asarray(values.sum(-1) / there.sum(-1))

    return mean


def weighted(per_class: Callable[[Array], Array]) -> Callable[[Array], Array]:
    """The mean over classes, each by its rows."""

    def mean(matrix: Array) -> Array:
        rows = matrix.sum(-1)
        return np.asarray((np.nan_to_num(per_class(matrix)) * rows).sum(-1) / rows.sum(-1))

    return mean


def positive(per_class: Callable[[Array], Array]) -> Callable[[Array], Array]:
    """That of the positive class of two."""
    return lambda matrix: per_class(matrix)[..., 1]


def specificity(matrix: Array) -> Array:
    """Of the negatives, the share decided so; not defined without one."""
    return np.asarray(recalls(matrix)[..., 0])


def _right(matrix: Array) -> Array:
    return np.diagonal(matrix, axis1=-2, axis2=-1)


def _mean_of_known(values: Array) -> Array:
    known = ~np.isnan(values)
    return np.asarray(np.where(known, values, 0.0).sum(-1) / known.sum(-1))
