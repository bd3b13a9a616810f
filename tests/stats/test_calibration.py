"""Calibration: the parts sum to the whole, and honest probabilities show no error."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from sklearn.calibration import calibration_curve

from mainspring.stats import brier_decomposition, expected_calibration_error, reliability

rows = st.lists(st.tuples(st.booleans(), st.integers(0, 100).map(lambda n: n / 100)), min_size=1, max_size=80)


@given(rows, st.integers(1, 12))
def test_the_parts_of_the_brier_score_sum_to_it(given_rows: list[tuple[bool, float]], bins: int) -> None:
    y, p = np.array([row[0] for row in given_rows], float), np.array([row[1] for row in given_rows])
    parts = brier_decomposition(y, p, bins=bins)
    assert parts.reliability - parts.resolution + parts.uncertainty == pytest.approx(np.mean((p - y) ** 2), abs=1e-12)


def test_the_curve_is_scikit_learns_with_quantiles() -> None:
    generator = np.random.default_rng(1)
    p = generator.random(1_000)
    y = generator.random(1_000) < p**2
    curve = reliability(y, p, bins=8)
    happened, predicted = calibration_curve(y, p, n_bins=8, strategy="quantile")
    assert curve.happened == pytest.approx(happened, abs=0.02)
    assert curve.predicted == pytest.approx(predicted, abs=0.02)
    assert curve.rows.sum() == 1_000


def test_equal_probabilities_stay_in_one_bin() -> None:
    curve = reliability(np.array([0, 1, 1, 1]), np.array([0.5, 0.5, 0.5, 0.9]), bins=4)
    assert curve.rows.tolist() == [3, 1]
    assert reliability(np.array([1]), np.array([0.2])).rows.tolist() == [1]


def test_honest_probabilities_have_a_small_error_and_shifted_ones_their_shift() -> None:
    generator = np.random.default_rng(2)
    p = generator.random(50_000) * 0.8
    y = generator.random(50_000) < p
    assert expected_calibration_error(y, p) < 0.01
    assert expected_calibration_error(y, p + 0.1) == pytest.approx(0.1, abs=0.01)
