"""Which types the columns of an ingest have, and how batches are brought to them.

Decided types (declared, or those of the dataset that rows go behind) are kept: numbers that lose nothing are cast, text is
parsed. Others are those of the first batch, and widen within the ingest: null to anything, also that of a dataset's column
without any value, whole numbers to wider ones or to floats that hold them exactly. Whatever else differs is an error that
names origin and column.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from datetime import timedelta
from decimal import Decimal
from typing import Literal

import polars as pl

from mainspring.artifacts.table import schema_of
from mainspring.data.ingestion.kinds import ERRORS_OF_POLARS, HINT
from mainspring.data.tables.nested import by_fields, by_items, fields_of, nulls
from mainspring.data.tables.type_names import name_of_type, named_type
from mainspring.data.tables.widening import filled, is_open, wider
from mainspring.errors import InvalidError, shorten

Types = dict[str, pl.DataType]
Naming = Callable[[int], str]
"""Where a row stood, by its place in a batch."""
MOST_DIGITS = 38  # of a decimal
_NUMBER = re.compile(
    r"\s*[+-]?([0-9]+\.?[0-9]*|\.[0-9]+)([eE][+-]?[0-9]+)?\s*"
)  # Python takes other digits, and underscores
_PLACES = {"ms": 3, "us": 6, "ns": 9}  # of a second


def declared_types(types: Mapping[str, object]) -> Types:
    """Types given as Polars types or by name (`f64`, `date`, `decimal[10, 2]`).

    Raises:
        InvalidError: no such type.
    """
    return {name: _declared(name, kind) for name, kind in types.items()}


def _declared(name: str, kind: object) -> pl.DataType:
    if isinstance(kind, pl.DataType):
        return kind
    if isinstance(kind, type) and issubclass(kind, pl.DataType):
        return kind()
    return named_type(str(kind), f"types.{name}")


class Alignment:
    """The columns of one ingest; types that are `declared` are fixed, and so are those `known`, beside which none may come.

    Known types that hold no value, `null` or lists of it, aren't decided yet.
    """

    def __init__(self, declared: Mapping[str, pl.DataType], known: Mapping[str, pl.DataType] | None = None) -> None:
        self.declared = dict(declared)
        closed = {name: dtype for name, dtype in (known or {}).items() if not is_open(dtype)}
        self.decided = closed | self.declared
        self._textless: set[str] = set()  # columns with values of which no text is made, whatever is declared
        self.known = None if known is None else dict(known)
        self.types: Types | None = None if self.known is None else self.known | self.declared
        self.widened = {
            name: f"{name_of_type(self.known[name])} became {name_of_type(dtype)}"
            for name, dtype in self.declared.items()
            if self.known is not None and self.known[name] != dtype
        }

    def take(
        self, frame: pl.DataFrame, origin: str, *, sparse: bool = False, named: Naming | None = None, hint: str = ""
    ) -> pl.DataFrame:
        """A batch with the types of the ingest so far, which may widen by it; `named` says where a row stood, for errors.

        `hint` is said of a text that doesn't fit.

        Raises:
            InvalidError: a column is missing or unknown, or its values don't fit its type.
        """
        schema_of(frame)
        if frame.height and not (frame.columns or self.types):  # as of JSON lines that are all `{}`
            raise InvalidError(origin, "rows without any", "a table with a column", "Rows before them may say which.")
        if self.types is None:
            self.types = {name: self.decided.get(name, dtype) for name, dtype in frame.schema.items()}
            if absent := [name for name in self.decided if name not in self.types]:
                if not sparse:
                    raise InvalidError(origin, ", ".join(frame.columns), f"a table with the column `{absent[0]}`")
                self.types |= {name: self.decided[name] for name in absent}
        self._check_columns(frame, origin, sparse)
        for name, dtype in frame.schema.items():
            self._widen(name, dtype, origin, sparse)
            if not (sparse or dtype in (pl.String(), pl.Null()) or _is_written(dtype)):
                self._textless.add(name)
        types, given = self.types, frame.schema
        if list(given.items()) == list(types.items()):
            return frame
        return frame.with_columns(  # which keeps the number of rows of a frame without columns
            brought(frame[name], dtype, named or (lambda _: origin), hint)
            if name in given
            else pl.lit(None, dtype).alias(name)
            for name, dtype in types.items()
        ).select(list(types))

    def settle(self, frame: pl.DataFrame, origin: str) -> pl.DataFrame:
        """Rows that were taken before a column came or widened, with the types that the ingest ended with."""
        return Alignment(self.types or {}, self.types or {}).take(frame, origin, sparse=True)

    def fill(self, before: Mapping[str, pl.DataType]) -> None:
        """Give a table that no row came for its columns, which only a header may have named, with the types that they had."""
        types = self.types if self.types is not None else dict(before)
        known = {name: before.get(name, dtype) if dtype == pl.Null() else dtype for name, dtype in types.items()}
        self.types = known | {name: dtype for name, dtype in self.declared.items() if name in known} or None

    def _check_columns(self, frame: pl.DataFrame, origin: str, sparse: bool) -> None:
        assert self.types is not None
        given = frame.schema
        missing = [name for name in self.types if name not in given]
        if missing and not sparse:
            raise InvalidError(
                origin, ", ".join(frame.columns), f"a table with the column `{missing[0]}`, which the rows before have"
            )
        unknown = [name for name in frame.columns if name not in self.types]
        if unknown and (not sparse or self.known is not None):
            raise InvalidError(
                f"{origin}, column `{unknown[0]}`", unknown[0], "a column that the rows before have",
                "mode='replace' makes a table with other columns.",
            )  # fmt: skip
        for name in unknown:
            self.types[name] = self.decided.get(name, given[name])
            self.widened[name] = "came later; null before"

    def _widen(self, name: str, dtype: pl.DataType, origin: str, sparse: bool) -> None:
        assert self.types is not None
        known = self.types[name]
        if known == dtype or name in self.declared:
            return
        wide = filled(known, dtype) if name in self.decided else wider(known, dtype)
        if wide is None:
            raise InvalidError(
                f"{origin}, column `{name}`", name_of_type(dtype), f"its type in the rows before, `{name_of_type(known)}`",
                self._of_another(name, dtype, sparse),
            )  # fmt: skip
        if wide != known:
            if known != pl.Null() or self.known is not None:
                self.widened[name] = f"{name_of_type(known)} became {name_of_type(wide)}"
            self.types[name] = wide

    def _of_another(self, name: str, dtype: pl.DataType, sparse: bool) -> str:
        """What to do about values of two types in one column; of JSON text is made of any."""
        if name not in self._textless and (sparse or dtype == pl.String() or _is_written(dtype)):
            return f"Declare it, e.g. types={{{name!r}: 'str'}}."
        return "Cast it in the source."


def _is_written(dtype: pl.DataType) -> bool:
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
        if dtype == pl.String() and _is_written(given):
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
    texts = _bare(texts, dtype)
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


def parsed(series: pl.Series, dtype: pl.DataType, *, strict: bool = True) -> pl.Series:
    """Text as values of a type; what can't be read is null if it isn't `strict`, else an error of Polars.

    Blanks around a value are passed over, except where text is wanted.
    """
    series = _bare(series, dtype)
    if isinstance(dtype, pl.Datetime):
        return _parsed_times(series, dtype, strict)
    if dtype == pl.Date():
        return series.str.replace_all("/", "-", literal=True).str.to_date("%Y-%m-%d", strict=strict)
    if dtype == pl.Time():
        return series.str.to_time("%H:%M:%S%.f", strict=strict)
    if dtype == pl.Boolean():
        words = {"true": True, "false": False}
        lower = series.str.to_lowercase()
        if strict:
            return lower.replace_strict(words, return_dtype=pl.Boolean())
        return lower.replace_strict(words, default=None, return_dtype=pl.Boolean())
    return series.cast(dtype, strict=strict)


def passes_blanks(dtype: pl.DataType) -> bool:
    """Whether blanks around a text mean nothing where values of a type are made of it.

    >>> passes_blanks(pl.Date()), passes_blanks(pl.String())
    (True, False)
    """
    return dtype not in (pl.String, pl.Categorical, pl.Enum, pl.Binary)


def _bare(texts: pl.Series, dtype: pl.DataType) -> pl.Series:
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
