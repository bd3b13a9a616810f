"""Plain values of a request as a frame with declared types."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import date, datetime
from typing import TYPE_CHECKING, Any

from mainspring.data.tables.type_names import named_type
from mainspring.errors import WrongTypeError

if TYPE_CHECKING:
    import polars as pl


def typed_frame(columns: Mapping[str, tuple[str, Sequence[Any]]]) -> pl.DataFrame:
    """Columns of these types. Dates and times may be ISO texts, as in JSON; without a zone they count as UTC.

    Raises:
        WrongTypeError: a value is of another type; its column is named.

    >>> typed_frame({"at": ("datetime[us, UTC]", ["2013-01-01T05:00:00Z"]), "n": ("i8", [7])}).row(0)
    (datetime.datetime(2013, 1, 1, 5, 0, tzinfo=zoneinfo.ZoneInfo(key='UTC')), 7)
    """
    import polars as pl

    return pl.DataFrame([_series(name, dtype, values) for name, (dtype, values) in columns.items()])


def _series(name: str, type_name: str, values: Sequence[Any]) -> pl.Series:
    import polars as pl

    dtype = named_type({"int": "i64", "bytes": "bin", "uuid": "str"}.get(type_name, type_name), name)
    try:
        if isinstance(dtype, pl.Datetime | pl.Date):
            values = [_moment(value, dtype) if isinstance(value, str) else value for value in values]
        if isinstance(dtype, pl.Datetime) and dtype.time_zone:
            instants = pl.Series(name, values, dtype=pl.Datetime(dtype.time_unit, "UTC"))
            return instants if dtype.time_zone == "UTC" else instants.dt.convert_time_zone(dtype.time_zone)
        return pl.Series(name, values, dtype=dtype)
    except (TypeError, ValueError, OverflowError, pl.exceptions.PolarsError) as error:
        raise WrongTypeError(name, values, f"values of type {type_name}") from error


def _moment(text: str, dtype: Any) -> date | datetime:
    import polars as pl

    if isinstance(dtype, pl.Date):
        return date.fromisoformat(text)
    found = datetime.fromisoformat(text)
    return (
        found
        if dtype.time_zone or found.tzinfo is None
        else found.replace(tzinfo=None) - (found.utcoffset() or found - found)
    )
