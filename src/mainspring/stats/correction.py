"""Corrections for asking many questions of the same data."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np


def holm(p_values: Sequence[float]) -> list[float]:
    """Adjusted p-values: below α at most with probability α if all nulls hold (Holm 1979, step-down). NaN stays NaN.

    >>> holm([0.01, 0.04, 0.03])
    [0.03, 0.06, 0.06]
    """
    p = np.asarray(p_values, np.float64)
    adjusted = np.full(p.size, np.nan)
    order = np.argsort(p)[: int(np.count_nonzero(~np.isnan(p)))]  # NaN sorts last
    steps = np.arange(order.size, 0, -1)
    adjusted[order] = np.minimum(np.maximum.accumulate(p[order] * steps), 1.0)
    return [float(value) for value in adjusted]
