"""Files and globs: what is read, what is refused and how it is named, and that each row is taken once."""

from __future__ import annotations

import bz2
import cProfile
import gzip
import json
import lzma
import os
import random
import re
import shutil
from collections.abc import Callable
from datetime import UTC, date, datetime
from decimal import Decimal
from pathlib import Path
from typing import Any

import polars as pl
import pytest
import zstandard

from mainspring.data import check, dataset
from mainspring.data.ingestion import Files, Progress, Retry, forget_cursor, ingest, list_cursors, streams
from mainspring.errors import InvalidError, NotFoundError, StorageError
from mainspring.workspace import Workspace

pytestmark = [
    pytest.mark.usefixtures("workspace"),
    pytest.mark.one_backend("files are read before any backend is asked"),
]
CSV = "day,carrier,delay\n2013-01-01,UA,5\n2013-01-02,AA,\n"
AT_ONCE = Retry(sleep=lambda _: None)


def rows(name: str = "flights") -> list[tuple[Any, ...]]:
    return dataset(name).to_polars().rows()


def zstd(data: bytes) -> bytes:
    return zstandard.ZstdCompressor().compress(data)


def test_new_files_are_appended_and_old_ones_left_alone(raw: Path) -> None:
    (raw / "jan.csv").write_text(CSV)
    first = ingest(str(raw / "*.csv"), to="flights")
    assert (first.rows, str(first.version)) == (2, "flights/1")
    assert ingest(str(raw / "*.csv"), to="flights").version == first.version
    (raw / "feb.csv").write_text("delay,day,carrier\n7,2013-02-01,UA\n")
    second = ingest(str(raw), to="flights")
    assert (second.rows, rows()[2:]) == (1, [("2013-02-01", "UA", 7)])
    assert [source.uri for source in second.version.source] == [(raw / "feb.csv").as_uri()] if second.version else False


