"""Columns of times as whole microseconds since 1970 UTC, in which everything here is compared."""

from __future__ import annotations

import polars as pl

from mainspring import clock
from mainspring.data.tables.nested import fields_of, instance
from mainspring.errors import InvalidError, counted

_DAY_US = 86_400_000_000
_UNITS_US = {"ms": 1_000, "us": 1, "ns": 0}  # nanoseconds can't say what is not shown


def microseconds(column: pl.Series, path: str = "") -> pl.Series:
    """A column of times as `Int64`.

    A Datetime may be of any unit (nanoseconds are rounded down) and zone; without a zone it counts as UTC. A Date is its
    midnight, UTC. `path` says in errors where the column stands.

    Raises:
        InvalidError: it is of another type, a row has no time, or one beyond 64 bits.

    >>> from datetime import date
    >>> microseconds(pl.Series([date(1970, 1, 2)])).to_list()
    [86400000000]
    """
    expect_times(column.dtype, column.null_count(), path or column.name)
    found = column.dt.timestamp("us")
    if found.null_count():  # beyond 64 bits
        expect_shown(column, path or column.name)
    return found


def expect_times(dtype: pl.DataType, nulls: int, path: str) -> None:
    """Go on only if a column of this type and so many nulls can be the times of rows; raises `InvalidError`."""
    if not isinstance(dtype, pl.Datetime | pl.Date):
        raise InvalidError(path, str(dtype), "a Datetime or a Date", "Cast it first.")
    if nulls:
        raise InvalidError(path, counted(nulls, "null"), "a time in every row", "Drop these rows, or fill in a time.")


def expect_shown(times: pl.Series, path: str) -> None:
    """Refuse times, or whole microseconds since 1970, that no datetime can show, and so nobody who reads them.

    Raises:
        InvalidError: the first of them, and how many there are.
    """
    unit_us = _DAY_US if times.dtype == pl.Date() else _UNITS_US[getattr(times.dtype, "time_unit", "us")]
    if not unit_us:
        return
    # Compared as they are: in microseconds the farthest would overflow, which to Polars is null.
    whole = times.to_physical()
    beyond = whole.filter(~whole.is_between(-(-clock.FIRST_US // unit_us), clock.LAST_US // unit_us))
    if beyond.len():
        said = f"So in {counted(beyond.len(), 'row')}. Is it in nanoseconds?"
        raise InvalidError(path, beyond[0] * unit_us, clock.SHOWN, said)


def expect_values_shown(column: pl.Series, path: str) -> None:
    """The same of the dates and times of a column, at any depth of lists and structs."""
    if not _has_instants(column.dtype):
        return
    if isinstance(column.dtype, pl.Struct):
        for name in fields_of(column.dtype):
            expect_values_shown(column.struct.field(name), f"{path}.{name}")
    elif isinstance(column.dtype, pl.List | pl.Array):
        expect_values_shown(column.explode(), f"{path}[]")
    else:
        expect_shown(column, path)


def _has_instants(dtype: pl.DataType) -> bool:
    if isinstance(dtype, pl.List | pl.Array):
        return _has_instants(instance(dtype.inner))
    return isinstance(dtype, pl.Datetime | pl.Date) or any(map(_has_instants, fields_of(dtype).values()))
