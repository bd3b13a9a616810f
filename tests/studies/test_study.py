"""A study: trials are runs, a sequential study repeats, budgets hold, and what fails is told."""

from __future__ import annotations

import math
import sys
from pathlib import Path
from typing import Any

import numpy as np
import optuna
import polars as pl
import pytest

import mainspring as ms
from mainspring.artifacts.record import ArtifactStore
from mainspring.errors import ConflictError, CorruptBlobError, InvalidError, NotFoundError, WrongTypeError
from mainspring.runs import Metrics, RunFiles, RunInputs, RunStore
from mainspring.studies import LiveTrial, Study, Tuned, get_study, list_studies, resume_study, study
from mainspring.studies._store import StudyStore
from mainspring.studies.space import Range
from mainspring.testing.workspaces import Lab
from mainspring.workspace import using
from tests.studies.projects import OBJECTIVES

SPACE = {"x": ms.floats(-1, 1), "depth": ms.ints(1, 4)}


def parabola(x: float, depth: int) -> float:
    return (x - 0.3) ** 2 + depth


def search(lab: Lab, name: str = "late", **options: Any) -> Study:
    given: dict[str, Any] = {"space": SPACE, "direction": "minimize", "sampler": "random", "trials": 6}
    return study(name, options.pop("objective", parabola), workspace=lab.workspace, **given | options)


def told(found: Study) -> list[tuple[Any, ...]]:
    return [(trial.number, trial.state.value, trial.params, trial.values) for trial in found.trials()]


def test_each_trial_is_a_run_below_the_studys(lab: Lab) -> None:
    found = search(lab)
    runs = RunStore(lab.workspace.database)
    assert [trial.number for trial in found.trials()] == list(range(6))
    for trial in found.trials():
        run = runs.get(trial.run or "")
        assert (run.kind, run.parent, run.state.value, run.params) == ("trial", found.id, "succeeded", trial.params)
        assert Metrics(lab.workspace.metrics).latest_values(run.series) == pytest.approx({"value": trial.value})
    assert runs.get(found.id).state.value == "succeeded"
    assert found.best.value == min(trial.value or 0.0 for trial in found.trials())
    assert found.best_params == found.best.params


@pytest.mark.one_backend("what a sampler gives depends on what is replayed, which the journal's test holds on both")
@pytest.mark.parametrize("sampler", ["tpe", "random", "cmaes", "nsga2"])
def test_a_study_that_was_cut_repeats_bit_for_bit(lab: Lab, sampler: str) -> None:
    whole = search(lab, "whole", sampler=sampler, trials=14)
    search(lab, "cut", sampler=sampler, trials=5)
    cut = search(lab, "cut", sampler=sampler, trials=14)
    assert told(cut) == told(whole)
    assert told(search(lab, "other", sampler=sampler, trials=3, seed=1)) != told(whole)[:3]


def test_reports_are_metrics_and_prune(lab: Lab) -> None:
    def slow(trial: LiveTrial) -> float:
        height = trial.suggest_int("height", 0, 100)
        for step in range(4):
            trial.report(height + step, step)
            if trial.should_prune():
                raise trial.pruned()
        return height

    found = search(lab, objective=slow, space=None, pruner="median", trials=12, direction="maximize")
    pruned = found.trials("pruned")
    assert pruned
    assert found.trials("complete")
    series = RunStore(lab.workspace.database).get(pruned[0].run or "").series
    assert Metrics(lab.workspace.metrics).history(series, "value").items[0].step == 0


