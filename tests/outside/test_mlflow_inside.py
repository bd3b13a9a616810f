"""MLflow's unmodified client within a step, with nothing started by the user: its first run is the step's."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path

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


@ms.step(retries=1, backoff_s=0)
def fail(after: str) -> str:
    import mlflow

    with mlflow.start_run():
        mlflow.log_metric("auc", 0.1)
        raise ZeroDivisionError


@ms.pipeline
def main(depth: int = 3):
    return fail(train(depth))
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
        ["task", "train", "main", "succeeded", {"auc": 0.5, "ours": 1.0}, ["a.txt"], {"depth": "3"}, ["task train"]],
    ]
