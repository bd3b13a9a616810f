"""Labels in tables and files: a column for each field, and for each column of the key."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, NamedTuple

import polars as pl

from mainspring.data import as_polars
from mainspring.errors import InvalidError, NotFoundError, close_names, listed
from mainspring.serving.feedback.checking import FIELDS, KEY, LABEL, PREDICTION, LabelCheck, from_text, key_from_text
from mainspring.serving.predictions.keys import plain_floats
from mainspring.streams.wire import read_records

SUFFIXES = (".csv", ".parquet", ".jsonl", ".ndjson", ".json")


class Table(NamedTuple):
    """The rows that have a label, as records with their places, and how many have none."""

    records: Iterator[tuple[int, Any]]
    empty: int


def read_table(given: Any, check: LabelCheck, columns: Mapping[str, str]) -> Table:
    """The labels of a table; `columns` says which column is which field.

    Raises:
        InvalidError: a field is none, or a column is missing.
    """
    frame: pl.DataFrame = given.collect() if isinstance(given, pl.LazyFrame) else as_polars(given, drop_index=True)
    chosen = columns_of(frame.columns, check.key, columns)
    told = frame.select(pl.col(column).alias(field) for field, column in chosen.items())
    told = told.with_columns(plain_floats(told[name]) for name in check.key if name in chosen)
    has_label = told[LABEL].is_not_null()
    if told[LABEL].dtype.is_float():
        has_label &= told[LABEL].is_not_nan()
    places = has_label.arg_true()
    return Table(zip(places, told.filter(has_label).iter_rows(named=True), strict=True), frame.height - len(places))


def read_file(path: str | Path, check: LabelCheck, columns: Mapping[str, str]) -> Table:
    """The labels of a file: CSV, Parquet, or JSON, whose records may also be those of `POST /feedback`.

    What CSV holds is read as what it is declared to be; a text that isn't that stays, and is refused by its value.

    Raises:
        NotFoundError: there is no such file.
        InvalidError: it is none of these, or not what its name says.
    """
    path = Path(path)
    if path.suffix not in SUFFIXES:
        raise InvalidError("file", str(path), f"one of {listed(SUFFIXES)}")
    if not path.is_file():
        raise NotFoundError("file", str(path))
    try:
        if path.suffix == ".parquet":
            return read_table(pl.read_parquet(path, glob=False), check, columns)
        if path.suffix == ".csv":
            return _read_csv(path, check, columns)
    except pl.exceptions.PolarsError as error:
        raise InvalidError("file", str(path), f"{path.suffix[1:]}: {error}") from error
    records = read_records(path.read_bytes())
    if columns:
        records = [_renamed(record, columns) for record in records]
    return Table(enumerate(records), 0)


def _read_csv(path: Path, check: LabelCheck, columns: Mapping[str, str]) -> Table:
    names = pl.read_csv(path, n_rows=0, glob=False).columns
    chosen = columns_of(names, check.key, columns)
    types = {name: check.key_fields[name].dtype if name in check.key_fields else "" for name in check.key}
    if check.label is not None:
        types[LABEL] = check.label.dtype
    is_text = {PREDICTION, "id", *types} & chosen.keys()
    texts = {chosen[name]: pl.String for name in is_text}
    frame = pl.read_csv(path, glob=False, infer_schema_length=None, schema_overrides=texts)
    whole = frame.with_columns(
        pl.Series(chosen[name], [text and read(text, dtype) for text in frame[chosen[name]]], dtype=pl.Object)
        for name, dtype in types.items()
        for read in [from_text if name == LABEL and name not in check.key else key_from_text]
        if name in chosen
    )
    return read_table(whole, check, columns)


def columns_of(names: list[str], key: tuple[str, ...], columns: Mapping[str, str]) -> dict[str, str]:
    """The column of each field that a table of these columns has; raises as `read_table` does."""
    fields = [*FIELDS, *key]
    for field, column in columns.items():
        if field not in fields:
            near = close_names(field, fields)
            raise InvalidError("columns", field, f"one of {listed(fields)}", f"Nearest: {near[0]}." if near else "")
        if column not in names:
            near = close_names(column, names)
            raise InvalidError(f"columns.{field}", column, "a column", f"Nearest: {near[0]}." if near else "")
    chosen = {field: columns.get(field, field) for field in fields if columns.get(field, field) in names}
    if KEY not in key:
        chosen.pop(KEY, None)  # a table has the columns of the key themselves
    lacking = [name for name in key if name not in chosen] or ([] if key else [PREDICTION])
    if LABEL not in chosen or (lacking and PREDICTION not in chosen):
        missing = LABEL if LABEL not in chosen else lacking[0]
        hint = f"Say which column it is by columns={{{missing!r}: '...'}}."
        raise InvalidError("columns", missing, f"among those of the table: {listed(names)}", hint)
    return chosen


def _renamed(record: Any, columns: Mapping[str, str]) -> Any:
    if not isinstance(record, dict):
        return record
    named = {column: field for field, column in columns.items()}
    return {named.get(name, name): value for name, value in record.items()}