@pytest.mark.one_backend("the rules of what an objective may do are no concern of a backend")
def test_what_an_objective_raises_fails_its_trial_alone(lab: Lab) -> None:
    def moody(trial: LiveTrial) -> Any:
        odd: dict[int, Any] = {0: math.nan, 1: "good", 2: [1, 2], 3: None}
        if trial.number == 5:
            sys.exit("a wrong argument")
        return odd[trial.number] if trial.number in odd else 1 / (trial.number - 4)

    heard: list[int] = []
    found = search(lab, objective=moody, space=None, trials=7, on_trial=lambda trial: heard.append(trial.number))
    errors = {trial.number: trial.error for trial in found.trials("failed")}
    assert set(errors) == {0, 1, 2, 3, 4, 5}
    assert "NaN" in (errors[0] or "")
    assert errors[4] == "ZeroDivisionError: division by zero"
    assert errors[5] == "SystemExit: a wrong argument"
    assert found.best.number == 6
    assert heard == list(range(7))
    with pytest.raises(NotFoundError, match="ZeroDivisionError"):
        search(lab, "all", objective=lambda x, depth: 1 / 0).best  # noqa: B018  # the access is what raises


def test_a_grid_is_tried_once_each_and_other_metrics_are_kept(lab: Lab) -> None:
    def scored(depth: int, kind: str) -> dict[str, float]:
        return {"size": depth, "auc": depth / 10 + len(kind)}

    space = {"depth": ms.ints(1, 3), "kind": ms.choices("a", "bb")}
    found = search(lab, objective=scored, space=space, sampler="grid", metric="auc", direction="maximize", trials=None)
    points = [(trial.params["depth"], trial.params["kind"]) for trial in found.trials()]
    assert points == [(1, "a"), (1, "bb"), (2, "a"), (2, "bb"), (3, "a"), (3, "bb")]
    again = search(lab, objective=scored, space=space, sampler="grid", metric="auc", direction="maximize", trials=None)
    assert told(again) == told(found)
    part = search(
        lab, "part", objective=scored, space=space, sampler="grid", metric="auc", direction="maximize", trials=2
    )
    assert [trial.number for trial in part.trials()] == [0, 1]
    assert [trial.number for trial in part.trials("waiting")] == [2, 3, 4, 5]
    run = RunStore(lab.workspace.database).get(found.best.run or "")
    assert set(Metrics(lab.workspace.metrics).latest_values(run.series)) == {"size", "auc"}


def test_whatever_a_trial_returns_or_logs_is_kept_with_its_run(lab: Lab) -> None:
    def told(x: float) -> dict[str, Any]:
        ms.log_note("seen")
        ms.log_text("all", "notes/all.txt")
        ms.log_dataset([1, 2], "rows")
        return {"kind": "ridge", "value": x, "sizes": [1, 2], "rows": np.int64(3), "weights": np.ones(2), "left": None}

    found = search(lab, objective=told, space={"x": ms.choices(0.5)}, trials=1)
    assert [(trial.error, trial.values) for trial in found.trials()] == [(None, {"value": 0.5})]
    run = RunStore(lab.workspace.database).get(found.best.run or "")
    tags = {"kind": "ridge", "sizes": "[1,2]", "weights": "[1.0,1.0]", "left": "None", "mainspring.trial": "complete"}
    assert (run.tags, run.note) == (tags, "seen")
    assert Metrics(lab.workspace.metrics).latest_values(run.series) == {"value": 0.5, "rows": 3.0}
    assert list(RunFiles(lab.workspace).walk(run.id)) == ["notes/all.txt"]
    assert [each.name for each in RunInputs(lab.workspace.database).inputs(run.id)] == ["rows"]


@pytest.mark.one_backend("the rules of what an objective may do are no concern of a backend")
def test_a_result_that_can_not_be_kept_fails_its_trial_alone(lab: Lab) -> None:
    found = search(lab, objective=lambda x: {"value": x, "a\nb": 1}, space={"x": ms.floats(0, 1)}, trials=2)
    assert ["name of a metric" in (trial.error or "") for trial in found.trials("failed")] == [True, True]


