"""Delimited text and JSON lines: what is wrong is named by its line, and nothing is lost wherever blocks end."""

from __future__ import annotations

import io
from contextlib import suppress
from decimal import Decimal
from pathlib import Path

import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mainspring.data import dataset
from mainspring.data.ingestion import Limits, ingest, streams
from mainspring.data.ingestion.alignment import Alignment
from mainspring.data.ingestion.delimited import Delimited
from mainspring.data.ingestion.formats import Options
from mainspring.data.ingestion.jsonlines import json_frames
from mainspring.data.ingestion.source import Reading
from mainspring.data.ingestion.streams import Blocks
from mainspring.errors import InvalidError

pytestmark = [
    pytest.mark.usefixtures("workspace"),
    pytest.mark.one_backend("files are read before any backend is asked"),
]
CSV = "day,carrier,delay\n2013-01-01,UA,5\n2013-01-02,AA,\n"
VALUES = [
    "1",
    "2.5",
    "007",
    "é",
    '"q"',
    '"q,x"',
    '"a""b"',
    "",
    "NaN",
    "1e400",
    "9" * 20,
    "2013-01-01",
    " 5",
    '5"',
    "\r",
]
NAMES = ["a", "b", " a", '"b"', "é", "\ufeffa", "\r", ""]
LINES = [
    '{"a": 1}',
    "{}",
    "",
    '{"a": null}',
    '{"a": [1]}',
    '{"a": {}}',
    '{"a": 1.5}',
    "null",
    '{"a": "\\ud800"}',
    "\ufeff",
]


@given(data=st.data())
@settings(max_examples=250)
def test_whatever_a_text_file_holds_only_our_errors_come_of_it(data: st.DataObject) -> None:
    width, break_ = data.draw(st.integers(1, 3)), data.draw(st.sampled_from(["\n", "\r\n", "\r"]))
    is_csv, dtype = data.draw(st.booleans()), data.draw(st.sampled_from([pl.Int64(), pl.Date(), pl.Float64(), None]))
    cells = st.lists(st.sampled_from(VALUES), min_size=width, max_size=width).map(",".join)
    head = data.draw(st.lists(st.sampled_from(NAMES), min_size=width, max_size=width).map(",".join))
    body = data.draw(st.lists(cells if is_csv else st.sampled_from(LINES), max_size=6))
    text = "\ufeff" * data.draw(st.integers(0, 3)) + break_.join([head, *body] if is_csv else body)
    file = io.BytesIO(text.encode(data.draw(st.sampled_from(["utf-8", "utf-16", "utf-16-be", "cp1252"])), "replace"))
    options = Options(separator=",", quote=data.draw(st.sampled_from(["", '"'])), ragged="pad")
    blocks = Blocks(file, "a", encoding=data.draw(st.sampled_from(["auto", "utf-16", "utf-8"])), quote=b'"')
    reading = Reading("append", {} if dtype is None else {"a": dtype})
    with suppress(InvalidError):
        found = Delimited(blocks, options, reading, {}, None).frames() if is_csv else json_frames(blocks, reading)
        for frame, _, named in found:
            Alignment(reading.types).take(frame, "a", sparse=True, named=named)
            lines = [int(named(row).removeprefix("a, line ")) for row in range(frame.height)]
            assert lines == sorted(set(lines))


def test_lines_that_end_as_those_of_old_macs_are_told(raw: Path) -> None:
    (raw / "a.csv").write_bytes(b"a,b\r1,2\r")
    with pytest.raises(InvalidError, match=r"a\.csv, line 1: .* is not text whose lines end with a line feed"):
        ingest(raw, to="flights")


def test_a_value_behind_an_empty_line_of_one_column_is_named_with_its_line(raw: Path) -> None:
    (raw / "a.csv").write_text("x\n\n1\nlate\n")
    with pytest.raises(InvalidError, match=r"a\.csv, line 4, column `x`: `late`"):
        ingest(raw, to="flights", types={"x": "i64"})


