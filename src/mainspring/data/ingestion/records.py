"""Records, as APIs give them, as a frame: what a record doesn't have is null."""

from __future__ import annotations

from typing import Any

import msgspec
import polars as pl

from mainspring.data.ingestion.kinds import ERRORS_OF_POLARS, expect_kinds
from mainspring.data.ingestion.source import Reading
from mainspring.errors import InvalidError, shorten


def frame_of(records: list[dict[str, Any]], origin: str, reading: Reading) -> pl.DataFrame:
    """Records as rows.

    Raises:
        InvalidError: the values of a column are of several kinds; it is named.
    """
    names = {name for record in records for name in record}
    plain = {name: dtype for name, dtype in reading.types.items() if dtype.is_numeric() and not dtype.is_decimal()}
    overrides = {name: dtype for name, dtype in plain.items() if name in names}
    if name := _mixed(records):  # Polars would make text of them
        kinds = " and ".join(sorted({type(each[name]).__name__ for each in records if each.get(name) is not None}))
        raise InvalidError(f"{origin}, column `{name}`", kinds, "values of one type")
    try:
        frame = pl.from_dicts(records, infer_schema_length=None, schema_overrides=overrides, strict=True)
    except (TypeError, OverflowError, *ERRORS_OF_POLARS) as error:
        raise InvalidError(origin, shorten(str(error)), "records that make one table") from error

    def hold(texts: Any) -> None:
        msgspec.convert(records, list[texts])

    expect_kinds(frame, (), hold, lambda: ((origin, record) for record in records))
    return frame


def _mixed(records: list[dict[str, Any]]) -> str:
    """The first column with values of several kinds."""
    for name in dict.fromkeys(name for record in records for name in record):
        kinds = {type(record[name]) for record in records if record.get(name) is not None}
        if len(kinds) > 1 and kinds != {int, float}:
            return name
    return ""
