"""Metrics of rankings: one value for each query, averaged over the queries that have anything relevant.

The truth is how relevant a row is (0: not at all). Where scores tie, the irrelevant come first, so that nothing is gained by
answering the same for all; NDCG averages over ties, as scikit-learn does.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np

from mainspring.errors import InvalidError
from mainspring.evaluation.scored import Array, Scored
from mainspring.stats import Statistic, Sums


class _Ranked(NamedTuple):
    """Rows in order of query and score; `rank` counts from 1 in each query."""

    query: Array
    relevance: Array
    scores: Array
    rank: Array
    queries: int

    def sums(self, values: Array) -> Array:
        return np.bincount(self.query, weights=values, minlength=self.queries)


def ndcg(data: Scored, k: float) -> Statistic:
    """Gain discounted by the logarithm of the rank, as a share of the best possible (Järvelin and Kekäläinen 2002)."""
    given, ideal = _ranked(data, data.scores), _ranked(data, data.truth)
    discount = np.where(given.rank <= k, 1 / np.log2(1 + given.rank), 0.0)
    new = np.append(True, (np.diff(given.scores) != 0) | (np.diff(given.query) != 0))
    ties = np.cumsum(new) - 1
    shared = (np.bincount(ties, weights=discount) / np.bincount(ties))[ties]
    best = ideal.sums(np.where(ideal.rank <= k, ideal.relevance / np.log2(1 + ideal.rank), 0.0))
    return _mean_over_queries(given.sums(given.relevance * shared), best)


def mean_average_precision(data: Scored, k: float) -> Statistic:
    """The mean of the precisions at the ranks of relevant rows, up to rank `k`."""
    ranked = _ranked(data, data.scores)
    relevant = ranked.relevance > 0
    hits = np.cumsum(relevant)
    before = np.concatenate([[0.0], np.cumsum(ranked.sums(relevant))])[:-1]
    precision = (hits - before[ranked.query]) / ranked.rank
    found = ranked.sums(np.where(relevant & (ranked.rank <= k), precision, 0.0))
    return _mean_over_queries(found, np.minimum(ranked.sums(relevant), k))


def mrr(data: Scored, k: float) -> Statistic:
    """One over the rank of the first relevant row; 0 if it is behind `k`."""
    ranked = _ranked(data, data.scores)
    first = np.full(ranked.queries, np.inf)
    relevant = (ranked.relevance > 0) & (ranked.rank <= k)
    np.minimum.at(first, ranked.query[relevant], ranked.rank[relevant])
    there = ranked.sums(ranked.relevance > 0) > 0
    return _mean_over_queries(1 / first, there.astype(np.float64))


def recall(data: Scored, k: float) -> Statistic:
    """The share of the relevant rows that are among the first `k`."""
    ranked = _ranked(data, data.scores)
    relevant = ranked.relevance > 0
    return _mean_over_queries(ranked.sums(relevant & (ranked.rank <= k)), ranked.sums(relevant))


def precision(data: Scored, k: float) -> Statistic:
    """The share of the first `k` places that hold a relevant row."""
    ranked = _ranked(data, data.scores)
    relevant = ranked.relevance > 0
    there = ranked.sums(relevant) > 0
    return _mean_over_queries(ranked.sums(relevant & (ranked.rank <= k)), np.where(there, k, 0.0))


def _ranked(data: Scored, by: Array) -> _Ranked:
    if data.queries is None:
        raise InvalidError("query", "none", "the query of each row, as a metric of rankings needs")
    queries = int(data.queries.max(initial=-1)) + 1
    order = np.lexsort((data.truth, -by, data.queries))
    query = data.queries[order]
    starts = np.searchsorted(query, np.arange(queries))
    return _Ranked(query, data.truth[order], by[order], np.arange(query.size) - starts[query] + 1, queries)


def _mean_over_queries(found: Array, best: Array) -> Statistic:
    there = best > 0
    values = np.where(there, found / np.where(there, best, 1.0), 0.0)

    def mean(_: Any, total: Any, known: Any) -> Any:
        return total / known

    return Sums([values, there.astype(np.float64)], mean)
