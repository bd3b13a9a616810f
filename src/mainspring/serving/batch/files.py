"""Files whose rows are predicted: Parquet, CSV and JSONL. What CSV holds is text, and is read as the signature says."""

from __future__ import annotations

import csv
import re
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import polars as pl

from mainspring.data.tables.type_names import named_type
from mainspring.errors import InvalidError, NotFoundError, counted, listed, shorten
from mainspring.models import Field, Problem
from mainspring.models.signature import FLOATS, INTEGERS

_SUFFIXES = (".parquet", ".csv", ".jsonl", ".ndjson")
_WIDE: dict[str, Any] = {"u64": pl.UInt64, "i128": pl.Int128, "u128": pl.UInt128}
_WHOLE = re.compile(r"[+-]?[0-9]{1,60}")
_TYPED = ("date", "datetime", "time", "duration", "decimal")


def is_file_name(name: str) -> bool:
    """Whether a name is that of such a file, rather than of a dataset.

    >>> is_file_name("flights.csv"), is_file_name("flights/3")
    (True, False)
    """
    return Path(name).suffix in _SUFFIXES


def scan_file(path: Path, fields: Sequence[Field]) -> tuple[pl.LazyFrame, list[Field]]:
    """The rows of a file, and the fields whose column is text there, to be read by `read_texts`.

    Other columns of a CSV file have the type that all their values have.

    Raises:
        NotFoundError: there is no such file.
        InvalidError: it is none of these, or a CSV file has two columns of one name.
        PolarsError: it is not what its name says.
    """
    if path.suffix not in _SUFFIXES:
        raise InvalidError("data", str(path), f"a file that ends in one of {listed(_SUFFIXES)}")
    if not path.is_file():
        raise NotFoundError("file", str(path))
    if path.suffix == ".parquet":
        return pl.scan_parquet(path, glob=False), []
    if path.suffix != ".csv":
        return pl.scan_ndjson(path), []
    names = pl.scan_csv(path, glob=False, infer_schema=False).collect_schema().names()
    _expect_distinct(path, names)
    texts = [field for field in fields if field.name in names]
    overrides = {field.name: pl.String for field in texts}
    return pl.scan_csv(path, glob=False, infer_schema_length=None, schema_overrides=overrides), texts


def read_texts(frame: pl.DataFrame, fields: Sequence[Field]) -> tuple[pl.DataFrame, dict[int, list[Problem]]]:
    """A table whose columns of numbers, booleans, dates and times were text, and what can't be read, by row: it is null there.

    Whatever else a request has as text stays so.

    >>> read_texts(pl.DataFrame({"n": ["7", "seven", None]}), [Field("n", "i64")])[1]
    {1: [Problem(path='n', message='"seven" is a str, expected a whole number')]}
    """
    typed: list[pl.Series] = []
    problems: dict[int, list[Problem]] = {}
    for field in fields:
        texts = frame.get_column(field.name)
        values = _values(texts, field)
        if values.null_count() > texts.null_count():
            for row in (values.is_null() & texts.is_not_null()).arg_true():
                problems.setdefault(row, []).append(Problem(field.name, _wrong(texts[row], field)))
        typed.append(values)
    return frame.with_columns(typed), problems


def _values(texts: pl.Series, field: Field) -> pl.Series:
    if field.dtype in FLOATS:
        return texts.cast(pl.Float64, strict=False)
    if field.dtype in INTEGERS:
        return texts.cast(_WIDE.get(field.dtype, pl.Int64), strict=False)
    if field.dtype == "bool":
        known = {"true": True, "false": False}
        return texts.str.to_lowercase().replace_strict(known, default=None, return_dtype=pl.Boolean)
    if field.dtype.partition("[")[0] in _TYPED:
        checked = [(None, "") if text is None else field.check(text) for text in texts]
        return _typed(
            texts.name, [None if wrong else value for value, wrong in checked], named_type(field.dtype, "data")
        )
    return texts


def _typed(name: str, values: list[Any], dtype: pl.DataType) -> pl.Series:
    """Values as a column of a type; instants, which are in UTC, in its zone."""
    if isinstance(dtype, pl.Datetime) and dtype.time_zone:
        return pl.Series(name, values, pl.Datetime(dtype.time_unit, "UTC")).cast(dtype)
    return pl.Series(name, values, dtype)


def _wrong(text: str, field: Field) -> str:
    """What is wrong with a text; a whole number that the type is too small for is told as what it is."""
    is_whole = field.dtype in INTEGERS and _WHOLE.fullmatch(text)
    return field.check(int(text) if is_whole else text)[1]


def _expect_distinct(path: Path, names: Sequence[str]) -> None:
    """Go on only with a CSV file whose columns have names of their own; the reader gives others to those that haven't."""
    with path.open(newline="", encoding="utf-8-sig", errors="replace") as file:
        header = next((row for row in csv.reader(file) if row), [])
    twice = [name for name, count in Counter(header).items() if count > 1 and name]
    if twice and len(header) == len(names):
        raise InvalidError("data", path, "a file whose columns have different names", f"Twice there: {listed(twice)}.")


def separator_hint(names: Sequence[str]) -> str:
    """What may separate the columns of a table that has a single one, in a sentence behind a space; else an empty text.

    >>> separator_hint(["n;m"])
    ' Its only column is `n;m`: a CSV file is separated by commas, not semicolons.'
    """
    said = {";": "semicolons", "\t": "tabs", "|": "vertical bars"}
    found = next((said[each] for each in said if each in names[0]), "") if len(names) == 1 else ""
    return (
        f" Its only column is `{shorten(names[0], 40)}`: a CSV file is separated by commas, not {found}."
        if found
        else ""
    )


def ragged_row(path: Path) -> str:
    """The first row of a CSV file that has more cells than its header, in a sentence; an empty text if none has.

    Raises:
        OSError: it can't be read.
    """
    try:
        with path.open(newline="", encoding="utf-8-sig", errors="replace") as file:
            rows = csv.reader(file)
            header = next((row for row in rows if row), [])
            for number, row in enumerate(rows):
                if len(row) > len(header):
                    said = f"Row {number:,} has {counted(len(row), 'cell')}, and the header {len(header):,}."
                    return said + (separator_hint(header) or " Is a quote missing?")
    except csv.Error:
        return ""
    return ""