def test_each_trial_has_inputs_of_its_own(lab: Lab, tmp_path: Path) -> None:
    (tmp_path / "rows.csv").write_text("1")
    met = []

    def emptying(x: float, rows: list[int], frame: pl.DataFrame, file: Path) -> float:
        met.append((list(rows), frame.columns, file.read_text()))
        rows.pop()
        frame.insert_column(0, pl.Series("new", [1]))
        file.write_text("2")
        return x

    inputs = {"rows": [1, 2], "frame": pl.DataFrame({"a": [1]}), "file": tmp_path / "rows.csv"}
    found = search(lab, objective=emptying, space={"x": ms.floats(0, 1)}, inputs=inputs, trials=2)
    assert [trial.error for trial in found.trials()] == [None, None]
    assert met == [([1, 2], ["a"], "1")] * 2
    assert (inputs["rows"], (tmp_path / "rows.csv").read_text()) == ([1, 2], "1")


@pytest.mark.one_backend("what is damaged is told by the store of either")
def test_inputs_that_are_damaged_end_the_study_and_not_each_trial(lab: Lab) -> None:
    search(lab, space={"x": ms.floats(0, 1)}, inputs={"depth": 2}, trials=1)
    (artifact,) = StudyStore(lab.workspace).get("late").definition.inputs.values()
    kept = ArtifactStore(lab.workspace.database, lab.workspace.ledger).get(artifact).encoded
    path = lab.workspace.blobs.path(kept.blob)
    path.chmod(0o600)
    path.write_bytes(b"gone")
    with pytest.raises(CorruptBlobError):
        resume_study("late", trials=3, workspace=lab.workspace)
    assert [trial.state.value for trial in get_study("late", workspace=lab.workspace).trials()] == [
        "complete",
        "waiting",
    ]


@pytest.mark.one_backend("a rule over numbers")
@pytest.mark.parametrize("step", [0.1, 0.3, 1 / 6, 5 / 7, 1e-3])
def test_a_grid_tries_the_numbers_that_a_step_is_written_with(step: float) -> None:
    points = ms.floats(0, 0.3, step=0.1).points("x") + ms.floats(1, 1 + 3 * step, step=step).points("x")
    assert points[:4] == [0.0, 0.1, 0.2, 0.3]
    assert points[4:] == pytest.approx([1 + n * step for n in range(4)], abs=1e-12)


@pytest.mark.one_backend("a rule over the trials' values")
def test_several_metrics_have_a_pareto_front_and_no_best(lab: Lab) -> None:
    def both(x: float) -> tuple[float, float]:
        return x**2, (x - 1) ** 2

    space = {"x": ms.floats(-1, 2, step=0.5)}
    found = search(
        lab, objective=both, space=space, sampler="grid", metric=("left", "right"), direction="minimize", trials=None
    )
    assert [trial.params["x"] for trial in found.pareto] == [0.0, 0.5, 1.0]
    with pytest.raises(InvalidError, match="pareto"):
        found.best  # noqa: B018  # the access is what raises


def test_budgets_hold(lab: Lab) -> None:
    def costly(trial: LiveTrial) -> float:
        trial.add_cost(2.5)
        return trial.suggest_float("x", 0, 1)

    found = search(lab, objective=costly, space=None, trials=None, budget_cost=9)
    assert [trial.cost for trial in found.trials()] == [2.5] * 4
    assert len(search(lab, "soon", trials=None, timeout_s=1e-9).trials()) == 0
    with pytest.raises(InvalidError, match="needs an end"):
        search(lab, "endless", trials=None)


def test_another_goal_or_input_needs_another_name(lab: Lab) -> None:
    search(lab, objective=lambda x, w: x * w, space={"x": ms.floats(0, 1)}, inputs={"w": 2}, trials=1)
    with pytest.raises(ConflictError, match="begun to minimize value"):
        search(lab, direction="maximize")
    with pytest.raises(ConflictError, match="other inputs"):
        search(lab, objective=lambda x, w: x * w, space={"x": ms.floats(0, 1)}, inputs={"w": 3})


