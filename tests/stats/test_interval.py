"""Intervals hold the true value as often as they say."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
from scipy import stats as reference

from mainspring.errors import InvalidError
from mainspring.stats import (
    Interval,
    RocAuc,
    Statistic,
    Sums,
    bca_interval,
    bootstrap_interval,
    percentile_interval,
    wilson_interval,
)
from mainspring.stats.interval import Method


def mean_of(values: np.ndarray) -> Statistic:
    return Sums([values], lambda n, total: total / n)


def auc_table(generator: np.random.Generator) -> Statistic:
    positive = np.repeat([True, False], [60, 90])
    return RocAuc(positive, generator.normal(positive * 1.0, 1.0))


def skewed_table(generator: np.random.Generator) -> Statistic:
    return mean_of(generator.gamma(4.0, 1.0, 80))


AUC = float(reference.norm.cdf(1 / np.sqrt(2)))  # of two normals whose means lie 1 apart


def coverage(made: Callable[[np.random.Generator], Statistic], true: float, method: Method, tables: int) -> float:
    """How often an interval of 95 % holds the true value."""
    held = 0
    for seed in range(tables):
        generator = np.random.default_rng(seed)
        interval = bootstrap_interval(made(generator), method=method, resamples=400, seed=seed)
        held += interval is not None and true in interval
    return held / tables


CASES = [
    (auc_table, AUC, "bca"),
    (auc_table, AUC, "percentile"),
    (skewed_table, 4.0, "bca"),
    (skewed_table, 4.0, "percentile"),
]


@pytest.mark.parametrize(("made", "true", "method"), CASES[1:3])
def test_an_interval_of_95_percent_holds_the_truth_about_that_often(
    made: Callable[[np.random.Generator], Statistic], true: float, method: Method
) -> None:
    assert 0.90 <= coverage(made, true, method, 150) <= 0.99


@pytest.mark.soak
@pytest.mark.parametrize(("made", "true", "method"), CASES)
def test_coverage_lies_between_93_and_97_percent(
    made: Callable[[np.random.Generator], Statistic], true: float, method: Method
) -> None:
    assert 0.93 <= coverage(made, true, method, 4_000) <= 0.97


def clustered_coverage(tables: int, *, by_group: bool) -> float:
    held = 0
    for seed in range(tables):
        generator = np.random.default_rng(seed)
        groups = np.repeat(np.arange(60), 8)
        values = generator.normal(0, 1, 60)[groups] + generator.normal(0, 0.5, groups.size)
        interval = bootstrap_interval(mean_of(values), groups=groups if by_group else None, resamples=300, seed=seed)
        held += interval is not None and 0.0 in interval
    return held / tables


def test_rows_that_depend_on_each_other_need_their_groups() -> None:
    assert clustered_coverage(60, by_group=False) < 0.75
    assert clustered_coverage(60, by_group=True) > 0.86


@pytest.mark.soak
def test_clustered_coverage_lies_between_93_and_97_percent() -> None:
    assert 0.93 <= clustered_coverage(4_000, by_group=True) <= 0.97


@pytest.mark.parametrize("method", ["bca", "percentile"])
def test_intervals_agree_with_scipy(method: Method) -> None:
    values = np.random.default_rng(1).gamma(2.0, 1.0, 60)
    ours = bootstrap_interval(mean_of(values), method=method, resamples=20_000)
    theirs = reference.bootstrap(
        (values,), np.mean, method="BCa" if method == "bca" else method, n_resamples=20_000, vectorized=True,
        rng=np.random.default_rng(2),
    ).confidence_interval  # fmt: skip
    assert ours is not None
    assert (ours.low, ours.high) == pytest.approx((theirs.low, theirs.high), abs=0.02)


def test_strata_keep_both_classes_in_every_resample() -> None:
    positive = np.array([True, *[False] * 40])
    auc = RocAuc(positive, np.linspace(1, 0, 41))
    assert bootstrap_interval(auc, strata=positive) == Interval(1.0, 1.0)
    few = bootstrap_interval(auc)
    assert few is not None  # a third of the resamples lack the positive, and are left out


def test_what_is_mostly_undefined_has_no_interval() -> None:
    values = np.array([1.0, np.nan, np.nan])
    assert percentile_interval(values) is None
    assert bca_interval(values, 1.0, values) is None
    assert bca_interval(np.ones(3), float("nan"), np.ones(3)) is None
    assert bca_interval(np.ones(3), 1.0, np.ones(3)) == Interval(1.0, 1.0)


@pytest.mark.parametrize(("successes", "trials"), [(0, 5), (3, 9), (50, 50), (400, 1000)])
def test_the_interval_of_a_share_is_wilsons(successes: int, trials: int) -> None:
    ours = wilson_interval(successes, trials)
    theirs = reference.binomtest(successes, trials).proportion_ci(method="wilson")
    assert (ours.low, ours.high) == pytest.approx((theirs.low, theirs.high), abs=1e-12)
    with pytest.raises(InvalidError):
        wilson_interval(0, 0)
