"""Records, as APIs give them, as a frame: what a record doesn't have is null."""

from __future__ import annotations

from typing import Any

import msgspec
import polars as pl

from mainspring.data.ingestion.kinds import ERRORS_OF_POLARS, expect_kinds, expect_one_kind, expect_shapes, texted
from mainspring.data.ingestion.source import Reading
from mainspring.errors import InvalidError, shorten


def frame_of(records: list[dict[str, Any]], origin: str, reading: Reading) -> pl.DataFrame:
    """Records as rows.

    Raises:
        InvalidError: the values of a column are of several kinds; it is named.
    """
    records = texted(records, reading.types)
    rows = [(f"{origin}, record {number}", record) for number, record in enumerate(records, 1)]
    names = {name for record in records for name in record}
    short = {name for name, dtype in reading.types.items() if dtype == pl.Float32()} & names
    floats = [name for name in short if any(type(record.get(name)) is float for record in records)]
    overrides = dict.fromkeys(floats, pl.Float32())
    expect_shapes(rows, reading.types)
    expect_one_kind(rows, reading.types)  # Polars would make text of them
    try:
        frame = pl.from_dicts(records, infer_schema_length=None, schema_overrides=overrides, strict=True)
    except (TypeError, OverflowError, *ERRORS_OF_POLARS) as error:
        raise InvalidError(origin, shorten(str(error)), "records that make one table") from error

    def hold(texts: Any) -> None:
        msgspec.convert(records, list[texts])

    expect_kinds(frame, reading.types, hold, lambda: rows)
    return frame
