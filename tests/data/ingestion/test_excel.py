"""Sheets of Excel: which one is read, and that its numbers and texts are what they were."""

from __future__ import annotations

import datetime as dt
from pathlib import Path
from typing import Any

import polars as pl
import pytest
import xlsxwriter

from mainspring.data import dataset
from mainspring.data.ingestion import ingest, list_cursors
from mainspring.errors import InvalidError

pytestmark = [
    pytest.mark.usefixtures("workspace"),
    pytest.mark.one_backend("files are read before any backend is asked"),
]


def rows(name: str = "flights") -> list[tuple[Any, ...]]:
    return dataset(name).to_polars().rows()


def test_a_sheet_of_excel_is_read_by_name(raw: Path) -> None:
    with xlsxwriter.Workbook(raw / "a.xlsx") as book:
        for name in ("first", "flights"):
            sheet = book.add_worksheet(name)
            sheet.write_row(0, 0, ["carrier", "delay"])
            sheet.write_row(1, 0, [name, 5.5])
    ingest(raw, to="flights", sheet="flights")
    assert rows() == [("flights", 5.5)]
    with pytest.raises(InvalidError, match=r"a\.xlsx: sheet: `flihgts` is not a sheet of it. There are `flights`"):
        ingest(raw, to="others", sheet="flihgts")
    (raw / "a.xlsx").write_bytes(b"PK nothing")
    with pytest.raises(InvalidError, match="is not a spreadsheet that can be read"):
        ingest(raw, to="others")


def test_whole_numbers_of_a_sheet_are_whole(raw: Path) -> None:
    cells: list[list[Any]] = [
        ["id", "share", "code", "none", "on"],
        [1, 1, "x", None, True],
        [],
        [2**53, 2.5, 7, None, False],
    ]
    with xlsxwriter.Workbook(raw / "a.xlsx") as book:
        sheet = book.add_worksheet("A")
        for number, row in enumerate(cells):
            sheet.write_row(number, 0, row)
    ingest(raw, to="inferred")
    assert rows("inferred") == [(1, 1.0, "x", None, True), (None,) * 5, (2**53, 2.5, "7", None, False)]
    types: dict[str, Any] = {"id": "str", "share": "str", "on": "str"}
    ingest(raw, to="texts", types=types)
    assert rows("texts")[2] == (str(2**53), "2.5", "7", None, "false")
    for kind in ("i64", "i128", "f64", "decimal[20, 2]"):
        ingest(raw, to="declared", types={"id": kind}, mode="replace")
        assert [row[0] for row in rows("declared")] == [1, None, 2**53]
    with pytest.raises(
        InvalidError, match=r"a\.xlsx, row 3 below the header, column `share`: `2\.5` is not its type, `i64`"
    ):
        ingest(raw, to="shares", types={"share": "i64"})


def test_numbers_of_a_sheet_keep_their_digits_as_text_and_texts_are_as_they_are(raw: Path) -> None:
    numbers = [1.5e-10, 3.3e-05, -1e-20, 0.1 + 0.2, 1 / 3, 1e300, 2.0**64, 2.0]
    texts = ["01", "1.50", "0", "18446744073709551616", "nan", "true", "x"]
    with xlsxwriter.Workbook(raw / "a.xlsx") as book:
        sheet = book.add_worksheet("A")
        sheet.write_row(0, 0, ["mixed", "number"])
        sheet.write_column(1, 0, [*texts, *numbers, True])
        sheet.write_column(1, 1, numbers)
    for types in ({}, {"mixed": "str", "number": "str"}):
        ingest(raw, to="t", types=types, mode="replace")
        found = dataset("t").to_polars()
        assert found["mixed"].to_list()[: len(texts)] == texts
        assert found["mixed"].to_list()[-2:] == ["2", "true"]
        for column in ["mixed", "number"] if types else ["mixed"]:
            kept = found[column].to_list()[len(texts) if column == "mixed" else 0 :][: len(numbers)]
            assert [float(text) for text in kept] == [float(f"{number:.16g}") for number in numbers]  # as it is written
            assert (kept[0], kept[1], kept[5]) == ("0.00000000015", "0.000033", f"1{'0' * 300}")


def workbook(path: Path, sheets: dict[str, float]) -> None:
    """A workbook with a number on each sheet."""
    with xlsxwriter.Workbook(path) as book:
        for name, number in sheets.items():
            sheet = book.add_worksheet(name)
            sheet.write_row(0, 0, ["n"])
            sheet.write_row(1, 0, [number])


def test_each_sheet_of_a_workbook_is_read_once(raw: Path) -> None:
    workbook(raw / "a.xlsx", {"A": 1.5, "B": 2.5})
    assert [ingest(raw, to="numbers", sheet=sheet).rows for sheet in ("A", "B", "A", "", "A")] == [1, 1, 0, 0, 0]
    assert [ingest(raw, to="others", sheet=sheet).rows for sheet in ("", "A", "B", "")] == [1, 0, 1, 0]
    assert (rows("numbers"), rows("others")) == ([(1.5,), (2.5,)], [(1.5,), (2.5,)])
    assert [list(cursor.state["files"]) for cursor in list_cursors("numbers")] == [["a.xlsx"]]
    workbook(raw / "a.xlsx", {"A": 1.5, "B": 2.5, "C": 3.5})
    with pytest.raises(InvalidError, match=r"a\.xlsx: `changed since it was read"):
        ingest(raw, to="numbers", sheet="B")
    assert ingest(raw, to="numbers", sheet="C").rows == 1


def test_times_without_a_day_are_times_and_others_have_theirs(raw: Path) -> None:
    clock, at = [dt.time(5), None, dt.time(6, 30)], [dt.datetime(2020, 1, 1), None, dt.datetime(2020, 1, 2, 6, 30)]
    pl.DataFrame({"clock": clock, "at": at}).write_excel(raw / "a.xlsx")
    ingest(raw / "a.xlsx", to="t")
    assert dataset("t").to_polars().to_dict(as_series=False) == {"clock": clock, "at": at}
    ingest(raw / "a.xlsx", to="declared", types={"clock": "time", "at": "datetime"})
    assert dataset("declared").to_polars()["clock"].to_list() == clock
