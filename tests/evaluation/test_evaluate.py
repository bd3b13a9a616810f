"""Evaluation on slices, and the gates it is held to."""

from __future__ import annotations

import msgspec
import numpy as np
import polars as pl
import pytest

from mainspring.errors import InvalidError, NotFoundError
from mainspring.evaluation import (
    Bootstrap,
    Evaluation,
    Gate,
    Metric,
    Slice,
    SliceValues,
    calibration,
    compare,
    decide,
    evaluate,
    fairness,
    get_metric,
)

GENERATOR = np.random.default_rng(7)
TRUTH = GENERATOR.integers(0, 2, 400)
SCORES = np.clip(TRUTH * 0.3 + GENERATOR.random(400) * 0.7, 0, 1)
FRAME = pl.DataFrame({"carrier": (["UA", "AA", None, "B6"] * 100), "month": list(range(1, 9)) * 50})


SHORT = Evaluation(100, {"a": 0.5, "b": None, "c": 1.0}, {"a": True, "b": True, "c": True})


def test_each_slice_is_evaluated_on_its_own_rows() -> None:
    slices: list[str | Slice] = ["carrier", Slice("winter", where="month in (1, 2)")]
    evaluation = evaluate(TRUTH, SCORES, ["roc_auc", "brier"], slices=slices, frame=FRAME)
    labels = [(each.slice, each.value, each.rows) for each in evaluation.slices]
    assert labels == [
        ("carrier", "AA", 100), ("carrier", "B6", 100), ("carrier", "UA", 100), ("carrier", "null", 100),
        ("winter", "true", 100),
    ]  # fmt: skip
    rows = (FRAME["carrier"] == "AA").fill_null(False).to_numpy()
    assert evaluation.slices[0].metrics["roc_auc"] == get_metric("roc_auc")(TRUTH[rows], SCORES[rows])
    assert evaluation.to_polars().shape == (6, 5)
    worst = evaluation.worst("brier", "carrier")
    assert worst is not None
    assert worst.metrics["brier"] == max(each.metrics["brier"] or 0 for each in evaluation.slices[:4])


def test_small_slices_are_left_out_and_undefined_metrics_are_none() -> None:
    frame = pl.DataFrame({"k": ["a", "a", "b"]})
    evaluation = evaluate([0, 1, 1], [0.1, 0.9, 0.8], ["roc_auc"], slices=["k", Slice("k", at_least=2)], frame=frame)
    assert [(each.value, each.metrics["roc_auc"]) for each in evaluation.slices] == [
        ("a", 1.0),
        ("b", None),
        ("a", 1.0),
    ]
    assert "–" in str(evaluation)


def test_an_evaluation_is_data_text_and_html() -> None:
    evaluation = evaluate(pl.Series([True, False]), pl.Series([0.9, 0.2]), ["accuracy"], subject="<test>")
    assert msgspec.json.decode(msgspec.json.encode(evaluation), type=Evaluation) == evaluation
    assert "&lt;test&gt;" in evaluation._repr_html_()
    assert repr(evaluation) == "<evaluation on 2 rows, accuracy 1.0000>"
    assert repr(SHORT) == "<evaluation on 100 rows, a 0.5000, b –, …>"


@pytest.mark.parametrize(
    ("truth", "scores", "message"),
    [
        ([0, 1], [0.5], "1 rows"),
        ([0, 2], [0.5, 0.5], "0 or 1"),
        ([0, 1], [0.5, float("nan")], "1 missing values"),
        ([0, 1], [[0.5, 0.5], [0.1, 0.9]], r"p\[:, 1\]"),
        (["x", "y"], [0.5, 0.5], "a column of numbers"),
    ],
)
def test_wrong_columns_are_named(truth: list[object], scores: list[object], message: str) -> None:
    with pytest.raises(InvalidError, match=message):
        evaluate(truth, scores, ["roc_auc"])


def test_columns_of_numbers_are_cut_and_columns_are_crossed() -> None:
    frame = pl.DataFrame({"far": [1.0, 2.0, 3.0, None, 5.0, 6.0], "k": ["a", "b", "a", "b", "a", "b"]})
    slices: list[str | tuple[str, ...] | Slice] = [
        Slice("far", bins=2),
        Slice("zone", column="far", bins=(2.0, 6.0)),
        ("k", "far"),
        Slice("x", by=("k",)),
    ]
    found = evaluate([0, 1] * 3, [0.5] * 6, ["brier"], slices=slices, frame=frame).slices
    labels = {name: [(each.value, each.rows) for each in found if each.slice == name] for name in ("far", "zone", "x")}
    assert labels == {
        "far": [("below 3", 2), ("from 3", 3), ("null", 1)],
        "zone": [("below 2", 1), ("2 to 6", 3), ("from 6", 1), ("null", 1)],
        "x": [("a", 3), ("b", 3)],
    }
    assert [each.value for each in found if each.slice == "k × far"] == [
        "a, 1",
        "a, 3",
        "a, 5",
        "b, 2",
        "b, 6",
        "b, null",
    ]
    with pytest.raises(InvalidError, match="to be cut into bins"):
        evaluate([0, 1] * 3, [0.5] * 6, ["brier"], slices=[Slice("k", bins=3)], frame=frame)


