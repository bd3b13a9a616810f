"""Experiments, runs and metrics in MLflow's terms: what a client writes it reads, and so does everybody else."""

from __future__ import annotations

from contextvars import copy_context
from typing import Any

import msgspec
import pytest

from mainspring.ledger import moving_noted
from mainspring.runs import RunState, RunStore, search_runs, start_run
from mainspring.server.mlflow.adoption import Adoption
from mainspring.workspace import Workspace
from tests.server.conftest import Client


def test_a_run_of_a_client_is_a_run_like_any_other(client: Client, workspace: Workspace) -> None:
    number = client.post("experiments/create", name="flights", tags=[{"key": "a", "value": "b"}])["experiment_id"]
    run_id = client.run(
        experiment_id=number, run_name="first", start_time="1700000000000",
        tags=[{"key": "mlflow.note.content", "value": "why"}, {"key": "mlflow.user", "value": "me"}],
    )  # fmt: skip
    client.post("runs/log-parameter", run_id=run_id, key="depth", value="3")
    client.post("runs/log-metric", run_id=run_id, key="auc", value="NaN", timestamp=1, step="9007199254740993")
    client.post("runs/update", run_id=run_id, status="FINISHED", end_time=1_700_000_001_000)
    (run,) = search_runs("params.depth = '3'", experiments=["flights"], workspace=workspace)
    assert (run.id, run.kind, run.name, run.note, run.state.value) == (run_id, "mlflow", "first", "why", "succeeded")
    assert run.duration_s == 1.0
    told = client.get("runs/get", run_id=run_id)["run"]
    assert told["info"]["status"] == "FINISHED"
    assert told["info"]["user_id"] == "me"
    assert told["data"]["metrics"] == [{"key": "auc", "value": "NaN", "timestamp": 1, "step": 9_007_199_254_740_993}]


def test_a_run_of_ours_is_read_by_clients(client: Client, workspace: Workspace) -> None:
    with start_run("mine", params={"depth": 3, "flags": [1, 2]}, workspace=workspace) as run:
        run.log_metric("auc", float("inf"), step=2)
    told = client.get("runs/get", run_id=run.id)["run"]
    assert {each["key"]: each["value"] for each in told["data"]["params"]} == {"depth": "3", "flags": "[1,2]"}
    assert told["data"]["metrics"][0]["value"] == "Infinity"
    assert {"key": "mlflow.runName", "value": "mine"} in told["data"]["tags"]
    (found,) = client.post("runs/search", experiment_ids=["0"], filter="metrics.auc > 1")["runs"]
    assert found["info"]["run_id"] == run.id


def test_a_client_does_not_end_a_run_that_an_engine_works_on(client: Client, workspace: Workspace) -> None:
    with start_run("mine", workspace=workspace) as run:
        client.post("runs/update", run_id=run.id, status="FINISHED", run_name="named by a client")
        found = RunStore(workspace.database).get(run.id)
        assert (found.state.value, found.name) == ("running", "named by a client")


def test_a_run_of_a_client_runs_until_its_client_ends_it(client: Client, workspace: Workspace) -> None:
    store, run_id = RunStore(workspace.database), client.run()
    assert store.shown_state(store.get(run_id), workspace.leases) is RunState.RUNNING
    client.post("runs/update", run_id=run_id, status="FAILED")
    assert store.shown_state(store.get(run_id), workspace.leases) is RunState.FAILED


@pytest.mark.one_backend("what a step reads is noted, whatever the store")
def test_a_run_that_goes_on_is_noted_when_a_steps_client_reads_it_unless_it_is_the_steps(
    client: Client, workspace: Workspace
) -> None:
    own, other, ended = client.run(), client.run(), client.run()
    client.post("runs/update", run_id=ended, status="FINISHED")
    with moving_noted() as noted:
        step = Client(workspace, context=copy_context(), adoption=Adoption(lambda _: own))
        child = (step.run(), step.run())[1]
        for run_id in (own, child, ended):
            step.get("runs/get", run_id=run_id)
            step.get("metrics/get-history", run_id=run_id, metric_key="auc")
            step.get("artifacts/list", run_id=run_id)
        assert noted == []
        step.post("runs/update", run_id=other, status="RUNNING")
        step.get("runs/get", run_id=other)
        assert noted == []
        for ask in ("runs/get", "metrics/get-history", "artifacts/list"):
            another = client.run()
            step.get(ask, run_id=another, metric_key="auc")
            assert noted[-1] == ("run", another)


