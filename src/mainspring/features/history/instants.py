"""Columns of times as whole microseconds since 1970 UTC, in which everything here is compared."""

from __future__ import annotations

import polars as pl

from mainspring import clock
from mainspring.data.tables.nested import fields_of, instance
from mainspring.errors import InvalidError, counted


def microseconds(column: pl.Series, path: str = "") -> pl.Series:
    """A column of times as `Int64`.

    A Datetime may be of any unit (nanoseconds are rounded down) and zone; without a zone it counts as UTC. A Date is its
    midnight, UTC. `path` says in errors where the column stands.

    Raises:
        InvalidError: it is of another type, or a row has no time.

    >>> from datetime import date
    >>> microseconds(pl.Series([date(1970, 1, 2)])).to_list()
    [86400000000]
    """
    expect_times(column.dtype, column.null_count(), path or column.name)
    return column.dt.timestamp("us")


def expect_times(dtype: pl.DataType, nulls: int, path: str) -> None:
    """Go on only if a column of this type and so many nulls can be the times of rows; raises `InvalidError`."""
    if not isinstance(dtype, pl.Datetime | pl.Date):
        raise InvalidError(path, str(dtype), "a Datetime or a Date", "Cast it first.")
    if nulls:
        raise InvalidError(path, counted(nulls, "null"), "a time in every row", "Drop these rows, or fill in a time.")


def expect_shown(times_us: pl.Series, path: str) -> None:
    """Refuse times in microseconds that no datetime can show, and so nobody who reads them.

    Raises:
        InvalidError: the first of them, and how many there are.
    """
    beyond = times_us.filter(~times_us.is_between(clock.FIRST_US, clock.LAST_US))
    if beyond.len():
        said = f"So in {counted(beyond.len(), 'row')}. Is it in nanoseconds?"
        raise InvalidError(path, beyond[0], clock.SHOWN, said)


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
        expect_shown(column.drop_nulls().dt.timestamp("us"), path)


def _has_instants(dtype: pl.DataType) -> bool:
    if isinstance(dtype, pl.List | pl.Array):
        return _has_instants(instance(dtype.inner))
    return isinstance(dtype, pl.Datetime | pl.Date) or any(map(_has_instants, fields_of(dtype).values()))
