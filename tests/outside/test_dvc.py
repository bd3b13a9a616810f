"""A user of DVC checks out what we export, and we read what DVC added."""

from __future__ import annotations

import subprocess
from pathlib import Path

import polars as pl
import pytest

from mainspring.data import dataset
from mainspring.data.interchange.dvc import export_dvc, import_dvc
from mainspring.workspace import Workspace, using
from tests.data.trees.folders import content, tree_of
from tests.outside.environments import Environment

FILES = {
    "a/one.txt": b"one\r\ntwo\r\n", "a/b/c.bin": bytes(range(256)) * 10_000, "empty": b"", "é ü.txt": "naïve".encode(),
    "a b/sp ace": b"1", "a-b": b"2", "a.b": b"3", "Z": b"4", "large": bytes(range(251)) * 80_000,
}  # fmt: skip


@pytest.fixture
def repository(client: Environment, tmp_path: Path) -> Path:
    root = tmp_path / "repo"
    root.mkdir()
    subprocess.run(["git", "init", "-q"], cwd=root, check=True)
    client.run("dvc", "init", "-q", cwd=root)
    return root


@pytest.mark.timeout(1_200)
def test_dvc_checks_out_what_we_export(client: Environment, repository: Path, tmp_path: Path) -> None:
    folder = content(tmp_path / "cards", FILES)
    with Workspace.open(tmp_path / "project") as workspace, using(workspace):
        version = dataset("cards").add(folder)
        export_dvc(version, repository / "data" / "cards")
        table = dataset("flights").commit(pl.DataFrame({"n": [1, 2, 3]}))
        export_dvc(table, repository / "flights.parquet")
        client.run("dvc", "checkout", cwd=repository)
        assert tree_of(repository / "data" / "cards") == FILES
        assert pl.read_parquet(repository / "flights.parquet")["n"].to_list() == [1, 2, 3]
        assert "up to date" in client.run("dvc", "status", cwd=repository)

        (folder / "a-b").write_bytes(b"changed")
        (folder / "Z").unlink()
        export_dvc(dataset("cards").add(folder), repository / "data" / "cards", overwrite=True)
        client.run("dvc", "checkout", cwd=repository)
        assert tree_of(repository / "data" / "cards") == tree_of(folder)
        untracked = subprocess.run(
            ["git", "status", "--porcelain", "-uall"], cwd=repository, check=True, capture_output=True, text=True
        ).stdout
        assert "data/cards.dvc" in untracked
        assert "data/cards/" not in untracked


@pytest.mark.timeout(1_200)
def test_what_dvc_added_is_imported_and_goes_back_unchanged(
    client: Environment, repository: Path, tmp_path: Path
) -> None:
    content(repository / "cards", FILES)
    (repository / "one.csv").write_bytes(b"n\n1\n")
    client.run("dvc", "add", "-q", "cards", "one.csv", cwd=repository)
    with Workspace.open(tmp_path / "project") as workspace, using(workspace):
        version = import_dvc("cards", repository / "cards.dvc")
        assert {file.path: version.read_bytes(file.path) for file in version.list_files()} == FILES
        assert import_dvc("one", repository / "one.csv.dvc").read_bytes("one.csv") == b"n\n1\n"
        export_dvc(version, repository / "cards")  # the same digest, or it would refuse
    assert "up to date" in client.run("dvc", "status", cwd=repository)
