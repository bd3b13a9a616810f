"""Statistics as functions of how often each unit counts.

Resampling gives a matrix of counts (resamples × units); a statistic answers with one value for each of its rows. What
depends on the data alone (losses, a sort) is done once, when the statistic is made.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

Array = NDArray[Any]


class Statistic(Protocol):
    """A number that a table gives, for any counts of its units. It is NaN where it is not defined."""

    @property
    def size(self) -> int:
        """How many units there are to resample: rows, or queries of a ranking."""
        ...

    def value(self) -> float:
        """The statistic of the table as it is, each unit once."""
        ...

    def __call__(self, counts: Array) -> Array:
        """One value for each row of `counts`, a matrix of resamples × units."""
        ...


class Sums:
    """A function of sums over the rows: most metrics are. `combine` takes the number of rows, then the sum of each column.

    >>> mean = Sums([np.array([1.0, 2.0, 6.0])], lambda n, total: total / n)
    >>> mean.value(), mean(np.array([[3, 0, 0], [0, 1, 2]])).tolist()
    (3.0, [1.0, 4.666666666666667])
    """

    def __init__(self, columns: Sequence[Array], combine: Callable[..., Any]) -> None:
        self.columns, self.combine = columns, combine
        self.size = int(columns[0].size)
        self._floats: list[Array] = []

    def value(self) -> float:
        """The statistic of the rows as they are."""
        with np.errstate(divide="ignore", invalid="ignore"):
            return float(self.combine(np.float64(self.size), *(np.float64(column.sum()) for column in self.columns)))

    def __call__(self, counts: Array) -> Array:
        # Without BLAS: its sums depend on the number of threads, and waiting for them costs more than such sums.
        self._floats = self._floats or [column.astype(np.float64, copy=False) for column in self.columns]
        sums = [counts.sum(axis=1), *(np.einsum("ij,j->i", counts, column) for column in self._floats)]
        with np.errstate(divide="ignore", invalid="ignore"):
            return np.asarray(self.combine(*sums), np.float64)


class Combined:
    """A function of other statistics of the same units, such as a mean over classes or the difference of two models."""

    def __init__(self, parts: Sequence[Statistic], combine: Callable[..., Any]) -> None:
        self.parts, self.combine = parts, combine
        self.size = parts[0].size

    def value(self) -> float:
        """The statistic of the units as they are."""
        return float(self.combine(*(np.float64(part.value()) for part in self.parts)))

    def __call__(self, counts: Array) -> Array:
        return np.asarray(self.combine(*(part(counts) for part in self.parts)), np.float64)


class Callback:
    """Any function of row numbers: slow, as it is called anew for each resample, but it takes what is not a sum."""

    def __init__(self, function: Callable[[Array], float], size: int) -> None:
        self.function, self.size = function, size

    def value(self) -> float:
        """The function of all rows."""
        return float(self.function(np.arange(self.size)))

    def __call__(self, counts: Array) -> Array:
        rows = np.arange(self.size)
        return np.array([self.function(np.repeat(rows, row.astype(np.int64))) for row in counts], np.float64)
