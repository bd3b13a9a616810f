"""Logged models, registered models and their versions in MLflow's terms."""

from __future__ import annotations

from contextvars import copy_context
from pathlib import Path
from typing import Any

import pytest
from sklearn.tree import DecisionTreeClassifier

from mainspring.errors import NotAllowedError
from mainspring.ledger import moving_noted
from mainspring.models import (
    Predictor,
    alias_history,
    get_model_version,
    load_model,
    move_bound_alias,
    register_folder,
    set_alias,
)
from mainspring.models import register as register_model
from mainspring.models.version import ModelVersion, exports_of
from mainspring.runs.files import RunFiles
from mainspring.server.mlflow.adoption import Adoption
from mainspring.workspace import Workspace
from tests.models.mlflow_folders import LATE, TABLE, folder
from tests.server.conftest import Client


@pytest.fixture
def model_id(client: Client) -> str:
    """A logged model with a file."""
    made: str = client.post("logged-models", experiment_id="0", name="m", source_run_id=client.run())["model"]["info"][
        "model_id"
    ]
    client.file("PUT", f"0/models/{made}/artifacts/MLmodel", b"flavors: {}")
    client.file("PUT", f"0/models/{made}/artifacts/deep/model.pkl", b"pickled")
    client.post(f"logged-models/{made}", method="PATCH", status="LOGGED_MODEL_READY")
    return made


@pytest.fixture
def registered(client: Client, model_id: str) -> str:
    client.post("registered-models/create", name="iris")
    client.post("model-versions/create", name="iris", source=f"models:/{model_id}", model_id=model_id)
    return "iris"


def test_a_version_is_found_by_number_alias_and_stage(client: Client, registered: str, workspace: Workspace) -> None:
    client.post("registered-models/alias", name=registered, alias="champion", version="1")
    found = client.get("registered-models/alias", name=registered, alias="champion")["model_version"]
    assert (found["version"], found["aliases"], found["current_stage"]) == ("1", ["champion"], "None")
    client.post("model-versions/transition-stage", name=registered, version="1", stage="production")
    latest = client.get("registered-models/get-latest-versions", name=registered, stages=["Production"])
    assert [each["version"] for each in latest["model_versions"]] == ["1"]
    assert get_model_version("iris@champion", workspace).stage == "Production"
    assert alias_history("iris", "champion", workspace)[0].note


@pytest.mark.one_backend("what a step reads is noted, whatever the store")
def test_a_version_that_a_steps_client_finds_by_what_moves_is_noted_with_the_step(
    registered: str, workspace: Workspace
) -> None:
    set_alias(f"{registered}/1", "champion", workspace=workspace)
    with moving_noted() as noted:
        client = Client(workspace, context=copy_context())
        client.get("model-versions/get", name=registered, version="1")
        assert noted == []
        for alias in ("champion", "latest"):
            client.get("registered-models/alias", name=registered, alias=alias)
        client.get("registered-models/get-latest-versions", name=registered, stages=["Production"])
    assert [name for _, name in noted] == ["iris@champion", "iris/latest", "iris/Production"]


@pytest.mark.one_backend("what a step reads is noted, whatever the store")
def test_what_a_steps_client_looks_for_is_noted_with_the_step(registered: str, workspace: Workspace) -> None:
    with moving_noted() as noted:
        client = Client(workspace, context=copy_context(), adoption=Adoption(lambda _: ""))
        client.get("experiments/get-by-name", experiment_name="Default")
        client.get("experiments/get", experiment_id="0")
        assert noted == []
        client.post("runs/search", experiment_ids=["0"], filter="metrics.auc > 0.1")
        client.post("experiments/search", max_results=5)
        client.get("registered-models/search", filter="name = 'iris'")
        client.get("model-versions/search", filter="name = 'iris'")
        client.get("registered-models/get", name=registered)
        client.post("logged-models/search", experiment_ids=["0"], filter="name = 'm'")
    assert [(kind, name.partition(" AND tags")[0]) for kind, name in noted] == [
        ("search", "runs where metrics.auc > 0.1"), ("search", "experiments"), ("search", "models where name = 'iris'"),
        ("search", "model versions where name = 'iris'"), ("model", "iris"), ("search", "logged models where name = 'm'"),
    ]  # fmt: skip


