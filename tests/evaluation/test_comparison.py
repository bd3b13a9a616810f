"""A candidate against the champion: paired, corrected for many slices, and rarely wrong."""

from __future__ import annotations

import msgspec
import numpy as np
import polars as pl
import pytest

from mainspring.errors import InvalidError, NotFoundError
from mainspring.evaluation import Bootstrap, Comparison, Metric, Slice, compare, naive_scale

ROWS = 600
GENERATOR = np.random.default_rng(11)
TRUTH = GENERATOR.integers(0, 2, ROWS)
SHARED = TRUTH + GENERATOR.normal(0, 1.2, ROWS)
WORSE = 1 / (1 + np.exp(-(SHARED + GENERATOR.normal(0, 1.5, ROWS))))
BETTER = 1 / (1 + np.exp(-(SHARED + GENERATOR.normal(0, 0.2, ROWS))))
FRAME = pl.DataFrame({"part": np.repeat(["a", "b", "c"], 200), "day": np.arange(ROWS) // 10})


def test_a_better_model_is_found_better_in_the_direction_of_each_metric() -> None:
    found = compare(TRUTH, BETTER, WORSE, ["roc_auc", "brier", "accuracy", "f1"], bootstrap=400)
    assert [each.test for each in found.differences] == ["delong", "bootstrap", "mcnemar", "bootstrap"]
    auc, brier = found.overall("roc_auc"), found.overall("brier")
    assert (auc.verdict, brier.verdict) == ("better", "better")
    assert auc.difference is not None
    assert brier.difference is not None
    assert auc.difference > 0 > brier.difference
    assert auc.interval is not None
    assert auc.difference in auc.interval
    assert brier.least_gain is not None
    assert brier.least_gain > 0
    assert compare(TRUTH, WORSE, BETTER, ["brier"], bootstrap=400).overall("brier").verdict == "worse"


def test_the_same_scores_are_undecided() -> None:
    found = compare(TRUTH, BETTER, BETTER, ["roc_auc", "brier", "accuracy"], bootstrap=100)
    assert {(each.verdict, each.p_value, each.difference) for each in found.differences} == {("undecided", 1.0, 0.0)}


def test_slices_are_corrected_for_their_number() -> None:
    found = compare(TRUTH, BETTER, WORSE, ["roc_auc"], slices=["part"], frame=FRAME, bootstrap=100)
    slices = found.on_slices("roc_auc", "part")
    assert [each.value for each in slices] == ["a", "b", "c"]
    lowest = min(slices, key=lambda each: each.p_value or 0)
    assert lowest.p_adjusted == pytest.approx(min(1, 3 * (lowest.p_value or 0)))
    assert found.overall("roc_auc").p_adjusted == found.overall("roc_auc").p_value
    assert found.on_slices("roc_auc", "other") == []


def test_a_comparison_of_equals_on_many_slices_is_rarely_wrong() -> None:
    wrong = 0
    for seed in range(60):
        generator = np.random.default_rng(seed)
        truth = generator.integers(0, 2, 400)
        first, second = (truth * 0.5 + generator.random(400) for _ in range(2))
        frame = pl.DataFrame({"k": generator.integers(0, 8, 400)})
        found = compare(truth, first, second, ["roc_auc"], slices=["k"], frame=frame, bootstrap=0)
        wrong += any(each.verdict != "undecided" for each in found.on_slices("roc_auc"))
    assert wrong <= 8


def test_rows_that_belong_together_are_resampled_together() -> None:
    grouped = compare(TRUTH, BETTER, WORSE, ["roc_auc"], frame=FRAME, bootstrap=Bootstrap(300, groups="day"))
    assert grouped.overall("roc_auc").test == "bootstrap"
    with pytest.raises(NotFoundError, match="Nearest: day"):
        compare(TRUTH, BETTER, WORSE, ["roc_auc"], frame=FRAME, bootstrap=Bootstrap(groups="dya"))


def test_forecasts_are_compared_in_order_of_time() -> None:
    truth = np.cumsum(GENERATOR.normal(size=120))
    near, far = truth + GENERATOR.normal(0, 0.5, 120), truth + GENERATOR.normal(0, 1.5, 120)
    scale = naive_scale(np.cumsum(GENERATOR.normal(size=50)))
    found = compare(truth, near, far, ["mase", "rmse", "smape"], horizon=3, scale=scale, bootstrap=100)
    assert [each.test for each in found.differences] == ["diebold_mariano", "diebold_mariano", "bootstrap"]
    assert {each.verdict for each in found.differences} == {"better"}


def test_rankings_are_compared_by_query() -> None:
    queries = np.repeat(np.arange(60), 10)
    relevance = GENERATOR.random(600) < 0.2
    good, bad = relevance + GENERATOR.normal(0, 0.4, 600), GENERATOR.random(600)
    assert compare(relevance, good, bad, ["ndcg@5"], query=queries, bootstrap=200).overall("ndcg@5").verdict == "better"


def test_ones_own_metric_and_what_is_not_defined_are_compared_too() -> None:
    own = Metric("distance", "regression", False, "math:dist")
    truth = np.arange(30.0)
    found = compare(truth, truth + 0.1, truth[::-1].copy(), [own, "r2"], bootstrap=50)
    assert [each.verdict for each in found.differences] == ["better", "better"]
    undefined = compare(np.zeros(5), truth[:5], truth[:5], ["roc_auc"], bootstrap=20).overall("roc_auc")
    assert (undefined.candidate, undefined.p_value, undefined.verdict) == (None, None, "undecided")
    assert compare(truth, truth, truth + 1, ["mae"], bootstrap=0).overall("mae").p_value is None


def test_a_comparison_is_data_and_text() -> None:
    slices = [Slice("late", where="day > 50")]
    found = compare(TRUTH, BETTER, WORSE, ["roc_auc"], slices=slices, frame=FRAME, bootstrap=50)
    assert msgspec.json.decode(msgspec.json.encode(found), type=Comparison) == found
    assert str(found).splitlines()[2].startswith("late=true")
    assert "roc_auc better" in repr(found)
    with pytest.raises(NotFoundError, match="not compared"):
        found.overall("brier")
    with pytest.raises(InvalidError, match="599 rows"):
        compare(TRUTH, BETTER, WORSE[:-1], ["roc_auc"])
