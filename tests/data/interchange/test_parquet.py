"""Plain Parquet both ways: nothing is lost, nothing half is seen, nothing of others is overwritten."""

from __future__ import annotations

from datetime import date
from pathlib import Path

import polars as pl
import pytest

from mainspring.data import dataset
from mainspring.data.interchange.parquet import export_parquet, import_parquet
from mainspring.errors import ExistsError, InvalidError, NotAllowedError, NotFoundError
from mainspring.workspace import Workspace

FRAME = pl.DataFrame(
    {
        "day": [date(2013, 1, 1), date(2013, 1, 1), date(2013, 1, 2), None],
        "carrier": ["UA", "a/b", "UA", "é ="],
        "delay": [5.0, None, float("nan"), -1.0],
        "tags": [["a"], [], None, ["b", None]],
    }
)


def test_a_table_comes_back_the_same(workspace: Workspace, tmp_path: Path) -> None:
    version = dataset("flights").commit(FRAME)
    written = export_parquet(version, tmp_path / "out" / "flights.parquet")
    assert (written.rows, written.files) == (4, 1)
    assert written.size_bytes == Path(written.path).stat().st_size
    assert import_parquet("again", written.path) == version
    assert pl.read_parquet_metadata(written.path)["mainspring.content_digest"] == version.content_digest


def test_rows_keep_their_order_over_parts_and_deletions(workspace: Workspace, tmp_path: Path) -> None:
    flights = dataset("flights")
    for start in range(0, 5_000, 1_000):
        flights.append(pl.DataFrame({"n": range(start, start + 1_000)}))
    version = flights.delete(where="n % 7 = 3")
    export_parquet(version, tmp_path / "n.parquet")
    assert pl.read_parquet(tmp_path / "n.parquet").equals(version.to_polars())


@pytest.mark.parametrize("frame", [FRAME.clear(), pl.DataFrame({"n": [1]})])
def test_small_tables_come_back(workspace: Workspace, tmp_path: Path, frame: pl.DataFrame) -> None:
    version = dataset("flights").commit(frame)
    assert import_parquet("again", export_parquet(version, tmp_path / "x.parquet").path) == version


def test_partitions_are_folders_by_value(workspace: Workspace, tmp_path: Path) -> None:
    version = dataset("flights").commit(FRAME)
    written = export_parquet(version, tmp_path / "out", partition_by=["day", "carrier"])
    assert written.files == 4
    assert (tmp_path / "out" / "day=2013-01-01" / "carrier=UA").is_dir()
    back = import_parquet("again", tmp_path / "out")
    assert back.columns == ("delay", "tags", "day", "carrier")
    wanted = FRAME.select(back.columns).sort("day", "carrier")
    assert back.to_polars().sort("day", "carrier").equals(wanted, null_equal=True)


@pytest.mark.one_backend("the types of names of folders are those of files")
@pytest.mark.parametrize(
    ("values", "dtype"),
    [
        (["01", "1"], pl.String()), (["1", "1e3"], pl.String()), (["a/b", "c d", None], pl.String()),
        (["1", "2013-01-01"], pl.String()), (["2013-02-30"], pl.String()), ([-3, 0, None], pl.Int64()),
        ([date(2013, 1, 1)], pl.Date()),
    ],
)  # fmt: skip
def test_no_spelling_is_lost_in_the_name_of_a_folder(
    workspace: Workspace, tmp_path: Path, values: list[object], dtype: pl.DataType
) -> None:
    version = dataset("codes").commit(pl.DataFrame({"code": values, "n": range(len(values))}))
    export_parquet(version, tmp_path / "codes", partition_by="code")
    back = import_parquet("back", tmp_path / "codes").to_polars()
    assert back.schema["code"] == dtype
    assert back.sort("n")["code"].to_list() == values


def test_several_files_are_one_table_in_the_order_of_their_names(workspace: Workspace, tmp_path: Path) -> None:
    for number in (2, 1, 3):
        pl.DataFrame({"n": [number]}).write_parquet(tmp_path / f"{number}.parquet")
    (tmp_path / "_SUCCESS").touch()
    (tmp_path / ".hidden.parquet").write_bytes(b"no")
    for place in (tmp_path, tmp_path / "*.parquet"):
        version = import_parquet("n", place)
        assert version.to_polars()["n"].to_list() == [1, 2, 3]
    assert [source.uri.rpartition("/")[2] for source in version.source] == ["1.parquet", "2.parquet", "3.parquet"]


def test_what_is_there_is_overwritten_only_when_asked_for(workspace: Workspace, tmp_path: Path) -> None:
    version = dataset("flights").commit(FRAME)
    export_parquet(version, tmp_path / "out", partition_by="day")
    export_parquet(version, tmp_path / "one.parquet")
    for place, keys in ((tmp_path / "out", "carrier"), (tmp_path / "one.parquet", ())):
        with pytest.raises(ExistsError, match="overwrite"):
            export_parquet(version, place, partition_by=keys)
        export_parquet(version, place, partition_by=keys, overwrite=True)
    assert {path.name.partition("=")[0] for path in (tmp_path / "out").iterdir()} == {"carrier"}
    (tmp_path / "out" / "notes.txt").write_text("mine")
    with pytest.raises(NotAllowedError, match=r"notes\.txt"):
        export_parquet(version, tmp_path / "out", partition_by="day", overwrite=True)
    assert sorted(path.name for path in tmp_path.iterdir() if path.name != "workspace") == ["one.parquet", "out"]


def test_what_can_t_be_exported_is_named(workspace: Workspace, tmp_path: Path) -> None:
    version = dataset("flights").commit(FRAME)
    with pytest.raises(InvalidError, match="Nearest: carrier"):
        export_parquet(version, tmp_path / "x", partition_by="carier")
    with pytest.raises(InvalidError, match="less than all columns"):
        export_parquet(dataset("n").commit(pl.DataFrame({"n": [1]})), tmp_path / "x", partition_by="n")
    (tmp_path / "a.txt").write_text("a")
    with pytest.raises(InvalidError, match="a table"):
        export_parquet(dataset("tree").add(tmp_path / "a.txt"), tmp_path / "x")
    assert not (tmp_path / "x").exists()


def test_what_can_t_be_imported_is_named(workspace: Workspace, tmp_path: Path) -> None:
    with pytest.raises(NotFoundError, match="nothing"):
        import_parquet("n", tmp_path / "nothing.parquet")
    pl.DataFrame({"n": [1]}).write_parquet(tmp_path / "1.parquet")
    (tmp_path / "2.parquet").write_bytes(b"PAR1 this is no Parquet file PAR1")
    with pytest.raises(InvalidError, match=r"2\.parquet"):
        import_parquet("n", tmp_path)
    pl.DataFrame({"n": ["x"]}).write_parquet(tmp_path / "2.parquet")
    with pytest.raises(InvalidError, match="same columns and types"):
        import_parquet("n", tmp_path)
    (tmp_path / "_delta_log").mkdir()
    with pytest.raises(InvalidError, match="Delta table"):
        import_parquet("n", tmp_path)
