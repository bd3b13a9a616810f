"""`mainspring models approve`, `reject`, `withdraw` and `approvals` decide as who calls, and show how a version stands."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import chdir
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner

from mainspring.cli.main import cli
from mainspring.models import Field, Signature, register
from mainspring.workspace import Workspace, using


@pytest.fixture(autouse=True)
def project(tmp_path: Path) -> Iterator[None]:
    """A version of a model that a policy covers."""
    (tmp_path / "mainspring.toml").write_text("[approval.lines]\n")
    with Workspace.open(tmp_path) as workspace, using(workspace):
        register({"slope": 1.0}, "line", signature=Signature((Field("x", "f64"),)))
    with chdir(tmp_path):
        yield


def called(*words: str, code: int = 0) -> str:
    found = CliRunner().invoke(cli, ["models", *words])
    assert found.exit_code == code, found.output
    return found.output


def told(*words: str) -> Any:
    return json.loads(called(*words, "--json"))


def test_a_version_is_approved_rejected_and_free_again() -> None:
    assert "is not approved. [lines] 1 approval is needed" in called("stage", "line/1", "production", code=1)
    before = told("approvals", "line/1")
    assert (before["approved"], before["policies"], before["decisions"]) == (False, ["lines"], [])
    assert "look at it again" in called("approve", "line/1", "--role", "risk", "--evidence", "0" * 12, code=1)
    assert told("approve", "line/1", "--role", "risk", "--evidence", before["evidence"])["approved"]
    assert "in Production" in called("stage", "line/1", "production")
    called("card", "line/1", "--section", "Limits", "--text", "Lines.")
    shown = called("approvals", "line/1")
    assert "stale: card: Limits" in shown
    assert "has changed since (card: Limits)" in shown
    assert "rejected it (no)" in called("reject", "line/1", "--role", "risk", "--comment", "no")
    states = [each["state"] for each in told("withdraw", "line/1")["decisions"]]
    assert states == ["withdrawn", "replaced"]
    assert "has no decision" in called("withdraw", "line/1", code=1)
    assert "--role" in called("approve", "line/1", code=2)


def test_a_version_and_its_card_say_whether_it_is_approved() -> None:
    assert "1 approval is needed" in called("show", "line/1")
    called("approve", "line/1", "--role", "risk")
    shown = [" ".join(line.split()) for line in called("show", "line/1").splitlines()]
    assert {"approved yes", "policies lines"} < set(shown)
    assert any(line.startswith("needs loaded in") for line in shown)
    document = told("show", "line/1")["model"]
    assert (document["approval"]["approved"], document["approval"]["policies"]) == (True, ["lines"])
    assert document["needs"]["size_bytes"] == document["encoded"]["size_bytes"]
    card = called("card", "line/1")
    assert "## Approval" in card
    assert "| approved | yes |" in card
    assert told("card", "line/1")["facts"]["approval"]["policies"] == "lines"