@pytest.mark.parametrize("first", ["", "late"])
def test_a_text_that_is_no_value_of_its_type_is_named_with_its_line(raw: Path, first: str) -> None:
    (raw / "a.csv").write_text(f"x,y\n1,{first}\n\n2,later\n")
    (raw / "a.jsonl").write_text(f'{{"x": 1, "y": "{first}"}}\n\n{{"x": 2, "y": "later"}}\n'.replace('""', "null"))
    for dtype in ("datetime", "datetime[America/New_York]", "time", "decimal[6, 2]", "duration"):
        for name, line in (("a.csv", 2), ("a.jsonl", 1)):
            place = f"{name}, line {line if first else line + 2}, column `y`: `{first or 'later'}` .* Cast it in"
            with pytest.raises(InvalidError, match=place):
                ingest(raw / name, to="times", types={"y": dtype})


@pytest.mark.parametrize(("dtype", "value"), [("i64", "8"), ("f64", "8.5"), ("bool", "true"), ("decimal[4, 1]", "8.5")])
def test_blanks_around_a_value_change_nothing_else_in_its_column(raw: Path, dtype: str, value: str) -> None:
    for name, text in (("bare", value), ("padded", f" {value} "), ("quoted", f'"{value}\t"')):
        empty = '""' if dtype != "decimal[4, 1]" else ""
        (raw / f"{name}.csv").write_text(f"n,v\n1,{value}\n2,{empty}\n3,\n4,{text}\n")
        ingest(raw / f"{name}.csv", to=name, types={"v": dtype})
    assert dataset("padded").to_polars().equals(dataset("bare").to_polars())
    assert dataset("quoted").to_polars().equals(dataset("bare").to_polars())


@pytest.mark.parametrize("value", ["1", "1.5", "2020-01-02", "10:00:00", "true"])
@pytest.mark.parametrize("meant", ["NA", " NA"])
def test_blanks_around_a_text_that_means_null_are_passed_over(raw: Path, value: str, meant: str) -> None:
    dtype = {"1": "i64", "1.5": "decimal[4, 1]", "2020-01-02": "date", "true": "bool"}.get(value, "time")
    (raw / "a.csv").write_text(f'n,v,t\n1,{value},x\n2, NA ,y\n3," NA", NA z\n4,\tNA,\n')
    ingest(raw, to="t", types={"v": dtype, "t": "str"}, null_values=[meant])
    assert dataset("t").to_polars()["v"].null_count() == 3
    assert dataset("t").to_polars()["t"].to_list() == ["x", "y", " NA z", None]


def test_a_date_with_the_day_first_is_refused(raw: Path) -> None:
    (raw / "a.csv").write_text("day\n01/02/2020\n")
    with pytest.raises(InvalidError, match=r"a\.csv, line 2, column `day`: `01/02/2020` is not its type, `date`"):
        ingest(raw, to="days", types={"day": "date"})


@pytest.mark.parametrize(
    ("texts", "dtype"),
    [
        (["2024-01-02", "2024-12-31"], "date"), (["01/02/2024", "03/04/2024"], "str"), (["31.12.2024"], "str"),
        (["2024/01/02"], "str"), (["2024-01-02", "01-02-2024"], "str"), (["2024-02-30"], "str"), (["20240102"], "i64"),
        (["2024-01-02T10:00", "2024-01-02 10:00:00.5"], "datetime[us]"), (["01/02/2024 10:00"], "str"),
        (["2024-01-02T10:00Z", "2024-01-02 10:00:00+02:00"], "datetime[us, UTC]"), (["2024-01-02", "late"], "str"),
        (["2024-01-02T10:00Z", "2024-01-02T10:00"], "str"), (["2024-01-02T10:00:00.1234567"], "str"),
        (["10:00:00", "23:59:59.5"], "time"), (["2024-01-02", "2024-01-02T10:00"], "str"),
    ],
)  # fmt: skip
def test_dates_that_are_looked_for_have_the_year_first(raw: Path, texts: list[str], dtype: str) -> None:
    (raw / "a.csv").write_text("n,at\n" + "".join(f"1,{each}\n" for each in [*texts, ""]))
    ingest(raw, to="times", dates=True)
    assert dict(dataset("times").latest().schema)["at"] == dtype
    found = [None if each is None else str(each) for each in dataset("times").to_polars()["at"]]
    assert dtype not in ("str", "date") or found == [*texts, None]


