"""Columns that come, or that a table lacks: taken where that is declared or asked for, refused with what to do elsewhere."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from typing import Any

import polars as pl
import pytest

from mainspring.data import check, dataset, get_dataset_version
from mainspring.data.differences import TableDiff
from mainspring.data.ingestion import Ingested, ingest
from mainspring.data.ingestion.source import IngestMode
from mainspring.errors import InvalidError

pytestmark = [
    pytest.mark.usefixtures("workspace"),
    pytest.mark.one_backend("files are read before any backend is asked"),
]
Write = Callable[[Path, pl.DataFrame], object]
OLD, NEW = pl.DataFrame({"id": [1], "n": [10]}), pl.DataFrame({"id": [2], "n": [20], "x": ["a"]})


@pytest.fixture(params=["csv", "parquet", "ndjson"])
def write(request: pytest.FixtureRequest) -> Callable[[Path, pl.DataFrame], Path]:
    """Writes a frame as a file of one kind, beside a name."""

    def written(path: Path, frame: pl.DataFrame) -> Path:
        path = path.with_suffix(f".{request.param}")
        getattr(frame, f"write_{request.param}")(path)
        return path

    return written


def rows() -> list[tuple[Any, ...]]:
    return dataset("t").to_polars().rows()


def ingested(raw: Path, mode: IngestMode = "append", **options: Any) -> Ingested:
    return ingest(raw, to="t", mode=mode, key="id" if mode == "upsert" else (), **options)


@pytest.mark.parametrize("mode", ["append", "upsert"])
def test_a_new_column_is_taken_as_its_refusal_says(raw: Path, write: Write, mode: IngestMode) -> None:
    write(raw / "1", OLD)
    ingested(raw, mode)
    write(raw / "2", NEW)
    with pytest.raises(InvalidError, match=r"column `x`.* types=\{'x': 'str'\}\.$"):
        ingested(raw, mode)
    done = ingested(raw, mode, types={"x": "str"})
    assert (rows(), done.widened) == ([(1, 10, None), (2, 20, "a")], {"x": "came later; null before"})
    first, newest = get_dataset_version("t/1"), dataset("t").latest()
    assert first.to_polars().rows() == [(1, 10)]
    difference = first.diff(newest, key="id")
    assert isinstance(difference, TableDiff)
    assert ([each.name for each in difference.schema], difference.added, difference.changed) == (["x"], 1, 0)
    write(raw / "3", NEW.with_columns(id=pl.lit(3)))
    assert (ingested(raw, mode).widened, rows()[2]) == ({}, (3, 20, "a"))


@pytest.mark.parametrize("types", [{}, {"x": "str"}])
@pytest.mark.parametrize("kind", ["csv", "parquet"])
def test_a_file_that_lost_a_column_is_refused_whatever_is_declared(raw: Path, kind: str, types: dict[str, str]) -> None:
    getattr(NEW, f"write_{kind}")(raw / f"1.{kind}")
    ingested(raw, types=types)
    getattr(OLD, f"write_{kind}")(raw / f"2.{kind}")
    told = rf"2\.{kind}: `id, n` is not a table with the column `x`, which the rows before have\. If it has no values there"
    modes: tuple[IngestMode, ...] = ("append", "replace")
    for mode in modes:
        with pytest.raises(InvalidError, match=told):
            ingested(raw, mode, types=types)
    assert rows() == [(2, 20, "a")]
    getattr(OLD.with_columns(x=pl.lit(None, pl.String)), f"write_{kind}")(raw / f"2.{kind}")
    ingested(raw, types=types)
    assert rows() == [(2, 20, "a"), (1, 10, None)]


def test_a_declared_column_may_come_later(raw: Path, write: Write) -> None:
    write(raw / "1", OLD)
    write(raw / "2", NEW)
    ingested(raw, types={"x": "str"})
    assert rows() == [(1, 10, None), (2, 20, "a")]


def test_a_replacing_ingest_takes_a_column_that_comes_later_where_it_is_declared(raw: Path) -> None:
    OLD.write_csv(raw / "1.csv")
    ingested(raw)
    NEW.write_csv(raw / "2.csv")
    with pytest.raises(InvalidError, match=r"2\.csv.* column `x`.* types=\{'x': 'str'\}"):
        ingested(raw, "replace")
    assert rows() == [(1, 10)]
    done = ingested(raw, "replace", types={"x": "str"})
    assert (rows(), done.widened) == ([(1, 10, None), (2, 20, "a")], {"x": "came later; null before"})


def test_a_declared_column_that_no_row_brings_is_refused_with_near_names(raw: Path) -> None:
    OLD.write_csv(raw / "1.csv")
    ingested(raw)
    OLD.write_csv(raw / "2.csv")
    with pytest.raises(InvalidError, match=r"`id, n` is not a table with the declared column `nn`. Nearest: `n`"):
        ingested(raw, types={"nn": "i64"})
    assert rows() == [(1, 10)]
    ingested(raw)
    assert ingested(raw, types={"nn": "i64"}).rows == 0


def test_a_declared_column_of_a_new_table_that_never_comes_is_an_error(raw: Path) -> None:
    OLD.write_csv(raw / "1.csv")
    with pytest.raises(InvalidError, match=r"`id, n` is not a table with the declared column `nn`. Nearest: `n`"):
        ingested(raw, types={"nn": "i64"})
    assert ingested(raw).rows == 1


def test_a_new_column_passes_checks_and_quarantine(raw: Path) -> None:
    checks = [check.between("n", low=0, severity="quarantine")]
    OLD.write_csv(raw / "1.csv")
    ingested(raw, checks=checks, quarantine="apart")
    pl.concat([NEW, NEW.with_columns(id=pl.lit(3), n=pl.lit(-1))], how="vertical_relaxed").write_csv(raw / "2.csv")
    ingested(raw, types={"x": "str"}, checks=checks, quarantine="apart")
    assert rows() == [(1, 10, None), (2, 20, "a")]
    assert dataset("apart").to_polars().select("id", "n", "x").rows() == [(3, -1, "a")]


def test_a_column_that_is_added_to_a_table_of_a_database_is_taken_where_it_is_declared(tmp_path: Path) -> None:
    with closing(sqlite3.connect(tmp_path / "app.db")) as database:
        database.executescript("CREATE TABLE t (id INTEGER PRIMARY KEY, n INTEGER); INSERT INTO t VALUES (1, 10)")
        url = f"sqlite:///{tmp_path}/app.db"
        ingest(url, to="t", table="t", cursor="id")
        database.executescript("ALTER TABLE t ADD COLUMN x TEXT; INSERT INTO t VALUES (2, 20, 'a')")
        ingest(url, to="t", table="t", cursor="id", types={"x": "str"})
    assert rows()[-1] == (2, 20, "a")
