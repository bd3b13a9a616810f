"""What any request meets: who is admitted, where the routes are, how errors are said, and files as they come and go."""

from __future__ import annotations

import asyncio
import base64
import hashlib
from typing import Any

import pytest

from mainspring.runs import RunFiles
from mainspring.workspace import Workspace
from tests.server.conftest import Client

ARTIFACTS = "/api/2.0/mlflow-artifacts/artifacts"


@pytest.mark.parametrize("prefix", ["/api/2.0", "/ajax-api/2.0", "/api/2.0/preview"])
def test_each_endpoint_is_under_each_prefix(client: Client, prefix: str) -> None:
    answer = client.ask("GET", f"{prefix}/mlflow/experiments/get", params={"experiment_id": "0"})
    assert answer.json()["experiment"]["name"] == "Default"


@pytest.mark.one_backend("no store is asked")
@pytest.mark.parametrize(
    ("method", "path"),
    [("GET", "/api/2.0/mlflow/scorers/list"), ("PUT", "/api/2.0/mlflow/runs/create"), ("GET", "/api/9.0/mlflow/runs/get"),
     ("POST", "/api/3.0/mlflow/traces"), ("GET", "/api/3.0/mlflow/traces/tr-1"), ("POST", "/api/2.0/mlflow/traces"),
     ("POST", "/v1/traces"), ("GET", "/nothing")],
)  # fmt: skip
def test_what_is_not_served_is_no_endpoint(client: Client, method: str, path: str) -> None:
    answer = client.ask(method, path)
    assert (answer.status_code, answer.json()["error_code"]) == (404, "ENDPOINT_NOT_FOUND")


@pytest.mark.one_backend("no store is asked")
def test_a_token_is_demanded_but_of_probes(workspace: Workspace) -> None:
    client = Client(workspace, token="t0p")
    assert client.ask("GET", "/health").status_code == 200
    refused = client.ask("GET", "/api/2.0/mlflow/experiments/get", params={"experiment_id": "0"})
    assert (refused.status_code, refused.json()["error_code"]) == (401, "UNAUTHENTICATED")
    borne = client.ask(
        "GET", "/api/2.0/mlflow/experiments/get?experiment_id=0", headers={"Authorization": "Bearer t0p"}
    )
    assert borne.status_code == 200


@pytest.mark.one_backend("what is wrong is seen before a store is asked")
@pytest.mark.parametrize(
    "body",
    [b"[1]", b"{", b'{"experiment_id": {}}', b'{"start_time": "soon"}', b'{"tags": [{"value": "x"}]}', b"[" * 100_000],
)
def test_a_wrong_body_is_an_invalid_parameter(client: Client, body: bytes) -> None:
    answer = client.ask("POST", "/api/2.0/mlflow/runs/create", content=body)
    assert (answer.status_code, answer.json()["error_code"]) == (400, "INVALID_PARAMETER_VALUE")


def test_a_file_goes_in_and_out(client: Client) -> None:
    run_id = client.run()
    place = f"0/{run_id}/artifacts/a b/é.bin"
    content = bytes(range(256)) * 10_000
    assert client.file("PUT", place, content).status_code == 200
    answer = client.file("GET", place)
    assert answer.content == content
    assert answer.headers["content-length"] == str(len(content))
    listed = client.get("artifacts/list", run_id=run_id, path="a b")
    assert listed["files"] == [{"path": "a b/é.bin", "is_dir": False, "file_size": len(content)}]
    assert listed["root_uri"] == f"mlflow-artifacts:/0/{run_id}/artifacts"
    assert client.file("DELETE", place).status_code == 200
    assert client.file("GET", place).status_code == 404


@pytest.mark.one_backend("no store is asked")
def test_a_client_that_would_send_parts_is_told_to_send_the_file_as_a_whole(client: Client) -> None:
    place = f"0/{'0' * 32}/artifacts"
    answer = client.ask(
        "POST", f"/api/2.0/mlflow-artifacts/mpu/create/{place}", json={"path": "large.bin", "num_parts": 3}
    )
    assert (answer.status_code, answer.json()["error_code"]) == (501, "NOT_IMPLEMENTED")
    assert answer.json()["message"].startswith("Multipart upload is not supported for the current artifact repository")


