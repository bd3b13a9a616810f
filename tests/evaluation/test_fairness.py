"""Gaps between groups are those of the rates, and their intervals hold what is true."""

from __future__ import annotations

import msgspec
import numpy as np
import polars as pl
import pytest

from mainspring.errors import InvalidError, NotFoundError
from mainspring.evaluation import Fairness, fairness

TRUTH = [1, 1, 0, 0, 1, 1, 0, 0]
SCORE = [0.9, 0.8, 0.7, 0.1, 0.9, 0.2, 0.1, 0.1]
GROUP = ["a"] * 4 + ["b"] * 4


def test_gaps_are_differences_of_named_rates() -> None:
    found = fairness(TRUTH, SCORE, GROUP)
    first, second = found.groups
    assert (first.selection_rate, first.true_positive_rate, first.false_positive_rate) == (0.75, 1.0, 0.5)
    assert (second.selection_rate, second.true_positive_rate, second.false_positive_rate) == (0.25, 0.5, 0.0)
    gaps = {gap.name: (gap.value, gap.highest, gap.lowest) for gap in found.gaps}
    assert gaps == {
        "demographic_parity": (0.5, "a", "b"),
        "equal_opportunity": (0.5, "a", "b"),
        "equalized_odds": (0.5, "a", "b"),
        "predictive_parity": (pytest.approx(1 / 3), "b", "a"),
    }
    assert found.facts()["equal_opportunity_gap"].value == 0.5
    assert first.small


def test_an_undefined_rate_leaves_its_gap_undefined() -> None:
    found = fairness([0, 0, 1, 0], [0.1, 0.2, 0.9, 0.1], ["a", "a", "b", "b"])
    assert found.gap("equal_opportunity").value is None
    assert found.gap("demographic_parity").value == 0.5


def test_groups_that_are_too_small_are_left_out() -> None:
    truth, score, group = [*TRUTH, 1], [*SCORE, 0.1], [*GROUP, "tiny"]
    assert fairness(truth, score, group).gap("equal_opportunity").value == 1.0
    assert fairness(truth, score, group, at_least=2) == fairness(TRUTH, SCORE, GROUP)
    with pytest.raises(InvalidError, match="at least 5 rows"):
        fairness(truth, score, group, at_least=5)


def test_intervals_of_gaps_hold_the_true_gap() -> None:
    held = 0
    for seed in range(30):
        generator = np.random.default_rng(seed)
        group = np.repeat([0, 1], 300)
        score = np.where(generator.random(600) < np.where(group, 0.6, 0.3), 0.9, 0.1)
        gap = fairness(generator.integers(0, 2, 600), score, group, bootstrap=120).gap("demographic_parity")
        held += gap.interval is not None and 0.3 in gap.interval
    assert held >= 26


def test_fairness_is_data_and_text_and_names_wrong_groups() -> None:
    found = fairness(TRUTH, SCORE, "g", frame=pl.DataFrame({"g": GROUP}), bootstrap=50)
    assert msgspec.json.decode(msgspec.json.encode(found), type=Fairness) == found
    assert "a (small)" in str(found)
    assert "4 groups" not in repr(found)
    with pytest.raises(InvalidError, match="two groups of"):
        fairness(TRUTH, SCORE, ["a"] * 8)
    with pytest.raises(NotFoundError, match="Nearest: group"):
        fairness(TRUTH, SCORE, "grop", frame=pl.DataFrame({"group": GROUP}))
    with pytest.raises(InvalidError, match="8 rows"):
        fairness(TRUTH, SCORE, GROUP[:-1])
