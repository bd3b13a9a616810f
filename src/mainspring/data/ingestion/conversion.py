"""Columns brought to a type exactly: what can't be held there is refused by row and value."""

from __future__ import annotations

import re
from collections.abc import Callable
from decimal import Decimal

import polars as pl

from mainspring.data.ingestion.kinds import ERRORS_OF_POLARS, HINT
from mainspring.data.ingestion.parsing import bare, parsed
from mainspring.data.tables.nested import by_fields, by_items, fields_of, nulls
from mainspring.data.tables.type_names import name_of_type
from mainspring.errors import InvalidError, shorten

Naming = Callable[[int], str]
"""Where a row stood, by its place in a batch."""
MOST_DIGITS = 38  # of a decimal
# of a decimal
_NUMBER = re.compile(
    r"\s*[+-]?([0-9]+\.?[0-9]*|\.[0-9]+)([eE][+-]?[0-9]+)?\s*"
)  # Python takes other digits, and underscores
# Python takes other digits, and underscores
_PLACES = {"ms": 3, "us": 6, "ns": 9}  # of a second
# of a second


def is_written(dtype: pl.DataType) -> bool:
    """Whether text is made of values of a type, where a column is text."""
    return dtype.is_numeric() or dtype in (pl.Boolean(), pl.Date())


def brought(series: pl.Series, dtype: pl.DataType, named: Naming, hint: str = "") -> pl.Series:
    """`exactly`, with an error that names the row, and a hint more if it is of text."""
    try:
        return exactly(series, dtype, series.name)
    except InvalidError:
        row = first_unfit(len(series), lambda rows: exactly(series[:rows], dtype, ""))
        path = f"{named(row)}, column `{series.name}`"
        try:
            exactly(series[row : row + 1], dtype, path)
        except InvalidError as error:
            if not hint or series.dtype != pl.String() or error.hint != HINT:
                raise
            raise InvalidError(path, error.given, error.expected, f"{HINT} {hint}") from error
        return exactly(series, dtype, path)  # alone it would do, as a null among texts


def unfit_row(series: pl.Series, dtype: pl.DataType) -> int | None:
    """The first row that a type can't hold; None if it holds all."""
    try:
        exactly(series, dtype, "")
    except InvalidError:
        return first_unfit(len(series), lambda rows: exactly(series[:rows], dtype, ""))
    return None


def first_unfit(count: int, attempt: Callable[[int], object]) -> int:
    """The row of so many without which, and those behind it, an attempt with the rows before succeeds."""
    low, high = 0, count
    while high - low > 1:
        middle = (low + high) // 2
        try:
            attempt(middle)
            low = middle
        except (TypeError, OverflowError, InvalidError, *ERRORS_OF_POLARS):
            high = middle
    return low


def exactly(series: pl.Series, dtype: pl.DataType, path: str) -> pl.Series:
    """A column brought to a type, nested ones part by part; what can't be held there exactly is an `InvalidError`."""
    given = series.dtype
    if given == dtype:
        return series
    if series.null_count() == len(series):
        return nulls(series.name, dtype, len(series))
    try:
        if isinstance(given, pl.Struct) and isinstance(dtype, pl.Struct):
            if more := sorted(fields_of(given).keys() - fields_of(dtype)):
                raise _misfit(path, f"{name_of_type(given)} (the field `{more[0]}` is new)", dtype)
            return by_fields(series, dtype, lambda part, kind: exactly(part, kind, path))
        if isinstance(given, pl.List | pl.Array) and isinstance(dtype, pl.List | pl.Array):
            return by_items(series, dtype, lambda part, kind: exactly(part, kind, path))
        if given.is_nested() or dtype.is_nested():  # of a struct Polars would cast the fields
            raise _misfit(path, name_of_type(given), dtype)
        if given == pl.String():
            return _cast_texts(series, dtype, path)
        if dtype == pl.String() and is_written(given):
            return _written(series)
        if given.is_float() and isinstance(dtype, pl.Decimal):  # by the digits that are shown, none of what is binary
            return _cast_texts(_written(series), dtype, path)
        if isinstance(given, pl.Date | pl.Datetime) and isinstance(dtype, pl.Date | pl.Datetime):
            series = _without_zone(series, dtype, path)
            if isinstance(dtype, pl.Datetime) and dtype.time_zone and not getattr(series.dtype, "time_zone", None):
                wall = exactly(series, pl.Datetime(dtype.time_unit), path)
                return _in_zone(wall, dtype.time_zone, path)
        found = series.cast(dtype)
    except ERRORS_OF_POLARS as error:
        raise _uncast(series, dtype, path, error) from error
    if lost := _lost(series, found):
        raise _misfit(path, lost, dtype)
    return found


