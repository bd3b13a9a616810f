"""What is refused where a check is declared, rather than found out on a table; and how spans of time are said."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

from mainspring.data.validation.expressions import expect_plain, is_serialised
from mainspring.errors import InvalidError, counted, shorten

_UNITS = (("day", 86_400), ("hour", 3_600), ("minute", 60), ("second", 1))


def expect_order(path: str, low: Any, high: Any) -> None:
    """Raise `InvalidError` if no value is in a range: its bounds are the wrong way round, or a number and something else."""
    if low is None or high is None:
        return
    numbers = sum(isinstance(bound, int | float) for bound in (low, high))
    is_reversed = False
    if numbers != 1:
        try:
            is_reversed = bool(low > high)
        except TypeError:  # times in several forms, or expressions: what they are is known with the column
            return
    elif all(isinstance(bound, int | float | str) for bound in (low, high)):
        raise InvalidError(path, f"{low!r}, {high!r}", "two bounds of one type")
    if is_reversed:
        raise InvalidError(path, f"{low}, {high}", "a lower bound and an upper one that is not below it")


def expect_pattern(pattern: str) -> None:
    """Raise `InvalidError` if a text is no regular expression as Polars reads them."""
    import polars as pl

    try:
        pl.Series([""]).str.contains(pattern)
    except pl.exceptions.PolarsError as error:
        why = next((line for line in reversed(str(error).splitlines()) if line.startswith("error:")), str(error))
        said = shorten(why.removeprefix("error:").strip())
        raise InvalidError("pattern", pattern, f"a regular expression in Rust's syntax ({said})") from error


def expect_formula(text: str) -> None:
    """Raise `InvalidError` if a text is neither SQL nor an expression of Polars' own parts."""
    if is_serialised(text):
        expect_plain(text)
        return
    import polars as pl

    try:
        pl.sql_expr(text)
    except (pl.exceptions.PolarsError, pl.exceptions.PanicException) as error:
        raise InvalidError("formula", text, f"an expression in SQL ({shorten(str(error))})") from error


def short_type(dtype: Any, column: str) -> str:
    """A type, or any of its names, in the words of a dataset's schema.

    >>> short_type("decimal[10,2]", "price")
    'decimal[10, 2]'
    """
    import polars as pl

    from mainspring.artifacts.table import schema_of
    from mainspring.data.tables.type_names import named_type

    known = named_type(dtype, "dtype") if isinstance(dtype, str) else dtype
    return schema_of(pl.DataFrame(schema={column: known}))[0][1]


def span(length: timedelta) -> str:
    """A span of time in one unit, with a decimal at most.

    >>> span(timedelta(days=1)), span(timedelta(hours=36)), span(timedelta(days=2516, hours=11))
    ('1 day', '36 hours', '2,516.5 days')
    """
    length_s = length.total_seconds()
    for unit, size_s in _UNITS:
        count = length_s / size_s
        if count == 1 or count >= 2:
            return counted(int(count), unit) if round(count, 1) % 1 == 0 else f"{count:,.1f} {unit}s"
    return f"{length_s:g} seconds"