def test_small_slices_are_marked() -> None:
    frame = pl.DataFrame({"k": ["a"] * 300 + ["b"] * 100})
    evaluation = evaluate(
        TRUTH, SCORES, ["brier"], slices=["k", Slice("few", where="k = 'b' and k < 'a'")], frame=frame
    )
    assert [each.small for each in evaluation.slices] == [False, False]
    small = evaluate(TRUTH[:9], SCORES[:9], ["brier"], slices=["k"], frame=frame.head(9))
    assert small.slices[0].small
    assert "k=a (small)" in str(small)


def test_every_value_has_an_interval_on_demand() -> None:
    metrics: list[str | Metric] = ["roc_auc", "brier", "f1@0.4", Metric("far", "regression", False, "math:dist")]
    evaluation = evaluate(TRUTH, SCORES, metrics, slices=["carrier"], frame=FRAME, bootstrap=200)
    of_all: list[Evaluation | SliceValues] = [evaluation, *evaluation.slices]
    for values in of_all:
        assert list(values.intervals) == ["roc_auc", "brier", "f1@0.4", "far"]
        for name, interval in values.intervals.items():
            assert interval is not None
            if name != "far":  # a distance of resampled rows is no estimate of the distance, but has an interval
                assert (values.metrics[name] or 0.0) in interval
    widths = [
        each.high - each.low
        for each in (evaluation.intervals["brier"], evaluation.slices[0].intervals["brier"])
        if each
    ]
    assert widths[1] > 1.5 * widths[0]
    assert evaluation == evaluate(TRUTH, SCORES, metrics, slices=["carrier"], frame=FRAME, bootstrap=200)
    assert msgspec.json.decode(msgspec.json.encode(evaluation), type=Evaluation) == evaluation
    assert evaluate(TRUTH, SCORES, ["brier"]).intervals == {}
    assert evaluate(TRUTH * 0, SCORES, ["roc_auc"], bootstrap=20).intervals == {"roc_auc": None}


def width(kind: Bootstrap, truth: np.ndarray, scores: np.ndarray, frame: pl.DataFrame) -> float:
    interval = evaluate(truth, scores, ["mae"], frame=frame, bootstrap=kind).intervals["mae"]
    assert interval is not None
    return interval.high - interval.low


def test_groups_widen_intervals_and_strata_narrow_them() -> None:
    who = np.repeat(np.arange(20), 20)
    frame = pl.DataFrame({"who": who})
    truth = np.zeros(400)
    scores = GENERATOR.random(20)[who] + GENERATOR.random(400) * 0.1  # rows of one `who` err alike
    plain = width(Bootstrap(200, method="percentile"), truth, scores, frame)
    assert width(Bootstrap(200, groups="who"), truth, scores, frame) > 2 * plain
    assert width(Bootstrap(200, strata="who"), truth, scores, frame) < 0.5 * plain


def test_scores_of_many_classes_rankings_and_intervals_find_their_metrics() -> None:
    p = np.array([[0.7, 0.2, 0.1], [0.1, 0.8, 0.1], [0.3, 0.4, 0.3]])
    by_name = evaluate(["x", "y", "z"], p, ["accuracy", "log_loss"], bootstrap=10)
    by_place = evaluate([2, 0, 1], p, ["accuracy", "log_loss"], classes=[2, 0, 1], bootstrap=10)
    assert by_name == by_place
    assert by_name.metrics["accuracy"] == pytest.approx(2 / 3)
    frame = pl.DataFrame({"q": ["a", "a", "b", "b"], "k": ["x", "x", "y", "y"]})
    ranked = evaluate([1, 0, 0, 1], [0.9, 0.1, 0.9, 0.1], ["mrr", "recall@1"], query="q", frame=frame, slices=["k"])
    assert ranked.metrics == {"mrr": 0.75, "recall@1": 0.5}
    assert [each.metrics["mrr"] for each in ranked.slices] == [1.0, 0.5]
    assert evaluate([1.0, 5.0], [[0, 2], [0, 2]], ["coverage"]).metrics == {"coverage": 0.5}