@pytest.mark.one_backend("the order is made of what a store gives")
def test_the_latest_versions_come_in_the_order_of_their_stages_first_versions(client: Client, registered: str) -> None:
    for _ in range(2):
        client.post("model-versions/create", name=registered, source="models:/iris/1")
    client.post("model-versions/transition-stage", name=registered, version="2", stage="Staging")
    found = client.get("registered-models/get", name=registered)["registered_model"]["latest_versions"]
    assert [(each["version"], each["current_stage"]) for each in found] == [("3", "None"), ("2", "Staging")]


@pytest.mark.one_backend("the order is made of what a store gives")
def test_versions_of_a_model_that_was_renamed_are_those_that_changed_last(client: Client, registered: str) -> None:
    client.post("registered-models/create", name="other")
    client.post("model-versions/create", name="other", source="models:/iris/1")
    client.post("registered-models/rename", name=registered, new_name="flowers")
    found = client.get("model-versions/search")["model_versions"]
    assert [each["name"] for each in found] == ["flowers", "other"]
    assert found[0]["last_updated_timestamp"] >= found[1]["last_updated_timestamp"]


@pytest.mark.one_backend("texts are those of errors")
def test_errors_speak_of_registered_models_which_clients_of_prompts_read_as_prompts(client: Client) -> None:
    missing = client.get("registered-models/get", name="nobody")
    assert (missing["error_code"], missing["message"]) == ("RESOURCE_DOES_NOT_EXIST", "No registered model `nobody`.")
    client.post("registered-models/create", name="greeting")
    other = client.get("registered-models/alias", name="greeting", alias="live")
    assert other["message"].startswith("registered model alias: `live` is not one of greeting")


def test_a_version_keeps_its_files_when_the_logged_model_goes(client: Client, registered: str, model_id: str) -> None:
    client.post(f"logged-models/{model_id}", method="DELETE")
    uri = client.get("model-versions/get-download-uri", name=registered, version="1")["artifact_uri"]
    root = uri.removeprefix("mlflow-artifacts:/")
    assert client.file("GET", f"{root}/deep/model.pkl").content == b"pickled"
    refused = client.file("PUT", f"{root}/deep/model.pkl", b"other")
    assert (refused.status_code, refused.json()["error_code"]) == (403, "PERMISSION_DENIED")


def test_a_version_whose_model_runs_code_is_not_loaded(registered: str, workspace: Workspace) -> None:
    with pytest.raises(NotAllowedError, match=r"Python code of its own.*register\(\.\.\.\)"):
        load_model(f"{registered}/1", workspace)


def log(client: Client, folder: Path) -> str:
    """A logged model with the files of a folder, which isn't ended."""
    model: str = client.post("logged-models", experiment_id="0", name="m")["model"]["info"]["model_id"]
    for file in folder.iterdir():
        assert client.file("PUT", f"0/models/{model}/artifacts/{file.name}", file.read_bytes()).status_code == 200
    return model


def register(client: Client, model: str) -> dict[str, Any]:
    client.post("registered-models/create", name="late")
    said: dict[str, Any] = {"name": "late", "source": f"models:/{model}", "tags": [{"key": "a", "value": "b"}]}
    found: dict[str, Any] = client.post("model-versions/create", model_id=model, **said)["model_version"]
    return found


