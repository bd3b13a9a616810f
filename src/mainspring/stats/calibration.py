"""Whether probabilities are honest: of what gets 30 %, do 30 % happen?"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

Array = NDArray[Any]


class Reliability(NamedTuple):
    """The reliability curve: for each bin of probabilities its rows, their mean probability, and the share that happened."""

    rows: Array
    predicted: Array
    happened: Array


class BrierParts(NamedTuple):
    """The Brier score as reliability − resolution + uncertainty."""

    reliability: float
    resolution: float
    uncertainty: float


def bin_codes(probabilities: Array, bins: int = 10) -> Array:
    """The bin of each row: bins of about equal numbers of rows; equal probabilities stay together."""
    edges = np.unique(np.quantile(probabilities, np.linspace(0, 1, bins + 1)[1:-1]))
    codes = np.searchsorted(edges, probabilities, side="left")
    return np.asarray(np.unique(codes, return_inverse=True)[1])


def reliability(positive: Array, probabilities: Array, *, bins: int = 10) -> Reliability:
    """The reliability curve over bins of equal mass, in order of probability (Bröcker and Smith 2007).

    >>> curve = reliability(np.array([0, 0, 1, 1]), np.array([0.1, 0.2, 0.6, 0.9]), bins=2)
    >>> curve.happened.tolist(), curve.predicted.round(2).tolist()
    ([0.0, 1.0], [0.15, 0.75])
    """
    codes = bin_codes(probabilities, bins)
    rows = np.bincount(codes)
    return Reliability(
        rows,
        np.bincount(codes, weights=probabilities) / rows,
        np.bincount(codes, weights=np.asarray(positive, np.float64)) / rows,
    )


def expected_calibration_error(positive: Array, probabilities: Array, *, bins: int = 10) -> float:
    """The mean distance of the curve from the diagonal, over bins of equal mass (Nguyen and O'Connor 2015).

    It is biased upwards where bins are small: a perfect model shows about sqrt(bins / rows) × 0.4.
    """
    curve = reliability(positive, probabilities, bins=bins)
    return float(np.sum(curve.rows * np.abs(curve.happened - curve.predicted)) / curve.rows.sum())


def brier_decomposition(positive: Array, probabilities: Array, *, bins: int = 10) -> BrierParts:
    """The Brier score in three parts (Murphy 1973), which sum to it exactly.

    What varies within bins counts to the resolution (Stephenson, Coelho and Jolliffe 2008).

    >>> y, p = np.array([0, 1, 1, 0]), np.array([0.1, 0.8, 0.7, 0.3])
    >>> parts = brier_decomposition(y, p, bins=2)
    >>> round(parts.reliability - parts.resolution + parts.uncertainty, 6) == round(float(np.mean((p - y) ** 2)), 6)
    True
    """
    happened = np.asarray(positive, np.float64)
    codes = bin_codes(probabilities, bins)
    curve, size = reliability(happened, probabilities, bins=bins), happened.size
    overall = float(happened.mean())
    honest = float(np.sum(curve.rows * (curve.predicted - curve.happened) ** 2) / size)
    between = float(np.sum(curve.rows * (curve.happened - overall) ** 2) / size)
    apart, own = probabilities - curve.predicted[codes], happened - curve.happened[codes]
    within = float(np.mean(2 * apart * own - apart**2))
    return BrierParts(honest, between + within, overall * (1 - overall))
