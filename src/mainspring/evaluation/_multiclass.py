"""Metrics of a probability for each class. The truth is the class's place, the decision the likeliest class."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from mainspring.errors import InvalidError
from mainspring.evaluation import _confusion
from mainspring.evaluation._binary import mean
from mainspring.evaluation._confusion import Cells
from mainspring.evaluation.scored import Array, Scored, probabilities
from mainspring.stats import AveragePrecision, Combined, RocAuc, Statistic, Sums

_EPSILON = np.finfo(np.float64).eps


def log_loss(data: Scored) -> Statistic:
    """Mean negative log-likelihood of the true class in nats."""
    p = np.take_along_axis(probabilities(data), data.truth.astype(np.intp)[:, None], axis=1)[:, 0]
    return Sums([-np.log(np.clip(p, _EPSILON, 1 - _EPSILON))], mean)


def brier(data: Scored) -> Statistic:
    """Mean squared distance of the probabilities from what happened, summed over classes: 0 to 2."""
    happened = data.truth[:, None] == np.arange(data.scores.shape[1])
    return Sums([np.square(probabilities(data) - happened).sum(axis=1)], mean)


def top_accuracy(data: Scored, k: float) -> Statistic:
    """The share of rows whose class is among the `k` likeliest; a tie with another class counts against it."""
    own = np.take_along_axis(data.scores, data.truth.astype(np.intp)[:, None], axis=1)
    return Sums([(data.scores >= own).sum(axis=1) <= k], mean)


def _one_against_rest(kind: type[RocAuc | AveragePrecision]) -> Callable[[Scored], Statistic]:
    def macro(data: Scored) -> Statistic:
        parts = [kind(data.truth == place, data.scores[:, place]) for place in range(data.scores.shape[1])]
        return Combined(parts, lambda *values: sum(values) / len(values))

    return macro


def _decided(combine: Callable[[Array], Array]) -> Callable[[Scored], Statistic]:
    def statistic(data: Scored) -> Statistic:
        if not data.classes:
            raise InvalidError("classes", "none", "the classes of the columns of y_score, in their order")
        return Cells(data.truth, data.scores.argmax(axis=1), len(data.classes), combine)

    return statistic


roc_auc = _one_against_rest(RocAuc)
average_precision = _one_against_rest(AveragePrecision)
accuracy = _decided(_confusion.accuracy)
balanced_accuracy = _decided(_confusion.balanced_accuracy)
precision = _decided(_confusion.macro(_confusion.precisions))
recall = _decided(_confusion.macro(_confusion.recalls))
f1 = _decided(_confusion.macro(_confusion.f1s))
f1_weighted = _decided(_confusion.weighted(_confusion.f1s))
mcc = _decided(_confusion.matthews)