def test_the_model_of_a_clients_version_is_read_as_that_of_a_folder(
    client: Client, workspace: Workspace, tmp_path: Path
) -> None:
    tree = DecisionTreeClassifier().fit(TABLE, LATE)
    model = log(client, folder(tmp_path / "skops", tree))
    told = register(client, model)
    version = get_model_version("late/1", workspace)
    assert version == register_folder(tmp_path / "skops", "late", workspace=workspace)
    records = TABLE.to_dict("records")
    assert Predictor.load(version, workspace.blobs, workspace=workspace)(records) == LATE
    assert (version.refusal, version.needs is not None, version.tags) == ("", True, {"a": "b"})
    assert (told["source"], told["status"], told["tags"]) == (
        f"models:/{model}", "READY", [{"key": "a", "value": "b"}]
    )  # fmt: skip


@pytest.mark.one_backend("what is read is not of the store")
def test_a_clients_pickle_says_how_it_is_allowed_and_converted(
    client: Client, workspace: Workspace, tmp_path: Path
) -> None:
    register(client, log(client, folder(tmp_path / "it", DecisionTreeClassifier().fit(TABLE, LATE), "pickle")))
    with pytest.raises(NotAllowedError, match=r"models allow-pickle REF.*models convert REF"):
        load_model("late/1", workspace)


@pytest.mark.one_backend("what is read is not of the store")
def test_a_version_of_a_model_that_is_still_written_is_read_when_that_ends(
    client: Client, workspace: Workspace, tmp_path: Path
) -> None:
    written = folder(tmp_path / "it", DecisionTreeClassifier().fit(TABLE, LATE))
    (written / "MLmodel").rename(tmp_path / "MLmodel")
    model = log(client, written)
    register(client, model)
    with pytest.raises(NotAllowedError, match="no `MLmodel` file"):
        load_model("late/1", workspace)
    client.file("PUT", f"0/models/{model}/artifacts/MLmodel", (tmp_path / "MLmodel").read_bytes())
    client.post(f"logged-models/{model}", method="PATCH", status="LOGGED_MODEL_READY")
    assert load_model("late/1", workspace).predict(TABLE).tolist() == LATE
    assert sorted(RunFiles(workspace).walk(get_model_version("late/1", workspace).id)) == sorted(
        ["MLmodel", *(each.name for each in written.iterdir())]
    )


@pytest.mark.one_backend("what is read is not of the store")
@pytest.mark.parametrize("source", ["runs:/{run}/m", "mlflow-artifacts:/0/{run}/artifacts/m"])
def test_files_that_come_into_a_runs_folder_later_are_the_versions_until_it_loads(
    client: Client, workspace: Workspace, tmp_path: Path, source: str
) -> None:
    written, run = folder(tmp_path / "it", DecisionTreeClassifier().fit(TABLE, LATE)), client.run()
    client.post("registered-models/create", name="late")
    client.post("model-versions/create", name="late", source=source.format(run=run), run_id=run)
    for name in ("input_example.json", "MLmodel", "model.skops"):
        assert get_model_version("late/1", workspace).encoded is None
        assert client.file("PUT", f"0/{run}/artifacts/m/{name}", (written / name).read_bytes()).status_code == 200
    assert load_model("late/1", workspace).predict(TABLE).tolist() == LATE
    whole = get_model_version("late/1", workspace)
    client.file("PUT", f"0/{run}/artifacts/m/later.txt", b"more")
    client.file("PUT", f"0/{run}/artifacts/m/MLmodel", b"other")
    assert get_model_version("late/1", workspace) == whole
    uri = client.get("model-versions/get-download-uri", name="late", version="1")["artifact_uri"]
    assert whole.id in uri
    assert sorted(RunFiles(workspace).walk(whole.id)) == ["MLmodel", "input_example.json", "model.skops"]


@pytest.mark.one_backend("what is read is not of the store")
def test_a_version_of_files_elsewhere_says_so(client: Client, workspace: Workspace) -> None:
    client.post("registered-models/create", name="late")
    client.post("model-versions/create", name="late", source="s3://bucket/model")
    with pytest.raises(NotAllowedError, match=r"no files at `s3://bucket/model`.*register_folder"):
        load_model("late/1", workspace)


