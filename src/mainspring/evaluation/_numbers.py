"""The formulas of the metrics, in NumPy. `y` is the truth, `s` a score or a probability of the positive class."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray

Numbers = NDArray[Any]
_EPSILON = np.finfo(np.float64).eps


def roc_auc(y: Numbers, s: Numbers) -> float:
    """The share of (positive, negative) pairs in which the positive scores higher; a tie counts half (Mann–Whitney)."""
    positive = y == 1
    count = int(positive.sum())
    if count in (0, y.size):
        return float("nan")
    ranks = _average_ranks(s)
    return float((ranks[positive].sum() - count * (count + 1) / 2) / (count * (y.size - count)))


def average_precision(y: Numbers, s: Numbers) -> float:
    """Precision averaged over recall, stepwise at each distinct score."""
    if not (y == 1).any():
        return float("nan")
    order = np.argsort(-s, kind="stable")
    hits = np.cumsum(y[order] == 1)
    last = np.append(np.flatnonzero(np.diff(s[order])), y.size - 1)  # the last row of each run of equal scores
    precision, recall = hits[last] / (last + 1), hits[last] / hits[-1]
    return float(np.sum(np.diff(recall, prepend=0.0) * precision))


def log_loss(y: Numbers, s: Numbers) -> float:
    """Mean negative log-likelihood in nats; probabilities are kept an epsilon from 0 and 1."""
    p = np.clip(s.astype(np.float64), _EPSILON, 1 - _EPSILON)
    return float(-np.mean(np.where(y == 1, np.log(p), np.log1p(-p))))


def brier(y: Numbers, s: Numbers) -> float:
    """Mean squared distance of the probability from what happened."""
    return float(np.mean((s - (y == 1)) ** 2))


def accuracy(y: Numbers, s: Numbers) -> float:
    """The share of rows decided rightly at 0.5."""
    return float(np.mean((s >= 0.5) == (y == 1)))


def precision(y: Numbers, s: Numbers) -> float:
    """The share of true positives among those called positive at 0.5; 0 if none is."""
    called = s >= 0.5
    return float(np.mean(y[called] == 1)) if called.any() else 0.0


def recall(y: Numbers, s: Numbers) -> float:
    """The share of the positives that are called positive at 0.5; not defined without a positive."""
    positive = y == 1
    return float(np.mean(s[positive] >= 0.5)) if positive.any() else float("nan")


def f1(y: Numbers, s: Numbers) -> float:
    """The harmonic mean of precision and recall at 0.5."""
    called, positive = s >= 0.5, y == 1
    either = int(called.sum() + positive.sum())
    return 2 * int((called & positive).sum()) / either if either else float("nan")


def rmse(y: Numbers, s: Numbers) -> float:
    """Root mean squared error."""
    return float(np.sqrt(np.mean((y - s) ** 2)))


def mae(y: Numbers, s: Numbers) -> float:
    """Mean absolute error."""
    return float(np.mean(np.abs(y - s)))


def r2(y: Numbers, s: Numbers) -> float:
    """The share of variance explained; not defined if the truth doesn't vary."""
    spread = float(np.sum((y - y.mean()) ** 2))
    return float(1 - np.sum((y - s) ** 2) / spread) if spread else float("nan")


FORMULAS: dict[str, Callable[[Numbers, Numbers], float]] = {
    each.__name__: each
    for each in (
        roc_auc, average_precision, log_loss, brier, accuracy, precision, recall, f1, rmse, mae, r2,
    )
}  # fmt: skip


def _average_ranks(s: Numbers) -> Numbers:
    """Ranks from 1; equal scores share their average."""
    order = np.argsort(s, kind="stable")
    ordered = s[order]
    first = np.flatnonzero(np.append(True, ordered[1:] != ordered[:-1]))
    last = np.append(first[1:], s.size)
    ranks = np.empty(s.size)
    ranks[order] = np.repeat((first + 1 + last) / 2, last - first)
    return ranks
