"""Opening a workspace, and making a project."""

from __future__ import annotations

from pathlib import Path

import pytest

from mainspring.errors import ExistsError, NotFoundError, StorageError
from mainspring.testing.plugin import Backend
from mainspring.testing.workspaces import Lab
from mainspring.workspace import Workspace, find_project, init_project


@pytest.mark.parametrize("kind", [str, Path])
def test_a_workspace_is_opened_by_text_or_path(tmp_path: Path, kind: type) -> None:
    (tmp_path / "mainspring.toml").write_text("")
    (tmp_path / "inner").mkdir()
    with Workspace.open(kind(tmp_path / "inner")) as workspace:
        assert workspace.project.root == tmp_path
    assert find_project(kind(tmp_path)).root == tmp_path


def test_home_is_what_the_tilde_means(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    with Workspace.open("~") as workspace:
        assert workspace.project.root == tmp_path


def test_looking_makes_nothing(tmp_path: Path) -> None:
    with pytest.raises(NotFoundError, match=str(tmp_path)):
        Workspace.open(tmp_path, create=False)
    assert list(tmp_path.iterdir()) == []


def test_a_project_that_is_there_is_named_in_full(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    assert init_project(".")
    with pytest.raises(ExistsError, match=f"There is a project `{tmp_path}` already"):
        init_project(Path())


def test_the_online_store_is_the_settings_and_closed_with_the_workspace(lab: Lab, backend: Backend) -> None:
    with lab.open() as workspace:
        store = workspace.online
        assert workspace.online is store
        assert store.place == backend.online.removeprefix("lmdb://")
        store.write([(b"a", b"1")])
    with pytest.raises(StorageError, match="closed"):
        store.get(b"a")
    assert lab.workspace.online.get(b"a") == b"1"
