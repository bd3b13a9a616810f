"""Other libraries read a version by its address, without a checkout."""

from __future__ import annotations

import io
from pathlib import Path

import fsspec
import polars as pl
import pytest

from mainspring.data import dataset
from mainspring.data.trees.filesystem import MainspringFileSystem
from mainspring.errors import InvalidError, NotAllowedError
from mainspring.workspace import Workspace
from tests.data.trees.folders import content, tree_of


def test_a_file_is_opened_by_its_address(workspace: Workspace, folder: Path) -> None:
    dataset("cards").add(folder)
    with fsspec.open("mainspring://cards@1/a/one.txt") as file:
        assert file.read() == b"one"
    with fsspec.open("mainspring://cards/b/link") as file:
        assert file.read() == b"one"


def test_folders_are_listed_and_walked(workspace: Workspace, folder: Path) -> None:
    dataset("cards").add(folder)
    dataset("t").commit(pl.DataFrame({"a": [1]}))
    system = fsspec.filesystem("mainspring")
    assert isinstance(system, MainspringFileSystem)
    assert system.ls("", detail=False) == ["cards"]
    assert system.ls("cards@1", detail=False) == ["cards@1/a", "cards@1/b", "cards@1/run.sh"]
    assert system.ls("mainspring://cards@1/a/one.txt")[0]["size"] == 3
    assert system.isdir("cards/a")
    assert system.isdir("cards")
    assert system.isdir("")
    assert not system.exists("cards/none")
    assert not system.exists("none/none")
    assert {path.removeprefix("cards@1/") for path in system.find("cards@1")} == set(tree_of(folder))
    assert sorted(system.glob("cards/**/*.txt")) == ["cards/a/one.txt", "cards/b/ünï.txt"]
    assert system.cat("cards/a/one.txt") == b"one"
    assert system.cat_file("cards/a/deep/two.bin", start=10, end=20) == bytes(range(10, 20))
    with pytest.raises(FileNotFoundError):
        system.ls("cards/none")
    with pytest.raises(FileNotFoundError):
        system.open("cards/none")


def test_links_that_lead_to_no_file_are_left_out_of_listings(workspace: Workspace, tmp_path: Path) -> None:
    root = content(tmp_path / "x", {"run3/a.csv": b"n\n1\n"})
    for name, target in (("latest", "run3"), ("nothing", "none"), ("first.csv", "run3/a.csv")):
        (root / name).symlink_to(target)
    dataset("runs").add(root)
    system = fsspec.filesystem("mainspring")
    assert system.find("runs") == ["runs/first.csv", "runs/run3/a.csv"]
    assert system.ls("runs", detail=False) == ["runs/run3", "runs/first.csv"]
    assert system.exists("runs/latest")
    assert not system.isdir("runs/latest")
    with pytest.raises(FileNotFoundError):
        system.open("runs/latest")
    assert set(system.cat(system.find("runs")).values()) == {b"n\n1\n"}


def test_a_moving_reference_stays_what_it_was(workspace: Workspace, tmp_path: Path) -> None:
    dataset("cards").add(content(tmp_path / "1", {"a": b"1"}))
    system = fsspec.filesystem("mainspring")
    assert system.cat("cards/a") == b"1"
    dataset("cards").add(content(tmp_path / "2", {"a": b"2"}))
    assert system.cat("cards/a") == b"1"
    assert fsspec.filesystem("mainspring").cat("cards/a") == b"2"


def test_versions_are_never_written_to(workspace: Workspace, folder: Path) -> None:
    dataset("cards").add(folder)
    with pytest.raises(NotAllowedError, match="versions are immutable"):
        fsspec.filesystem("mainspring").open("cards/new", "wb")
    dataset("t").commit(pl.DataFrame({"a": [1]}))
    with pytest.raises(InvalidError, match="is not a tree"):
        fsspec.filesystem("mainspring").ls("t")


def test_pandas_and_pyarrow_read_from_it(workspace: Workspace, tmp_path: Path) -> None:
    import pandas as pd
    import pyarrow.parquet as pq

    frame = pl.DataFrame({"a": [1, 2], "b": ["x", "y"]})
    buffer = io.BytesIO()
    frame.write_parquet(buffer)
    root = content(tmp_path / "x", {"t.csv": frame.write_csv().encode(), "d/t.parquet": buffer.getvalue()})
    dataset("tables").add(root)
    assert pd.read_csv("mainspring://tables@1/t.csv")["a"].tolist() == [1, 2]
    table = pq.read_table("tables@1/d/t.parquet", filesystem=fsspec.filesystem("mainspring"))
    assert table.column("b").to_pylist() == ["x", "y"]


def test_a_project_is_named_by_its_folder(workspace: Workspace, tmp_path: Path) -> None:
    with Workspace.open(tmp_path / "other") as other:
        dataset("cards", other).add(content(tmp_path / "x", {"a": b"of the other"}))
    with fsspec.open("mainspring://cards/a", project=str(tmp_path / "other")) as file:
        assert file.read() == b"of the other"