def _written(series: pl.Series) -> pl.Series:
    """Numbers, dates, true and false as text that is parsed as the same again; numbers in decimal without an exponent."""
    texts = series.cast(pl.String())
    large = texts.str.contains("[0-9]e").fill_null(value=False) if series.dtype.is_float() else None
    if large is None or not large.any():
        return texts
    digits = texts.filter(large).map_elements(lambda text: format(Decimal(text), "f"), return_dtype=pl.String())
    return texts.scatter(large.arg_true(), digits)


def _uncast(series: pl.Series, dtype: pl.DataType, path: str, error: BaseException) -> InvalidError:
    """By the first value that doesn't fit, else by the type that values of another one can't be made of."""
    given, wrong = series.dtype, _unfit(series, dtype)
    hint = _of_clocks(dtype) if _is_of_clocks(wrong, dtype) else HINT
    if len(wrong):
        return _misfit(path, _shown(wrong[0]), dtype, hint)
    is_another = _kind(given) != _kind(dtype) and not (given.is_nested() and dtype.is_nested())
    return _misfit(path, name_of_type(given) if is_another else shorten(str(error)), dtype, hint)


def _shown(value: object) -> str:
    """A value as text, in quotes if nothing of it could be seen."""
    text = str(value)
    return repr(text) if text and not text.strip() else shorten(text)


def _unfit(series: pl.Series, dtype: pl.DataType) -> pl.Series:
    """The first value of a column that doesn't fit into a type; none if that isn't found."""
    try:
        found = parsed(series, dtype, strict=False) if series.dtype == pl.String() else series.cast(dtype, strict=False)
    except ERRORS_OF_POLARS:
        return series.clear()
    return series.filter(found.is_null() & series.is_not_null()).head(1)


def _cast_texts(texts: pl.Series, dtype: pl.DataType, path: str) -> pl.Series:
    found = parsed(texts, dtype)
    texts = bare(texts, dtype)
    _expect_places(texts, dtype, path)
    if dtype.is_float():
        whole = texts.str.contains(r"^[+-]?\d+$").fill_null(value=False)
        numbers = texts.filter(whole).cast(pl.Int128(), strict=False)
        kept = numbers.eq_missing(found.filter(whole).cast(pl.Int128(), strict=False))
        infinite = found.is_infinite() & ~texts.str.contains("(?i)inf")
        if wrong := [
            *texts.filter(whole).filter(~kept).head(1),
            *texts.filter(infinite.fill_null(value=False)).head(1),
        ]:
            raise _misfit(path, wrong[0], dtype)
    return found


def _without_zone(series: pl.Series, dtype: pl.DataType, path: str) -> pl.Series:
    """Times whose zone says nothing in a column of this type: a date is that of the place, a time without zone one of UTC."""
    if not (isinstance(series.dtype, pl.Datetime) and series.dtype.time_zone):
        return series
    if dtype == pl.Date():
        local = series.dt.replace_time_zone(None)
        if (local.dt.truncate("1d") != local).any():
            raise _misfit(path, name_of_type(series.dtype), dtype)
        return local
    zoned = isinstance(dtype, pl.Datetime) and dtype.time_zone
    return series if zoned else series.dt.convert_time_zone("UTC").dt.replace_time_zone(None)


def _in_zone(wall: pl.Series, zone: str, path: str) -> pl.Series:
    """Times of a place; one that its clocks show twice, or skip, is an `InvalidError`."""
    found = wall.dt.replace_time_zone(zone, ambiguous="null", non_existent="null")
    if wrong := wall.filter(found.is_null() & wall.is_not_null()).head(1).to_list():
        raise _misfit(path, str(wrong[0]), found.dtype, _of_clocks(found.dtype))
    return found


