"""The formulas agree with scikit-learn's, ties and one-class tables included, on rows and on any counts of them."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn import metrics as reference

from mainspring.errors import InvalidError, NotFoundError, WrongTypeError
from mainspring.evaluation import Metric, Scored, get_metric, list_metrics, naive_scale

EXAMPLES = settings(max_examples=20)  # scikit-learn checks its arguments for a millisecond a call
scored = st.lists(st.tuples(st.booleans(), st.integers(0, 10).map(lambda n: n / 10)), min_size=1, max_size=60)
pairs = st.lists(st.tuples(st.integers(-9, 9), st.integers(-9, 9)), min_size=2, max_size=40)
seeds = st.integers(0, 10_000)


@EXAMPLES
@given(scored, st.sampled_from([0.5, 0.3]))
def test_binary_metrics_agree_with_scikit_learn(rows: list[tuple[bool, float]], threshold: float) -> None:
    y, s = np.array([row[0] for row in rows], float), np.array([row[1] for row in rows])
    called, zero = s >= threshold, {"zero_division": np.nan}
    expected = {
        "log_loss": reference.log_loss(y, s, labels=[0, 1]),
        "brier": np.mean((y - s) ** 2),
        f"accuracy@{threshold}": reference.accuracy_score(y, called),
        f"precision@{threshold}": reference.precision_score(y, called, zero_division=0),
        f"recall@{threshold}": reference.recall_score(y, called, **zero),
        f"specificity@{threshold}": reference.recall_score(1 - y, ~called, **zero),
        f"f1@{threshold}": reference.f1_score(y, called, **zero),
    }
    if 0 < y.sum() < y.size:
        expected["roc_auc"] = reference.roc_auc_score(y, s)
        expected[f"balanced_accuracy@{threshold}"] = reference.balanced_accuracy_score(y, called)
        expected[f"mcc@{threshold}"] = reference.matthews_corrcoef(y, called)
    if y.sum():
        expected["average_precision"] = reference.average_precision_score(y, s)
    for name, value in expected.items():
        assert get_metric(name)(y, s) == pytest.approx(value, abs=1e-12, nan_ok=True), name


@EXAMPLES
@given(seeds, st.integers(3, 5))
def test_multiclass_metrics_agree_with_scikit_learn(seed: int, kinds: int) -> None:
    generator = np.random.default_rng(seed)
    truth = np.append(np.arange(kinds), generator.integers(0, kinds, 30))
    p = generator.dirichlet(np.ones(kinds), truth.size)
    decided = p.argmax(axis=1)
    one_hot = np.eye(kinds)[truth]
    expected = {
        "log_loss": reference.log_loss(truth, p),
        "brier": np.mean(((p - one_hot) ** 2).sum(axis=1)),
        "accuracy": reference.accuracy_score(truth, decided),
        "balanced_accuracy": reference.balanced_accuracy_score(truth, decided),
        "precision": reference.precision_score(truth, decided, average="macro", zero_division=0),
        "recall": reference.recall_score(truth, decided, average="macro"),
        "f1": reference.f1_score(truth, decided, average="macro"),
        "f1_weighted": reference.f1_score(truth, decided, average="weighted"),
        "mcc": reference.matthews_corrcoef(truth, decided),
        "roc_auc": reference.roc_auc_score(truth, p, multi_class="ovr"),
        "average_precision": reference.average_precision_score(one_hot, p),
        "top_accuracy@2": reference.top_k_accuracy_score(truth, p, k=2),
    }
    data = Scored(truth, p, tuple(range(kinds)))
    for name, value in expected.items():
        assert get_metric(name, "multiclass").statistic(data).value() == pytest.approx(value, abs=1e-12), name


@EXAMPLES
@given(pairs)
def test_regression_metrics_agree_with_scikit_learn(rows: list[tuple[int, int]]) -> None:
    y, s = np.array([row[0] for row in rows], float), np.array([row[1] for row in rows], float)
    assert get_metric("rmse")(y, s) == pytest.approx(math.sqrt(reference.mean_squared_error(y, s)))
    assert get_metric("mae")(y, s) == pytest.approx(reference.mean_absolute_error(y, s))
    assert get_metric("mape")(y, s) == pytest.approx(reference.mean_absolute_percentage_error(y, s))
    assert get_metric("pinball@0.9")(y, s) == pytest.approx(reference.mean_pinball_loss(y, s, alpha=0.9))
    if y.std() > 0:
        assert get_metric("r2")(y, s) == pytest.approx(reference.r2_score(y, s))
    else:
        assert math.isnan(get_metric("r2")(y, s))


@EXAMPLES
@given(seeds, st.integers(1, 6), st.booleans())
def test_ranking_metrics_agree_with_scikit_learn(seed: int, k: int, ties: bool) -> None:
    generator = np.random.default_rng(seed)
    relevance = generator.integers(0, 4, (4, 8)).astype(float)
    relevance[:, 0] = 1.0
    scores = (
        generator.integers(0, 5, (4, 8)) / 4 if ties else generator.permuted(np.tile(np.arange(8.0), (4, 1)), axis=1)
    )
    order = generator.permutation(32)
    queries = np.repeat(np.arange(4), 8)[order]
    data = Scored(relevance.ravel()[order], scores.ravel()[order], queries=queries)

    def value(name: str) -> float:
        return get_metric(f"{name}@{k}", "ranking").statistic(data).value()

    assert value("ndcg") == pytest.approx(reference.ndcg_score(relevance, scores, k=k))
    if not ties:
        top = np.argsort(-scores, axis=1)[:, :k]
        hits = np.take_along_axis(relevance > 0, top, axis=1)
        found = hits.sum(axis=1)
        assert value("recall") == pytest.approx(np.mean(found / (relevance > 0).sum(axis=1)))
        assert value("precision") == pytest.approx(np.mean(found / k))
        assert value("mrr") == pytest.approx(np.mean(np.where(found > 0, 1 / (hits.argmax(axis=1) + 1), 0)))
        everything = get_metric("map@8", "ranking").statistic(data).value()
        assert everything == pytest.approx(reference.label_ranking_average_precision_score(relevance > 0, scores))


def test_a_query_without_anything_relevant_is_left_out_and_ties_gain_nothing() -> None:
    data = Scored(np.array([1.0, 0.0, 0.0, 0.0]), np.array([0.5, 0.5, 0.9, 0.1]), queries=np.array([0, 0, 1, 1]))
    assert get_metric("mrr", "ranking").statistic(data).value() == 0.5
    assert get_metric("map", "ranking").statistic(data).value() == 0.5
    nothing = Scored(np.zeros(2), np.array([0.1, 0.9]), queries=np.array([0, 0]))
    assert math.isnan(get_metric("ndcg", "ranking").statistic(nothing).value())


def test_forecast_metrics_are_multiples_of_the_naive_forecasts_errors() -> None:
    scale = naive_scale([1.0, 3.0, 2.0, 6.0])  # steps of 2, 1 and 4
    data = Scored(np.array([5.0, 7.0]), np.array([4.0, 9.0]), scale=scale)
    values = {name: get_metric(name).statistic(data).value() for name in ("mase", "rmsse", "wape", "smape")}
    assert values["mase"] == pytest.approx(1.5 / (7 / 3))
    assert values["rmsse"] == pytest.approx(math.sqrt(2.5 / 7))
    assert values["wape"] == pytest.approx(3 / 12)
    assert values["smape"] == pytest.approx((2 / 9 + 4 / 16) / 2)
    several = naive_scale({"a": [1, 3], "b": [0, 4, 8]}, series=["b", "a", "b"])
    assert several.absolute.tolist() == [4.0, 2.0, 4.0]
    assert naive_scale([1, 2, 4, 6], season=2).absolute == 3.5


@pytest.mark.parametrize(
    ("history", "season", "message"), [([1.0], 1, "1 values"), ([2, 2, 2], 1, "never varies"), (["x"], 1, "numbers")]
)
def test_a_history_that_sets_no_scale_is_refused(history: list[Any], season: int, message: str) -> None:
    with pytest.raises(InvalidError, match=message):
        naive_scale(history, season=season)
    with pytest.raises(NotFoundError, match="Nearest: north"):
        naive_scale({"north": [1, 2]}, series=["nort"])
    with pytest.raises(InvalidError, match="naive_scale"):
        get_metric("mase").statistic(Scored(np.ones(2), np.ones(2)))


def test_interval_metrics_count_what_lies_outside() -> None:
    ends = np.array([[0.0, 2.0], [0.0, 2.0], [0.0, 4.0], [1.0, 1.0]])
    data = Scored(np.array([1.0, 3.0, 4.0, 0.0]), ends)
    values = {
        name: get_metric(name).statistic(data).value()
        for name in ("coverage", "coverage_error@0.8", "interval_width", "interval_score@0.8")
    }
    assert values == pytest.approx(
        {"coverage": 0.5, "coverage_error@0.8": 0.3, "interval_width": 2.0, "interval_score@0.8": (2 + 12 + 4 + 10) / 4}
    )


@EXAMPLES
@given(seeds)
def test_a_metric_on_counts_is_the_metric_of_the_rows_repeated(seed: int) -> None:
    generator = np.random.default_rng(seed)
    counts = generator.integers(0, 3, 40)
    counts[:4] = 1
    codes = np.append([0, 1, 2, 1], generator.integers(0, 3, 36)).astype(float)
    for task, truth, scores in (
        ("binary", codes % 2, generator.random(40)),
        ("multiclass", codes, generator.dirichlet(np.ones(3), 40)),
        ("regression", generator.normal(size=40), generator.normal(size=40)),
        ("forecast", generator.normal(size=40), generator.normal(size=40)),
        ("interval", generator.normal(size=40), np.sort(generator.normal(size=(40, 2)))),
    ):
        data = Scored(truth, scores, (0, 1, 2) if task == "multiclass" else (), scale=naive_scale([1, 2, 4]))
        repeated = data.take(np.repeat(np.arange(40), counts))
        for metric in list_metrics(task):  # type: ignore[arg-type]  # literals in a tuple are plain text to mypy
            value = metric.statistic(data)(counts[None].astype(float))[0]
            assert value == pytest.approx(metric.statistic(repeated).value(), abs=1e-10), metric.name


@pytest.mark.parametrize("name", ["roc_auc", "average_precision", "recall"])
def test_what_one_class_leaves_undefined_is_nan(name: str) -> None:
    assert math.isnan(get_metric(name)(np.zeros(3), np.array([0.1, 0.2, 0.3])))


def test_metrics_are_records_found_by_name() -> None:
    assert {metric.name for metric in list_metrics()} >= {"roc_auc", "log_loss", "brier", "rmse", "mae", "ndcg", "mase"}
    assert get_metric("recall@0.3").task == "binary"
    assert get_metric("recall@5", "ranking").parameter == 5
    with pytest.raises(NotFoundError, match="Nearest: roc_auc"):
        get_metric("roc_acu")


@pytest.mark.parametrize("name", ["f1@x", "f1@1.5", "f1@0", "f1@nan", "roc_auc@0.5"])
def test_a_parameter_that_a_metric_does_not_take_is_refused(name: str) -> None:
    with pytest.raises(InvalidError, match="metric `"):
        get_metric(name)


def test_values_lie_in_the_range_that_a_metric_names() -> None:
    generator = np.random.default_rng(3)
    data = Scored(generator.integers(0, 2, 50).astype(float), generator.random(50))
    for metric in list_metrics("binary"):
        assert (metric.low or 0.0) - 1e-12 <= metric.statistic(data).value() <= (metric.high or math.inf), metric.name


def test_ones_own_metric_is_named_by_its_function() -> None:
    own = Metric("total", "regression", True, "math:dist")
    assert own([0.0], [3.0]) == 3.0
    assert own.statistic(Scored(np.array([0.0, 0.0]), np.array([3.0, 4.0]))).value() == 5.0
    with pytest.raises(WrongTypeError, match="a number"):
        Metric("bad", "regression", True, "builtins:print")("", "")
