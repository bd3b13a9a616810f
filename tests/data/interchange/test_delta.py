"""Delta Lake: what is exported is read by its own library; a pinned version is what was pinned, or an error."""

from __future__ import annotations

import os
import shutil
from datetime import UTC, date, datetime
from decimal import Decimal
from pathlib import Path

import polars as pl
import pytest
from deltalake import DeltaTable, write_deltalake

from mainspring.data import TableDiff, dataset, query
from mainspring.data.interchange import delta_export
from mainspring.data.interchange.delta_export import DeltaMode, export_delta
from mainspring.data.interchange.pinned import import_delta, pin_delta
from mainspring.errors import ExistsError, InvalidError, NotAllowedError, NotFoundError, StorageError
from mainspring.testing.services import S3
from mainspring.testing.workspaces import Lab, states
from mainspring.workspace import Workspace, collect, using

FRAME = pl.DataFrame(
    {
        "n": pl.Series([3, 1, 2, None], dtype=pl.Int32),
        "text": ["é", "", None, "x"],
        "at": [datetime(2013, 1, 1, tzinfo=UTC), None, datetime(1900, 1, 1, tzinfo=UTC), datetime(2100, 1, 1, tzinfo=UTC)],
        "local": [datetime(2013, 1, 1, 5), None, datetime(1900, 1, 1), None],
        "day": [date(2013, 1, 1), None, None, None],
        "money": pl.Series([Decimal("1.50"), None, None, None], dtype=pl.Decimal(18, 2)),
        "list": [[1, None], [], None, [2]],
        "record": [{"a": 1, "b": "x"}, None, {"a": None, "b": None}, {"a": 2, "b": "y"}],
        "ratio": [0.1, float("nan"), None, float("inf")],
        "raw": [b"\0", b"", None, b"x"],
        "is_late": [True, False, None, True],
    }
)  # fmt: skip


