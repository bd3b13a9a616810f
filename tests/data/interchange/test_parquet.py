"""Plain Parquet both ways: nothing is lost, nothing half is seen, nothing of others is overwritten."""

from __future__ import annotations

from datetime import UTC, date, datetime, time, timedelta
from decimal import Decimal
from pathlib import Path

import polars as pl
import pytest

from mainspring.data import dataset
from mainspring.data.interchange.parquet import export_parquet, import_parquet
from mainspring.errors import ExistsError, InvalidError, NotAllowedError, NotFoundError
from mainspring.workspace import Workspace, using

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


FOLDERS = pytest.mark.one_backend("names of folders are those of files")


@FOLDERS
@pytest.mark.parametrize(
    ("values", "dtype"),
    [
        (["01", "1"], pl.String()), (["1", "1e3"], pl.String()), (["a/b", "c d", None], pl.String()),
        (["1", "2013-01-01"], pl.String()), (["2013-02-30"], pl.String()), ([-3, 0, None], pl.Int64()),
        ([date(2013, 1, 1)], pl.Date()), (["[a]", "*", "?", "a%2Fb", "{a,b}", "", ".", "'"], pl.String()),
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


@FOLDERS
@pytest.mark.parametrize(
    "name", ["a/b=c", "a=b", "a/b", "_k", ".k", "_id", "[k]", "k*", "é %", "path", "00000000.parquet"]
)
def test_no_name_of_a_column_is_lost_in_the_name_of_a_folder(workspace: Workspace, tmp_path: Path, name: str) -> None:
    frame = pl.DataFrame({"n": [1, 2], name: ["x", "y"]})
    export_parquet(dataset("names").commit(frame), tmp_path / "out", partition_by=name)
    assert import_parquet("back", tmp_path / "out").to_polars().sort("n").equals(frame)


@FOLDERS
@pytest.mark.parametrize("name", ["a[1].parquet", "br[1]/n.parquet", "b*/n?.parquet"])
def test_a_path_that_looks_like_a_glob_is_a_path(workspace: Workspace, tmp_path: Path, name: str) -> None:
    version = dataset("n").commit(pl.DataFrame({"n": [1]}))
    file = export_parquet(version, tmp_path / "in" / name).path
    for place in (file, Path(file).parent):
        assert import_parquet("again", place) == version


@FOLDERS
def test_a_workspace_in_a_folder_that_looks_like_a_glob(tmp_path: Path) -> None:
    folder = tmp_path / "br[1]"
    folder.mkdir()
    with Workspace.open(folder) as opened, using(opened):
        version = dataset("n").commit(pl.DataFrame({"n": [1, 2, 3]}))
        assert dataset("n").delete(where="n = 2").to_polars()["n"].to_list() == [1, 3]
        assert dataset("n").upsert(pl.DataFrame({"n": [4]}), key="n").rows == version.rows


@FOLDERS
def test_the_name_for_null_is_refused_as_text(workspace: Workspace, tmp_path: Path) -> None:
    version = dataset("n").commit(pl.DataFrame({"k": ["__HIVE_DEFAULT_PARTITION__", None], "n": [1, 2]}))
    with pytest.raises(InvalidError, match=r"column `k`.*null"):
        export_parquet(version, tmp_path / "out", partition_by="k")
    version = dataset("n").commit(pl.DataFrame({"k": ["x" * 300], "n": [1]}))
    with pytest.raises(InvalidError, match=r"column `k`.*302 bytes"):
        export_parquet(version, tmp_path / "out", partition_by="k")
    assert [path.name for path in tmp_path.iterdir() if path.name != "workspace"] == []


@FOLDERS
@pytest.mark.parametrize("values", [[[1], [2]], [{"a": 1}, {"a": 2}], [b"\xff", b"a"]])
def test_values_without_an_exact_text_are_no_partitions(
    workspace: Workspace, tmp_path: Path, values: list[object]
) -> None:
    version = dataset("n").commit(pl.DataFrame({"k": values, "n": [1, 2]}))
    with pytest.raises(InvalidError, match=r"`k`.*no names"):
        export_parquet(version, tmp_path / "out", partition_by="k")
    assert [path.name for path in tmp_path.iterdir() if path.name != "workspace"] == []


@FOLDERS
@pytest.mark.parametrize(
    "values",
    [
        [True, False], [1.5, float("nan")], [datetime(2013, 1, 1, tzinfo=UTC), None], [Decimal("1.10"), Decimal("1.1")],
        [timedelta(1), timedelta(microseconds=1)], [time(1, 2, 3, 4), time(1, 2, 3)], [None, None],
    ],
)  # fmt: skip
def test_each_value_of_other_types_has_a_folder(workspace: Workspace, tmp_path: Path, values: list[object]) -> None:
    version = dataset("n").commit(pl.DataFrame({"k": values, "n": [1, 2]}))
    assert export_parquet(version, tmp_path / "out", partition_by="k").files == len(set(values))
    assert import_parquet("back", tmp_path / "out").to_polars().sort("n")["k"].n_unique() == len(set(values))


@FOLDERS
def test_partitions_without_rows_keep_their_columns(workspace: Workspace, tmp_path: Path) -> None:
    version = dataset("flights").commit(FRAME.clear())
    assert export_parquet(version, tmp_path / "out", partition_by=["carrier", "day"]).files == 1
    back = import_parquet("back", tmp_path / "out")
    assert (back.rows, back.columns) == (0, ("delay", "tags", "carrier", "day"))


@FOLDERS
def test_rows_without_columns_are_counted(workspace: Workspace, tmp_path: Path) -> None:
    bare = pl.DataFrame(height=3)
    (tmp_path / "h" / "k=1").mkdir(parents=True)
    bare.write_parquet(tmp_path / "h" / "k=1" / "f.parquet")
    assert import_parquet("bare", tmp_path / "h" / "k=1" / "f.parquet").to_polars().shape == (3, 0)
    assert import_parquet("k", tmp_path / "h").to_polars()["k"].to_list() == [1, 1, 1]
    version = dataset("bare").latest()
    assert import_parquet("again", export_parquet(version, tmp_path / "out.parquet").path) == version
    pl.DataFrame({"a": [1]}).write_parquet(tmp_path / "h" / "k=1" / "g.parquet")
    with pytest.raises(InvalidError, match=r"g\.parquet.*same columns"):
        import_parquet("mixed", tmp_path / "h")


@FOLDERS
@pytest.mark.parametrize(
    ("values", "folder"),
    [
        (["1", "1"], "1"), ([1, 1], "01"), ([1.5], "1.5"), ([date(2013, 1, 1)], "2013-01-01"), ([True], "true"),
        ([None], "__HIVE_DEFAULT_PARTITION__"), (["a/b"], "a%2Fb"),
    ],
)  # fmt: skip
def test_a_column_of_files_and_folders_is_that_of_the_files(
    workspace: Workspace, tmp_path: Path, values: list[object], folder: str
) -> None:
    frame = pl.DataFrame({"k": values, "n": range(len(values))})
    file = tmp_path / "in" / f"k={folder}" / "f.parquet"
    frame.write_parquet(file, mkdir=True)
    assert import_parquet("same", tmp_path / "in").to_polars().equals(frame)
    for other in ([7], ["x"], [None] if values[0] is not None else [1]):
        pl.DataFrame({"k": other, "n": [1]}).write_parquet(file)
        with pytest.raises(InvalidError, match=r"f\.parquet, column `k`.*folder's name"):
            import_parquet("other", tmp_path / "in")


@FOLDERS
def test_folders_of_other_columns_are_named(workspace: Workspace, tmp_path: Path) -> None:
    for place in ("a.parquet", "k=1/b.parquet"):
        pl.DataFrame({"n": [1]}).write_parquet(tmp_path / "in" / place, mkdir=True)
    with pytest.raises(InvalidError, match=r"b\.parquet.*as the first file"):
        import_parquet("n", tmp_path / "in")
    pl.DataFrame({"n": [1]}).write_parquet(tmp_path / "twice" / "k=1" / "k=2" / "c.parquet", mkdir=True)
    with pytest.raises(InvalidError, match=r"c\.parquet"):
        import_parquet("n", tmp_path / "twice")


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
