"""Secrets: references go everywhere, values nowhere."""

from __future__ import annotations

from pathlib import Path

import pytest

from mainspring.errors import SecretError
from mainspring.secrets import (
    Secret,
    is_reference,
    resolve,
)


def test_a_reference_is_resolved_where_it_is_used(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("LAB_TOKEN", "token-from-env")
    (tmp_path / "key").write_text("token-from-file\n")
    assert Secret("secret:env/LAB_TOKEN").reveal() == "token-from-env"
    assert Secret(f"secret:file{tmp_path}/key").reveal() == "token-from-file"
    assert resolve("postgresql://ada:secret:env/LAB_TOKEN@db/x") == "postgresql://ada:token-from-env@db/x"


@pytest.mark.parametrize("reference", ["secret:env/LAB_NOT_SET", "secret:file/nowhere/key"])
def test_a_reference_to_nothing_is_named(reference: str) -> None:
    with pytest.raises(SecretError, match=reference):
        Secret(reference).reveal()


def test_a_secret_shows_its_reference_only(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LAB_TOKEN", "token-from-env")
    secret = Secret("secret:env/LAB_TOKEN")
    assert secret.reveal() not in f"{secret} {secret!r} {[secret]}"
    assert secret == Secret("secret:env/LAB_TOKEN")
    assert len({secret, Secret("secret:env/LAB_TOKEN")}) == 1


def test_a_value_is_no_reference() -> None:
    with pytest.raises(SecretError, match="secret:env/NAME") as caught:
        Secret("hunter2-in-the-clear")
    assert "hunter2" not in str(caught.value)
    assert not is_reference("hunter2")