def test_dates_that_were_found_in_a_block_are_looked_for_in_those_behind_it(
    raw: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(streams, "BLOCK_BYTES", 1)
    monkeypatch.setattr(streams, "_READ_BYTES", 1)
    (raw / "a.csv").write_text("n,at\n1,2024-01-02\n2,2024-12-31\n3,01/02/2024\n")
    with pytest.raises(
        InvalidError, match=r"a\.csv, line 4, column `at`: `str` is not its type .*`date`.* types={'at': 'str'}"
    ):
        ingest(raw, to="times", dates=True)
    ingest(raw, to="times", dates=True, types={"at": "str"})
    assert dataset("times").to_polars()["at"].to_list() == ["2024-01-02", "2024-12-31", "01/02/2024"]


@pytest.mark.parametrize(("first", "zone"), [("2020-01-02 10:00", None), ("2020-01-02T10:00Z", "UTC")])
@pytest.mark.parametrize("later", ["2020-01-02 11:00", "2020-01-02 11:00Z", "2020-01-02T13:00+02:00"])
def test_times_with_a_zone_and_without_are_of_utc_in_one_column(raw: Path, first: str, zone: str, later: str) -> None:
    for number, text in enumerate((first, later)):
        (raw / f"{number}.csv").write_text(f"at\n{text}\n")
    ingest(raw, to="times", dates=True)
    found = dataset("times").to_polars()["at"]
    assert found.dtype == pl.Datetime("us", zone)
    assert [each.hour for each in found] == [10, 11]


def test_a_value_of_a_file_without_lines_is_named_with_its_row(raw: Path) -> None:
    pl.DataFrame({"x": ["2020-01-01 10:00", None, "10:00"]}).write_parquet(raw / "a.parquet")
    with pytest.raises(InvalidError, match=r"a\.parquet, row 3, column `x`: `10:00` is not its type, `datetime\[us\]`"):
        ingest(raw, to="times", types={"x": "datetime"})


@pytest.mark.parametrize("line", ["2013-01-03,B6", "2013-01-03,B6,1,2"])
def test_a_ragged_line_is_named(raw: Path, line: str) -> None:
    (raw / "jan.csv").write_text(f'{CSV}2013-01-04,"two\nlines",1\n\n{line}\n')
    with pytest.raises(InvalidError, match=rf"jan\.csv, line 7: `{line}` is not a line of 3 fields"):
        ingest(raw / "jan.csv", to="flights")


def test_short_lines_are_filled_where_that_is_asked_for_and_long_ones_never_cut(raw: Path) -> None:
    (raw / "jan.csv").write_text(f"{CSV}2013-01-03\n")
    ingest(raw / "jan.csv", to="flights", ragged="pad")
    assert dataset("flights").to_polars().row(2) == ("2013-01-03", None, None)
    (raw / "feb.csv").write_text(f"{CSV}2013-01-03,a,1,2\n")
    with pytest.raises(InvalidError, match=r"feb\.csv, line 4"):
        ingest(raw / "feb.csv", to="flights", ragged="pad")


@pytest.mark.parametrize(
    ("header", "said"), [("day,day", "`day` is not the name of one column alone"), ("day,", "names each column")]
)
def test_a_header_names_each_column_once(raw: Path, header: str, said: str) -> None:
    (raw / "jan.csv").write_text(f"{header}\n1,2\n")
    with pytest.raises(InvalidError, match=said):
        ingest(raw, to="flights")


def test_a_header_that_is_one_column_by_the_separator_is_told(raw: Path) -> None:
    (raw / "a.csv").write_text("a;b\n1;2\n")
    (warning,) = ingest(raw / "a.csv", to="one").warnings
    assert warning.endswith("a.csv was read as one column, `a;b`. The header has more fields with separator=';'.")
    assert ingest(raw / "a.csv", to="two", separator=";").warnings == ()


def test_empty_lines_are_no_header(raw: Path) -> None:
    (raw / "a.csv").write_text("\n\r\n")
    assert ingest(raw / "a.csv", to="a").version is None
    (raw / "b.csv").write_text("\n\r\na,b\n1,2\n")
    assert ingest(raw / "b.csv", to="b").rows == 1


@pytest.mark.parametrize("zero_led", ["00501", "-007", '"00501"', "00.5"])
def test_numbers_that_begin_with_zeros_are_text(raw: Path, zero_led: str) -> None:
    (raw / "a.csv").write_text(f"n,zip,at,share\n0,10001,05:30,0.5\n20,{zero_led},06:00,-0.25\n")
    ingest(raw, to="zips")
    assert dataset("zips").to_polars().rows() == [(0, "10001", "05:30", 0.5), (20, zero_led.strip('"'), "06:00", -0.25)]
    assert ingest(raw, to="numbers", types={"zip": "f64"}).widened == {}
    assert dataset("numbers").to_polars()["zip"][0] == 10001.0
    (raw / "a.csv").write_text("zip\n10001\n")
    (raw / "b.csv").write_text(f"zip\n{zero_led}\n")
    with pytest.raises(
        InvalidError, match=r"b\.csv(, line 2)?, column `zip`: `str` is not its type .*types={'zip': 'str'}"
    ):
        ingest(raw, to="others")


@pytest.mark.parametrize("line", ['1,5" pipe,2', '1,5",2', '1,"5"x,2'])
def test_a_quote_that_is_out_of_place_is_named_with_its_line(raw: Path, line: str) -> None:
    (raw / "a.csv").write_text(f'a,b,c\n0,"x\n""y""",1\n{line}\n3,z,4\n')
    with pytest.raises(InvalidError, match=rf"a\.csv, line 4: `{line}` is not a line whose quotes stand around"):
        ingest(raw, to="pipes")
    (raw / "a.csv").write_text(f"a,b,c\n{line}\n")
    ingest(raw, to="pipes", quote="")
    assert dataset("pipes").to_polars().rows() == [(1, line.split(",")[1], 2)]


@pytest.mark.parametrize(
    ("line", "said"), [("1,2,3", "line 3: `1,2,3` is not a line of 2 fields"), ("late,2", "line 3, column `n`: `late`")]
)
def test_what_is_wrong_behind_a_long_field_is_named(raw: Path, line: str, said: str) -> None:
    (raw / "a.csv").write_text(f"n,text\n1,{'x' * 200_000}\n{line}\n")
    with pytest.raises(InvalidError, match=said):
        ingest(raw, to="texts", types={"n": "i64"})


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ('a,b\n1,"x\ny"\n2,"un', r'line 4: `2,"un` is not a line whose quotes .* Is a quote missing'),
        ('a,b\n1,"x\ny"\n2,"un\n3,4\n', r'line 4: `2,"un` is not a line whose quotes'),
        ("a;b\n1;2\n3;4,5\n", r"line 3: `3;4,5` .* The header has more fields with separator=';'"),
        ("a\n1.5\n-1e400\n", r"line 3, column `a`: `-1e400` is not a number that a float holds"),
    ],
)
def test_what_is_wrong_with_text_is_named_with_its_line(raw: Path, text: str, said: str) -> None:
    (raw / "a.csv").write_text(text)
    with pytest.raises(InvalidError, match=rf"a\.csv, {said}"):
        ingest(raw, to="t")