@pytest.mark.one_backend("a path is checked before it reaches a store")
def test_a_path_of_a_folder_is_no_place_for_a_file(client: Client) -> None:
    """Clients send `plots/#1.png` as `plots/`, as what follows is a fragment of an address."""
    run = client.run()
    refused = client.file("PUT", f"0/{run}/artifacts/plots/", b"one")
    assert (refused.status_code, refused.json()["error_code"]) == (400, "INVALID_PARAMETER_VALUE")
    assert client.get("artifacts/list", run_id=run)["files"] == []


def test_a_bound_alias_is_not_a_clients_to_move(client: Client, registered: str, workspace: Workspace) -> None:
    version = get_model_version("iris/1", workspace)
    with workspace.database.transaction() as tx:
        workspace.ledger.node(tx, "endpoint", "e" * 32, "delays")
        move_bound_alias(tx, workspace, version, "live", endpoint="delays", endpoint_id="e" * 32)
    for method in ("POST", "DELETE"):
        fields = {"name": registered, "alias": "live", "version": "1"}
        answer = client.ask(method, "/api/2.0/mlflow/registered-models/alias", json=fields)
        assert (answer.status_code, answer.json()["error_code"]) == (403, "PERMISSION_DENIED")
    client.post("model-versions/create", name="iris", source="models:/iris/1")
    moved = client.post("registered-models/alias", name="iris", alias="live", version="2")
    assert moved["error_code"] == "PERMISSION_DENIED"


def test_prompts_are_found_only_by_those_who_ask_for_them(client: Client) -> None:
    is_prompt = [{"key": "mlflow.prompt.is_prompt", "value": "true"}]
    client.post("registered-models/create", name="greeting", tags=is_prompt)
    client.post("registered-models/create", name="iris")
    found = client.get("registered-models/search")["registered_models"]
    assert [each["name"] for each in found] == ["iris"]
    found = client.get("registered-models/search", filter="tag.`mlflow.prompt.is_prompt` != 'true'")[
        "registered_models"
    ]
    assert [each["name"] for each in found] == ["iris"]
    text = "tags.`mlflow.prompt.is_prompt` = 'true'"
    found = client.get("registered-models/search", filter=text)["registered_models"]
    assert [each["name"] for each in found] == ["greeting"]


@pytest.mark.one_backend("what is wrong is seen before a store is asked")
@pytest.mark.parametrize(
    "source", ["/etc/passwd", "file:///etc", "models:/m-" + "0" * 32, "runs:/" + "0" * 32 + "/m", "../x"]
)
def test_a_source_that_is_not_there_or_local_is_refused(client: Client, source: str) -> None:
    client.post("registered-models/create", name="iris")
    answer = client.post("model-versions/create", name="iris", source=source)
    assert answer["error_code"] in {"INVALID_PARAMETER_VALUE", "RESOURCE_DOES_NOT_EXIST"}


def test_metrics_of_a_logged_model_are_searched(client: Client, model_id: str) -> None:
    run_id = client.run()
    for name, value in (("train", 0.9), ("test", 0.7)):
        client.post(
            "runs/log-metric", run_id=run_id, key="auc", value=value, timestamp=1, model_id=model_id, dataset_name=name,
            dataset_digest="1",
        )  # fmt: skip
    for name, count in (("train", 1), ("test", 0)):
        found = client.post(
            "logged-models/search", experiment_ids=["0"], filter="metrics.auc > 0.8",
            datasets=[{"dataset_name": name, "dataset_digest": "1"}],
        )["models"]  # fmt: skip
        assert len(found) == count
    told = client.get(f"logged-models/{model_id}")["model"]
    assert [each["value"] for each in told["data"]["metrics"]] == [0.7, 0.9]
    assert told["info"]["status"] == "LOGGED_MODEL_READY"


