"""Files whose rows are predicted: Parquet, CSV and JSONL. What CSV holds is text, and is read as the signature says."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import polars as pl

from mainspring.errors import InvalidError, NotFoundError, listed
from mainspring.models import Field, Problem
from mainspring.models.signature import FLOATS, INTEGERS

_SUFFIXES = (".parquet", ".csv", ".jsonl", ".ndjson")


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
        InvalidError: it is none of these.
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
    texts = [field for field in fields if field.name in names]
    overrides = {field.name: pl.String for field in texts}
    return pl.scan_csv(path, glob=False, infer_schema_length=None, schema_overrides=overrides), texts


def read_texts(frame: pl.DataFrame, fields: Sequence[Field]) -> tuple[pl.DataFrame, dict[int, list[Problem]]]:
    """A table whose columns of numbers and booleans were text, and what can't be read as such, by row: it is null there.

    Whatever else a request has as text stays so.

    >>> read_texts(pl.DataFrame({"n": ["7", "seven", None]}), [Field("n", "i64")])[1]
    {1: [Problem(path='n', message='"seven" is a str, expected a whole number')]}
    """
    typed: list[pl.Series] = []
    problems: dict[int, list[Problem]] = {}
    for field in fields:
        texts = frame.get_column(field.name)
        values = _values(texts, field)
        for row in (values.is_null() & texts.is_not_null()).arg_true():
            problems.setdefault(row, []).append(Problem(field.name, field.check(texts[row])[1]))
        typed.append(values)
    return frame.with_columns(typed), problems


def _values(texts: pl.Series, field: Field) -> pl.Series:
    if field.dtype in FLOATS:
        return texts.cast(pl.Float64, strict=False)
    if field.dtype in INTEGERS:
        return texts.cast(pl.UInt64 if field.dtype == "u64" else pl.Int64, strict=False)
    if field.dtype == "bool":
        known = {"true": True, "false": False}
        return texts.str.to_lowercase().replace_strict(known, default=None, return_dtype=pl.Boolean)
    return texts
