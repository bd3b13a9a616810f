"""The formulas agree with scikit-learn's, ties and one-class tables included."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from sklearn import metrics as reference

from mainspring.errors import NotFoundError, WrongTypeError
from mainspring.evaluation import Metric, get_metric, list_metrics

scored = st.lists(st.tuples(st.booleans(), st.integers(0, 10).map(lambda n: n / 10)), min_size=1, max_size=60)
pairs = st.lists(st.tuples(st.integers(-9, 9), st.integers(-9, 9)), min_size=2, max_size=40)


@given(scored)
def test_binary_metrics_agree_with_scikit_learn(rows: list[tuple[bool, float]]) -> None:
    y, s = np.array([row[0] for row in rows], float), np.array([row[1] for row in rows])
    called, zero = s >= 0.5, {"zero_division": np.nan}
    expected = {
        "log_loss": reference.log_loss(y, s, labels=[0, 1]),
        "brier": np.mean((y - s) ** 2),
        "accuracy": reference.accuracy_score(y, called),
        "precision": reference.precision_score(y, called, zero_division=0),
        "recall": reference.recall_score(y, called, **zero),
        "f1": reference.f1_score(y, called, **zero),
    }
    if 0 < y.sum() < y.size:
        expected["roc_auc"] = reference.roc_auc_score(y, s)
    if y.sum():
        expected["average_precision"] = reference.average_precision_score(y, s)
    for name, value in expected.items():
        assert get_metric(name)(y, s) == pytest.approx(value, abs=1e-12, nan_ok=True), name


@given(pairs)
def test_regression_metrics_agree_with_scikit_learn(rows: list[tuple[int, int]]) -> None:
    y, s = np.array([row[0] for row in rows], float), np.array([row[1] for row in rows], float)
    assert get_metric("rmse")(y, s) == pytest.approx(math.sqrt(reference.mean_squared_error(y, s)))
    assert get_metric("mae")(y, s) == pytest.approx(reference.mean_absolute_error(y, s))
    if y.std() > 0:
        assert get_metric("r2")(y, s) == pytest.approx(reference.r2_score(y, s))


@pytest.mark.parametrize("name", ["roc_auc", "average_precision", "recall"])
def test_what_one_class_leaves_undefined_is_nan(name: str) -> None:
    assert math.isnan(get_metric(name)(np.zeros(3), np.array([0.1, 0.2, 0.3])))


def test_metrics_are_records_found_by_name() -> None:
    assert {metric.name for metric in list_metrics()} >= {"roc_auc", "log_loss", "brier", "rmse", "mae"}
    with pytest.raises(NotFoundError, match="Nearest: roc_auc"):
        get_metric("roc_acu")


def test_ones_own_metric_is_named_by_its_function() -> None:
    own = Metric("total", "regression", True, "math:dist")
    assert own([0.0], [3.0]) == 3.0
    with pytest.raises(WrongTypeError, match="a number"):
        Metric("bad", "regression", True, "builtins:print")("", "")
