"""Tokens of people: shown once, kept as a digest, ended by time and by word; what they admit to, and as whom."""

from __future__ import annotations

import base64
import logging
from collections.abc import Callable

import pytest

from mainspring.clock import clock, now_us
from mainspring.errors import InvalidError, NotAllowedError, NotFoundError
from mainspring.ledger import Actor
from mainspring.runs import RunStore
from mainspring.secrets import redact
from mainspring.server import TokenStore
from mainspring.workspace import Workspace
from tests.server.conftest import Client


@pytest.fixture
def tokens(workspace: Workspace) -> TokenStore:
    return TokenStore(workspace.database, workspace.ledger)


def test_a_token_is_stored_as_a_digest_and_each_change_is_an_event(workspace: Workspace, tokens: TokenStore) -> None:
    first, text = tokens.create("anna", roles=("risk", "risk", "product"))
    second, _ = tokens.create("anna")
    assert tokens.owner(text) == Actor("anna", verified=True, roles=("risk", "product"))
    assert [each.id for each in tokens.list()] == [second.id, first.id]
    tokens.revoke(first.id)
    assert tokens.revoke(first.id).state == "revoked"
    assert [(each.id, each.state) for each in tokens.list()] == [(second.id, "active"), (first.id, "revoked")]
    events = [each for each in workspace.ledger.events() if each.kind.startswith("token.")]
    assert [(each.kind, each.subject) for each in events] == [
        ("token.created", first.id), ("token.created", second.id), ("token.revoked", first.id),
    ]  # fmt: skip
    secret = text.rpartition(first.id)[2][1:]
    stored = workspace.database.query("SELECT * FROM server_token")
    assert secret not in f"{stored} {events}"
    assert redact(f"401 for {text}") == "401 for [redacted]"
    with pytest.raises(NotFoundError):
        tokens.revoke("0" * 12)


@pytest.mark.one_backend("the rules of a text")
@pytest.mark.parametrize("wrong", ["", " anna", "a\nb", "x" * 101])
def test_a_name_is_a_text_on_one_line(tokens: TokenStore, wrong: str) -> None:
    with pytest.raises(InvalidError):
        tokens.create(wrong)
    with pytest.raises(InvalidError):
        tokens.create("anna", roles=(wrong,))


@pytest.mark.one_backend("the clock is looked at in Python")
def test_a_token_ends_with_its_days(tokens: TokenStore) -> None:
    made, text = tokens.create("anna", expires_days=1.5)

    class Later:
        def now_us(self) -> int:
            return (made.expires_at or 0) + 1

    assert made.expires_at == made.created_at + 36 * 3_600_000_000
    assert tokens.owner(text).name == "anna"
    reset = clock.set(Later())
    try:
        assert now_us() > made.created_at
        with pytest.raises(NotAllowedError, match=f"The token {made.id} of `anna` expired at "):
            tokens.owner(text)
    finally:
        clock.reset(reset)
    for days in (0, -1, float("nan"), float("inf")):
        with pytest.raises(InvalidError):
            tokens.create("anna", expires_days=days)


def bearer(text: str) -> str:
    return f"Bearer {text}"


def basic(text: str) -> str:
    return "Basic " + base64.b64encode(f"anybody:{text}".encode()).decode()


@pytest.mark.parametrize("borne", [bearer, basic])
def test_who_calls_is_the_author_of_what_they_record(
    workspace: Workspace, tokens: TokenStore, borne: Callable[[str], str]
) -> None:
    _, text = tokens.create("anna")
    client = Client(workspace, token="everybody")

    def post(path: str, token: str, **fields: object) -> dict[str, dict[str, dict[str, str]]]:
        headers = {"Authorization": borne(token)}
        told = client.ask("POST", f"/api/2.0/mlflow/{path}", json=fields, headers=headers)
        assert told.status_code == 200, told.text
        found: dict[str, dict[str, dict[str, str]]] = told.json()
        return found

    run = post("runs/create", text, user_id="ben")["run"]["info"]["run_id"]
    post("registered-models/create", text, name="line")
    version = post("model-versions/create", text, name="line", source=f"runs:/{run}/model", run_id=run)["model_version"]
    post("registered-models/alias", text, name="line", alias="champion", version=str(version["version"]))
    shared = post("runs/create", "everybody")["run"]["info"]["run_id"]
    assert {(each.actor, each.verified) for each in workspace.ledger.events(subject=run)} == {("anna", True)}
    runs = RunStore(workspace.database, workspace.ledger)
    assert (runs.get(run).actor, runs.get(run).tags["mlflow.user"]) == ("anna", "ben")
    assert "(local, unverified)" in runs.get(shared).actor
    kinds = {each.kind for each in workspace.ledger.events() if (each.actor, each.verified) == ("anna", True)}
    assert {"model.registered", "alias.moved"} <= kinds


def refused(client: Client, text: str, **headers: str) -> str:
    borne = {"Authorization": bearer(text).encode("latin-1")} | {name: each.encode() for name, each in headers.items()}
    found = client.ask("GET", "/api/2.0/mlflow/experiments/get", params={"experiment_id": "0"}, headers=borne)
    assert (found.status_code, found.json()["error_code"]) == (401, "UNAUTHENTICATED")
    message: str = found.json()["message"]
    return message


@pytest.mark.one_backend("what admits nobody is the same in each table")
@pytest.mark.parametrize("token", ["", "everybody"])
def test_what_admits_nobody_is_refused_with_or_without_a_common_token(
    workspace: Workspace, tokens: TokenStore, token: str, caplog: pytest.LogCaptureFixture
) -> None:
    made, text = tokens.create("anna")
    client = Client(workspace, token=token)
    caplog.set_level(logging.DEBUG)
    told = [
        refused(client, each) for each in (text[:-1] + ("a" if text[-1] != "a" else "b"), "ms_", "ms_é", text + "x")
    ]
    assert set(told) == {"This token is not known here."}
    assert refused(client, "abc") == "This needs `Authorization: Bearer TOKEN`." if token else told[0]
    tokens.revoke(made.id)
    told.append(refused(client, text))
    assert told[-1].startswith(f"The token {made.id} of `anna` was revoked at ")
    assert text[16:] not in f"{told} {caplog.text}"
    assert client.ask("GET", "/health", headers={"Authorization": bearer(text)}).status_code == 200


@pytest.mark.one_backend("no store is asked")
def test_a_password_that_a_browser_adds_for_another_site_counts_for_nothing(
    workspace: Workspace, tokens: TokenStore
) -> None:
    _, text = tokens.create("anna")
    client = Client(workspace, token="everybody")
    refused(client, "", Authorization=basic(text), Origin="https://evil.example")