def test_a_run_of_a_client_is_interrupted_with_the_run_that_it_is_in(client: Client, workspace: Workspace) -> None:
    store = RunStore(workspace.database)
    with start_run("mine", workspace=workspace) as run:
        child = client.run(tags=[{"key": "mlflow.parentRunId", "value": run.id}])
        assert store.shown_state(store.get(child), workspace.leases) is RunState.RUNNING
    with workspace.database.transaction() as tx:
        cut = store.create(tx, kind="script", name="cut")
    child = client.run(tags=[{"key": "mlflow.parentRunId", "value": cut.id}])
    assert store.shown_state(store.get(child), workspace.leases) is RunState.INTERRUPTED


def test_a_client_sees_a_run_as_killed_once_nobody_works_on_it(client: Client, workspace: Workspace) -> None:
    with workspace.database.transaction() as tx:
        cut = RunStore(workspace.database).create(tx, kind="script", name="cut")
    with start_run("mine", workspace=workspace) as run:
        own, child = client.run(), client.run(tags=[{"key": "mlflow.parentRunId", "value": cut.id}])
        states = {run.id: "RUNNING", own: "RUNNING", cut.id: "KILLED", child: "KILLED"}
        for run_id, status in states.items():
            assert client.get("runs/get", run_id=run_id)["run"]["info"]["status"] == status
            told = client.post("runs/search", experiment_ids=["0"], filter=f"attributes.status = '{status}'")["runs"]
            assert {each["info"]["run_id"] for each in told} == {name for name, its in states.items() if its == status}
            assert {each["info"]["status"] for each in told} == {status}
    client.post("runs/update", run_id=child, status="FINISHED")
    assert client.get("runs/get", run_id=child)["run"]["info"]["status"] == "FINISHED"


def test_a_parameter_is_written_once(client: Client) -> None:
    run_id = client.run()
    client.post("runs/log-parameter", run_id=run_id, key="depth", value="3")
    assert client.post("runs/log-parameter", run_id=run_id, key="depth", value="3") == {}
    answer = client.post("runs/log-parameter", run_id=run_id, key="depth", value="4")
    assert answer["error_code"] == "INVALID_PARAMETER_VALUE"
    assert "`3`" in answer["message"]
    assert "`4`" in answer["message"]


def test_a_batch_that_is_too_large_leaves_nothing(client: Client) -> None:
    run_id = client.run()
    points = [{"key": "m", "value": 1.0, "timestamp": 0, "step": step} for step in range(1_001)]
    answer = client.post("runs/log-batch", run_id=run_id, metrics=points, params=[{"key": "a", "value": "b"}])
    assert answer["error_code"] == "INVALID_PARAMETER_VALUE"
    assert client.get("runs/get", run_id=run_id)["run"]["data"]["params"] == []
    assert client.post("runs/log-batch", run_id=run_id, metrics=points[1:]) == {}
    page = client.get("metrics/get-history", run_id=run_id, metric_key="m", max_results=600)
    rest = client.get("metrics/get-history", run_id=run_id, metric_key="m", page_token=page["next_page_token"])
    assert (len(page["metrics"]), len(rest["metrics"])) == (600, 400)


@pytest.mark.parametrize("key", ["", "a/../b", "/a", "a//b", "a\nb", "😀", "x" * 251])
@pytest.mark.one_backend("names are refused before a store is asked")
def test_a_name_that_no_client_reads_back_is_refused(client: Client, key: str) -> None:
    answer = client.post("runs/log-metric", run_id=client.run(), key=key, value=1.0, timestamp=0)
    assert answer["error_code"] == "INVALID_PARAMETER_VALUE"