@pytest.mark.one_backend("numbers are the same on both")
def test_numbers_of_numpy_are_numbers_and_steps_end_where_they_fit(lab: Lab) -> None:
    half: Any = np.float32(0.5)
    kinds = ms.choices(*np.arange(2), half)
    one: Any = np.int64(1)
    assert (ms.ints(one, one + 3), kinds) == (ms.ints(1, 4), ms.choices(0, 1, 0.5))
    assert [type(value) for value in kinds.values] == [int, int, float]

    def objective(few: int, rate: float, kind: float, trial: LiveTrial) -> float:
        trial.report(one * rate, one * few)
        return few

    space: dict[str, Range] = {"few": ms.ints(0, 9, step=4), "rate": ms.floats(0, 1, step=0.3), "kind": kinds}
    found = search(lab, objective=objective, space=space, trials=3)  # a warning would be an error
    assert [trial.state.value for trial in found.trials()] == ["complete"] * 3
    whole = search(lab, "whole", objective=objective, space=space, sampler="grid", trials=None)
    assert (whole.best.value, len(whole.trials("complete"))) == (0, 3 * 4 * 3)


@pytest.mark.one_backend("a rule over two spaces")
def test_a_space_that_the_trials_before_teach_nothing_of_needs_another_name(lab: Lab) -> None:
    def kinds(name: str, x: Range, **options: Any) -> Study:
        return search(lab, name, objective=lambda x: len(str(x)), space={"x": x}, **options)

    letters, numbers = ms.choices("a", "b"), ms.ints(1, 4)
    for name, old in (("letters", letters), ("numbers", numbers)):
        kinds(name, old, trials=1)
    for name, new in (
        ("letters", ms.choices("a", "b", "c")), ("letters", ms.choices("a")), ("letters", numbers),
        ("numbers", ms.floats(1, 4)), ("numbers", ms.ints(1, 4, log=True)),
    ):  # fmt: skip
        with pytest.raises(ConflictError, match=r"`x` was .*, and is .* now. Take another name"):
            kinds(name, new, trials=3)
        with pytest.raises(ConflictError, match="`x` was"):
            kinds("heir", new, trials=1, warm_start=name)
    assert kinds("heir", letters, trials=1, warm_start="letters").best.number == 1
    assert [trial.state.value for trial in kinds("numbers", ms.ints(0, 9), trials=4).trials()] == ["complete"] * 4
    with using(lab.workspace), pytest.raises(InvalidError, match=r"`loss, size`.*pareto"):
        ms.tune(lambda x: (x, x), space={"x": numbers}, metric=("loss", "size"), direction="minimize", trials=1)


def test_a_study_learns_from_another(lab: Lab) -> None:
    first = search(lab, "first", sampler="tpe", trials=12)
    second = search(lab, "second", sampler="tpe", trials=3, warm_start="first")
    taken = [trial for trial in second.trials(taken_over=True) if trial.taken_from]
    assert [trial.run for trial in taken] == [trial.run for trial in first.trials()]
    assert [trial.number for trial in second.trials()] == [12, 13, 14]
    assert len(search(lab, "second", sampler="tpe", trials=4, warm_start="first").trials()) == 4
    assert isinstance(second.optuna, optuna.Study)
    assert len(second.optuna.trials) == 16


@pytest.mark.one_backend("workers are the same processes on both")
def test_a_trial_that_crashes_or_hangs_is_told_and_the_study_goes_on(lab: Lab) -> None:
    lab.write(OBJECTIVES, "objectives")
    space = {"kind": ms.choices("raise", "leave", "crash", "fine", "hang", "good too")}
    module = lab.load("objectives")
    found = search(
        lab, objective=module.troubled, space=space, sampler="grid", direction="maximize", trials=None, jobs=2,
        trial_timeout_s=0.4,
    )  # fmt: skip
    states = {trial.params["kind"]: (trial.state.value, trial.error) for trial in found.trials()}
    assert states == {
        "raise": ("failed", "ValueError: it can't be done"),
        "leave": ("failed", "SystemExit: 2"),
        "crash": ("failed", "exit: its process ended with exit code 3"),
        "hang": ("failed", "timeout: it ran longer than its limit of 0.4 s"),
        "fine": ("complete", None),
        "good too": ("complete", None),
    }
    with pytest.raises(InvalidError, match="another process can import"):
        search(lab, "closed", objective=lambda x, depth: 0, jobs=2)