@pytest.mark.one_backend("paths are refused before a store is asked")
@pytest.mark.parametrize("path", ["../x", "a/../../b", "%2e%2e/x", "/etc/passwd", "a//b", "", ".", "a\\..\\b", "a%00b"])
def test_a_path_that_leads_elsewhere_is_refused(client: Client, path: str) -> None:
    run_id = client.run()
    answers = [client.file(method, f"0/{run_id}/artifacts/{path}", b"x") for method in ("PUT", "GET", "DELETE")]
    answers.append(client.file("PUT", f"elsewhere/{path}", b"x"))
    assert {answer.json()["error_code"] for answer in answers} <= {"INVALID_PARAMETER_VALUE", "ENDPOINT_NOT_FOUND"}
    assert RunFiles(client.workspace).list(run_id) == []


@pytest.mark.one_backend("nothing reaches a store")
def test_an_upload_that_is_cut_off_leaves_nothing(client: Client) -> None:
    run_id = client.run()
    messages: list[dict[str, Any]] = [
        {"type": "http.request", "body": b"half", "more_body": True}, {"type": "http.disconnect"}
    ]  # fmt: skip
    sent: list[dict[str, Any]] = []

    async def receive() -> dict[str, Any]:
        return messages.pop(0)

    async def send(message: dict[str, Any]) -> None:
        sent.append(message)

    path = f"/api/2.0/mlflow-artifacts/artifacts/0/{run_id}/artifacts/x"
    asyncio.run(client.app({"type": "http", "path": path, "method": "PUT", "headers": []}, receive, send))
    assert sent == []
    assert RunFiles(client.workspace).list(run_id) == []


def test_a_file_that_is_not_what_its_sender_declared_is_refused(client: Client) -> None:
    path = f"/api/2.0/mlflow-artifacts/artifacts/0/{client.run()}/artifacts/x"
    declared = base64.b64encode(hashlib.md5(b"sent").digest())
    damaged = client.ask("PUT", path, content=b"came", headers={"Content-MD5": declared.decode()})
    assert (damaged.status_code, "Content-MD5" in damaged.text) == (400, True)
    assert client.ask("GET", path).status_code == 404
    assert client.ask("PUT", path, content=b"sent", headers={"Content-MD5": declared.decode()}).status_code == 200


def test_a_file_needs_a_run_that_is_there(client: Client) -> None:
    assert client.file("PUT", f"0/{'0' * 32}/artifacts/x", b"x").status_code == 404
    run_id = client.run()
    client.post("runs/delete", run_id=run_id)
    assert client.file("PUT", f"0/{run_id}/artifacts/x", b"x").json()["error_code"] == "INVALID_PARAMETER_VALUE"


@pytest.mark.one_backend("nothing is stored")
def test_a_page_of_another_site_is_denied_in_the_words_of_mlflows_clients(client: Client) -> None:
    told = client.ask("GET", "/api/2.0/mlflow/experiments/search", headers={"origin": "https://evil.example"})
    assert (told.status_code, told.json()["error_code"]) == (403, "PERMISSION_DENIED")


@pytest.mark.one_backend("no store is asked")
def test_a_server_that_was_ended_says_so_for_good_with_a_token_or_without(workspace: Workspace) -> None:
    client = Client(workspace, token="t0p")
    client.app.end("The step `train` is over.")
    for headers in ({}, {"Authorization": "Bearer t0p"}, {"Authorization": "Bearer another"}):
        for method, path in (
            ("POST", "/api/2.0/mlflow/runs/set-tag"),
            ("GET", "/version"),
            ("PUT", f"{ARTIFACTS}/0/a"),
        ):
            answer = client.ask(method, path, headers=headers)
            assert (answer.status_code, answer.json()["error_code"]) == (410, "INVALID_STATE")
            assert answer.json()["message"] == "The step `train` is over."
    assert client.ask("GET", "/health").status_code == 200
