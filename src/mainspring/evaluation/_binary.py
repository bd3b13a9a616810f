"""Metrics of probabilities of one class. The truth is 0 or 1."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from mainspring.evaluation import _confusion
from mainspring.evaluation.scored import Array, Scored, probabilities
from mainspring.stats import AveragePrecision, RocAuc, Statistic, Sums

_EPSILON = np.finfo(np.float64).eps


def roc_auc(data: Scored) -> Statistic:
    """The area under the ROC curve."""
    return RocAuc(data.truth == 1, data.scores)


def average_precision(data: Scored) -> Statistic:
    """The area under the precision-recall curve, stepwise."""
    return AveragePrecision(data.truth == 1, data.scores)


def log_loss(data: Scored) -> Statistic:
    """Mean negative log-likelihood in nats; probabilities are kept an epsilon from 0 and 1."""
    given = probabilities(data)
    p = np.clip(np.where(data.truth == 1, given, 1 - given), _EPSILON, 1 - _EPSILON)
    return Sums([-np.log(p)], mean)


def brier(data: Scored) -> Statistic:
    """Mean squared distance of the probability from what happened."""
    return Sums([np.square(probabilities(data) - (data.truth == 1))], mean)


def mean(n: Any, total: Any) -> Any:
    """A sum over the number of rows."""
    return total / n


class Decided(Sums):
    """A function of the confusion matrix of decisions at a threshold, from three sums."""

    def __init__(self, data: Scored, threshold: float, combine: Callable[[Array], Array]) -> None:
        positive, called = data.truth == 1, probabilities(data) >= threshold

        def combined(n: Any, both: Any, positives: Any, calls: Any) -> Any:
            rows = np.array([[n - positives - calls + both, calls - both], [positives - both, both]])
            return combine(np.moveaxis(rows, (0, 1), (-2, -1)))

        super().__init__([positive & called, positive, called], combined)


def _at_threshold(combine: Callable[[Array], Array]) -> Callable[[Scored, float], Statistic]:
    return lambda data, threshold: Decided(data, threshold, combine)


accuracy = _at_threshold(_confusion.accuracy)
precision = _at_threshold(_confusion.positive(_confusion.precisions))
recall = _at_threshold(_confusion.positive(_confusion.recalls))
specificity = _at_threshold(_confusion.specificity)
f1 = _at_threshold(_confusion.positive(_confusion.f1s))
mcc = _at_threshold(_confusion.matthews)
balanced_accuracy = _at_threshold(_confusion.balanced_accuracy)
