"""Opening a workspace, and making a project."""

from __future__ import annotations

import subprocess
from functools import partial
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
    with pytest.raises(NotFoundError, match=f"{tmp_path}.*name the workspace that has their data"):
        Workspace.open(tmp_path, create=False)
    assert list(tmp_path.iterdir()) == []


def test_a_project_that_is_there_is_named_in_full(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    assert init_project(".").written
    with pytest.raises(ExistsError, match=f"There is a project `{tmp_path}` already"):
        init_project(Path())


def test_a_new_project_names_the_files_that_were_there(tmp_path: Path) -> None:
    (tmp_path / ".gitignore").write_text("*.log\n")
    made = init_project(tmp_path)
    assert made.left == [tmp_path / ".gitignore"]
    assert {path.name for path in made.written} == {"mainspring.toml", "pipeline.py"}
    assert (tmp_path / ".gitignore").read_text() == "*.log\n"


def test_git_passes_over_the_state(tmp_path: Path) -> None:
    git = partial(subprocess.run, cwd=tmp_path, check=True, capture_output=True, text=True)
    git(["git", "init", "--quiet"])
    (tmp_path / "code.py").touch()
    Workspace.open(tmp_path).close()
    assert (tmp_path / ".mainspring" / "mainspring.db").exists()
    git(["git", "add", "--all"])
    assert git(["git", "ls-files"]).stdout.split() == ["code.py"]


def test_a_gitignore_of_the_state_is_left_as_it_is(tmp_path: Path) -> None:
    Workspace.open(tmp_path).close()
    (tmp_path / ".mainspring" / ".gitignore").write_text("")
    Workspace.open(tmp_path).close()
    assert (tmp_path / ".mainspring" / ".gitignore").read_text() == ""


def test_the_online_store_is_the_settings_and_closed_with_the_workspace(lab: Lab, backend: Backend) -> None:
    with lab.open() as workspace:
        store = workspace.online
        assert workspace.online is store
        assert store.place == backend.online.removeprefix("lmdb://")
        store.write([(b"a", b"1")])
    with pytest.raises(StorageError, match="closed"):
        store.get(b"a")
    assert lab.workspace.online.get(b"a") == b"1"
