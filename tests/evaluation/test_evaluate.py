"""Evaluation on slices, and the gates it is held to."""

from __future__ import annotations

import msgspec
import numpy as np
import polars as pl
import pytest

from mainspring.errors import InvalidError, NotAllowedError, NotFoundError
from mainspring.evaluation import Evaluation, Gate, Slice, SliceValues, decide, evaluate, get_metric

GENERATOR = np.random.default_rng(7)
TRUTH = GENERATOR.integers(0, 2, 400)
SCORES = np.clip(TRUTH * 0.3 + GENERATOR.random(400) * 0.7, 0, 1)
FRAME = pl.DataFrame({"carrier": (["UA", "AA", None, "B6"] * 100), "month": list(range(1, 9)) * 50})


def made(**metrics: float | None) -> Evaluation:
    return Evaluation(100, dict(metrics), {name: name != "log_loss" for name in metrics})


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
    assert repr(made(a=0.5, b=None, c=1.0)) == "<evaluation on 100 rows, a 0.5000, b –, …>"


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


def test_slices_need_their_table() -> None:
    with pytest.raises(InvalidError, match="no table"):
        evaluate([0, 1], [0.5, 0.5], ["brier"], slices=["k"])
    with pytest.raises(NotFoundError, match="Nearest: carrier"):
        evaluate(TRUTH, SCORES, ["brier"], slices=["carier"], frame=FRAME)
    with pytest.raises(InvalidError, match="a condition"):
        evaluate(TRUTH, SCORES, ["brier"], slices=[Slice("x", where="nothing = 1")], frame=FRAME)


def test_gates_pass_or_say_why_not() -> None:
    report = decide(made(roc_auc=0.64, log_loss=0.5), [Gate("roc_auc", at_least=0.65), Gate("log_loss", at_most=0.6)])
    assert [result.passed for result in report.reasons] == [False, True]
    assert report.reasons[0].reason == "roc_auc is 0.6400, at least 0.6500 is asked."
    with pytest.raises(NotAllowedError, match=r"The gates did not pass\. roc_auc is 0\.6400"):
        report.raise_for_failure()
    decide(made(roc_auc=0.65), [Gate("roc_auc", at_least=0.65)]).raise_for_failure()


@pytest.mark.parametrize(("loss", "margin", "passed"), [(0.50, 0.0, True), (0.51, 0.0, False), (0.51, 0.02, True)])
def test_a_gate_against_the_champion_knows_which_way_is_better(loss: float, margin: float, passed: bool) -> None:
    gate = Gate("log_loss", no_worse_than_champion=True, margin=margin)
    assert decide(made(log_loss=loss), [gate], made(log_loss=0.50)).passed == passed
    assert decide(made(log_loss=loss), [gate]).passed


def test_a_gate_on_the_worst_slice() -> None:
    frame = pl.DataFrame({"k": ["a", "a", "b", "b"]})
    evaluation = evaluate([0, 1, 0, 1], [0.1, 0.9, 0.9, 0.1], ["accuracy"], slices=["k"], frame=frame)
    report = decide(evaluation, [Gate("accuracy", at_least=0.4, worst_slice="k")])
    assert report.reasons[0].reason == "accuracy on the worst slice, k=b (2 rows), is 0.0000, at least 0.4000 is asked."
    assert not decide(evaluation, [Gate("accuracy", at_least=0.0, worst_slice="month")]).passed


def test_a_gate_report_is_a_table_of_values_and_bounds() -> None:
    slices = (SliceValues("carrier", "AA", 20, {"roc_auc": 0.5, "brier": None}),)
    rates = {"roc_auc": True, "brier": False}
    evaluation = Evaluation(1000, {"roc_auc": 0.71, "brier": None}, rates, slices)
    gates = [
        Gate("roc_auc", at_least=0.65, at_most=0.9),
        Gate("roc_auc", at_least=0.6, worst_slice="*"),
        Gate("brier", at_most=0.2, worst_slice="carrier"),
        Gate("roc_auc", no_worse_than_champion=True),
    ]
    assert str(decide(evaluation, gates)).splitlines() == [
        "2 of 4 gates passed",
        "  pass  roc_auc                        0.7100  at least 0.6500, at most 0.9000",
        "  FAIL  roc_auc on carrier=AA (worst)  0.5000  at least 0.6000",
        "  FAIL  brier on the worst slice            –  at most 0.2000",
        "  pass  roc_auc                        0.7100  there is no champion to compare with",
    ]
    assert repr(decide(evaluation, gates)) == "<gates failed, 2 of 4>"
    assert str(decide(evaluation, [])) == "0 of 0 gates passed"


def test_no_evidence_is_not_a_pass() -> None:
    assert not decide(made(roc_auc=None), [Gate("roc_auc", at_least=0.0)]).passed
    with pytest.raises(NotFoundError, match="It was not evaluated"):
        decide(made(roc_auc=0.5), [Gate("brier", at_most=1)])
    with pytest.raises(InvalidError, match="no bound"):
        Gate("roc_auc")


def test_a_metric_new_since_the_champion_passes_and_says_so() -> None:
    champion = Evaluation(1000, {"roc_auc": 0.7}, {"roc_auc": True})
    challenger = Evaluation(1000, {"roc_auc": 0.7, "brier": 0.2}, {"roc_auc": True, "brier": False})
    report = decide(challenger, [Gate("brier", no_worse_than_champion=True)], champion)
    assert report.passed
    assert "not measured on the champion" in report.reasons[0].reason
    assert not decide(challenger, [Gate("brier", at_most=0.1, no_worse_than_champion=True)], champion).passed