@pytest.mark.parametrize(
    ("metric", "options", "message"),
    [
        ("ndcg", {}, "query="),
        ("roc_auc", {"query": [0, 1]}, "no `query`"),
        ("mae", {"query": [0, 1]}, "one column"),
        ("mase", {}, "naive_scale"),
        ("top_accuracy", {}, "a column for each class"),
        ("coverage", {}, "lower and the upper"),
        ("brier", {"query": [0]}, "2 rows"),
    ],
)
def test_a_metric_that_does_not_fit_the_scores_says_what_it_needs(metric: str, options: dict, message: str) -> None:
    with pytest.raises(InvalidError, match=message):
        evaluate([0, 1], [0.2, 0.9], [metric], **options)


def test_labels_that_are_no_classes_are_named() -> None:
    p = np.full((2, 3), 1 / 3)
    with pytest.raises(InvalidError, match="y_true: `w`"):
        evaluate(["x", "w"], p, ["accuracy"], classes=["x", "y", "z"])
    with pytest.raises(InvalidError, match="the 3 classes"):
        evaluate(["x", "y"], p, ["accuracy"])


def test_slices_need_their_table() -> None:
    with pytest.raises(InvalidError, match="no table"):
        evaluate([0, 1], [0.5, 0.5], ["brier"], slices=["k"])
    with pytest.raises(NotFoundError, match="Nearest: carrier"):
        evaluate(TRUTH, SCORES, ["brier"], slices=["carier"], frame=FRAME)
    with pytest.raises(InvalidError, match="a condition"):
        evaluate(TRUTH, SCORES, ["brier"], slices=[Slice("x", where="nothing = 1")], frame=FRAME)


@pytest.mark.parametrize("metric", ["log_loss", "brier"])
def test_scores_that_are_no_probabilities_are_refused_by_what_needs_them(metric: str) -> None:
    with pytest.raises(InvalidError, match=r"y_score: `-3.0` is not a probability.*sigmoid"):
        evaluate([0, 1], [-3.0, 2.0], ["roc_auc", metric])
    with pytest.raises(InvalidError, match=r"sum to 1.05 in row 1.*softmax"):
        evaluate(["a", "b"], [[0.5, 0.5], [0.6, 0.45]], ["accuracy", metric], classes=["a", "b"])
    with pytest.raises(InvalidError, match=r"`1\.5`"):
        compare([0, 1], [0.5, 1.0], [0.5, 1.5], [metric])
    thirds = np.full((3, 3), 1 / 3, np.float32)
    assert evaluate(["a", "b", "c"], thirds, [metric], classes=["a", "b", "c"]).metrics[metric] is not None
    assert evaluate([0, 1], [-3.0, 2.0], ["roc_auc"]).metrics == {"roc_auc": 1.0}


def test_calibration_is_of_probabilities_in_some_rows() -> None:
    with pytest.raises(InvalidError, match=r"`2\.0` is not a probability"):
        calibration([0, 1], [0.5, 2.0])
    with pytest.raises(InvalidError, match="no rows"):
        calibration([], [])


def test_any_table_has_slices_groups_and_clusters() -> None:
    frame = pl.DataFrame({"side": ["l", "r"] * 20, "who": list("aabb") * 10})
    truth, scores = [0, 1, 1, 0] * 10, np.linspace(0, 1, 40)

    def found(table: object) -> list[object]:
        method = Bootstrap(20, groups="who")
        return [
            evaluate(truth, scores, ["roc_auc"], slices=["side"], frame=table, bootstrap=method),
            compare(truth, scores, scores[::-1], ["brier"], slices=["side"], frame=table, bootstrap=method),
            fairness(truth, scores, "side", frame=table),
        ]

    assert found(frame.to_pandas()) == found(frame.to_arrow()) == found(frame)


def test_one_row_or_cluster_has_no_interval_and_so_no_confidence() -> None:
    frame = pl.DataFrame({"who": ["k"] * 6, "side": ["l"] * 5 + ["r"]})
    truth, scores = [0, 1, 0, 1, 0, 1], [0.1, 0.9, 0.2, 0.8, 0.3, 0.7]
    clustered = evaluate(truth, scores, ["brier"], frame=frame, bootstrap=Bootstrap(20, groups="who"))
    assert clustered.intervals == {"brier": None}
    gates = decide(clustered, [Gate("brier", at_most=0.9, confident=True)])
    assert (gates.passed, "no interval" in gates.reasons[0].reason) == (False, True)
    apart = evaluate(truth, scores, ["brier"], frame=frame, slices=["side"], bootstrap=20)
    assert [each.intervals["brier"] is None for each in apart.slices] == [False, True]
    assert fairness([0, 1], [0.1, 0.9], ["l", "r"], bootstrap=20).gap("demographic_parity").interval is None
