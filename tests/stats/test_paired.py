"""Paired tests: equal to scipy's where it has one, and wrong as rarely as they say."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats as reference

from mainspring.errors import InvalidError
from mainspring.stats import (
    RocAuc,
    bootstrap_p_value,
    delong,
    diebold_mariano,
    holm,
    mcnemar,
    resampled,
    student_t_tail,
)


@given(st.integers(0, 400), st.integers(0, 400))
def test_mcnemar_is_the_binomial_test(first: int, second: int) -> None:
    right = np.repeat([True, False], [first, second])
    p = mcnemar(right, ~right).p_value
    assert p == pytest.approx(reference.binomtest(first, first + second).pvalue if first + second else 1.0, rel=1e-9)


@given(st.floats(-50, 50), st.integers(1, 5_000))
def test_the_tail_of_student_is_scipys(t: float, degrees: int) -> None:
    assert student_t_tail(t, degrees) == pytest.approx(2 * reference.t.sf(abs(t), degrees), rel=1e-8, abs=1e-280)


def test_the_tail_of_student_knows_no_number() -> None:
    assert math.isnan(student_t_tail(math.nan, 5))


@given(st.lists(st.integers(0, 1_000).map(lambda n: n / 1_000), min_size=1, max_size=20))
def test_holm_steps_down(p_values: list[float]) -> None:
    adjusted = holm(p_values)
    order = sorted(range(len(p_values)), key=p_values.__getitem__)
    worst = 0.0
    for step, at in enumerate(order):
        worst = max(worst, min(1.0, (len(p_values) - step) * p_values[at]))
        assert adjusted[at] == pytest.approx(worst)


def test_holm_leaves_out_what_is_not_known() -> None:
    assert holm([math.nan, 0.01])[1] == 0.01
    assert math.isnan(holm([math.nan, 0.01])[0])
    assert holm([]) == []


def tables(count: int, lead: float) -> list[tuple[np.ndarray, np.ndarray, np.ndarray]]:
    """Truth and two correlated scores, of which the first is better by a lead."""
    made = []
    for seed in range(count):
        generator = np.random.default_rng(seed)
        positive = generator.random(150) < 0.4
        shared = generator.normal(positive * 1.0, 1.0)
        made.append(
            (positive, shared + lead * positive + generator.normal(0, 0.5, 150), shared + generator.normal(0, 0.5, 150))
        )
    return made


def test_delong_is_rarely_wrong_and_finds_what_is_there() -> None:
    false = [delong(*table).p_value < 0.05 for table in tables(400, 0.0)]
    assert 0.02 <= np.mean(false) <= 0.085
    assert np.mean([delong(*table).p_value < 0.05 for table in tables(60, 1.0)]) > 0.9


def test_delong_and_the_bootstrap_agree() -> None:
    for positive, first, second in tables(4, 0.25):
        ours = delong(positive, first, second)
        areas = resampled([RocAuc(positive, first), RocAuc(positive, second)], 4_000)
        differences = areas[:, 0] - areas[:, 1]
        assert ours.difference == pytest.approx(RocAuc(positive, first).value() - RocAuc(positive, second).value())
        assert bootstrap_p_value(differences) == pytest.approx(ours.p_value, abs=0.05)


def test_equal_rankings_do_not_differ() -> None:
    positive = np.array([True, False, True, False])
    scores = np.array([0.9, 0.1, 0.4, 0.6])
    assert delong(positive, scores, scores * 2).p_value == 1.0
    assert math.isnan(delong(np.ones(4, bool), scores, scores).p_value)
    assert bootstrap_p_value(np.zeros(10)) == 1.0
    assert math.isnan(bootstrap_p_value(np.array([np.nan])))


@pytest.mark.parametrize(("horizon", "size", "at_most"), [(1, 120, 0.09), (3, 120, 0.09), (28, 84, 0.13)])
def test_forecasts_that_are_equal_are_rarely_told_apart(horizon: int, size: int, at_most: float) -> None:
    false = []
    for seed in range(400):
        noise = np.random.default_rng(seed).normal(size=(2, size + horizon))
        moving = np.array([np.convolve(row, np.ones(horizon), "valid") for row in noise])
        false.append(diebold_mariano(np.abs(moving[0]), np.abs(moving[1]), horizon=horizon).p_value < 0.05)
    assert 0.02 <= np.mean(false) <= at_most


def test_with_one_step_diebold_and_mariano_is_nearly_the_paired_t_test() -> None:
    losses = np.random.default_rng(5).gamma(2, 1, (2, 40)) + np.array([[0.0], [0.8]])
    ours = diebold_mariano(losses[0], losses[1])
    assert ours.p_value == pytest.approx(reference.ttest_rel(losses[0], losses[1]).pvalue, rel=1e-9)
    assert diebold_mariano(np.ones(5), np.ones(5)).p_value == 1.0
    assert diebold_mariano(np.zeros(5), np.ones(5)).p_value == 0.0
    assert math.isnan(diebold_mariano(np.ones(1), np.ones(1)).p_value)


def test_tests_are_of_the_same_rows() -> None:
    with pytest.raises(InvalidError, match="of the rows of the first"):
        diebold_mariano(np.ones(3), np.ones(2))
    with pytest.raises(InvalidError, match="horizon"):
        diebold_mariano(np.ones(3), np.ones(3), horizon=3)
    assert math.isnan(mcnemar(np.zeros(0, bool), np.zeros(0, bool)).difference)
