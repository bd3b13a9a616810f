"""What callers hand in: collections of any library, scores whose columns have names, tables whose rows have an index."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pandas as pd
import polars as pl
import pyarrow as pa
import pytest
import torch

import mainspring.evaluation
from mainspring.errors import InvalidError, MainspringError, NotFoundError, WrongTypeError
from mainspring.evaluation import (
    Bootstrap,
    Gate,
    Metric,
    Slice,
    compare,
    decide,
    evaluate,
    fairness,
    measure_cost,
    naive_scale,
    robustness,
)

LOOSE: Any = mainspring.evaluation  # for what its types don't let pass
LABELS = np.array(["a", "b", "c", "a", "b", "a"])
RIGHT = np.array([[label == each for each in "abc"] for label in LABELS], np.float64) * 0.6 + 0.4 / 3
RIGHT /= RIGHT.sum(axis=1, keepdims=True)
COLLECTIONS: dict[str, Callable[[list[Any]], Any]] = {
    "list": list, "tuple": tuple, "numpy": np.array, "object": lambda values: np.array(values, object),
    "index": pd.Index, "pandas": pd.Series, "polars": pl.Series, "arrow": pa.array,
    "keys": lambda values: dict.fromkeys(values).keys(), "iterator": iter,
}  # fmt: skip
TABLES: dict[str, Callable[[dict[str, Any]], Any]] = {
    "pandas": pd.DataFrame, "polars": pl.DataFrame, "lazy": pl.LazyFrame, "arrow": pa.table,
}  # fmt: skip


def accuracy(truth: Any, scores: Any, **more: Any) -> float | None:
    return evaluate(truth, scores, ["accuracy"], **more).metrics["accuracy"]


def columns(names: list[Any], order: str) -> dict[Any, Any]:
    """The scores of the classes in this order, under names."""
    return {name: RIGHT[:, "abc".index(label)] for name, label in zip(names, order, strict=True)}


@pytest.mark.parametrize("made", COLLECTIONS.values(), ids=COLLECTIONS)
def test_any_collection_is_taken_where_several_are(made: Callable[[list[Any]], Any]) -> None:
    frame = pl.DataFrame({"k": ["x", "y"] * 3, "far": range(6)})
    assert accuracy(LABELS, RIGHT, classes=made(["a", "b", "c"])) == 1.0
    truth = LABELS == "a"
    found = evaluate(truth, RIGHT[:, 0], made(["roc_auc", "brier"]), slices=made(["k"]), frame=frame)
    assert list(found.metrics) == ["roc_auc", "brier"]
    assert [each.value for each in found.slices] == ["x", "y"]
    cut = evaluate(truth, RIGHT[:, 0], ["brier"], slices=[Slice("far", bins=made([2, 4]))], frame=frame)
    assert [each.rows for each in cut.slices] == [2, 2, 2]
    robust = robustness(lambda rows: rows["far"].to_numpy() / 9, frame, truth, "roc_auc", columns=made(["far"]))
    assert [each.column for each in robust.columns] == ["far"]
    assert [each.batch for each in measure_cost(len, frame, batches=made([1, 2]), calls=1).latencies] == [1, 2]


def test_one_stands_for_itself_where_several_are_taken() -> None:
    frame = pl.DataFrame({"k": ["x", "y"] * 3})
    truth, scores = LABELS == "a", RIGHT[:, 0]
    brier = Metric("brier", "binary", False, "mainspring.evaluation._binary:brier", of_counts=True)
    for metric in ("brier", brier):
        assert list(evaluate(truth, scores, metric).metrics) == ["brier"]
        assert compare(truth, scores, scores, metric, bootstrap=10).differences[0].metric == "brier"
    for cut in ("k", Slice("k")):
        assert len(evaluate(truth, scores, "brier", slices=cut, frame=frame).slices) == 2
    fair = fairness(truth, scores, "k", frame=frame)
    report = decide(evaluate(truth, scores, "brier"), Gate("equal_opportunity_gap", at_most=1.0), evidence=fair)
    assert report.passed
    assert measure_cost(len, frame, batches=2, calls=1).latencies[0].batch == 2


@pytest.mark.parametrize("wrong", ["abc", {"a", "b", "c"}, ["a", "b", "b"], ["a", "b"], [["a"], ["b"], ["c"]], 3, None])
def test_what_is_no_list_of_classes_is_refused(wrong: Any) -> None:
    with pytest.raises((InvalidError, WrongTypeError), match="classes"):
        evaluate(LABELS, RIGHT, ["accuracy"], classes=wrong)


@pytest.mark.parametrize("made", TABLES.values(), ids=TABLES)
@pytest.mark.parametrize("prefix", ["", "prob_", "class "])
@pytest.mark.parametrize("order", ["abc", "cba", "bca"])
def test_columns_named_by_the_classes_are_those_of_the_classes(
    made: Callable[[Any], Any], prefix: str, order: str
) -> None:
    scores = made(columns([prefix + label for label in order], order))
    for classes in ([], ["a", "b", "c"], ["b", "c", "a"]):
        assert accuracy(LABELS, scores, classes=classes) == 1.0


def test_names_may_be_the_values_or_the_text_of_classes() -> None:
    truth = np.select([LABELS == "a", LABELS == "b"], [10, 7], 8)
    for names in ([10, 7, 8], [10.0, 7.0, 8.0], ["10", "7", "8"], ["p10", "p7", "p8"]):
        scores = pd.DataFrame(columns(names, "abc")).iloc[:, [2, 0, 1]]
        assert accuracy(truth, scores) == accuracy(truth, scores, classes=np.array([7, 8, 10])) == 1.0
        assert accuracy(truth.astype(float), scores) == 1.0


def test_names_that_only_number_the_columns_say_nothing() -> None:
    frames = [
        pd.DataFrame(RIGHT),
        pl.DataFrame(RIGHT),
        pl.from_pandas(pd.DataFrame(RIGHT)),
        pa.table(columns(["f0", "f1", "f2"], "abc")),
    ]
    for scores in frames:
        assert accuracy(LABELS, scores) == 1.0
        assert accuracy(LABELS, scores, classes=["a", "b", "c"]) == 1.0
        assert accuracy(LABELS, scores, classes=["b", "a", "c"]) != 1.0
    with pytest.raises(InvalidError, match="both numbers and classes"):
        evaluate([1, 2, 0, 1, 2, 1], pd.DataFrame(RIGHT), ["accuracy"], classes=[1, 2, 0])


@pytest.mark.parametrize("names", [["a", "b", "d"], ["x", "y", "z"], ["1", "2", "3"], ["a", "b", "prob_c"]])
def test_names_that_are_none_of_the_classes_are_refused(names: list[str]) -> None:
    with pytest.raises(InvalidError, match=r"named by the classes.*to_numpy"):
        evaluate(LABELS, pl.DataFrame(columns(names, "abc")), ["accuracy"], classes=["a", "b", "c"])


def test_names_tell_of_classes_that_no_row_has() -> None:
    rows = LABELS != "c"
    scores = pd.DataFrame(columns(list("cab"), "cab"))[rows]
    assert accuracy(LABELS[rows], scores) == 1.0
    with pytest.raises(InvalidError, match="classes"):
        evaluate(LABELS[rows], scores.to_numpy(), ["accuracy"])


def test_models_with_their_columns_in_other_orders_are_compared_class_by_class() -> None:
    first, second = pd.DataFrame(columns(list("abc"), "abc")), pl.DataFrame(columns(list("bca"), "bca"))
    found = compare(LABELS, first, second, ["accuracy", "log_loss"], bootstrap=10)
    assert [each.difference for each in found.differences] == [0.0, 0.0]
    few, other = LABELS[LABELS != "c"], second.filter(pl.Series(LABELS != "c")).rename({"c": "d"})
    with pytest.raises(InvalidError, match="champion"):
        compare(few, first[LABELS != "c"], other, ["accuracy"], bootstrap=10)


@pytest.mark.parametrize(
    "labels",
    [["a", None, "c", "a", "b", "a"], np.array(["a", 1, "c", "a", "b", "a"], object), [[each] for each in LABELS]],
    ids=["missing", "types", "columns"],
)
def test_labels_that_are_missing_or_of_two_types_are_refused(labels: Any) -> None:
    with pytest.raises(InvalidError, match="y_true"):
        evaluate(labels, RIGHT, ["accuracy"])


@pytest.mark.parametrize(
    "index",
    [pd.Index([5, 3, 1, 4, 0, 2]), pd.Index(list("uvwxyz"), name="customer"), pd.Index([0] * 6),
     pd.MultiIndex.from_product([[1, 2], [3, 4, 5]]), pd.date_range("2024-01-01", periods=6)],
    ids=["split", "named", "repeated", "levels", "times"],
)  # fmt: skip
def test_rows_go_by_position_whatever_index_they_have(index: Any) -> None:
    plain = pd.DataFrame({"k": list("xyxyyx"), "far": np.arange(6.0)})
    frame, truth, scores = plain.set_index(index), pd.Series(LABELS == "a", index[::-1]), RIGHT[:, 0]
    at: dict[str, Any] = {"slices": ["k", Slice("far", where="far < 3")], "bootstrap": Bootstrap(20, groups="k")}
    assert evaluate(truth, scores, ["brier"], frame=frame, **at) == evaluate(
        truth.to_numpy(), scores, ["brier"], frame=plain, **at
    )
    assert (
        fairness(truth, scores, "k", frame=frame)
        == fairness(truth, scores, frame["k"])
        == fairness(truth, scores, "k", frame=plain)
    )
    assert compare(truth, scores, scores, "brier", frame=frame, slices="k", bootstrap=10).rows == 6

    def model(rows: pd.DataFrame) -> Any:
        return rows["far"].fillna(0.0) / 9

    assert robustness(model, frame, truth, "roc_auc") == robustness(model, plain, truth, "roc_auc")
    seen: list[Any] = []
    measure_cost(seen.append, frame, batches=[4], calls=3)
    assert all(type(each.index) is type(frame.index[:4]) for each in seen)


def test_a_tensor_is_taken_with_its_gradient_and_without() -> None:
    scores = torch.tensor(RIGHT, requires_grad=True)
    assert accuracy(LABELS, scores) == accuracy(LABELS, scores.detach()) == 1.0
    assert accuracy(torch.tensor([1, 0]), torch.tensor([0.9, 0.1], requires_grad=True)) == 1.0
    assert accuracy([1, 0], torch.tensor([0.9, 0.1], dtype=torch.bfloat16)) == 1.0


@pytest.mark.parametrize("wrong", [-1, True, 1.5, "100", None])
def test_a_number_of_resamples_is_a_whole_one(wrong: Any) -> None:
    for make in (lambda: evaluate([0, 1], [0.1, 0.9], ["brier"], bootstrap=wrong), lambda: Bootstrap(wrong)):
        with pytest.raises((InvalidError, WrongTypeError), match="resamples"):
            make()
    assert evaluate([0, 1], [0.1, 0.9], ["brier"], bootstrap=np.int64(10)).intervals["brier"] is not None  # type: ignore[arg-type]  # a whole number of NumPy


@pytest.mark.parametrize(
    ("make", "path"),
    [
        (lambda: LOOSE.Bootstrap(level=1.0), "level"),
        (lambda: LOOSE.Bootstrap(level=float("nan")), "level"),
        (lambda: LOOSE.Bootstrap(method="basic"), "method"),
        (lambda: LOOSE.Slice("k", bins=-1), "bins"),
        (lambda: LOOSE.Slice("k", bins=[float("nan")]), "bins"),
        (lambda: LOOSE.evaluate([0, 1], [0.1, 0.9], ["brier"], slices=[5]), "slices"),
        (lambda: LOOSE.evaluate([0, 1], [0.1, 0.9], 5), "metrics"),
        (lambda: LOOSE.evaluate([0, 1], [0.1, 0.9], [5]), "metric"),
        (lambda: LOOSE.evaluate([0, 1], [[1], [1, 2]], ["brier"]), "y_score"),
        (lambda: LOOSE.robustness(len, pl.DataFrame({"k": [1]}), [1], "brier", columns=["", "k"]), "No column"),
        (lambda: LOOSE.robustness(len, pl.DataFrame({"k": [1]}), [1], "brier", repeats="5"), "repeats"),
        (lambda: LOOSE.measure_cost(len, pl.DataFrame({"k": [1]}), batches=[0]), "batches"),
        (lambda: LOOSE.measure_cost(len, pl.DataFrame({"k": [1]}), batches=["1"]), "batches"),
        (lambda: naive_scale({"a": [1, 2, 3]}, series=["a", ""]), "No series"),
        (lambda: naive_scale([1, 2, 3], season=0), "season: `0` is not a whole number"),
        (lambda: naive_scale([1, 2, 3], season=-1), "season: `-1` is not a whole number"),
        (lambda: LOOSE.fairness([0, 1], [0.1, 0.9], ["x", "y"], threshold="0.5"), "threshold"),
    ],
)  # fmt: skip
def test_what_is_wrong_is_named(make: Callable[[], object], path: str) -> None:
    with pytest.raises(MainspringError, match=path):
        make()


@pytest.mark.parametrize(
    "metric", ["accuracy", "f1", "recall@0.3", "balanced_accuracy", "precision", "specificity", "mcc"]
)
def test_a_threshold_of_probabilities_refuses_other_scores(metric: str) -> None:
    with pytest.raises(InvalidError, match=r"y_score: `-1\.5` is not a probability"):
        evaluate([0, 1], [-1.5, 2.0], [metric])


def test_a_threshold_that_is_given_may_be_on_any_scale() -> None:
    with pytest.raises(InvalidError, match="a probability"):
        fairness([0, 1, 1], [-1.5, 2.0, 3.0], ["x", "y", "x"])
    assert fairness([0, 1, 1], [-1.5, 2.0, 3.0], ["x", "y", "x"], threshold=0).threshold == 0.0


@pytest.mark.parametrize("metric", ["coverage", "coverage_error", "interval_width", "interval_score"])
def test_intervals_that_are_crossed_are_refused(metric: str) -> None:
    with pytest.raises(InvalidError, match=r"y_score: `\[3\.0, 1\.0\]` is not .*lower.*row 1"):
        evaluate([1.0, 2.0], [[0.0, 1.0], [3.0, 1.0]], [metric])
    assert evaluate([1.0], [[1.0, 1.0]], [metric]).metrics[metric] is not None


@pytest.mark.parametrize(
    "bounds",
    [{"at_least": "0.5"}, {"at_most": True}, {"at_least": float("nan")}, {"at_most": float("inf")},
     {"at_least": 0.9, "at_most": 0.1}, {"at_least": 0.5, "margin": "1"}, {"at_least": 0.5, "margin": float("nan")}],
)  # fmt: skip
def test_a_gate_takes_bounds_that_something_can_keep(bounds: dict[str, Any]) -> None:
    with pytest.raises((InvalidError, WrongTypeError), match="Gate"):
        Gate("roc_auc", **bounds)


def test_a_gate_that_is_none_is_refused() -> None:
    evaluation = evaluate([0, 1], [0.1, 0.9], "roc_auc")
    with pytest.raises(WrongTypeError, match="gates"):
        decide(evaluation, ["roc_auc"])  # type: ignore[list-item]  # what is tested
    with pytest.raises(NotFoundError, match="metric"):
        decide(evaluation, Gate("brier", at_most=1))
    with pytest.raises(WrongTypeError, match="evidence"):
        LOOSE.decide(evaluation, [], evidence=None)
    with pytest.raises(WrongTypeError, match="metric"):
        LOOSE.Gate(None, at_least=0.5)
    assert Gate("roc_auc", at_least=np.float32(0.5)) == Gate("roc_auc", at_least=0.5)  # type: ignore[arg-type]  # a number of NumPy
