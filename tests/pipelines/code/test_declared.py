"""Declared inputs: where `ms.file` looks, and what `ms.env` gives."""

from __future__ import annotations

from pathlib import Path

import pytest

from mainspring.errors import InvalidError
from mainspring.pipelines.code import declared


def called_from(source: Path, path: str) -> object:
    space: dict[str, object] = {"__file__": str(source), "declared": declared}
    return eval(f"declared.file({path!r})", space)


@pytest.fixture
def module(tmp_path: Path) -> Path:
    (tmp_path / "pkg").mkdir()
    (tmp_path / "mainspring.toml").touch()
    return tmp_path / "pkg" / "steps.py"


def test_a_file_beside_the_module_comes_before_one_in_the_root(module: Path, tmp_path: Path) -> None:
    assert called_from(module, "conf.yaml") == tmp_path / "conf.yaml"
    (tmp_path / "conf.yaml").touch()
    assert called_from(module, "conf.yaml") == tmp_path / "conf.yaml"
    (tmp_path / "pkg" / "conf.yaml").touch()
    assert called_from(module, "conf.yaml") == tmp_path / "pkg" / "conf.yaml"


def test_the_root_that_the_engine_sets_wins(module: Path, tmp_path: Path) -> None:
    token = declared.project_root.set(tmp_path / "pkg")
    try:
        assert called_from(module, "conf.yaml") == tmp_path / "pkg" / "conf.yaml"
    finally:
        declared.project_root.reset(token)


@pytest.mark.parametrize("path", ["/etc/passwd", "../../x", ""])
def test_a_path_that_leaves_the_project_is_refused(path: str, module: Path) -> None:
    with pytest.raises(InvalidError, match=r"ms\.file"):
        called_from(module, path)


def test_an_unset_variable_gives_the_default(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("REGION", raising=False)
    assert (declared.env("REGION"), declared.env("REGION", "eu")) == (None, "eu")
    monkeypatch.setenv("REGION", "us")
    assert declared.env("REGION", "eu") == "us"
