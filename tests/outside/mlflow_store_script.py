"""MLflow's own client makes a store in the folder it is called in, or tells everything that it reads from one as JSON.

`python mlflow_store_script.py make`, `python mlflow_store_script.py read FOLDER`
"""

# mypy: ignore-errors

from __future__ import annotations

import json
import math
import sys
from pathlib import Path

import mlflow
from mlflow import MlflowClient
from mlflow.entities import (
    Dataset,
    DatasetInput,
    InputTag,
    LoggedModel,
    LoggedModelInput,
    Metric,
    Param,
    RunTag,
    ViewType,
)
from mlflow.store.tracking import SEARCH_MAX_RESULTS_THRESHOLD as MOST

STEPS = 10_000


def make(client: MlflowClient) -> None:
    first = client.create_experiment("first 🎯", tags={"team": "a", "empty": ""})
    gone = client.create_experiment("gone")
    client.set_experiment_tag("0", "of", "default")
    runs(client, first, gone)
    client.delete_experiment(gone)
    client.rename_experiment(first, "renamed 🎯")


def runs(client: MlflowClient, first: str, gone: str) -> None:
    run = client.create_run(first, start_time=1_700_000_000_123, run_name="parent", tags={"mlflow.user": "ada"})
    own = run.info.run_id
    special = {10: math.nan, 11: math.inf, 12: -math.inf}
    points = [Metric("loss", special.get(at, 1 / (at + 1)), 1_700_000_000_000 + at, at) for at in range(STEPS)]
    for start in range(0, STEPS, 1_000):
        client.log_batch(own, metrics=points[start : start + 1_000])
    again = [Metric("val/`auc`".replace("`", "-"), value, time, step) for value, time, step in (
        (0.5, 5, 3), (0.5, 6, 3), (0.25, 5, 3), (-0.0, 0, -7), (math.nan, 9, 3)
    )]  # fmt: skip
    params = [Param("lr", "0.1"), Param("long", "x" * 6_000), Param("empty", ""), Param("nothing", "None")]
    client.log_batch(own, metrics=again, params=params, tags=[RunTag("mlflow.note.content", "a note\nof two lines")])
    child = client.create_run(first, tags={"mlflow.parentRunId": own, "ü 🎯": "ö"}).info.run_id
    client.log_text(child, "hello", "deep/er/a b.txt")
    client.log_text(child, "", "empty.txt")
    client.set_terminated(child, "FAILED", 1_700_000_001_000)
    killed, going, deleted = (client.create_run("0").info.run_id for _ in range(3))
    client.set_terminated(killed, "KILLED")
    client.update_run(going, status="SCHEDULED", name="scheduled")
    client.delete_run(deleted)
    client.create_run(gone)
    data = Dataset("flights", "d1g3st", "local", json.dumps({"uri": "/data"}), json.dumps({"a": 1}), None)
    tags = [InputTag("mlflow.data.context", "training")]
    models(client, first, own, data)
    later = Dataset("a later one", "d1g3st", "local", json.dumps({"uri": "/data"}), None, None)
    client.log_inputs(
        own, [DatasetInput(data, tags), DatasetInput(later, [])], [LoggedModelInput(logged(client, first)[0].model_id)]
    )
    client.set_terminated(own, "FINISHED", 1_700_000_002_456)


def logged(client: MlflowClient, experiment: str) -> list[LoggedModel]:
    return sorted(client.search_logged_models([experiment]), key=lambda model: model.model_id)


