"""Texts read as values of a type: dates and times by ISO 8601, true and false by their words, numbers as Polars does."""

from __future__ import annotations

from datetime import timedelta
from typing import Literal

import polars as pl


def parsed(series: pl.Series, dtype: pl.DataType, *, strict: bool = True) -> pl.Series:
    """Text as values of a type; what can't be read is null if it isn't `strict`, else an error of Polars.

    Blanks around a value are passed over, except where text is wanted.
    """
    series = bare(series, dtype)
    if isinstance(dtype, pl.Datetime):
        return _parsed_times(series, dtype, strict)
    if dtype == pl.Date():
        return series.str.replace_all("/", "-", literal=True).str.to_date("%Y-%m-%d", strict=strict)
    if dtype == pl.Time():
        return series.str.replace(r"^(\d\d:\d\d)$", "${1}:00").str.to_time("%H:%M:%S%.f", strict=strict)
    if dtype == pl.Boolean():
        words = {"true": True, "false": False}
        lower = series.str.to_lowercase()
        if strict:
            return lower.replace_strict(words, return_dtype=pl.Boolean())
        return lower.replace_strict(words, default=None, return_dtype=pl.Boolean())
    if dtype.is_integer():  # as pandas writes whole numbers of a column with nulls
        series = series.str.replace(r"^([+-]?\d+)\.0*$", "${1}")
    return series.cast(dtype, strict=strict)


def passes_blanks(dtype: pl.DataType) -> bool:
    """Whether blanks around a text mean nothing where values of a type are made of it.

    >>> passes_blanks(pl.Date()), passes_blanks(pl.String())
    (True, False)
    """
    return dtype not in (pl.String, pl.Categorical, pl.Enum, pl.Binary)


def bare(texts: pl.Series, dtype: pl.DataType) -> pl.Series:
    """Texts without the blanks around them, where those mean nothing."""
    return texts.str.strip_chars() if passes_blanks(dtype) else texts


def _parsed_times(series: pl.Series, dtype: pl.Datetime, strict: bool) -> pl.Series:
    """ISO 8601; a text without a zone is taken as in the zone of the type, UTC being meant if it has none."""
    has_zone = series.str.contains(r"(?:[Zz]|[+-]\d\d:?\d\d)$").fill_null(True)
    zoned = _read_times(series.set(~has_zone, None), dtype, "UTC", strict)
    naive = _read_times(series.set(has_zone, None), dtype, None, strict)
    zone = dtype.time_zone
    zoned = zoned.dt.convert_time_zone(zone) if zone else zoned.dt.replace_time_zone(None)
    if zone is None:
        return zoned.zip_with(has_zone, naive)
    raises: Literal["raise", "null"] = "raise" if strict else "null"
    return zoned.zip_with(has_zone, naive.dt.replace_time_zone(zone, ambiguous=raises, non_existent=raises))


def _read_times(texts: pl.Series, dtype: pl.Datetime, zone: str | None, strict: bool) -> pl.Series:
    def read(unit: Literal["ms", "us", "ns"], *, strict: bool) -> pl.Series:
        # By what is first Polars takes the day to stand before the month, or finds that nothing can be read.
        leading = pl.Series([f"2000-01-01T00:00:00{'Z' if zone else ''}"])
        return (
            leading.append(texts).str.to_datetime(time_zone=zone, time_unit=unit, strict=strict)[1:].alias(texts.name)
        )

    found = read(dtype.time_unit, strict=strict)
    if dtype.time_unit != "ns":
        return found
    # 64 bits hold nanoseconds of the years 1677 to 2262, beyond which Polars wraps around.
    real = read("us", strict=False)
    wrapped = ((found.dt.cast_time_unit("us") - real).abs() > timedelta(microseconds=1)).fill_null(value=False)
    if strict and wrapped.any():
        raise pl.exceptions.InvalidOperationError(f"{texts.filter(wrapped)[0]} is beyond the years of nanoseconds")
    return found.set(wrapped, None)
