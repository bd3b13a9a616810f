"""Tests of whether two models differ on the same rows. All are two-sided; differences are the first minus the second."""

from __future__ import annotations

import math
from statistics import NormalDist
from typing import Any

import msgspec
import numpy as np
from numpy.typing import NDArray

from mainspring.errors import InvalidError
from mainspring.stats.distribution import student_t_tail

Array = NDArray[Any]


class TestResult(msgspec.Struct, frozen=True):
    """A difference (the first minus the second) and how likely one at least so large is if there is none."""

    __test__ = False  # pytest collects what is called Test

    difference: float
    p_value: float


def bootstrap_p_value(differences: Array) -> float:
    """The two-sided p-value of a difference from its resamples: twice the share on the other side of 0.

    One resample more on each side keeps it above 0 (Davison and Hinkley 1997, 4.2.5). NaN without a defined difference.

    >>> round(bootstrap_p_value(np.arange(-5, 995)), 3)
    0.014
    """
    known = differences[np.isfinite(differences)]
    if not known.size:
        return math.nan
    below, above = np.count_nonzero(known <= 0), np.count_nonzero(known >= 0)
    return float(min(1.0, 2 * (min(below, above) + 1) / (known.size + 1)))


def mcnemar(first: Array, second: Array) -> TestResult:
    """McNemar's exact test of two classifiers: `first` and `second` say which rows each has right (McNemar 1947).

    The difference is that of the accuracies. Only rows count on which one is right and the other wrong.

    >>> mcnemar(np.array([1, 1, 1, 1, 1, 0], bool), np.zeros(6, bool)).p_value
    0.0625
    """
    _same_rows(first, second)
    only_first = int(np.count_nonzero(first & ~second))
    only_second = int(np.count_nonzero(second & ~first))
    return TestResult(
        (only_first - only_second) / first.size if first.size else math.nan, _sign_test(only_first, only_second)
    )


def delong(positive: Array, first: Array, second: Array) -> TestResult:
    """DeLong's test of two areas under the ROC curve on the same rows (DeLong et al. 1988; midranks by Sun and Xu 2014).

    `positive` is boolean. NaN if a class is missing; p is 1 where the two rank alike.
    """
    _same_rows(first, second)
    count, other = int(np.count_nonzero(positive)), int(np.count_nonzero(~positive))
    if not count or not other:
        return TestResult(math.nan, math.nan)
    of_positives, of_negatives, areas = [], [], []
    for scores in (first, second):
        among_positives, among_negatives = _midranks(scores[positive]), _midranks(scores[~positive])
        among_all = _midranks(scores)
        of_positives.append((among_all[positive] - among_positives) / other)
        of_negatives.append(1 - (among_all[~positive] - among_negatives) / count)
        areas.append(float(of_positives[-1].mean()))
    variance = (
        _variance(of_positives[0] - of_positives[1]) / count + _variance(of_negatives[0] - of_negatives[1]) / other
    )
    difference = areas[0] - areas[1]
    if not variance > 0:
        return TestResult(difference, 1.0 if difference == 0 else math.nan)
    return TestResult(difference, 2 * NormalDist().cdf(-abs(difference) / math.sqrt(variance)))


def diebold_mariano(first: Array, second: Array, *, horizon: int = 1) -> TestResult:
    """Whether two forecasts' losses, in order of time, differ (Diebold and Mariano 1995).

    Errors of forecasts `horizon` steps ahead are correlated over `horizon` − 1 steps; with the small-sample correction of
    Harvey, Leybourne and Newbold (1997) and Student's t. The variance is not taken to be less than Bartlett's weights say
    (Newey and West 1987): with horizons long for the number of losses the plain sum comes out near 0, or below.

    Raises:
        InvalidError: the lengths differ, or `horizon` isn't between 1 and the number of losses.
    """
    _same_rows(first, second)
    losses = np.asarray(first, np.float64) - second
    size = losses.size
    if not 1 <= horizon < max(size, 2):
        raise InvalidError("horizon", horizon, f"a number of steps from 1, below the {size} losses")
    if size < 2:
        return TestResult(math.nan, math.nan)
    difference, centred = float(losses.mean()), losses - losses.mean()
    covariances = [float(np.sum(centred[lag:] * centred[: size - lag])) / size for lag in range(horizon)]
    plain = covariances[0] + 2 * sum(covariances[1:])
    weighted = covariances[0] + 2 * sum((1 - lag / horizon) * covariances[lag] for lag in range(1, horizon))
    variance = max(plain, weighted) / size
    if variance <= 0:
        return TestResult(difference, 1.0 if difference == 0 else 0.0)
    shrink = math.sqrt((size + 1 - 2 * horizon + horizon * (horizon - 1) / size) / size)
    return TestResult(difference, student_t_tail(shrink * difference / math.sqrt(variance), size - 1))


def _sign_test(first: int, second: int) -> float:
    """Twice the tail of a fair coin's tosses."""
    tosses, few = first + second, min(first, second)
    if first == second:
        return 1.0
    steps = np.arange(1, few + 1)
    logs = np.cumsum(np.append(0.0, np.log(tosses - steps + 1) - np.log(steps))) - tosses * math.log(2)
    return float(min(1.0, 2 * np.exp(logs).sum()))


def _midranks(scores: Array) -> Array:
    _, codes, counts = np.unique(scores, return_inverse=True, return_counts=True)
    last = np.cumsum(counts)
    return np.asarray((last - (counts - 1) / 2)[codes], np.float64)


def _variance(values: Array) -> float:
    return float(values.var(ddof=1)) if values.size > 1 else 0.0


def _same_rows(first: Array, second: Array) -> None:
    if first.shape != second.shape:
        raise InvalidError("second", f"shape {second.shape}", f"of the rows of the first, {first.shape}")