def test_a_folder_is_one_source_however_it_is_named(raw: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (raw / "jan.csv").write_text(CSV)
    (tmp_path / "link").symlink_to(raw)
    monkeypatch.chdir(tmp_path)
    named = ["raw/*.csv", raw / "*.csv", "raw/../raw", raw.as_uri(), "link/jan.csv"]
    assert [ingest(name, to="flights").rows for name in named] == [2, 0, 0, 0, 0]


def test_a_project_that_was_moved_knows_what_it_read(tmp_path: Path) -> None:
    counts = []
    for name in ("here", "there"):
        raw = tmp_path / name / "raw"
        raw.mkdir(parents=True, exist_ok=True)
        (raw / "jan.csv").write_text(CSV)
        with Workspace.open(tmp_path / name) as workspace:
            counts.append(ingest(raw / "*.csv", to="flights", workspace=workspace).rows)
        if name == "here":
            shutil.copytree(tmp_path / "here", tmp_path / "there")
    assert counts == [2, 0]


def test_an_edit_that_keeps_size_and_time_is_noticed(raw: Path) -> None:
    path = raw / "jan.csv"
    for text in (CSV, CSV.replace(",5", ",6")):
        path.write_text(text)
        os.utime(path, ns=(1, 1))
        if text == CSV:
            ingest(raw, to="flights")
    with pytest.raises(InvalidError, match=r"jan\.csv: `changed since it was read"):
        ingest(raw, to="flights")


def test_the_work_for_each_of_many_files_is_the_same(tmp_path: Path) -> None:
    """Counted in calls."""
    counts = []
    for count in (60, 240):
        folder = tmp_path / str(count)
        folder.mkdir()
        for number in range(count):
            (folder / f"{number:03}.csv").write_text("n\n1\n")
            os.utime(folder / f"{number:03}.csv", ns=(1, 1))
        with cProfile.Profile() as profile:
            ingest(folder, to=f"numbers{count}")
        counts.append(sum(entry.callcount for entry in profile.getstats()))
    assert counts[1] < 4.2 * counts[0]


def test_the_lineage_names_each_file_by_its_bytes(raw: Path, workspace: Workspace) -> None:
    (raw / "jan.csv").write_text(CSV)
    version = ingest(raw / "jan.csv", to="flights").version
    assert version is not None
    again = dataset("other").commit(pl.DataFrame({"n": [1]}), source=raw / "jan.csv")
    assert version.source == again.source


@pytest.mark.parametrize(
    ("ending", "compress"), [("gz", gzip.compress), ("bz2", bz2.compress), ("xz", lzma.compress), ("zst", zstd)]
)
def test_compressed_files_are_read_and_cut_off_ones_refused(
    raw: Path, ending: str, compress: Callable[[bytes], bytes]
) -> None:
    text = "n,text\n" + "".join(f"{n},{random.Random(n).random()}\n" for n in range(5_000))
    data = compress(text.encode())
    path = raw / f"jan.csv.{ending}"
    path.write_bytes(data)
    assert ingest(path, to="flights").rows == 5_000
    path.write_bytes(data[: len(data) // 2])
    with pytest.raises(StorageError, match=rf"jan.csv.{ending}: the compressed file is cut off or damaged"):
        ingest(path, to="others")
    with pytest.raises(NotFoundError):
        dataset("others").latest()


@pytest.mark.parametrize(
    ("data", "encoding"),
    [
        ("name\nZoë\n".encode(), "auto"),
        (b"\xef\xbb\xbf" + "name\nZoë\n".encode(), "auto"),
        (b"\xef\xbb\xbf" + "name\nZoë\n".encode(), "utf-8-sig"),
        ("name\nZoë\n".encode("utf-16"), "auto"),
        ("name\nZoë\n".encode("utf-32"), "auto"),
        ("name\nZoë\n".encode("utf-32"), "UTF_32"),
        ("\ufeffname\nZoë\n".encode("utf-32-be"), "auto"),
        ("name\nZoë\n".encode("cp1252"), "cp1252"),
        ("name\nZoë\n".encode("latin-1"), "latin-1"),
    ],
)
def test_encodings_are_known_by_their_mark_or_declared(raw: Path, data: bytes, encoding: str) -> None:
    (raw / "names.csv").write_bytes(data)
    ingest(raw / "names.csv", to="names", encoding=encoding)
    assert rows("names") == [("Zoë",)]


@pytest.mark.parametrize("block_bytes", [2, 1 << 20])
@pytest.mark.parametrize("encoding", ["utf-8", "utf-16-le", "utf-16-be", "utf-32-le", "utf-32-be"])
@pytest.mark.parametrize("ending", ["csv", "jsonl"])
def test_several_marks_at_the_beginning_are_no_text(
    raw: Path, ending: str, encoding: str, block_bytes: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(streams, "BLOCK_BYTES", block_bytes)
    monkeypatch.setattr(streams, "_READ_BYTES", block_bytes)
    text = "x\n1\n" if ending == "csv" else '{"x": 1}\n'
    (raw / f"a.{ending}").write_bytes(f"\ufeff\ufeff\ufeff{text}".encode(encoding))
    ingest(raw, to="flights")
    assert (dataset("flights").latest().columns, rows()) == (("x",), [(1,)])


def test_what_is_not_text_in_its_encoding_is_named_with_its_line(raw: Path) -> None:
    (raw / "names.csv").write_bytes("name\nAda\nZoë\n".encode("cp1252"))
    with pytest.raises(InvalidError, match=r"names\.csv, line 3: `byte 0xeb` is not text in utf-8.*encoding='cp1252'"):
        ingest(raw / "names.csv", to="names")
    (raw / "names.csv").write_bytes(b"name\nAda\n\x81\n")
    with pytest.raises(InvalidError, match=r"line 3: `byte 0x81` is not text in cp1252"):
        ingest(raw / "names.csv", to="names", encoding="cp1252")
    with pytest.raises(InvalidError, match="`cp9999` is not a text encoding"):
        ingest(raw / "names.csv", to="names", encoding="cp9999")


def test_a_value_that_does_not_fit_its_column_is_named_with_its_line(raw: Path) -> None:
    (raw / "jan.csv").write_text(CSV)
    ingest(raw, to="flights")
    (raw / "feb.csv").write_text("day,carrier,delay\n2013-02-01,UA,3\n2013-02-02,UA,late\n")
    with pytest.raises(
        InvalidError, match=r"feb\.csv, line 3, column `delay`: `late` is not its type, `i64`.* null_values="
    ):
        ingest(raw, to="flights")
    assert ingest(raw, to="flights", null_values=["late"]).rows == 2


@pytest.mark.parametrize(
    ("text", "said"), [("day,carrier\n1,UA\n", "`delay`"), ("day,carrier,delay,gate\n1,UA,1,2\n", "`gate`")]
)
def test_a_renamed_column_is_named(raw: Path, text: str, said: str) -> None:
    (raw / "jan.csv").write_text(CSV)
    ingest(raw, to="flights")
    (raw / "feb.csv").write_text(text)
    with pytest.raises(InvalidError, match=rf"feb\.csv.*{said}"):
        ingest(raw, to="flights")


def test_columns_are_inferred_from_all_files_of_one_ingest(raw: Path) -> None:
    (raw / "a.csv").write_text("n,x,note\n1,1,\n")
    (raw / "b.csv").write_text("n,x,note\n2,1.5,late\n")
    done = ingest(raw, to="numbers")
    assert rows("numbers") == [(1, 1.0, None), (2, 1.5, "late")]
    assert done.widened == {"x": "i64 became f64"}
    (raw / "c.csv").write_text("n,x,note\nthree,1,\n")
    with pytest.raises(InvalidError, match=r"c\.csv, line 2, column `n`: `three`"):
        ingest(raw, to="numbers")


def test_a_whole_number_that_a_float_can_not_hold_is_refused(raw: Path) -> None:
    (raw / "a.csv").write_text(f"n\n{2**53 + 1}\n")
    (raw / "b.csv").write_text("n\n0.5\n")
    with pytest.raises(InvalidError, match="rows before, column `n`: `9007199254740993` is not its type, `f64`"):
        ingest(raw, to="numbers")


WHOLE = 2**53 + 1


@pytest.mark.parametrize(
    ("name", "lines", "said"),
    [
        ("a.csv", ["n", f"{WHOLE}", "0.5"], "column `n`"),
        ("a.csv", ["n,t", "0.5,", f"{WHOLE},x"], "line 3, column `n`: `9007199254740993` is not a number that a float holds"),
        ("a.ndjson", [f'{{"n": {WHOLE}}}', '{"n": 0.5}'], "column `n`"),
        ("a.ndjson", ['{"n": [0.5]}', f'{{"n": [1, {WHOLE}]}}'], "line 2, column `n`: `9007199254740993` is not a number"),
        ("a.ndjson", ['{"o": {"b": "x"}}', '{"o": {"b": 1}}'], r"column `o"),
        ("a.ndjson", ['{"o": [{"b": 1}]}', '{"o": [{"b": "x"}]}'], r"column `o"),
        ("a.ndjson", ['{"o": {"b": 1}}', '{"o": "x"}'], "column `o`"),
        ("a.ndjson", ['{"o": ["x"]}', '{"o": [1]}'], "column `o`"),
    ],
)  # fmt: skip
def test_what_two_blocks_refuse_one_refuses_too(
    raw: Path, name: str, lines: list[str], said: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    (raw / name).write_text("\n".join(lines))
    with pytest.raises(InvalidError, match=said):
        ingest(raw, to="numbers")
    monkeypatch.setattr(streams, "BLOCK_BYTES", 1)
    monkeypatch.setattr(streams, "_READ_BYTES", 5)
    with pytest.raises(InvalidError, match=r"a\.(csv|ndjson).*, column `[no]|rows before, column `[no]"):
        ingest(raw, to="others")


@pytest.mark.parametrize("block_bytes", [1, 1 << 20])
def test_large_whole_numbers_are_kept(raw: Path, block_bytes: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(streams, "BLOCK_BYTES", block_bytes)
    monkeypatch.setattr(streams, "_READ_BYTES", 5)
    (raw / "a.csv").write_text(f"n\n1\n{2**60}\n0.5\n")
    ingest(raw, to="numbers")
    assert rows("numbers") == [(1.0,), (2.0**60,), (0.5,)]
    (raw / "a.csv").write_text(f"n\n1\n{10**20}\n")
    ingest(raw, to="numbers", mode="replace")
    assert rows("numbers") == [(1,), (10**20,)]


@pytest.mark.parametrize("mode", ["append", "upsert"])
@pytest.mark.parametrize(("first", "types"), [("a,b\n1,\n2,\n", {}), ("a,b\n", {}), ("a,b\n1,\n2,\n", {"b": "str"})])
def test_a_column_without_values_gets_the_type_of_the_first_ones(
    raw: Path, first: str, types: dict[str, str], mode: Any
) -> None:
    (raw / "1.csv").write_text(first)
    before = ingest(raw, to="n", mode=mode, key=["a"] if mode == "upsert" else ()).version
    (raw / "2.csv").write_text("a,b\n3,x\n")
    done = ingest(raw, to="n", mode=mode, key=["a"] if mode == "upsert" else (), types=types)
    assert before is not None
    assert done.version is not None
    assert done.widened["b"] == "null became str"
    assert done.version.to_polars().rows() == [*before.to_polars().rows(), (3, "x")]
    assert done.version.content_digest == dataset("whole").commit(done.version.to_polars()).content_digest
    assert dataset("n").version(done.version.number - 1).to_polars().rows() == before.to_polars().rows()


def test_a_declared_type_may_be_a_wider_one_than_the_datasets(raw: Path) -> None:
    (raw / "a.csv").write_text(f"x\n{'9' * 36}.5\n")
    ingest(raw / "a.csv", to="sales", types={"x": "decimal[38, 1]"})
    (raw / "b.csv").write_text("x\n0.25\n")
    done = ingest(raw / "b.csv", to="sales", types={"x": "decimal[38, 2]"})
    assert done.widened == {"x": "decimal[38, 1] became decimal[38, 2]"}
    assert [str(x) for x in dataset("sales").to_polars()["x"]] == [f"{'9' * 36}.50", "0.25"]
    (raw / "c.csv").write_text("x\n0.125\n")
    with pytest.raises(InvalidError, match=r"sales: .* is not a table whose values the wider types hold"):
        ingest(raw / "c.csv", to="sales", types={"x": "decimal[38, 3]"})
    with pytest.raises(
        InvalidError, match=r"types\.x: `decimal\[38, 1\]` is not the column's type in `sales/3`, .*'replace'"
    ):
        ingest(raw / "c.csv", to="sales", types={"x": "decimal[38, 1]"})


@pytest.mark.parametrize(
    ("known", "wanted", "fits"),
    [
        ("decimal[10, 2]", "decimal[20, 2]", True), ("decimal[10, 2]", "decimal[12, 4]", True), ("i8", "i16", True),
        ("u8", "i16", True), ("decimal[10, 2]", "decimal[10, 4]", False), ("i16", "u16", False), ("i64", "i32", False),
        ("f64", "f32", False), ("list[i8]", "list[i32]", True), ("list[i8]", "i32", False),
    ],
)  # fmt: skip
def test_a_type_is_wider_that_holds_all_values_of_the_datasets(raw: Path, known: str, wanted: str, fits: bool) -> None:
    value = "[1]" if "list" in known else "1"
    for name in ("a", "b"):
        (raw / f"{name}.ndjson").write_text(f'{{"x": {value}}}\n')
    ingest(raw / "a.ndjson", to="sales", types={"x": known})
    if fits:
        ingest(raw, to="sales", types={"x": wanted})
        assert (dict(dataset("sales").latest().schema)["x"], len(rows("sales"))) == (wanted, 2)
        return
    with pytest.raises(InvalidError, match=r"is not the column's type in `sales/1`, .*, or a wider one"):
        ingest(raw, to="sales", types={"x": wanted})


def test_a_file_that_was_empty_is_read_when_it_is_filled(raw: Path) -> None:
    for name in ("a.csv", "b.csv"):
        (raw / name).write_text("")
    assert ingest(raw, to="flights").warnings == ()
    for name in ("a.csv", "b.csv"):
        (raw / name).write_text(CSV.replace("UA", name))
    assert ingest(raw, to="flights").rows == 4


def test_the_texts_that_mean_null_are_spoken_of_where_there_are_some(raw: Path) -> None:
    (raw / "a.csv").write_text("n\nlate\n")
    (raw / "a.ndjson").write_text('{"n": "late"}\n')
    for name in ("a.csv", "a.ndjson"):
        with pytest.raises(InvalidError, match="`late` is not its type, `i64`") as refused:
            ingest(raw / name, to="flights", types={"n": "i64"})
        assert ("null_values=" in str(refused.value)) == (name == "a.csv")


def test_what_is_stopped_widens_nothing(raw: Path) -> None:
    (raw / "1.csv").write_text("a,b\n1,\n")
    version = ingest(raw, to="n").version
    (raw / "2.csv").write_text("a,b\n3,x\n")
    with pytest.raises(InvalidError, match="b in"):
        ingest(raw, to="n", checks=[check.is_in("b", ["y"])])
    assert dataset("n").latest() == version
    assert ingest(raw, to="n", checks=[check.is_in("b", ["x"])]).rows == 1


def test_infinity_is_a_number_if_a_file_says_so(raw: Path) -> None:
    (raw / "a.csv").write_text("a\n1.5\ninf\n-inf\n")
    ingest(raw, to="t")
    assert dataset("t").to_polars()["a"].to_list() == [1.5, float("inf"), float("-inf")]


def test_a_file_that_was_renamed_is_taken_and_told(raw: Path) -> None:
    (raw / "1.csv").write_text("a\n1\n")
    assert ingest(raw, to="t").warnings == ()
    (raw / "1.csv").rename(raw / "2.csv")
    done = ingest(raw, to="t")
    assert (done.rows, [each.partition("raw/2.csv ")[2] for each in done.warnings]) == (
        1, ["holds the same bytes as `1.csv`, which was read, too: its rows are there twice."],
    )  # fmt: skip
    assert ingest(raw, to="t").warnings == ()


def test_declared_types_are_kept(raw: Path) -> None:
    (raw / "a.csv").write_text("zip,day,at,price\n01234,2013-01-01,2013-01-01T10:00:00+01:00,1.25\n")
    types = {"zip": "str", "day": pl.Date, "at": "datetime[UTC]", "price": pl.Decimal(10, 2)}
    ingest(raw, to="zips", types=types)
    frame = dataset("zips").to_polars()
    assert frame["at"].to_list() == [datetime(2013, 1, 1, 9, tzinfo=UTC)]
    assert (frame["zip"][0], frame["day"][0], str(frame["price"][0])) == ("01234", date(2013, 1, 1), "1.25")
    (raw / "b.csv").write_text("zip,day,at,price\n01234,yesterday,2013-01-01T10:00:00Z,1.25\n")
    with pytest.raises(InvalidError, match=r"b\.csv, line 2, column `day`: `yesterday`"):
        ingest(raw, to="zips", types=types)
    with pytest.raises(InvalidError, match=r"types.zip: `int9` is not the name of a column"):
        ingest(raw, to="zips", types={"zip": "int9"})


def test_json_lines_may_lack_columns(raw: Path) -> None:
    (raw / "a.ndjson").write_text('{"n": 1, "in": {"x": 1}}\n\n{"n": 2, "late": true}\n')
    (raw / "b.ndjson").write_text('{"n": 3.5, "in": {"x": 1, "y": "z"}}\n')
    ingest(raw, to="lines")
    assert dataset("lines").to_polars().to_dicts() == [
        {"n": 1.0, "in": {"x": 1, "y": None}, "late": None},
        {"n": 2.0, "in": None, "late": True},
        {"n": 3.5, "in": {"x": 1, "y": "z"}, "late": None},
    ]
    (raw / "c.ndjson").write_text('{"n": 4}\n{"n": 5\n')
    with pytest.raises(InvalidError, match=r"c\.ndjson, line 2: `\{\"n\": 5` is not a JSON object"):
        ingest(raw, to="lines")


@pytest.mark.parametrize("block_bytes", [1, 1 << 20])
def test_json_lines_without_any_column_are_rows_of_nulls(
    raw: Path, block_bytes: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(streams, "BLOCK_BYTES", block_bytes)
    monkeypatch.setattr(streams, "_READ_BYTES", block_bytes)
    (raw / "a.jsonl").write_text('{"x": 1}\n{}\n')
    ingest(raw, to="flights")
    (raw / "b.jsonl").write_text("{}\n{}\n")
    assert (ingest(raw, to="flights").rows, rows()) == (2, [(1,), (None,), (None,), (None,)])
    with pytest.raises(InvalidError, match=r"b\.jsonl: `rows without any` is not a table with a column"):
        ingest(raw / "b.jsonl", to="others")


@pytest.mark.parametrize("before", ["", "id\n1\n"])
def test_a_wrong_key_is_told_before_all_is_read(raw: Path, before: str) -> None:
    (raw / "a.csv").write_text(before or "id\n1\n")
    if before:
        ingest(raw / "a.csv", to="flights")
    (raw / "b.csv").write_text("id\nbroken,line\n")
    with pytest.raises(InvalidError, match=r"key: `idd` is not a column of `flights`\. There is `id`"):
        ingest(raw, to="flights", mode="upsert", key="idd")


def test_what_an_ingest_is_told_is_looked_at_before_it_reads(raw: Path) -> None:
    with pytest.raises(InvalidError, match="key: `id, id` is not a key that names each of its columns once"):
        ingest(raw, to="flights", mode="upsert", key=("id", "id"))
    with pytest.raises(InvalidError, match="quarantine: `apart` is not given together with checks"):
        ingest(raw, to="flights", quarantine="apart")


def test_texts_and_numbers_are_not_mixed_silently(raw: Path) -> None:
    (raw / "a.ndjson").write_text('{"n": "x", "o": {"n": 1}}\n{"n": 5}\n')
    with pytest.raises(InvalidError, match=r"a\.ndjson, line 2, column `n`: `5` is not text"):
        ingest(raw, to="lines")
    ingest(raw, to="lines", types={"n": "str"})
    assert dataset("lines").to_polars()["n"].to_list() == ["x", "5"]


HINT = r"types=\{'v': 'str'\}"
OF_KINDS = [
    (["5", "'x'", "2.50", "true", "1e20"], ["5", "x", "2.5", "true", "100000000000000000000"]),
    (["[1]", "'x'"], ["[1]", "x"]), (["{'a': [1]}", "[2]", "3"], ['{"a":[1]}', "[2]", "3"]), (["true", "5"], ["true", "5"]),
    (["5", "{'a': 1}"], ["5", '{"a":1}']), (["1.0", "'x'"], ["1.0", "x"]),
]  # fmt: skip


@pytest.mark.parametrize(("values", "texts"), OF_KINDS)
@pytest.mark.parametrize("block_bytes", [1, 1 << 20])
def test_of_values_of_several_kinds_text_is_made_where_it_is_declared(
    raw: Path, values: list[str], texts: list[str], block_bytes: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(streams, "BLOCK_BYTES", block_bytes)
    monkeypatch.setattr(streams, "_READ_BYTES", 1)
    (raw / "a.ndjson").write_text("".join(f'{{"n": 0, "v": {each}}}\n'.replace("'", '"') for each in values))
    with pytest.raises(InvalidError, match=rf"a\.ndjson.*column `v`: .*{HINT}"):
        ingest(raw, to="lines")
    ingest(raw, to="lines", types={"v": "str"})
    assert dataset("lines").to_polars()["v"].to_list() == texts
    (raw / "b.ndjson").write_text('{"n": 1, "v": 7}\n')
    ingest(raw, to="lines")
    assert dataset("lines").to_polars()["v"].to_list() == [*texts, "7"]


@pytest.mark.parametrize(
    ("dtype", "numbers"),
    [
        ("i64", ["9007199254740993", "1.0", "2"]), ("decimal[38, 18]", ["1.1", "3"]),
        ("decimal[38, 1]", ["9007199254740993", "1.5"]), ("decimal[38, 10]", ["1234567890123456.25", '"1"', "1e3"]),
        ("list[decimal[38, 10]]", ["[1234567890123456.25, 1]", "[]"]),
    ],
)  # fmt: skip
def test_numbers_of_json_keep_their_digits_in_whole_numbers_and_decimals(
    raw: Path, dtype: str, numbers: list[str]
) -> None:
    (raw / "a.ndjson").write_text("".join(f'{{"v":{each}}}\n' for each in numbers))
    ingest(raw, to="t", types={"v": dtype})
    wanted = [json.loads(each.replace('"', ""), parse_float=Decimal) for each in numbers]
    assert [row[0] for row in rows("t")] == wanted


@pytest.mark.parametrize(
    ("dtype", "fits", "wrong", "shown"),
    [
        ("list[i64]", "[1]", '"bad"', "bad"), ("list[str]", '["x"]', '"y"', "y"), ("list[i64]", "[1]", "5", "5"),
        ("list[list[i64]]", "[[1]]", "[2]", "2"), (pl.Struct({"k": pl.Int64()}), '{"k":1}', '"x"', "x"),
        (pl.Struct({"k": pl.List(pl.Int64())}), '{"k":[1]}', '{"k":"z"}', "z"), ("list[i64]", "null", '"bad"', "bad"),
    ],
)  # fmt: skip
def test_what_is_no_list_or_object_where_that_is_declared_is_named_with_its_line(
    raw: Path, dtype: Any, fits: str, wrong: str, shown: str
) -> None:
    for number, lines in enumerate(([fits] * 4 + [wrong], [wrong] + [fits] * 4)):
        (raw / "a.ndjson").write_text("".join(f'{{"v":{each}}}\n' for each in lines))
        with pytest.raises(
            InvalidError, match=rf"ndjson, line {(5, 1)[number]}, column `v`: `{shown}` is not its type"
        ):
            ingest(raw, to="t", types={"v": dtype})


def test_within_lists_and_objects_text_is_made_where_it_is_declared(raw: Path) -> None:
    lines = [
        '{"l": ["a", 1]}',
        '{"l": [2.0, null]}',
        '{"l": [], "o": {"s": 5, "t": [1]}}',
        '{"o": {"s": "x", "t": ["y"]}}',
    ]
    (raw / "a.ndjson").write_text("\n".join(lines))
    with pytest.raises(InvalidError, match=r"a\.ndjson, line 1, column `l`: `1` is not text.*types={'l': 'str'}"):
        ingest(raw, to="lines")
    objects = pl.Struct({"s": pl.String(), "t": pl.List(pl.String())})
    ingest(raw, to="lines", types={"l": "list[str]", "o": objects})
    rows = [(["a", "1"], None), (["2.0", None], None), ([], {"s": "5", "t": ["1"]}), (None, {"s": "x", "t": ["y"]})]
    assert dataset("lines").to_polars().select("l", "o").rows() == rows
    ingest(raw, to="texts", types={"l": "str", "o": "str"})
    assert dataset("texts").to_polars().row(0, named=True)["l"] == '["a",1]'


def test_files_whose_columns_differ_in_kind_are_read_as_text(raw: Path) -> None:
    for name, values in (
        ("a", [1, 2]),
        ("b", ["x", "y"]),
        ("c", [0.5, None]),
        ("d", [True, False]),
        ("e", [date(2020, 1, 2)]),
    ):
        pl.DataFrame({"v": values}).write_parquet(raw / f"{name}.parquet")
    with pytest.raises(InvalidError, match=rf"b\.parquet, row 1, column `v`: `str` is not its type .*{HINT}"):
        ingest(raw, to="lines")
    ingest(raw, to="lines", types={"v": "str"})
    assert dataset("lines").to_polars()["v"].to_list() == [
        "1",
        "2",
        "x",
        "y",
        "0.5",
        None,
        "true",
        "false",
        "2020-01-02",
    ]
    pl.DataFrame({"v": [[1]]}).write_parquet(raw / "b.parquet")
    with pytest.raises(InvalidError, match=r"b\.parquet, row 1, column `v`: .* Cast it in the source\.$"):
        ingest(raw, to="lists")


@pytest.mark.parametrize(
    ("dtype", "line", "value"),
    [
        ("i64", '"late"', "late"), ("i64", "1.5", "1.5"), ("i64", '{"x": 1}', '{"x":1}'), ("i64", "[1]", "[1]"),
        ("i64", "true", "true"), ("i8", "300", "300"), ("f64", '"late"', "late"),
        ("f64", "9007199254740993", "9007199254740993"),
        ("bool", "5", "5"), ("date", "5", "5"), ("list[i64]", '["late"]', "late"), ("list[i64]", "5", "5"),
        ("i64", '"8 8"', "8 8"), ("i64", '" "', "' '"), ("decimal[6, 2]", '"8_0"', "8_0"),
    ],
)  # fmt: skip
def test_a_value_of_json_that_does_not_fit_is_named_with_its_line(raw: Path, dtype: str, line: str, value: str) -> None:
    fits = {"bool": "true", "date": '"2020-01-02"', "list[i64]": "[1]"}.get(dtype, "1")
    (raw / "a.ndjson").write_text(f'{{"n": {fits}}}\n{{"n": null}}\n{{"n": {line}}}\n')
    with pytest.raises(InvalidError, match=rf"a\.ndjson, line 3, column `n`: `{re.escape(value)}` is not .*\. [A-Z]"):
        ingest(raw, to="lines", types={"n": dtype})
    (raw / "a.ndjson").write_text(f'{{"n": {fits}}}\n')
    ingest(raw, to="lines", types={"n": dtype})
    (raw / "b.ndjson").write_text(f'{{"n": {fits}}}\n{{"n": {line}}}\n')
    with pytest.raises(InvalidError, match=rf"b\.ndjson, line 2, column `n`: `{re.escape(value)}` is not "):
        ingest(raw, to="lines")


@pytest.mark.parametrize(
    ("dtype", "texts", "values"),
    [
        ("i64", ["1", " 8 ", "-3"], [1, 8, -3]), ("f64", ["1.5", "8 ", "1e3"], [1.5, 8.0, 1000.0]),
        ("bool", ["true", " False"], [True, False]), ("i64", ["1", "8\u00a0"], [1.0, 8]),
    ],
)  # fmt: skip
def test_texts_are_parsed_in_json_as_they_are_in_csv(
    raw: Path, dtype: str, texts: list[str], values: list[Any]
) -> None:
    (raw / "a.ndjson").write_text("".join(f"{json.dumps({'n': each})}\n" for each in [*texts, *values]))
    (raw / "a.csv").write_text("n,m\n" + "".join(f"{each},0\n" for each in texts))
    ingest(raw / "a.ndjson", to="json", types={"n": dtype})
    ingest(raw / "a.csv", to="csv", types={"n": dtype})
    assert dataset("json").to_polars()["n"].to_list() == [*values, *values]
    assert dataset("csv").to_polars()["n"].to_list() == values


def test_of_a_name_that_stands_twice_the_first_value_counts_also_where_text_is_made(raw: Path) -> None:
    (raw / "a.ndjson").write_text('{"n": 1, "v": 1, "v": 2, "n": 3}\n{"n": 2, "v": "x"}\n')
    ingest(raw, to="lines", types={"v": "str"})
    assert dataset("lines").to_polars().rows() == [(1, "1"), (2, "x")]


def test_parquet_is_read_in_pieces(raw: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("mainspring.data.ingestion.items._PARQUET_ROWS", 10)
    frame = pl.DataFrame({"n": range(25), "at": [datetime(2013, 1, 1)] * 25})
    frame.write_parquet(raw / "a.parquet")
    assert ingest(raw, to="numbers").rows == 25
    assert dataset("numbers").to_polars().equals(frame)
    (raw / "b.parquet").write_bytes((raw / "a.parquet").read_bytes()[:-20])
    with pytest.raises(InvalidError, match=r"b\.parquet.*is not a whole Parquet file"):
        ingest(raw, to="numbers")


@pytest.mark.parametrize("dtype", ["list[i64]", "date", "i64", "decimal[10, 2]", "struct{x: i64}"])
def test_a_column_without_values_is_of_the_declared_type(raw: Path, dtype: str) -> None:
    kind: Any = pl.Struct({"x": pl.Int64()}) if dtype.startswith("struct") else dtype
    (raw / "a.csv").write_text("a,b\n,1\n")
    pl.DataFrame({"a": pl.Series([None], dtype=pl.String()), "b": [2]}).write_parquet(raw / "b.parquet")
    (raw / "c.ndjson").write_text('{"a":null,"b":3}\n{"b":4}\n')
    ingest(raw, to="t", types={"a": kind})
    assert rows("t") == [(None, 1), (None, 2), (None, 3), (None, 4)]


def test_options_that_change_how_values_are_read_do_not_repeat_rows(raw: Path) -> None:
    (raw / "jan.csv").write_text(CSV)
    assert ingest(raw, to="flights").rows == 2
    for options in (
        {"null_values": ["UA"]},
        {"encoding": "cp1252"},
        {"dates": True},
        {"sheet": "A"},
        {"ragged": "pad"},
    ):
        assert ingest(raw, to="flights", **options).rows == 0


def test_a_changed_file_is_not_appended_but_may_be_upserted(raw: Path) -> None:
    (raw / "jan.csv").write_text(CSV)
    ingest(raw, to="flights", mode="upsert", key="day")
    (raw / "jan.csv").write_text(CSV.replace(",5", ",6"))
    with pytest.raises(InvalidError, match=r"jan\.csv: `changed since it was read .* is not a file as it was"):
        ingest(raw, to="flights")
    ingest(raw, to="flights", mode="upsert", key="day")
    assert sorted(rows()) == [("2013-01-01", "UA", 6), ("2013-01-02", "AA", None)]
    os.utime(raw / "jan.csv", ns=(1, 1))
    assert ingest(raw, to="flights").rows == 0  # the bytes are the same


def test_of_rows_with_one_key_the_last_one_read_counts(raw: Path) -> None:
    (raw / "jan.csv").write_text(f"{CSV}2013-01-01,UA,9\n")
    ingest(raw, to="flights", mode="upsert", key=["day", "carrier"])
    assert sorted(rows()) == [("2013-01-01", "UA", 9), ("2013-01-02", "AA", None)]
    with pytest.raises(InvalidError, match="key"):
        ingest(raw, to="flights", mode="upsert")


def test_replace_reads_everything(raw: Path) -> None:
    (raw / "jan.csv").write_text(CSV)
    ingest(raw, to="flights")
    (raw / "jan.csv").write_text("n\n1\n")
    assert ingest(raw, to="flights", mode="replace").rows == 1
    assert rows() == [(1,)]


def test_a_forgotten_source_is_read_from_its_beginning(raw: Path) -> None:
    (raw / "jan.csv").write_text(CSV)
    ingest(raw, to="flights")
    assert [cursor.source for cursor in list_cursors("flights")] == ["files raw"]
    forget_cursor("flights", raw)
    assert ingest(raw, to="flights").rows == 2
    with pytest.raises(NotFoundError, match="flights has no source `files /nowhere`"):
        forget_cursor("flights", "/nowhere/a.csv")


def test_a_file_that_changes_while_it_is_read_is_read_again(raw: Path) -> None:
    path = raw / "jan.csv"
    path.write_text("n\n" + "1\n" * 10)
    told: list[Progress] = []

    def grow(progress: Progress) -> None:
        told.append(progress)
        if progress.rows == 10 and len(path.read_text()) < 30:
            path.write_text("n\n" + "2\n" * 20)

    done = ingest(path, to="numbers", progress=grow, retry=AT_ONCE)
    assert (done.rows, done.retries, set(rows("numbers"))) == (20, 1, {(2,)})


def test_progress_tells_rows_bytes_and_what_is_left(raw: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(streams, "BLOCK_BYTES", 1000)
    monkeypatch.setattr(streams, "_READ_BYTES", 1000)
    (raw / "a.csv").write_text("n\n" + "1234567\n" * 1000)
    told: list[Progress] = []
    ingest(raw, to="numbers", progress=told.append)
    assert [each.rows for each in told] == sorted(each.rows for each in told)
    assert {each.total_bytes for each in told} == {8002}
    assert (told[-1].rows, told[-1].size_bytes, told[-1].eta_s) == (1000, 8002, 0.0)


def test_nothing_at_all_is_no_version(raw: Path) -> None:
    (raw / "a.csv").write_text("")
    assert ingest(raw, to="nothing").version is None
    (raw / "b.csv").write_text("n,text\n")
    done = ingest(raw, to="nothing")
    assert done.version is not None
    assert (done.version.rows, done.version.columns) == (0, ("n", "text"))


def test_ten_thousand_columns_are_columns(raw: Path) -> None:
    (raw / "wide.csv").write_text("\n".join(",".join(f"{word}{n}" for n in range(10_000)) for word in ("c", "1", "2")))
    version = ingest(raw, to="wide").version
    assert version is not None
    assert (len(version.columns), version.rows) == (10_000, 2)


@pytest.mark.parametrize(
    ("source", "options", "said"),
    [
        ("a.nothing", {}, "`nothing` is not one of csv, ndjson, parquet, excel"),
        ("a.csv", {"separtor": ";"}, "`separtor` is not an option of Files. Nearest: separator"),
        ("a.csv", {"ragged": "fill"}, "ragged"),
        ("a.csv", {"separator": ";;"}, "separator: `;;` is not one ASCII character"),
        ("a.csv", {"separator": ""}, "separator: `` is not one ASCII character"),
        ("a.csv", {"separator": '"'}, 'separator: `"` is not one ASCII character other than `quote`'),
        ("a.csv", {"separator": "'", "quote": "'"}, "other than `quote`"),
        ("a.csv", {"separator": "t"}, "separator: `t` is not one ASCII character other than .* letters"),
        ("a.csv", {"separator": "\n"}, r"separator: `\\n` is not one ASCII character other than .* line breaks"),
        ("a.csv", {"quote": "''"}, "quote: `''` is not one ASCII character, or none"),
        *(("a.csv", {"quote": each}, "is not one ASCII character, or none .* line break") for each in "\n\r\0\t a1"),
        ("a.csv", {"encoding": "base64"}, "encoding: `base64` is not a text encoding, e.g. `utf-8`"),
        ("a.csv", {"encoding": "rot13"}, "encoding: `rot13` is not a text encoding"),
        ("a.csv", {"encoding": ""}, "encoding: `` is not a text encoding"),
        ("nothing.csv", {"encoding": "cp1253x"}, "`cp1253x` is not .* Nearest: cp1253"),
        ("ftp://host/a.csv", {}, "is not an address of one of"),
    ],
)
def test_options_are_checked(raw: Path, source: str, options: dict[str, Any], said: str) -> None:
    (raw / "a.csv").write_text(CSV)
    (raw / "a.nothing").write_text(CSV)
    with pytest.raises(InvalidError, match=said):
        ingest(source if "://" in source else str(raw / source), to="flights", **options)


def test_no_file_is_an_error_that_says_what_is_there(raw: Path) -> None:
    (raw / "a.txt").write_text("")
    with pytest.raises(NotFoundError, match=r"No file `.*\*\.csv`\. In `.*` there are `a\.txt`"):
        ingest(Files(str(raw / "*.csv")), to="flights")


def test_a_folder_of_folders_names_the_glob(raw: Path) -> None:
    (raw / "may").mkdir()
    (raw / "may" / "a.csv.gz").write_bytes(gzip.compress(b"n\n1\n"))
    with pytest.raises(NotFoundError, match=r"It holds folders alone; .*: '(.*)'\.") as refused:
        ingest(raw, to="t")
    glob = str(refused.value).split("'")[1]
    assert (glob, ingest(glob, to="t").rows) == (str(raw / "**/*.csv.gz"), 1)


def test_hidden_files_are_left_out_unless_they_are_named(raw: Path) -> None:
    for name in ("a.csv", ".b.csv", ".c/d.csv", "~$e.csv"):
        (raw / name).parent.mkdir(exist_ok=True)
        (raw / name).write_text(f"n\n{name}\n")
    globs = ["**/*.csv", ".", ".b.csv", ".c/*.csv", "~$*"]
    assert [ingest(raw / each, to="t").rows for each in globs] == [1, 0, 1, 1, 1]


def test_values_in_names_of_folders_are_no_columns_which_is_told_once(raw: Path) -> None:
    for year in (2024, 2025):
        (raw / f"year={year}" / "month=1").mkdir(parents=True)
        (raw / f"year={year}" / "month=1" / "a.csv").write_text(f"n,month\n{year},1\n")
    done = [ingest(raw / each, to="t") for each in ("year=2024/*/*.csv", "**/*.csv")]
    assert rows("t") == [(2024, 1), (2025, 1)]
    assert [["`year` is in the names of folders alone" in each for each in one.warnings] for one in done] == [
        [True],
        [],
    ]


@pytest.mark.parametrize(
    ("kind", "value"),
    [
        ("bool", "maybe"), ("date", "2024-02-30"), ("decimal[4, 2]", "x1"), ("datetime[Europe/Berlin]", "2024-03-31T02:30:00"),
        ("datetime[Europe/Berlin]", "2024-10-27T02:30:00"),
    ],
)  # fmt: skip
@pytest.mark.parametrize("ending", ["csv", "ndjson"])
def test_a_text_that_does_not_fit_its_column_is_shown_with_its_file(
    raw: Path, kind: str, value: str, ending: str
) -> None:
    (raw / f"a.{ending}").write_text(f"v\n{value}\n" if ending == "csv" else json.dumps({"v": value}))
    with pytest.raises(InvalidError, match=rf"a\.{ending}, .*column `v`: `{value}` is not") as refused:
        ingest(raw, to="t", types={"v": kind})
    assert ("an offset says which is meant" in str(refused.value)) == ("Berlin" in kind)


@pytest.mark.parametrize(
    ("line", "said"),
    [
        ('{"a": "\\ud800"}', r"a\.ndjson, line 2: .* is not a JSON object"),
        ('{"a": ' + "[" * 1000 + "]" * 1000 + "}", r"a\.ndjson, line 2: .* nested at most 100 levels"),
        ('{"a": ' * 180 + "1" + "}" * 180, r"a\.ndjson, line 2: .* nested at most 100 levels"),
        ('{"a": ' * 5000, r"a\.ndjson, line 2: .* nested at most 100 levels"),
    ],
)
def test_what_no_table_can_hold_of_json_is_named_with_its_line(raw: Path, line: str, said: str) -> None:
    (raw / "a.ndjson").write_text(f'{{"a": "x"}}\n{line}\n')
    with pytest.raises(InvalidError, match=said):
        ingest(raw / "a.ndjson", to="flights")


def test_brackets_in_strings_and_beside_each_other_are_not_nested(raw: Path) -> None:
    records = [{"a": [{"b": "{[" * 200 + '"\\'} for _ in range(200)]}]
    (raw / "a.ndjson").write_text("".join(f"{json.dumps(each)}\n" for each in records))
    ingest(raw / "a.ndjson", to="flights")
    assert dataset("flights").to_polars().to_dicts() == records