@pytest.mark.parametrize("quote", ['"a,\nb"', '"say ""hi"""', "plain"])
def test_blocks_end_with_records_wherever_they_are_cut(raw: Path, quote: str, monkeypatch: pytest.MonkeyPatch) -> None:
    text = "n,text\n" + "".join(f"{n},{quote}\n" for n in range(200))
    (raw / "a.csv").write_text(text)
    ingest(raw, to="whole")
    for size in (7, 64, 333):
        monkeypatch.setattr(streams, "BLOCK_BYTES", size)
        monkeypatch.setattr(streams, "_READ_BYTES", 5)
        assert ingest(raw, to=f"cut{size}", limits=Limits(rows=20)).version == dataset("whole").latest()


@given(st.lists(st.sampled_from(["0.1", "-2.5E-3", "1e5", "7", "null", '"0.25"', " 3.10 ", "0.10000000000000001", ""])))
def test_decimals_of_json_have_the_digits_that_are_written(values: list[str]) -> None:
    lines = ['{"x": 0.5, "x": 1.5}', *(f'{{"x":{each}}}' if each else '{"y": 1}\n' for each in values)]
    types = {"x": pl.Decimal(38, 17)}
    blocks = Blocks(io.BytesIO("\n".join(lines).encode()), "a.ndjson")
    ((frame, _, _),) = json_frames(blocks, Reading("append", types))
    wanted = [Decimal(each.strip().strip('"')) if each not in ("null", "") else None for each in values]
    assert Alignment(types).take(frame, "a", sparse=True)["x"].to_list() == [Decimal("0.5"), *wanted]
