"""`mainspring tokens`."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from click.testing import CliRunner

from mainspring.cli.main import cli


def called(folder: Path, *words: str, code: int = 0) -> str:
    found = CliRunner().invoke(cli, ["-C", str(folder), "tokens", *words])
    assert found.exit_code == code, found.output
    return found.output


def test_a_token_is_made_shown_once_listed_and_revoked(tmp_path: Path) -> None:
    (tmp_path / "mainspring.toml").write_text("")
    made: dict[str, Any] = json.loads(called(tmp_path, "create", "anna", "--role", "risk", "--expires", "30", "--json"))
    secret, token = made["secret"], made["token"]["id"]
    assert secret.startswith(f"ms_{token}_")
    assert called(tmp_path, "create", "ben").startswith("ms_")
    listed = called(tmp_path)
    assert secret not in listed
    assert all(each in listed for each in ("anna", "risk", "ben"))
    assert called(tmp_path, "revoke", token) == f"Revoked {token} of anna.\n"
    states = {each["name"]: each["state"] for each in json.loads(called(tmp_path, "list", "--json"))["tokens"]}
    assert states == {"anna": "revoked", "ben": "active"}
    assert "No token `nobody`" in called(tmp_path, "revoke", "nobody", code=1)
