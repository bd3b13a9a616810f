"""Metrics of numbers: regression, quantiles, forecasts, and forecasts as intervals."""

from __future__ import annotations

from typing import Any

import numpy as np

from mainspring.errors import InvalidError
from mainspring.evaluation._binary import mean
from mainspring.evaluation.scored import Array, Scale, Scored
from mainspring.stats import Statistic, Sums

_EPSILON = np.finfo(np.float64).eps


def mae(data: Scored) -> Statistic:
    """Mean absolute error."""
    return Sums([_absolute(data)], mean)


def rmse(data: Scored) -> Statistic:
    """Root mean squared error."""
    return Sums([_squared(data)], _root_mean)


def mape(data: Scored) -> Statistic:
    """Mean absolute error as a share of the truth; huge where the truth is near 0."""
    return Sums([_absolute(data) / np.maximum(np.abs(data.truth), _EPSILON)], mean)


def smape(data: Scored) -> Statistic:
    """Mean absolute error as a share of the mean size of truth and score: 0 to 2; 0 where both are 0."""
    size = np.abs(data.truth) + np.abs(data.scores)
    return Sums([2 * _absolute(data) / np.where(size > 0, size, 1.0)], mean)


def r2(data: Scored) -> Statistic:
    """The share of variance explained; not defined if the truth doesn't vary."""
    centred = data.truth - data.truth.mean()  # so that the sums of squares don't cancel
    return Sums([_squared(data), centred, np.square(centred)], _explained)


def pinball(data: Scored, quantile: float) -> Statistic:
    """The loss whose minimum is the quantile (Koenker and Bassett 1978); half the MAE at 0.5."""
    error = data.truth - data.scores
    return Sums([np.maximum(quantile * error, (quantile - 1) * error)], mean)


def wape(data: Scored) -> Statistic:
    """The sum of absolute errors as a share of the sum of absolute truths."""
    return Sums([_absolute(data), np.abs(data.truth)], _ratio)


def mase(data: Scored) -> Statistic:
    """Mean absolute error as a multiple of the naive forecast's on the training part (Hyndman and Koehler 2006)."""
    return Sums([_absolute(data) / _scale(data).absolute], mean)


def rmsse(data: Scored) -> Statistic:
    """Root mean squared error as a multiple of the naive forecast's on the training part (M5 competition)."""
    return Sums([_squared(data) / _scale(data).squared], _root_mean)


def coverage(data: Scored) -> Statistic:
    """The share of rows whose truth lies in its interval."""
    return Sums([_inside(data)], mean)


def coverage_error(data: Scored, level: float) -> Statistic:
    """How far the coverage is from what the intervals promise."""
    return Sums([_inside(data)], lambda n, inside: np.abs(inside / n - level))


def interval_width(data: Scored) -> Statistic:
    """The mean width of the intervals."""
    low, high = _ends(data)
    return Sums([high - low], mean)


def interval_score(data: Scored, level: float) -> Statistic:
    """Width plus a fine for each miss (Winkler 1972; Gneiting and Raftery 2007, eq. 43)."""
    low, high = _ends(data)
    missed = np.maximum(low - data.truth, 0) + np.maximum(data.truth - high, 0)
    return Sums([high - low + 2 / (1 - level) * missed], mean)


def _absolute(data: Scored) -> Array:
    error: Array = data.truth - data.scores
    np.abs(error, out=error)  # in place: a second array of a million rows costs more than the subtraction
    return error


def _squared(data: Scored) -> Array:
    error: Array = data.truth - data.scores
    np.square(error, out=error)
    return error


def _ratio(_: Any, part: Any, whole: Any) -> Any:
    return np.where(whole > 0, part / np.where(whole > 0, whole, 1.0), np.nan)


def _root_mean(n: Any, total: Any) -> Any:
    return np.sqrt(total / n)


def _explained(n: Any, errors: Any, total: Any, squares: Any) -> Any:
    spread = squares - total * total / n
    # Rounding leaves a little where nothing varies.
    varies = spread > 1e-12 * np.maximum(squares, np.finfo(np.float64).tiny)
    return np.where(varies, 1 - errors / np.where(varies, spread, 1.0), np.nan)


def _inside(data: Scored) -> Array:
    low, high = _ends(data)
    return (low <= data.truth) & (data.truth <= high)


def _ends(data: Scored) -> tuple[Array, Array]:
    if data.scores.shape[1] != 2:
        raise InvalidError("y_score", f"{data.scores.shape[1]} columns", "two: the lower and the upper end")
    low, high = data.scores[:, 0], data.scores[:, 1]
    if (crossed := low > high).any():
        row = int(crossed.argmax())
        told = f"It is row {row}. Quantiles that were fitted apart may cross: put them in order, by `numpy.sort(ends, axis=1)`."
        raise InvalidError("y_score", data.scores[row].tolist(), "a lower and an upper end", told)
    return low, high


def _scale(data: Scored) -> Scale:
    if data.scale is None:
        raise InvalidError("scale", "none", "`naive_scale(history, season=…)`: what a naive forecast errs by")
    return data.scale