def native(workspace: Workspace, model: Any, name: str) -> ModelVersion:
    return register_model(model, name, signature=TABLE, input_example=TABLE[:3], workspace=workspace)


def test_a_model_registered_here_is_given_as_the_folder_that_it_is_exported_as(
    client: Client, workspace: Workspace, tmp_path: Path
) -> None:
    tree = DecisionTreeClassifier().fit(TABLE, LATE)
    version = native(workspace, tree, "own")
    asked = {"name": "own", "version": "1"}
    uri = client.get("model-versions/get-download-uri", **asked)["artifact_uri"]
    assert client.get("model-versions/get", **asked)["model_version"]["source"] == uri
    root = uri.removeprefix("mlflow-artifacts:/")
    kept = RunFiles(workspace).walk(exports_of(version))
    listed = client.ask("GET", "/api/2.0/mlflow-artifacts/artifacts", params={"path": root}).json()["files"]
    assert {"MLmodel", "code", "model.skops"} <= {each["path"] for each in listed}
    for path in kept:
        place = tmp_path / path
        place.parent.mkdir(parents=True, exist_ok=True)
        place.write_bytes(client.file("GET", f"{root}/{path.removeprefix('mlflow/')}").content)
    again = register_folder(tmp_path / "mlflow", "again", workspace=workspace)
    assert load_model(again, workspace).predict(TABLE).tolist() == tree.predict(TABLE).tolist()
    refused = client.file("PUT", f"{root}/MLmodel", b"other")
    assert (refused.status_code, refused.json()["error_code"]) == (403, "PERMISSION_DENIED")
    assert client.get("model-versions/get-download-uri", **asked)["artifact_uri"] == uri
    assert RunFiles(workspace).walk(exports_of(version)) == kept
    client.post("model-versions/delete", method="DELETE", **asked)
    assert client.file("GET", f"{root}/MLmodel").status_code == 404


@pytest.mark.one_backend("what is made is not of the store")
def test_the_folder_is_made_by_whoever_asks_first_also_for_a_file_and_a_copy(
    client: Client, workspace: Workspace
) -> None:
    native(workspace, DecisionTreeClassifier().fit(TABLE, LATE), "own")
    source = client.get("model-versions/get", name="own", version="1")["model_version"]["source"]
    said = client.file("GET", f"{source.removeprefix('mlflow-artifacts:/')}/MLmodel")
    assert (said.status_code, "flavors" in said.json()) == (200, True)
    native(workspace, DecisionTreeClassifier(max_depth=1).fit(TABLE, LATE), "other")
    client.post("registered-models/create", name="copied")
    client.post("model-versions/create", name="copied", source="models:/other/1")
    assert load_model("copied/1", workspace).max_depth == 1


@pytest.mark.one_backend("what is refused is not of the store")
def test_a_folder_that_another_process_makes_is_asked_for_again_and_one_that_cant_be_made_says_why(
    client: Client, workspace: Workspace, monkeypatch: pytest.MonkeyPatch
) -> None:
    version = native(workspace, DecisionTreeClassifier().fit(TABLE, LATE), "own")
    lease = workspace.leases.claim(f"mlflow-folder:{version.id}", workspace.owner, 60)
    path = "/api/2.0/mlflow/model-versions/get-download-uri"
    busy = client.ask("GET", path, params={"name": "own", "version": "1"})
    assert (busy.status_code, busy.json()["error_code"]) == (503, "TEMPORARILY_UNAVAILABLE")
    workspace.leases.release(lease)
    register_model(
        DecisionTreeClassifier().fit(TABLE, LATE), "shut", signature=TABLE, pickled=True, workspace=workspace
    )
    refused = client.get("model-versions/get-download-uri", name="shut", version="1")
    assert refused["error_code"] == "RESOURCE_DOES_NOT_EXIST"
    assert "shut/1" in refused["message"]
    assert "can't be exported as one" in refused["message"]
    assert "load_model" in refused["message"]
