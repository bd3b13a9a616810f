"""Checks of rows as Polars expressions that are true in the rows that fail; null counts as passing."""

from __future__ import annotations

from collections.abc import Callable
from datetime import date, datetime, time
from typing import Any

import polars as pl

from mainspring.data.validation.checks import Check
from mainspring.data.validation.evaluation import in_any_parts
from mainspring.errors import InvalidError

_ISO: dict[type[pl.DataType], Callable[[str], Any]] = {pl.Date: date.fromisoformat, pl.Time: time.fromisoformat}


def failing(check: Check, schema: pl.Schema, keys: pl.DataFrame | None = None) -> pl.Expr:
    """What is true in the rows that fail a check.

    `keys` are those of the dataset that `in_dataset` speaks of, or, for `unique`, those that are taken already.

    Raises:
        InvalidError: the check is of the whole table, or its column has a type that it doesn't fit.
    """
    if not check.is_of_rows:
        raise InvalidError("check", check.name, "a check of single rows")
    if check.kind == "expression":
        return in_any_parts(check.formula).not_()
    if check.kind == "unique":
        return _repeated(check, keys)
    if check.kind == "in_dataset":
        return _unknown(check, schema, keys)
    return _of_a_column(check, pl.col(check.columns[0]), schema[check.columns[0]])


def mismatched(column: pl.Expr, dtype: pl.DataType, pattern: str) -> pl.Expr:
    """What is true where a text has no match of a pattern."""
    return (column if dtype == pl.String else column.cast(pl.String)).str.contains(pattern).not_()


def _of_a_column(check: Check, column: pl.Expr, dtype: pl.DataType) -> pl.Expr:
    if check.kind == "not_null":
        missing = column.is_null()
        return missing | column.is_nan() if check.nan == "missing" and dtype.is_float() else missing
    if check.kind in ("is_in", "not_in"):
        among = column.is_in([fitted(value, dtype) for value in check.values])
        return among if check.kind == "not_in" else among.not_()
    if check.kind == "matches":
        return mismatched(column, dtype, check.pattern)
    if check.kind == "length":
        return _outside(_length(column, dtype), check, pl.UInt32())
    if check.kind == "decimals":
        return column.round(int(check.high)) != column
    if check.kind == "increasing":
        before = column.forward_fill().shift()
        return column <= before if check.closed == "none" else column < before
    return _outside(column, check, dtype)


def _length(column: pl.Expr, dtype: pl.DataType) -> pl.Expr:
    if isinstance(dtype, pl.List):
        return column.list.len()
    return (column if dtype == pl.String else column.cast(pl.String)).str.len_chars()


def _repeated(check: Check, taken: pl.DataFrame | None) -> pl.Expr:
    keys = pl.col(check.columns[0]) if len(check.columns) == 1 else pl.struct(check.columns)
    if taken is not None and taken.height:
        values = taken.to_series() if len(check.columns) == 1 else taken.to_struct()
        return _repeated(check, None) | keys.is_in(values.implode(), nulls_equal=True)
    if check.keep == "first":
        return keys.is_first_distinct().not_()
    if check.keep == "last":
        return keys.is_last_distinct().not_()
    return keys.is_duplicated()


def _unknown(check: Check, schema: pl.Schema, keys: pl.DataFrame | None) -> pl.Expr:
    if keys is None:
        raise InvalidError("check", check.name, "a check whose keys were looked up")
    names = check.columns
    known = keys.select(pl.col(theirs).cast(schema[ours], strict=False).alias(ours)
                        for ours, theirs in zip(names, keys.columns, strict=True)).drop_nulls().unique()  # fmt: skip
    if len(names) == 1:
        return pl.col(names[0]).is_in(known.to_series().implode()).not_()
    has_null = pl.any_horizontal(pl.col(name).is_null() for name in names)
    return pl.struct(names).is_in(known.to_struct().implode()).not_() & has_null.not_()


def _outside(column: pl.Expr, check: Check, dtype: pl.DataType) -> pl.Expr:
    low, high = fitted(check.low, dtype), fitted(check.high, dtype)
    bounds = []
    if low is not None:
        bounds.append(column < low if check.closed in ("both", "left") else column <= low)
    if high is not None:
        bounds.append(column > high if check.closed in ("both", "right") else column >= high)
    if dtype.is_float() and high is None and check.nan != "largest":
        bounds.append(column.is_nan())  # Polars orders NaN above every number
    outside: pl.Expr = bounds[0]
    for bound in bounds[1:]:
        outside = outside | bound
    return outside


def fitted(bound: Any, dtype: pl.DataType) -> Any:
    """A bound as what compares with a column: text as the time it says, where the column holds times; floats as such.

    A report or a schema that was read from JSON has times as text.
    """
    if isinstance(bound, str) and dtype.is_temporal():
        try:
            bound = _ISO.get(type(dtype), datetime.fromisoformat)(bound)
        except ValueError as error:
            raise InvalidError("bound", bound, f"a {type(dtype).__name__.lower()} in ISO form") from error
    if type(bound) is int and dtype.is_float():
        return float(bound)  # is_in of Polars 2 refuses whole numbers for a column of floats
    zone = getattr(dtype, "time_zone", None)
    if isinstance(bound, datetime) and isinstance(dtype, pl.Datetime):
        if zone:
            at = pl.lit(bound)
            return at.dt.replace_time_zone(zone) if bound.tzinfo is None else at.dt.convert_time_zone(zone)
        if bound.tzinfo is not None:
            raise InvalidError("bound", bound.isoformat(), "a time without a zone, as the column's")
    return bound
