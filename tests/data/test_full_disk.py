"""Wherever rows are written, a full disk is an error that names the place, and nothing is left or committed."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Callable
from pathlib import Path

import polars as pl
import pytest

from mainspring.data import DatasetVersion, HashSplit, dataset, export_parquet, scan_query, split_dataset
from mainspring.errors import StorageError
from mainspring.workspace import Workspace

ROWS = 300_000  # two megabytes and a half; the disk has one


@pytest.fixture
def version(workspace: Workspace) -> DatasetVersion:
    numbers = pl.int_range(ROWS, eager=True).hash(7)
    return dataset("t").commit(pl.DataFrame({"n": numbers, "third": numbers % 3}))


def lazily(version: DatasetVersion, _: Path) -> object:
    return dataset("u").commit(version.scan())


def at_hand(version: DatasetVersion, _: Path) -> object:
    return dataset("u").commit(version.to_polars()[::-1])


def split(version: DatasetVersion, _: Path) -> object:
    return split_dataset(version, HashSplit("n"), prefix="u")


def sql(version: DatasetVersion, _: Path) -> object:
    return scan_query("SELECT * FROM t", {"t": version})


def exported(version: DatasetVersion, disk: Path) -> object:
    return export_parquet(version, disk / "out.parquet")


def divided(version: DatasetVersion, disk: Path) -> object:
    return export_parquet(version, disk / "out", partition_by="third")


@pytest.mark.parametrize("write", [lazily, at_hand, split, sql, exported, divided])
@pytest.mark.one_backend("the disk is that of the temporary folder, or of the export")
def test_a_full_disk_is_named(
    write: Callable[[DatasetVersion, Path], object], version: DatasetVersion, small_disk: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    monkeypatch.setattr(tempfile, "tempdir", str(small_disk))
    monkeypatch.setattr("mainspring.data.tables.parts._IN_MEMORY_BYTES", 0)
    monkeypatch.setattr("mainspring.data.splits.recorded.LARGE_BYTES", 0)
    with pytest.raises(StorageError, match=rf"^{small_disk}.*the disk is full"):
        write(version, small_disk)
    assert not [name for name in os.listdir(small_disk) if not name.startswith("mainspring-scratch-")]
    assert version.to_polars().height == ROWS
