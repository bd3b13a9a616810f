"""Confidence intervals: of resamples (percentile, BCa) and of shares."""

from __future__ import annotations

import math
from statistics import NormalDist
from typing import Any, Literal

import msgspec
import numpy as np
from numpy.typing import NDArray

from mainspring.errors import InvalidError
from mainspring.stats.resampling import jackknife, resampled
from mainspring.stats.statistic import Statistic

Array = NDArray[Any]
Method = Literal["bca", "percentile"]
_NORMAL = NormalDist()


class Interval(msgspec.Struct, frozen=True):
    """From `low` to `high`, made so that it holds the true value with probability `level`."""

    low: float
    high: float
    level: float = 0.95

    def __contains__(self, value: float) -> bool:
        return self.low <= value <= self.high


def percentile_interval(values: Array, level: float = 0.95) -> Interval | None:
    """The middle `level` of resampled values; None if fewer than half of them are defined (Efron 1979).

    >>> percentile_interval(np.arange(101.0), 0.5)
    Interval(low=25.0, high=75.0, level=0.5)
    """
    return _quantiles(values, (1 - level) / 2, (1 + level) / 2, level)


def bca_interval(values: Array, estimate: float, left_out: Array, level: float = 0.95) -> Interval | None:
    """The bias-corrected and accelerated interval of resampled values (Efron 1987, *Better bootstrap confidence intervals*).

    `estimate` is the statistic itself, `left_out` its values of the jackknife. None if fewer than half of the resampled
    values, or the estimate, are defined.
    """
    known = values[np.isfinite(values)]
    if not known.size or not math.isfinite(estimate):
        return None
    share = (np.count_nonzero(known < estimate) + np.count_nonzero(known == estimate) / 2) / known.size
    bias = _NORMAL.inv_cdf(float(np.clip(share, 1 / (known.size + 1), known.size / (known.size + 1))))
    influence = left_out[np.isfinite(left_out)]
    influence = influence.mean() - influence if influence.size else np.zeros(1)
    spread = float(np.sum(influence**2)) ** 1.5
    acceleration = float(np.sum(influence**3)) / (6 * spread) if spread > 0 else 0.0
    low, high = (_accelerated(bias, acceleration, tail) for tail in ((1 - level) / 2, (1 + level) / 2))
    return _quantiles(values, low, high, level)


def bootstrap_interval(
    statistic: Statistic,
    *,
    resamples: int = 1_000,
    level: float = 0.95,
    method: Method = "bca",
    strata: Array | None = None,
    groups: Array | None = None,
    seed: int = 0,
) -> Interval | None:
    """An interval of a statistic by resampling its units; None where the statistic is mostly not defined.

    >>> from mainspring.stats import Sums
    >>> mean = Sums([np.arange(50.0)], lambda n, total: total / n)
    >>> bootstrap_interval(mean, method="percentile").__contains__(24.5)
    True
    """
    values = resampled([statistic], resamples, strata=strata, groups=groups, seed=seed)[:, 0]
    if method == "percentile":
        return percentile_interval(values, level)
    return bca_interval(values, statistic.value(), jackknife([statistic], groups=groups, seed=seed)[:, 0], level)


def wilson_interval(successes: float, trials: float, level: float = 0.95) -> Interval:
    """The score interval of a share (Wilson 1927): sensible also for few trials, and at 0 and 1.

    Raises:
        InvalidError: there are no trials.

    >>> interval = wilson_interval(0, 10)
    >>> round(interval.low, 3), round(interval.high, 3)
    (0.0, 0.278)
    """
    if trials <= 0:
        raise InvalidError("trials", trials, "a number above 0")
    z = _NORMAL.inv_cdf((1 + level) / 2)
    share, shrink = successes / trials, 1 + z * z / trials
    middle = (share + z * z / (2 * trials)) / shrink
    half = z * math.sqrt(share * (1 - share) / trials + z * z / (4 * trials * trials)) / shrink
    return Interval(max(0.0, middle - half), min(1.0, middle + half), level)


def _accelerated(bias: float, acceleration: float, tail: float) -> float:
    """The share of resamples below an end of the interval."""
    z = bias + _NORMAL.inv_cdf(tail)
    scale = 1 - acceleration * z
    return _NORMAL.cdf(bias + z / scale) if scale > 0 else _NORMAL.cdf(bias + z)


def _quantiles(values: Array, low: float, high: float, level: float) -> Interval | None:
    known = values[np.isfinite(values)]
    if not known.size or known.size * 2 < values.size:
        return None
    ends = np.quantile(known, (low, high))
    return Interval(float(ends[0]), float(ends[1]), level)
