"""A step that looks for what there is runs again, as it may find something else; one that records and changes does not."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import polars as pl
import pytest

from mainspring.data import dataset
from mainspring.features import Entity, FeatureService, FeatureView, apply
from mainspring.models import Field, Signature, register, set_alias
from mainspring.runs import start_run
from mainspring.serving import bind
from mainspring.studies import study
from mainspring.testing.workspaces import Lab, states, task_of
from mainspring.workspace import using

pytestmark = pytest.mark.one_backend("what a step reads is noted, whatever the store")

LOOKING = """
import mainspring as ms
from mainspring.data import list_datasets
from mainspring.evaluation import is_approved, list_waiting, recorded_evaluation
from mainspring.features import FeatureReader, list_definitions, search_definitions
from mainspring.models import *
from mainspring.runs import ExperimentStore, best_run, compare_runs, search_runs
from mainspring.serving import list_endpoints
from mainspring.serving.feedback import scan_labels
from mainspring.serving.predictions import scan_predictions
from mainspring.studies import get_study, list_studies
from mainspring.workspace import current_workspace
@ms.step
def look(): return str(LOOK)
@ms.pipeline
def main(): return look()
"""
WORKING = """
import mainspring as ms
from mainspring.models import *
@ms.step
def work():
    with ms.start_run("own", params={"depth": 3}) as run:
        run.log_metric("auc", 0.5)
    version = register(complex(2), "made", signature=Signature((Field("x", "f64"),)))
    set_alias(f"made/latest", "champion")
    set_version_tags("made@champion", {"a": "b"})
    set_stage("made/latest", "Production")
    get_model("made")
    return str(get_model_version("made/1")) + str(get_model_version(version)) + str(get_model_version(version.id))
@ms.pipeline
def main(): return work()
"""
FOUND_FIRST = """
import mainspring as ms
@ms.step
def use(names): return names
@ms.pipeline
def main(): return use([run.name for run in ms.search_runs("params.depth = '3'", order_by=["start_time ASC"])])
"""


@pytest.fixture
def made(lab: Lab) -> Lab:
    register(complex(2), "plain", signature=Signature((Field("x", "f64"),)), workspace=lab.workspace)
    set_alias("plain/1", "champion", workspace=lab.workspace)
    bind("plain", "plain@champion", workspace=lab.workspace)
    with start_run("first", params={"depth": 3}, workspace=lab.workspace) as run:
        run.log_metric("auc", 0.5)
    at = datetime(2026, 1, 1, tzinfo=UTC)
    with using(lab.workspace):
        study("tuned", objective, direction="maximize", trials=1)
        dataset("rows").commit(pl.DataFrame({"user": ["a"], "at": [at], "value": [1.0]}))
        view = FeatureView("rows", entity=Entity("user"), source="rows", event_time="at", features=["value"])
        apply(FeatureService("one", [view]))
    return lab


def objective(trial: Any) -> float:
    return 1.0 if trial is not None else 0.0


@pytest.mark.parametrize(
    ("call", "kind", "name"),
    [
        ("ms.search_runs('metrics.auc > 0.1')", "search", "runs where metrics.auc > 0.1"),
        ("best_run('auc')", "search", "runs where metrics.`auc` IS NOT NULL"),
        ("compare_runs(['latest'])", "run", "latest"),
        ("ExperimentStore(current_workspace().database).search()", "search", "experiments"),
        ("search_models()", "search", "models"),
        ("list_models()", "search", "models"),
        ("search_model_versions('name = \"plain\"')", "search", 'model versions where name = "plain"'),
        ("list_model_versions('plain')", "search", "versions of plain"),
        ("list_aliases('plain')", "search", "aliases of plain"),
        ("alias_history('plain', 'champion')", "search", "moves of plain@champion"),
        ("stage_history('plain/1')", "search", "stages of plain/1"),
        ("get_model_version('plain@champion')", "model", "plain@champion"),
        ("recorded_evaluation('plain@champion')", "model", "plain@champion"),
        ("list_datasets()", "search", "datasets"),
        ("list_definitions()", "search", "feature definitions"),
        ("search_definitions('late')", "search", "feature definitions"),
        ("list_endpoints()", "search", "endpoints"),
        ("list_studies()", "search", "studies"),
        ("get_study('tuned').best", "search", "trials of tuned"),
        ("FeatureReader('one', current_workspace()).names", "search", "features of one/1 in the online store"),
        ("scan_predictions('plain').collect()", "search", "predictions of plain"),
        ("scan_labels('plain').collect()", "search", "labels of plain"),
        ("is_approved('plain/1')", "search", "decisions on plain/1"),
        ("list_waiting()", "search", "versions that wait for a decision"),
    ],
)
def test_what_a_step_finds_by_looking_is_noted(made: Lab, call: str, kind: str, name: str) -> None:
    ran = made.write_and_run(LOOKING.replace("LOOK", call))
    ran.raise_for_state()
    (first, *others) = [(seen["kind"], seen["name"]) for seen in task_of(ran, "look").seen]
    # The newest run is the pipeline's own, which goes on.
    assert (first, others) == ((kind, name), [("run", ran.run.id)] if name == "latest" else [])
    assert states(made.run()) == {"look": "succeeded"}


def test_why_names_the_search(made: Lab) -> None:
    text = LOOKING.replace("str(LOOK)", """[run.name for run in ms.search_runs("params.depth = '3'")]""")
    assert made.write_and_run(text).value == ["first"]
    with start_run("second", params={"depth": 3}, workspace=made.workspace):
        pass
    again = made.run()
    assert again.value == ["second", "first"]
    told = "not reusable: it read the undeclared search `runs where params.depth = '3'` (flow.py:"
    assert task_of(again, "look").reasons[0].startswith(told)


def test_a_step_that_records_and_changes_runs_and_models_is_reused(lab: Lab) -> None:
    ran = lab.write_and_run(WORKING)
    ran.raise_for_state()
    assert task_of(ran, "work").seen == []
    assert states(lab.run()) == {"work": "reused"}


def test_what_the_pipeline_finds_is_an_input_of_the_step(made: Lab) -> None:
    with using(made.workspace):
        assert made.write_and_run(FOUND_FIRST).value == ["first"]
        assert states(made.run()) == {"use": "reused"}
        with start_run("second", params={"depth": 3}):
            pass
        assert made.run().value == ["first", "second"]


def test_a_run_that_goes_on_is_noted_when_it_is_compared(made: Lab) -> None:
    with start_run("going", workspace=made.workspace) as run:
        ran = made.write_and_run(LOOKING.replace("LOOK", f"compare_runs([{run.id!r}])"))
        assert [(seen["kind"], seen["name"]) for seen in task_of(ran, "look").seen] == [("run", run.id)]
    assert [states(made.run()) for _ in range(2)] == [{"look": "succeeded"}] * 2  # the second one's result is kept
    assert states(made.run()) == {"look": "reused"}