def test_an_export_is_read_by_deltalake_in_order(
    workspace: Workspace, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(delta_export, "FILE_ROWS", 3)
    version = dataset("flights").commit(FRAME)
    written = export_delta(version, tmp_path / "flights")
    assert (written.rows, written.files, written.cast) == (4, 2, ())
    table = DeltaTable(tmp_path / "flights")
    assert table.to_pyarrow_table().num_rows == 4
    assert table.history()[0]["mainspring.content_digest"] == version.content_digest
    assert import_delta("again", tmp_path / "flights") == version
    assert pl.scan_delta(str(tmp_path / "flights")).sort("n").collect().equals(FRAME.sort("n"), null_equal=True)


def test_types_that_delta_lacks_become_the_next_that_hold_the_values(workspace: Workspace, tmp_path: Path) -> None:
    frame = pl.DataFrame(
        {
            "byte": pl.Series([200], dtype=pl.UInt8),
            "word": pl.Series([40_000], dtype=pl.UInt16),
            "count": pl.Series([3_000_000_000], dtype=pl.UInt32),
            "id": pl.Series([1], dtype=pl.UInt64),
            "carrier": pl.Series(["UA"], dtype=pl.Categorical),
            "at": pl.Series([datetime(2013, 1, 1)], dtype=pl.Datetime("ns", "Europe/Berlin")),
            "pair": pl.Series([[1, 2]], dtype=pl.Array(pl.UInt8, 2)),
            "record": pl.Series([{"x": 255}], dtype=pl.Struct({"x": pl.UInt8})),
        }
    )
    version = dataset("odd").commit(frame)
    written = export_delta(version, tmp_path / "odd")
    assert {name for name, _ in written.cast} == set(frame.columns)
    back = import_delta("again", tmp_path / "odd").to_polars()
    assert back.row(0) == (200, 40_000, 3_000_000_000, 1, "UA", datetime(2013, 1, 1, tzinfo=UTC), [1, 2], {"x": 255})


@pytest.mark.one_backend("it is refused before anything is written")
@pytest.mark.parametrize(
    ("column", "expected"),
    [
        (pl.Series("x", [None], dtype=pl.Null), "type that Delta Lake has"),
        (pl.Series("x", [1], dtype=pl.Duration("us")), "type that Delta Lake has"),
        (pl.Series("x", [2**63], dtype=pl.UInt64), "values fit"),
        (pl.Series("x", [[2**63]], dtype=pl.List(pl.UInt64)), "values fit"),
        (pl.Series("x", [1], dtype=pl.Datetime("ns")), "values fit"),
    ],
)
def test_a_column_that_delta_can_t_hold_is_named(
    workspace: Workspace, tmp_path: Path, column: pl.Series, expected: str
) -> None:
    version = dataset("odd").commit(column.to_frame())
    with pytest.raises(InvalidError, match=rf"odd/1\.x.*{expected}"):
        export_delta(version, tmp_path / "odd")
    assert not (tmp_path / "odd").exists()


def test_an_export_is_a_new_table_or_a_version_of_one(workspace: Workspace, tmp_path: Path) -> None:
    first = dataset("flights").commit(FRAME)
    assert export_delta(first, tmp_path / "flights").table_rows is None
    with pytest.raises(ExistsError, match=r"`overwrite` \(`--force`\) or `append` \(`--append`\)"):
        export_delta(first, tmp_path / "flights")
    added = export_delta(first, tmp_path / "flights", mode="append")
    assert (added.rows, added.files, added.table_rows) == (4, 1, 8)
    other = dataset("other").commit(pl.DataFrame({"other": [1]}))
    with pytest.raises(InvalidError, match="the columns and types"):
        export_delta(other, tmp_path / "flights", mode="append")
    export_delta(other, tmp_path / "flights", mode="overwrite")
    found = [import_delta("back", tmp_path / "flights", version=number) for number in range(3)]
    assert [version.rows for version in found] == [4, 8, 1]
    assert found[0] == first
    assert found[2] == other
    with pytest.raises(NotFoundError, match="The newest is 2"):
        import_delta("back", tmp_path / "flights", version=3)


@pytest.mark.one_backend("nothing is written")
@pytest.mark.parametrize("mode", ["error", "overwrite", "append"])
def test_a_folder_of_other_files_is_left_alone(workspace: Workspace, tmp_path: Path, mode: DeltaMode) -> None:
    version = dataset("n").commit(pl.DataFrame({"n": [1]}))
    mine = tmp_path / "full"
    mine.mkdir()
    (mine / "notes.txt").write_text("mine")
    with pytest.raises(ExistsError, match=r"no Delta table and holds `notes\.txt`"):
        export_delta(version, mine, mode=mode)
    assert [path.name for path in mine.iterdir()] == ["notes.txt"]


@pytest.mark.one_backend("files are those of a folder")
def test_what_a_killed_export_left_is_in_nobodys_way(workspace: Workspace, tmp_path: Path) -> None:
    version = dataset("n").commit(pl.DataFrame({"n": [1]}))
    export_delta(version, tmp_path / "lake")
    shutil.rmtree(tmp_path / "lake" / "_delta_log")
    (tmp_path / "lake" / "_delta_log").mkdir()
    export_delta(version, tmp_path / "lake")
    assert import_delta("again", tmp_path / "lake") == version


def test_a_pinned_version_reads_what_was_there(workspace: Workspace, tmp_path: Path) -> None:
    place = str(tmp_path / "outside")
    for number in range(12):
        write_deltalake(place, pl.DataFrame({"n": [number], "text": ["x"]}), mode="append")
    old, new = pin_delta("outside", place, version=4), pin_delta("outside", place)
    assert (old.rows, new.rows, old.pinned and old.pinned.uri) == (5, 12, f"{Path(place).as_uri()}@v4")
    DeltaTable(place).create_checkpoint()
    write_deltalake(place, pl.DataFrame({"n": [99], "text": ["y"]}), mode="overwrite")
    assert old.to_polars()["n"].to_list() == [0, 1, 2, 3, 4]
    assert new.scan().filter(pl.col("n") > 9).collect()["n"].to_list() == [10, 11]
    assert dataset("outside").version(1).to_polars().equals(dataset("stored").commit(old.to_polars()).to_polars())
    assert dataset("stored").latest() == old
    assert sum(info.size_bytes for info in workspace.blobs.list()) < 10_000
    assert [batch.height for batch in new.batches(5)] == [5, 5, 2]
    assert query("SELECT sum(n) AS n FROM t WHERE n > 9", {"t": new}).item() == 21
    difference = old.diff(new)
    assert isinstance(difference, TableDiff)
    assert (difference.added, difference.removed) == (7, 0)
    assert dataset("outside").compact() == new


def test_deletions_and_partitions_of_a_pinned_table_are_followed(workspace: Workspace, tmp_path: Path) -> None:
    place = str(tmp_path / "outside")
    write_deltalake(place, pl.DataFrame({"k": ["a b", "c/d", "e=f", None], "n": range(4)}), partition_by=["k"])
    first = pin_delta("outside", place)
    DeltaTable(place).delete("n = 1")
    second = pin_delta("outside", place)
    assert sorted(first.to_polars().rows(), key=lambda row: int(row[1]))[1] == ("c/d", 1)
    assert sorted(second.to_polars()["n"].to_list()) == [0, 2, 3]
    assert first.scan().filter(pl.col("k") == "c/d").collect()["n"].to_list() == [1]
    assert second.scan().filter(pl.col("n") == 2).collect()["k"].to_list() == ["e=f"]


def test_what_is_no_longer_what_was_pinned_is_an_error(workspace: Workspace, tmp_path: Path) -> None:
    place = tmp_path / "outside"
    write_deltalake(str(place), pl.DataFrame({"n": [1, 2]}))
    version = pin_delta("outside", place)
    (file,) = place.glob("*.parquet")
    data = file.read_bytes()
    write_deltalake(str(tmp_path / "other"), pl.DataFrame({"n": [1, 3]}))
    file.write_bytes(next((tmp_path / "other").glob("*.parquet")).read_bytes())
    with pytest.raises(StorageError, match="the rows there are not those of outside/1"):
        version.to_polars()
    file.write_bytes(data[:-9])
    with pytest.raises(StorageError, match="is gone or cut short"):
        version.to_polars()
    file.unlink()
    for read in (version.scan, version.to_polars):
        with pytest.raises(StorageError, match=r"whose file .* is gone"):
            read()
    file.write_bytes(data)
    assert version.to_polars()["n"].to_list() == [1, 2]
    os.rename(place, tmp_path / "moved")
    with pytest.raises(StorageError, match="outside/1 is pinned to this Delta table, which can't be read"):
        version.scan()
    write_deltalake(str(place), pl.DataFrame({"n": [1, 2]}))
    with pytest.raises(StorageError, match="which is another one now"):
        version.scan()


def test_a_pinned_version_is_not_changed_here_and_outlives_a_collection(workspace: Workspace, tmp_path: Path) -> None:
    write_deltalake(str(tmp_path / "outside"), pl.DataFrame({"n": [1]}))
    version = pin_delta("outside", tmp_path / "outside")
    with pytest.raises(NotAllowedError, match="pinned to"):
        dataset("outside").append(pl.DataFrame({"n": [2]}))
    with pytest.raises(NotAllowedError, match="pinned to"):
        dataset("outside").upsert(pl.DataFrame({"n": [2]}), key="n")
    collect(workspace, grace_s=0)
    collect(workspace, grace_s=0)
    assert dataset("outside").latest().to_polars()["n"].to_list() == [1]
    assert dataset("outside").commit(pl.DataFrame({"n": [2]})).pinned is None
    assert version.to_polars()["n"].to_list() == [1]


def test_addresses_with_secrets_are_refused(workspace: Workspace) -> None:
    with pytest.raises(InvalidError, match="without secrets") as caught:
        pin_delta("outside", "s3://ada:hunter2pass@bucket/table")
    assert "hunter2pass" not in str(caught.value)


def test_object_storage_is_written_and_pinned(workspace: Workspace, s3: S3, monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in {
        "AWS_ENDPOINT_URL": s3.endpoint, "AWS_ACCESS_KEY_ID": "key", "AWS_SECRET_ACCESS_KEY": "key",
        "AWS_REGION": "us-east-1", "AWS_ALLOW_HTTP": "true",
    }.items():  # fmt: skip
        monkeypatch.setenv(name, value)
    version = dataset("flights").commit(FRAME)
    place = s3.url().partition("?")[0]
    assert export_delta(version, place).files == 1
    pinned = pin_delta("outside", place)
    assert pinned == version
    assert pinned.to_polars().equals(FRAME, null_equal=True)


FLOW = """
    from mainspring.data import DatasetVersion, dataset

    @ms.step
    def total(version: DatasetVersion) -> int:
        return int(version.to_polars()["n"].sum())

    @ms.pipeline
    def main():
        return total(dataset("outside").latest())
"""


@pytest.mark.one_backend("it is about what is observed in a step")
def test_a_step_on_a_pinned_version_is_reused(lab: Lab, tmp_path: Path) -> None:
    write_deltalake(str(tmp_path / "outside"), pl.DataFrame({"n": [1, 2]}))
    pin_delta("outside", tmp_path / "outside", workspace=lab.workspace)
    lab.write(FLOW)
    with using(lab.workspace):
        first, second = lab.run(), lab.run()
    assert (states(first), states(second)) == ({"total": "succeeded"}, {"total": "reused"})