def models(client: MlflowClient, experiment: str, run: str, data: Dataset) -> None:
    from sklearn.linear_model import LogisticRegression

    with mlflow.start_run(run_id=run):
        fitted = LogisticRegression().fit([[0.0], [1.0]], [0, 1])
        place = "the model"
        info = mlflow.sklearn.log_model(
            fitted, name=place.replace(" ", "_"), registered_model_name="churn", params={"c": 1}, tags={"k": "v"},
            pip_requirements=[], serialization_format="skops",
        )  # fmt: skip
        mlflow.log_metric("auc", 0.75, step=2, model_id=info.model_id)
        mlflow.log_metric("auc", math.inf, step=3, model_id=info.model_id)
    failed = client.create_logged_model(experiment, name="failed", source_run_id=run, model_type="agent")
    client.finalize_logged_model(failed.model_id, "FAILED")
    client.delete_logged_model(client.create_logged_model(experiment, name="deleted").model_id)
    client.log_text(run, "x", "folder/file.txt")
    client.create_model_version("churn", f"runs:/{run}/folder", run, tags={"a": "b"}, description="second")
    client.create_model_version("churn", f"{client.get_run(run).info.artifact_uri}/folder", run)
    client.create_model_version("churn", f"runs:/{run}/folder", run)
    client.delete_model_version("churn", "4")
    client.transition_model_version_stage("churn", "1", "Production")
    client.transition_model_version_stage("churn", "2", "Staging")
    client.set_registered_model_alias("churn", "champion", "2")
    client.set_registered_model_alias("churn", "first", "1")
    client.set_registered_model_tag("churn", "owner", "ada")
    client.update_registered_model("churn", "who leaves")
    client.create_registered_model("empty one", tags={"x": "y"})
    client.create_registered_model("gone one")
    client.delete_registered_model("gone one")
    mlflow.register_prompt("greeting", "Hello {{name}}", commit_message="first", tags={"t": "1"})


def read(client: MlflowClient, folder: Path) -> dict[str, object]:
    """Everything, by id; addresses below the folder are relative to it."""
    experiments = client.search_experiments(ViewType.ALL)
    ids = [each.experiment_id for each in experiments]
    found = client.search_runs(ids, run_view_type=ViewType.ALL, max_results=MOST)
    told: dict[str, object] = {f"experiment {each.experiment_id}": plain(each) for each in experiments}
    for each in found:
        told[f"run {each.info.run_id}"] = plain(client.get_run(each.info.run_id))
        told[f"datasets {each.info.run_id}"] = {"in order": [used.dataset.name for used in each.inputs.dataset_inputs]}
        for key in each.data.metrics:
            history = client.get_metric_history(each.info.run_id, key)
            told[f"history {each.info.run_id} {key}"] = sorted(
                [point.step, point.timestamp, repr(point.value)] for point in history
            )
    for each in client.search_logged_models(ids):
        told[f"logged model {each.model_id}"] = plain(client.get_logged_model(each.model_id))
    for each in client.search_registered_models(max_results=1_000):
        told[f"model {each.name}"] = plain(client.get_registered_model(each.name))
    for each in client.search_registered_models("tags.`mlflow.prompt.is_prompt` = 'true'", max_results=1_000):
        told[f"prompt {each.name}"] = mlflow.load_prompt(f"prompts:/{each.name}/1").template
    for each in client.search_model_versions(max_results=1_000):
        version = client.get_model_version(each.name, each.version)
        uri = client.get_model_version_download_uri(each.name, each.version)
        told[f"version {each.name}/{each.version}"] = [plain(version), uri]
        if each.source:
            local = Path(mlflow.artifacts.download_artifacts(f"models:/{each.name}/{each.version}"))
            told[f"files {each.name}/{each.version}"] = files(local)
    told["files"] = files(folder / "mlruns")
    relative: dict[str, object] = json.loads(json.dumps(told).replace(str(folder), "HERE"))
    return relative


def files(folder: Path) -> dict[str, str]:
    return {
        str(path.relative_to(folder)): path.read_bytes().hex() for path in sorted(folder.rglob("*")) if path.is_file()
    }


def plain(value: object) -> object:
    """What a client's record says, all the way down; the order of lists without one is that of their texts."""
    if isinstance(value, float):
        return repr(value)
    if value is None or isinstance(value, str | int | bool):
        return value
    if isinstance(value, dict):
        return {str(key): plain(value[key]) for key in sorted(value)}
    if isinstance(value, list | tuple):
        return sorted((plain(each) for each in value), key=json.dumps)
    names = [name for name in dir(type(value)) if isinstance(getattr(type(value), name, None), property)]
    return {name: plain(getattr(value, name)) for name in names if not name.startswith("_")} or str(value)


def main() -> None:
    folder = Path(sys.argv[2] if len(sys.argv) > 2 else ".").resolve()
    mlflow.set_tracking_uri(f"sqlite:///{folder}/mlflow.db")
    client = MlflowClient()
    if sys.argv[1] == "make":
        make(client)
    else:
        print(json.dumps(read(client, folder)))


if __name__ == "__main__":
    main()
