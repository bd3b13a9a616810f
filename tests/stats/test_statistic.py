"""A statistic of counts is the statistic of the rows repeated that often."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from sklearn import metrics as reference

from mainspring.errors import InvalidError
from mainspring.stats import AveragePrecision, Callback, Combined, RocAuc, Statistic, Sums, draws, jackknife, resampled

rows = st.lists(st.tuples(st.booleans(), st.integers(0, 12), st.integers(0, 3)), min_size=2, max_size=30)


@given(rows)
def test_counts_stand_for_repeated_rows(given_rows: list[tuple[bool, int, int]]) -> None:
    positive = np.array([row[0] for row in given_rows])
    scores = np.array([row[1] / 12 for row in given_rows])
    counts = np.array([row[2] for row in given_rows])
    y, s = np.repeat(positive, counts), np.repeat(scores, counts)
    for statistic, function in (
        (RocAuc(positive, scores), reference.roc_auc_score),
        (AveragePrecision(positive, scores), reference.average_precision_score),
        (Sums([positive * scores], lambda n, total: total / n), lambda y, s: np.mean(y * s)),
    ):
        value = statistic(counts[None].astype(float))[0]
        if y.any() and not y.all():
            assert value == pytest.approx(function(y, s))
            ones = statistic(np.ones((1, positive.size)))[0]
            assert statistic.value() == pytest.approx(ones, nan_ok=True)


def test_what_is_not_a_sum_is_called_for_each_resample() -> None:
    values = np.array([1.0, 5.0, 9.0])
    median = Callback(lambda chosen: float(np.median(values[chosen])), 3)
    assert median.value() == 5.0
    assert median(np.array([[0.0, 1.0, 2.0], [3.0, 0.0, 0.0]])).tolist() == [9.0, 1.0]
    both = Combined([median, median], lambda a, b: a - b)
    assert (both.value(), both(np.ones((1, 3))).tolist()) == (0.0, [0.0])


@pytest.mark.parametrize("kind", ["simple", "strata", "groups"])
def test_draws_keep_their_totals_and_are_the_same_for_a_seed(kind: str) -> None:
    codes = np.array([0, 0, 1, 1, 1, 2])
    given_codes = {} if kind == "simple" else {kind: codes}
    counts = np.concatenate(list(draws(6, 500, seed=3, **given_codes)))
    assert np.array_equal(counts, np.concatenate(list(draws(6, 500, seed=3, **given_codes))))
    assert not np.array_equal(counts, np.concatenate(list(draws(6, 500, seed=4, **given_codes))))
    assert counts.mean() == pytest.approx(1.0, abs=0.05)
    if kind == "strata":
        assert all((counts[:, codes == code].sum(axis=1) == (codes == code).sum()).all() for code in range(3))
    if kind == "groups":
        assert (counts[:, 0] == counts[:, 1]).all()
        assert ((counts[:, [0, 2, 5]]).sum(axis=1) == 3).all()


def test_blocks_of_many_units_are_the_draws_of_one_seed() -> None:
    sizes = [block.shape for block in draws(200_000, 3)]
    assert sizes == [(1, 200_000)] * 3


def test_draws_of_codes_that_do_not_fit_are_refused() -> None:
    with pytest.raises(InvalidError, match="one of the two"):
        next(draws(3, 1, strata=np.zeros(3), groups=np.zeros(3)))
    with pytest.raises(InvalidError, match="3 units"):
        next(draws(3, 1, strata=np.zeros(2)))
    mean: Statistic = Sums([np.ones(3)], lambda n, total: total / n)
    with pytest.raises(InvalidError, match="same units"):
        resampled([mean, Sums([np.ones(2)], lambda n, total: total)], 1)


@pytest.mark.parametrize("resamples", [0, -1])
def test_less_than_one_resample_is_refused(resamples: int) -> None:
    with pytest.raises(InvalidError, match="resamples"):
        resampled([Sums([np.ones(3)], lambda n, total: total / n)], resamples)


def test_the_jackknife_leaves_out_each_unit_group_or_block() -> None:
    values = np.arange(4.0)
    total = Sums([values], lambda n, total: total)
    assert jackknife([total])[:, 0].tolist() == [6.0, 5.0, 4.0, 3.0]
    assert jackknife([total], groups=np.array(["a", "a", "b", "b"]))[:, 0].tolist() == [5.0, 1.0]
    many = Sums([np.ones(1_000)], lambda n, total: total)
    assert set(jackknife([many])[:, 0].tolist()) == {995.0}
