"""Decisions over HTTP: what waits, on what it is judged, and that only people who are known decide."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from mainspring.errors import NotAllowedError
from mainspring.evaluation import approve, list_waiting
from mainspring.models import Field, Signature, extend_card, register, set_stage
from mainspring.server import TokenStore
from mainspring.testing.plugin import Backend
from mainspring.workspace import Workspace, using
from tests.server.conftest import Client

POLICY = """
[approval.lines]
models = ["*line"]
roles = { risk = 1 }
verified = true
"""


@pytest.fixture
def workspace(tmp_path: Path, backend: Backend) -> Iterator[Workspace]:
    (tmp_path / "mainspring.toml").write_text(POLICY)
    where = {"database": backend.database_url, "blobs": backend.blob_url}
    with Workspace.open(tmp_path, overrides=where) as opened, using(opened):
        yield opened


def made(name: str = "a line", slope: float = 1.0) -> str:
    return str(register({"slope": slope}, name, signature=Signature((Field("x", "f64"),)), metrics={"auc": 0.9}))


class Person:
    """Somebody who asks a server with a token of theirs, or with none."""

    def __init__(self, client: Client, name: str = "", *roles: str) -> None:
        store = TokenStore(client.workspace.database, client.workspace.ledger)
        self._client = client
        self._headers = {"Authorization": f"Bearer {store.create(name, roles=roles)[1]}"} if name else {}

    def ask(self, method: str, path: str = "", status: int = 200, **fields: Any) -> Any:
        given = {"params": fields} if method == "GET" else {"json": fields}
        found = self._client.ask(method, f"/api/1.0/approvals{path}", headers=self._headers, **given)
        assert found.status_code == status, found.text
        return found.json()


def test_a_known_person_approves_what_a_local_one_can_not(client: Client) -> None:
    version = made()
    anna, nobody = Person(client, "anna", "risk"), Person(client)
    approve(version, role="risk")  # on this machine: not verified
    with pytest.raises(NotAllowedError, match="the identity is not verified"):
        set_stage(version, "Production")
    [waiting] = anna.ask("GET")["waiting"]
    assert (waiting["version"], waiting["approved"]) == (version, False)
    shown = nobody.ask("GET", f"/{version}")
    assert shown["evidence"]["metrics"] == {"auc": 0.9}
    assert shown["approval"]["evidence"] == waiting["evidence"]
    refused = nobody.ask("POST", f"/{version}/approve", 403, role="risk")
    assert refused["error_code"] == "PERMISSION_DENIED"
    assert "mainspring tokens create" in refused["message"]
    refused = anna.ask("POST", f"/{version}/approve", 403, role="product")
    assert refused["message"] == "anna may decide as `risk`, not as `product`."
    fields = {"role": "risk", "comment": "ok", "evidence": waiting["evidence"]}
    given = anna.ask("POST", f"/{version}/approve", **fields)["approval"]
    [decision, local] = given["decisions"]
    assert given["approved"]
    assert [decision[each] for each in ("actor", "verified", "role", "comment", "state")] == [
        "anna", True, "risk", "ok", "standing",
    ]  # fmt: skip
    assert not local["verified"]
    assert anna.ask("GET") == {"waiting": []}
    assert set_stage(version, "Production").stage == "Production"


def test_a_rejection_stands_until_it_is_withdrawn(client: Client) -> None:
    version = made()
    anna, ben = Person(client, "anna"), Person(client, "ben", "risk")
    anna.ask("POST", f"/{version}/reject", role="risk", comment="no")
    assert not ben.ask("POST", f"/{version}/approve", role="risk")["approval"]["approved"]
    assert ben.ask("GET") == {"waiting": []}  # it waits for nobody: it is rejected
    assert ben.ask("POST", f"/{version}/withdraw")["approval"]["decisions"][0]["state"] == "withdrawn"
    assert not anna.ask("POST", f"/{version}/withdraw", comment="well")["approval"]["approved"]
    assert [each["version"] for each in ben.ask("GET")["waiting"]] == [version]


def test_what_waits_is_newer_than_the_newest_approved(client: Client) -> None:
    anna = Person(client, "anna")
    first, second, third, fourth = (made(slope=slope) for slope in (1.0, 2.0, 3.0, 4.0))
    made("uncovered")
    other = made("b line")
    set_stage(third, "Archived")
    assert [each.version for each in list_waiting()] == [fourth, second, first, other]
    anna.ask("POST", f"/{second}/approve", role="risk")
    assert [each["version"] for each in anna.ask("GET")["waiting"]] == [fourth, other]
    assert [each["version"] for each in anna.ask("GET", max_results=1)["waiting"]] == [fourth]
    extend_card(second, "Limits", "Lines.")  # its approval is stale
    assert [each.version for each in list_waiting()] == [fourth, second, first, other]


@pytest.mark.one_backend("what is wrong with a request is the same of each store")
def test_what_is_wrong_is_said_in_the_codes_of_the_server(client: Client) -> None:
    version, anna = made(), Person(client, "anna")
    for method, path, fields, status, code in (
        ("GET", "/no line/1", {}, 404, "RESOURCE_DOES_NOT_EXIST"),
        ("GET", "", {"max_results": 0}, 400, "INVALID_PARAMETER_VALUE"),
        ("POST", f"/{version}/approve", {}, 400, "INVALID_PARAMETER_VALUE"),
        ("POST", f"/{version}/approve", {"role": ""}, 400, "INVALID_PARAMETER_VALUE"),
        ("POST", f"/{version}/approve", {"role": "risk", "evidence": "0" * 12}, 400, "INVALID_PARAMETER_VALUE"),
        ("POST", f"/{version}/approve", {"role": "risk", "evidnce": "0" * 12}, 400, "INVALID_PARAMETER_VALUE"),
        ("POST", f"/{version}/withdraw", {"role": "risk"}, 400, "INVALID_PARAMETER_VALUE"),
        ("GET", "", {"max_result": 1}, 400, "INVALID_PARAMETER_VALUE"),
        ("POST", f"/{version}/withdraw", {}, 404, "RESOURCE_DOES_NOT_EXIST"),
        ("POST", f"/{version}/forget", {}, 404, "ENDPOINT_NOT_FOUND"),
        ("DELETE", f"/{version}", {}, 404, "ENDPOINT_NOT_FOUND"),
    ):
        assert anna.ask(method, path, status, **fields)["error_code"] == code, (method, path, fields)