def _is_of_clocks(wrong: pl.Series, dtype: pl.DataType) -> bool:
    """Whether a text that is no time of a zone would be one without a zone."""
    if wrong.dtype != pl.String() or not isinstance(dtype, pl.Datetime) or not dtype.time_zone:
        return False
    return bool(parsed(wrong, pl.Datetime(dtype.time_unit), strict=False).is_not_null().any())


def _of_clocks(dtype: pl.DataType) -> str:
    zone = getattr(dtype, "time_zone", None)
    return f"The clocks of {zone} skip that time or show it twice; an offset says which is meant."


def _expect_places(texts: pl.Series, dtype: pl.DataType, path: str) -> None:
    """Raise `InvalidError` if a decimal would be rounded, or a part of a second cut: Polars does so silently."""
    if isinstance(dtype, pl.Decimal):
        parts = texts.str.extract_groups(r"^\s*[+-]?(?<whole>\d*)\.?(?<part>\d*)(?:[eE](?<power>[+-]?\d+))?\s*$")
        whole, part, power = (parts.struct.field(name).fill_null("") for name in ("whole", "part", "power"))
        digits = whole + part
        zeros = digits.str.len_chars().cast(pl.Int64) - digits.str.strip_chars_end("0").str.len_chars().cast(pl.Int64)
        shifted = power.cast(pl.Int64, strict=False).fill_null(0)
        places, most = part.str.len_chars().cast(pl.Int64) - zeros - shifted, dtype.scale
    elif isinstance(dtype, pl.Datetime | pl.Time):
        places = texts.str.extract(r"\.(\d*[1-9])").str.len_chars().cast(pl.Int64)
        most = _PLACES[dtype.time_unit] if isinstance(dtype, pl.Datetime) else _PLACES["ns"]
    else:
        return
    if rounded := texts.filter((places > most).fill_null(value=False)).head(1).to_list():
        raise _misfit(path, rounded[0], dtype)


def _lost(before: pl.Series, after: pl.Series) -> str:
    """What a cast didn't keep: the first such value, or the type if it has another meaning; empty if it kept everything.

    Text that was parsed was kept, or that would have failed.
    """
    given, wanted = before.dtype, after.dtype
    if given in (wanted, pl.Null(), pl.String()):
        return ""
    if wanted == pl.Null():
        return "" if before.null_count() == len(before) else name_of_type(given)
    if _kind(given) != _kind(wanted) and not (given.is_integer() and wanted == pl.Boolean()):  # SQLite's 0 and 1
        return name_of_type(given)
    back = given
    if wanted.is_float() and not given.is_decimal():
        back = pl.Int128() if given.is_integer() else pl.Float64()
    lost = before.filter(~after.cast(back).eq_missing(before.cast(back))).head(1).to_list()
    return shorten(str(lost[0])) if lost else ""


def _kind(dtype: pl.DataType) -> str:
    """Types of one kind say the same thing, more or less exactly."""
    if dtype.is_numeric():
        return "number"
    if isinstance(dtype, pl.Datetime | pl.Date):
        return "time"
    return "text" if dtype in (pl.String, pl.Categorical, pl.Enum) else str(dtype.base_type())


def _misfit(path: str, given: str, dtype: pl.DataType, hint: str = HINT) -> InvalidError:
    digits = _of_digits(given, dtype) if isinstance(dtype, pl.Decimal) else ""
    return InvalidError(path, given, f"its type, `{name_of_type(dtype)}`", digits or hint)


def _of_digits(given: str, dtype: pl.Decimal) -> str:
    """What to do with a number that a decimal can't hold; empty if it is none."""
    if not _NUMBER.fullmatch(given):
        return ""
    number = Decimal(given).normalize()
    scale = max(dtype.scale, -int(number.as_tuple().exponent))
    if max(number.adjusted() + 1, 0) + scale > MOST_DIGITS:
        told = f"No decimal holds it and {scale} places" if scale else "No decimal holds it"
        return f"{told}: make text of the column in the source, with mode='replace' if it has rows."
    return f"Round it in the source, or declare a type that holds it: `decimal[{MOST_DIGITS}, {scale}]`."