def test_names_that_are_the_engines_are_refused(client: Client, workspace: Workspace) -> None:
    run_id, ours = client.run(), "mainspring.kind"
    pair: dict[str, Any] = {"key": ours, "value": "x"}
    point: dict[str, Any] = {"key": ours, "value": 1.0, "timestamp": 1}
    bodies: list[tuple[str, dict[str, Any]]] = [
        ("log-parameter", pair), ("set-tag", pair), ("log-metric", point), ("create", {"tags": [pair]}),
        ("log-batch", {"params": [pair]}), ("log-batch", {"tags": [pair]}), ("log-batch", {"metrics": [point]}),
    ]  # fmt: skip
    told = [
        client.post(f"runs/{path}", **body | ({} if path == "create" else {"run_id": run_id})) for path, body in bodies
    ]
    assert {each["error_code"] for each in told} == {"INVALID_PARAMETER_VALUE"}
    assert all(ours in each["message"] for each in told)
    run = RunStore(workspace.database).get(run_id)
    assert (run.params, ours in run.tags) == ({}, False)


def test_searches_have_pages_and_say_what_is_wrong(client: Client) -> None:
    ids = [client.run(run_name=f"run {n}", start_time=n + 1) for n in range(5)]
    page = client.post("runs/search", experiment_ids=["0"], max_results=3, order_by=["start_time ASC"])
    rest = client.post(
        "runs/search",
        experiment_ids=["0"],
        max_results=3,
        order_by=["start_time ASC"],
        page_token=page["next_page_token"],
    )
    assert [run["info"]["run_id"] for run in [*page["runs"], *rest["runs"]]] == ids
    assert "next_page_token" not in rest
    for fields in ({"filter": "nothing.x = 1"}, {"max_results": 0}, {"page_token": "x"}, {"run_view_type": "SOME"}):
        answer = client.post("runs/search", experiment_ids=["0"], **fields)
        assert answer["error_code"] == "INVALID_PARAMETER_VALUE", fields
    assert client.post("runs/search", experiment_ids=["99"]) == {"runs": []}


def test_datasets_and_models_that_a_run_used_are_told(client: Client) -> None:
    run_id = client.run()
    model = client.post("logged-models", experiment_id="0", name="m")["model"]["info"]["model_id"]
    dataset = {"name": "flights", "digest": "abc", "source_type": "local", "source": "{}"}
    client.post(
        "runs/log-inputs", run_id=run_id, models=[{"model_id": model}],
        datasets=[{"dataset": dataset, "tags": [{"key": "mlflow.data.context", "value": "train"}]}],
    )  # fmt: skip
    client.post("runs/outputs", run_id=run_id, models=[{"model_id": model, "step": "7"}])
    run = client.get("runs/get", run_id=run_id)["run"]
    assert run["inputs"]["dataset_inputs"][0]["dataset"] == dataset
    assert run["inputs"]["model_inputs"] == [{"model_id": model}]
    assert run["outputs"]["model_outputs"] == [{"model_id": model, "step": 7}]


def test_a_dataset_that_is_told_again_keeps_its_first_context(client: Client) -> None:
    run_id = client.run()
    dataset = {"name": "flights", "digest": "abc", "source_type": "local", "source": "{}"}
    for context in ("train", "eval"):
        tags = [{"key": "mlflow.data.context", "value": context}]
        client.post("runs/log-inputs", run_id=run_id, datasets=[{"dataset": dataset, "tags": tags}])
    (told,) = client.get("runs/get", run_id=run_id)["run"]["inputs"]["dataset_inputs"]
    assert told["tags"] == [{"key": "mlflow.data.context", "value": "train"}]


def test_an_experiment_is_deleted_and_comes_back(client: Client) -> None:
    number = client.post("experiments/create", name="flights")["experiment_id"]
    assert client.post("experiments/create", name="flights")["error_code"] == "RESOURCE_ALREADY_EXISTS"
    client.post("experiments/delete", experiment_id=number)
    assert client.get("experiments/get", experiment_id=number)["experiment"]["lifecycle_stage"] == "deleted"
    refused = client.ask("POST", "/api/2.0/mlflow/runs/create", content=msgspec.json.encode({"experiment_id": number}))
    assert refused.json()["error_code"] == "INVALID_PARAMETER_VALUE"
    assert client.post("experiments/delete", experiment_id=number)["error_code"] == "RESOURCE_DOES_NOT_EXIST"
    client.post("experiments/restore", experiment_id=number)
    assert client.post("experiments/restore", experiment_id=number)["error_code"] == "RESOURCE_DOES_NOT_EXIST"
    assert [each["name"] for each in client.post("experiments/search")["experiments"]] == ["flights", "Default"]
    assert client.get("experiments/get", experiment_id="flights")["error_code"] == "RESOURCE_DOES_NOT_EXIST"
