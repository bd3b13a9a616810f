"""Gates pass, or say why not; no evidence is not a pass."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import polars as pl
import pytest

from mainspring.errors import InvalidError, NotAllowedError, NotFoundError, WrongTypeError
from mainspring.evaluation import Evaluation, Gate, SliceValues, compare, decide, evaluate, fairness, goal_gates
from mainspring.stats import Interval


def made(**metrics: float | None) -> Evaluation:
    return Evaluation(100, dict(metrics), {name: name != "log_loss" for name in metrics})


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


def test_a_misspelt_slice_is_told_with_the_nearest() -> None:
    slices = (SliceValues("carrier", "AA", 20, {"roc_auc": 0.5}), SliceValues("origin", "LAX", 20, {"roc_auc": 0.5}))
    evaluation = Evaluation(1000, {"roc_auc": 0.71}, {"roc_auc": True}, slices)
    report = decide(evaluation, [Gate("roc_auc", at_least=0.6, worst_slice="carier")])
    assert report.reasons[0].reason.endswith("there is no evidence. Nearest slice: carrier.")
    assert str(report).endswith("at least 0.6000, but it is not defined. Nearest slice: carrier")
    assert "Nearest" not in str(decide(evaluation, [Gate("roc_auc", at_least=0.6, worst_slice="month")]))


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
        "  FAIL  brier on the worst slice            –  at most 0.2000, but it is not defined",
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


def test_a_confident_gate_goes_by_the_worse_end() -> None:
    evaluation = Evaluation(100, {"auc": 0.7}, {"auc": True}, (), "", {"auc": Interval(0.6, 0.8)})
    gates = [
        Gate("auc", at_least=0.65),
        Gate("auc", at_least=0.65, confident=True),
        Gate("auc", at_most=0.8, confident=True),
    ]
    report = decide(evaluation, gates)
    assert [result.passed for result in report.reasons] == [True, False, True]
    assert report.reasons[1].reason == ("auc is 0.7000 [0.6000, 0.8000], at least 0.6500 with 95% confidence is asked.")
    without = decide(made(auc=0.7), [Gate("auc", at_least=0.65, confident=True)])
    assert not without.passed
    assert "no interval" in without.reasons[0].reason


def test_the_champions_gates_go_by_the_interval_of_the_difference() -> None:
    generator = np.random.default_rng(1)
    truth = generator.integers(0, 2, 500)
    base = truth + generator.normal(0, 1, 500)
    noisy = base + generator.normal(0, 1.5, 500)
    candidate, champion = (1 / (1 + np.exp(-each)) for each in (base, noisy))
    frame = pl.DataFrame({"k": ["a", "b"] * 250})

    def decided(first: np.ndarray, second: np.ndarray, **gate: object) -> tuple[bool, str]:
        evaluation = evaluate(truth, first, ["roc_auc"], slices=["k"], frame=frame)
        comparison = compare(truth, first, second, ["roc_auc"], slices=["k"], frame=frame, bootstrap=200)
        result = decide(evaluation, [Gate("roc_auc", **gate)], comparison=comparison).reasons[0]  # type: ignore[arg-type]  # fields of a gate
        return result.passed, result.asked

    assert decided(candidate, champion, better_than_champion=True)[0]
    assert not decided(candidate, candidate, better_than_champion=True)[0]
    assert decided(candidate, candidate + 0.0, no_worse_than_champion=True, margin=0.01)[0]
    assert not decided(champion, candidate, no_worse_than_champion=True, margin=0.01)[0]
    assert decided(champion, candidate, no_worse_than_champion=True, margin=0.5)[0]
    assert decided(candidate, champion, no_worse_than_champion=True, worst_slice="k")[0]
    passed, asked = decided(champion, candidate, no_worse_than_champion=True, worst_slice="*")
    assert not passed
    assert "it is on k=a, k=b" in asked


def test_gates_name_numbers_of_the_evidence() -> None:
    fair = fairness([1, 1, 0, 1], [0.9, 0.9, 0.1, 0.1], ["a", "a", "b", "b"])
    report = decide(made(auc=0.7), [Gate("demographic_parity_gap", at_most=0.2)], evidence=[fair])
    assert report.reasons[0].reason == ("demographic_parity_gap (a against b) is 1.0000, at most 0.2000 is asked.")
    with pytest.raises(NotFoundError, match="Nearest: demographic_parity_gap"):
        decide(made(auc=0.7), [Gate("demographic_parity_gp", at_most=0.2)], evidence=[fair])


def test_the_goal_of_the_project_is_a_gate(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "mainspring.toml").write_text('name = "x"\n[goal]\nmetric = "brier"\nat_most = 0.2\n')
    monkeypatch.chdir(tmp_path)
    assert goal_gates() == [Gate("brier", at_most=0.2)]
    assert goal_gates({"metric": "brier"}) == []
    with pytest.raises(WrongTypeError, match=r"goal\.at_least"):
        goal_gates({"metric": "auc", "at_least": "high"})
    with pytest.raises(InvalidError, match=r"goal\.metric"):
        goal_gates({"at_least": 0.5})


@pytest.mark.parametrize("margin", [-0.1, float("nan")])
def test_a_margin_is_not_below_0(margin: float) -> None:
    with pytest.raises(InvalidError, match="margin"):
        Gate("auc", no_worse_than_champion=True, margin=margin)


def test_better_than_what_was_recorded_of_the_champion() -> None:
    gate = Gate("log_loss", better_than_champion=True)
    assert decide(made(log_loss=0.4), [gate], made(log_loss=0.5)).passed
    assert not decide(made(log_loss=0.5), [gate], made(log_loss=0.5)).passed
