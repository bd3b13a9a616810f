"""MLflow's unmodified client within a step, with nothing started by the user: its first run is the step's."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path
from typing import Any

import pytest

from tests.outside.environments import environment, with_ours_behind

FLOW = """
import mainspring as ms


@ms.step
def train(depth: int) -> str:
    import mlflow

    ms.log_metric("ours", 1.0)
    with mlflow.start_run() as run:
        mlflow.log_param("depth", depth)
        mlflow.log_metric("auc", 0.5)
        mlflow.log_text("hello", "a.txt")
        with mlflow.start_run(nested=True, run_name="child"):
            mlflow.log_metric("auc", 0.25)
    mlflow.start_run(run_name="left open")
    return run.info.run_id


@ms.step
def later(after: str) -> str:
    import mlflow  # which `train` did, too

    mlflow.log_metric("late", 1.0)
    return after


@ms.step(retries=1, backoff_s=0)
def fail(after: str) -> str:
    import mlflow

    with mlflow.start_run():
        mlflow.log_metric("auc", 0.1)
        raise ZeroDivisionError


@ms.pipeline
def main(depth: int = 3):
    return fail(later(train(depth)))
"""
LOOK = """
import json
from mainspring.runs import Metrics, RunFiles, RunStore, search_runs
from mainspring.workspace import Workspace
workspace = Workspace.open()
names = {run.id: run.name for run in search_runs(workspace=workspace)}
def logged_by(run):
    makers = [edge.dst for edge in workspace.ledger.edges([run]) if edge.role == "logged_by"]
    return [f"{node.kind} {node.label}" for node in workspace.ledger.nodes(makers).values()]
print(json.dumps(sorted(
    [run.kind, run.name, names.get(run.parent), run.state.value,
     {key: point.value for key, point in Metrics(workspace.metrics).latest(run.series).items()},
     [file.path for file in RunFiles(workspace).list(run.id)], run.params, logged_by(run.id)]
    for run in search_runs(workspace=workspace)
)))
"""

LOOKING = """
import mainspring as ms

@ms.step
def train() -> str:
    import mlflow
    import numpy as np
    from sklearn.linear_model import LogisticRegression
    from sklearn.model_selection import GridSearchCV

    X = np.arange(40.0).reshape(-1, 1)
    y = (X[:, 0] > 20).astype(int)
    mlflow.set_experiment("late")
    mlflow.sklearn.autolog()
    with mlflow.start_run() as run:
        GridSearchCV(LogisticRegression(), {"C": [0.1, 1.0]}, cv=2).fit(X, y)
        with mlflow.start_run(nested=True):
            mlflow.log_metric("auc", 0.5)
        model = LogisticRegression().fit(X, y)
        mlflow.sklearn.log_model(model, name="model", registered_model_name="late", input_example=X[:2])
    version = mlflow.register_model(f"runs:/{run.info.run_id}/model", "late")
    client = mlflow.MlflowClient()
    client.set_registered_model_alias("late", "champion", version.version)
    client.set_model_version_tag("late", version.version, "a", "b")
    mlflow.get_run(run.info.run_id)
    mlflow.register_prompt("greeting", "hello {{name}}")
    mlflow.register_prompt("greeting", "good morning {{name}}")
    return run.info.run_id

LOOKS = {
    "search_runs": lambda mlflow, client, run: mlflow.search_runs(experiment_names=["late"]),
    "search_experiments": lambda mlflow, client, run: mlflow.search_experiments(),
    "search_registered_models": lambda mlflow, client, run: mlflow.search_registered_models(),
    "search_model_versions": lambda mlflow, client, run: client.search_model_versions("name = 'late'"),
    "search_logged_models": lambda mlflow, client, run: mlflow.search_logged_models(filter_string="name = 'model'"),
    "get_registered_model": lambda mlflow, client, run: client.get_registered_model("late"),
    "get_latest_versions": lambda mlflow, client, run: client.get_latest_versions("late"),
    "get_model_version_by_alias": lambda mlflow, client, run: client.get_model_version_by_alias("late", "champion"),
    "experiment": lambda mlflow, client, run: mlflow.get_experiment_by_name("late"),
    "run": lambda mlflow, client, run: (mlflow.get_run(run), client.get_metric_history(run, "auc")),
    "version": lambda mlflow, client, run: client.get_model_version("late", "1"),
    "files": lambda mlflow, client, run: mlflow.artifacts.download_artifacts("models:/late/1"),
    "files of a run": lambda mlflow, client, run: mlflow.artifacts.download_artifacts(f"runs:/{run}/model"),
}

@ms.step
def look(what: str, run: str) -> str:
    import mlflow

    LOOKS[what](mlflow, mlflow.MlflowClient(), run)
    return what

@ms.pipeline
def main():
    run = train()
    return [look(what, run) for what in LOOKS]

if __name__ == "__main__":
    import json

    ran = main.run()
    ran.raise_for_state()
    seen = [{each["kind"] for each in task.seen} & {"search", "model", "run"} for task in ran.tasks]
    print(json.dumps(dict(zip(("train", *LOOKS), map(sorted, seen)))))