def test_a_study_is_resumed_from_its_record(lab: Lab) -> None:
    lab.write(OBJECTIVES, "objectives")
    module = lab.load("objectives")
    search(lab, objective=module.weighted, space={"x": ms.floats(0, 1)}, inputs={"weights": [1, 2]}, trials=2)
    found = resume_study("late", trials=5, workspace=lab.workspace)
    assert [trial.values["value"] == pytest.approx(3 * trial.params["x"]) for trial in found.trials()] == [True] * 5
    assert [each.name for each in list_studies(workspace=lab.workspace)] == ["late"]
    with pytest.raises(NotFoundError, match="Nearest: late"):
        get_study("lat3", workspace=lab.workspace)


def test_an_interrupted_trial_waits_and_is_made_again(lab: Lab) -> None:
    tries: list[dict[str, Any]] = []

    def stopped(x: float, depth: int) -> float:
        tries.append({"x": x, "depth": depth})
        if len(tries) == 2:
            raise KeyboardInterrupt
        return x

    with pytest.raises(KeyboardInterrupt):
        search(lab, objective=stopped)
    assert (
        RunStore(lab.workspace.database).get(get_study("late", workspace=lab.workspace).id).state.value == "cancelled"
    )
    found = search(lab, objective=stopped)
    assert tries[1] == tries[2] == found.trials()[1].params
    assert [trial.attempts for trial in found.trials()] == [1, 2, 1, 1, 1, 1]


@pytest.mark.one_backend("nothing is stored")
@pytest.mark.parametrize(
    ("options", "error", "message"),
    [
        ({"sampler": "tpee"}, InvalidError, "sampler: `tpee`"),
        ({"direction": "up"}, InvalidError, "direction: `up`"),
        ({"trials": 0}, InvalidError, "above 0"),
        ({"space": {"x": (0, 1)}}, WrongTypeError, "space `x`"),
        ({"space": {"y": ms.floats(0, 1)}}, InvalidError, "parabola: `y`"),
        ({"space": {"x": ms.floats(0, 1)}}, InvalidError, "parabola: `depth`"),
        ({"sampler": "grid"}, InvalidError, "finite list"),
        ({"metric": ("a", "b"), "pruner": "median"}, InvalidError, "nothing to prune by"),
        ({"inputs": {"x": 1}}, InvalidError, "inputs: `x`.*`space`"),
        ({"inputs": ["x"]}, WrongTypeError, "inputs: .*a dict"),
        ({"space": ["x"]}, WrongTypeError, "space: .*a dict"),
        ({"trials": "3"}, WrongTypeError, "trials: `3`"),
        ({"trials": 1.5}, WrongTypeError, "trials: `1.5`"),
        ({"timeout_s": "1"}, WrongTypeError, "timeout_s: `1`"),
        ({"budget_cost": "1"}, WrongTypeError, "budget_cost: `1`"),
        ({"jobs": 1.5}, WrongTypeError, "jobs: `1.5`"),
        ({"seed": "a"}, WrongTypeError, "seed: `a`"),
        ({"metric": 5}, WrongTypeError, "metric: `5`"),
        ({"direction": None}, WrongTypeError, "direction: `None`"),
        ({"objective": 5}, WrongTypeError, "objective: `5`"),
        ({"name": 5}, WrongTypeError, "study: `5`"),
    ],
)
def test_what_is_wrong_is_named(lab: Lab, options: dict[str, Any], error: type[Exception], message: str) -> None:
    with pytest.raises(error, match=message):
        search(lab, **options)


def test_tune_gives_the_best(lab: Lab) -> None:
    with using(lab.workspace):
        best = ms.tune(parabola, space=SPACE, direction="minimize", sampler="random", trials=4)
    assert isinstance(best, Tuned)
    assert best.value == get_study("parabola", workspace=lab.workspace).best_value