"""

LATE = """
import threading
import weakref

import mainspring as ms

class Left:
    pass

returned, over, told = threading.Event(), threading.Event(), []

@ms.step
def train() -> str:
    import mlflow

    client = mlflow.MlflowClient()
    look = type(client).get_prompt

    def look_late(*given, **named):
        returned.wait()
        return look(*given, **named)

    def set_too_late():
        over.wait()
        try:
            client.set_tag(run.info.run_id, "late", "x")
        except mlflow.MlflowException as error:
            told.append(str(error))

    left = Left()
    weakref.finalize(left, returned.set)
    with mlflow.start_run() as run:
        mlflow.log_metric("soon", 1.0, synchronous=False)
    client.log_metric(run.info.run_id, "later", 2.0, synchronous=False)
    threading.Thread(target=set_too_late, name="late").start()
    mlflow.register_prompt("greeting", "hello {{name}}")
    type(client).get_prompt = look_late
    return mlflow.load_prompt("prompts:/greeting/1").template

@ms.pipeline
def main():
    return train()

if __name__ == "__main__":
    import json

    from mainspring.models import get_model
    from mainspring.runs import Metrics, search_runs
    from mainspring.workspace import current_workspace

    ran = main.run(options={"runner": "inline"})
    over.set()
    [each.join() for each in threading.enumerate() if each.name == "late"]
    (run,) = [each for each in search_runs() if each.kind == "task"]
    logged = {key: point.value for key, point in Metrics(current_workspace().metrics).latest(run.series).items()}
    print(json.dumps([ran.value, logged, "late" in run.tags, get_model("greeting").tags, told]))
"""


def told_by(flow: str, folder: Path) -> Any:
    """What a script with a pipeline prints last, as JSON, by an interpreter that has MLflow."""
    (folder / "flow.py").write_text(flow)
    (folder / "mainspring.toml").write_text('name = "inside"\n')
    done = subprocess.run(
        [environment("mlflow-3.17").program("python"), "-W", "ignore", "flow.py"], cwd=folder, text=True,
        capture_output=True, check=False, env=with_ours_behind(folder, without="MLFLOW_"),
    )  # fmt: skip
    assert done.returncode == 0, done.stdout + done.stderr
    return json.loads(done.stdout.splitlines()[-1])


@pytest.mark.timeout(1_200)
def test_what_threads_send_while_a_step_ends_arrives_and_what_they_send_later_is_refused_at_once(
    tmp_path: Path,
) -> None:
    text, logged, is_late, tags, told = told_by(LATE, tmp_path)
    assert (text, logged, is_late) == ("hello {{name}}", {"soon": 1.0, "later": 2.0}, False)
    assert tags["_mlflow_experiment_ids"] == ",0,"
    assert told == ["INVALID_STATE: The step `train`, whose client this is, is over."]


@pytest.mark.timeout(1_200)
def test_what_a_steps_code_searches_is_noted_and_what_the_client_looks_up_on_its_own_is_not(tmp_path: Path) -> None:
    noted = told_by(LOOKING, tmp_path)
    named = {"get_registered_model", "get_latest_versions", "get_model_version_by_alias"}
    assert {name for name, kinds in noted.items() if kinds == ["model"]} == named
    assert {name for name, kinds in noted.items() if kinds == ["search"]} == {
        name for name in noted if name.startswith("search_")
    }
    assert all(kinds in ([], ["model"], ["search"]) for kinds in noted.values())


@pytest.mark.timeout(1_200)
def test_the_first_run_of_a_client_is_the_steps(tmp_path: Path) -> None:
    client = environment("mlflow-3.17")
    (tmp_path / "flow.py").write_text(FLOW)
    (tmp_path / "mainspring.toml").write_text('name = "inside"\n')
    settings = with_ours_behind(tmp_path, without="MLFLOW_")

    def run(*arguments: str) -> subprocess.CompletedProcess[str]:
        command = [client.program("python"), "-W", "ignore", *arguments]
        return subprocess.run(command, cwd=tmp_path, env=settings, capture_output=True, text=True, check=False)

    ran = run("-m", "mainspring", "run", "flow.py")
    assert ran.returncode == 1, ran.stdout + ran.stderr
    assert "uvicorn" not in ran.stdout + ran.stderr
    looked = run("-c", LOOK)
    assert looked.returncode == 0, looked.stderr
    assert json.loads(looked.stdout) == [
        ["mlflow", "child", "train", "succeeded", {"auc": 0.25}, [], {}, []],
        ["mlflow", "left open", "train", "succeeded", {}, [], {}, []],
        ["pipeline", "main", None, "failed", {}, [], {"depth": 3}, []],
        ["task", "fail", "main", "failed", {"auc": 0.1}, [], {}, ["attempt 1 of fail"]],
        ["task", "fail", "main", "failed", {"auc": 0.1}, [], {}, ["task fail"]],
        ["task", "later", "main", "succeeded", {"late": 1.0}, [], {}, ["task later"]],
        ["task", "train", "main", "succeeded", {"auc": 0.5, "ours": 1.0}, ["a.txt"], {"depth": "3"}, ["task train"]],
    ]
