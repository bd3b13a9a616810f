"""What a request holds in its declared types: plain values as a frame, and columns of a table, by the same rules.

What doesn't fit a type without loss is refused; only floats are rounded, to the precision of theirs. A number is no time and
no duration, wherever it stands: what it counts, and since when, can't be told.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime, time, timedelta
from decimal import Decimal
from itertools import chain
from types import NoneType
from typing import TYPE_CHECKING, Any

from mainspring.clock import duration_of
from mainspring.data.tables.type_names import name_of_type, named_type
from mainspring.errors import WrongTypeError
from mainspring.features.history.instants import expect_values_shown
from mainspring.features.history.uuids import is_uuid_text, uuid_text, uuid_texts

if TYPE_CHECKING:
    import polars as pl

_KEYS = {"int": "i64", "bytes": "bin", "uuid": "str"}  # types of keys that are no names of types
_DIGITS = 38  # of a decimal
_TOO_FINE = re.compile(r"[.,]\d{6}\d*[1-9]")  # for a datetime, which would cut it
_NUMBER = re.compile(r"\d{9,}")  # which may also be read as a date of 1704
_ISO = "Give it as ISO 8601 text, to the microsecond at most."


def typed_frame(columns: Mapping[str, tuple[str, Sequence[Any]]]) -> pl.DataFrame:
    """Columns of these types. Dates, times and durations may be ISO texts, as in JSON; without a zone they count as UTC.

    A UUID may be an object, bytes or text in any spelling, and becomes the text in lower case with hyphens.

    Raises:
        WrongTypeError: a value doesn't fit its type; its column is named.

    >>> typed_frame({"at": ("datetime[us, UTC]", ["2013-01-01T05:00:00Z"]), "n": ("i8", [7])}).row(0)
    (datetime.datetime(2013, 1, 1, 5, 0, tzinfo=zoneinfo.ZoneInfo(key='UTC')), 7)
    """
    import polars as pl

    return pl.DataFrame([_of_values(name, dtype, values) for name, (dtype, values) in columns.items()])


def typed_columns(frame: pl.DataFrame, types: Mapping[str, str]) -> pl.DataFrame:
    """A frame whose columns of these names have these types, with the values that `typed_frame` would give.

    Keys of whole numbers, text and bytes are left in the types that they have, but for UUIDs.

    Raises:
        WrongTypeError: a value doesn't fit its type; its column is named.
        InvalidError: a time is one that no datetime can show.

    >>> import polars as pl
    >>> typed_columns(pl.DataFrame({"n": [300]}, schema={"n": pl.Int16}), {"n": "i64"})["n"]**2
    shape: (1,)
    Series: 'n' [i64]
    [
        90000
    ]
    """
    return frame.with_columns(_of_column(frame.get_column(name), dtype) for name, dtype in types.items())


def _of_values(name: str, type_name: str, values: Sequence[Any]) -> pl.Series:
    import polars as pl

    dtype = named_type(_KEYS.get(type_name, type_name), name)
    try:
        if type_name == "uuid":
            return pl.Series(name, [None if each is None else uuid_text(each) for each in values], pl.String)
        if dtype.is_temporal():
            return _temporal(name, values, dtype, type_name)
        if isinstance(dtype, pl.Decimal):
            return _decimals(name, values, dtype)
        if dtype.is_numeric() and any(each is True or each is False for each in values):
            raise TypeError(name)
        if dtype.is_float() and dtype != pl.Float64():
            return _rounded(pl.Series(name, values, pl.Float64), dtype, type_name)
        if isinstance(dtype, pl.Binary):
            values = [bytes(each) if isinstance(each, bytearray | memoryview) else each for each in values]
        if isinstance(dtype, pl.List | pl.Array):
            return _lists(name, values, dtype)
        if isinstance(dtype, pl.Struct):
            return _structs(name, values, dtype)
        return pl.Series(name, values, dtype=dtype)
    except WrongTypeError:  # of a part, which is named
        raise
    except (AttributeError, TypeError, ValueError, ArithmeticError, pl.exceptions.PolarsError) as error:
        half = len(values) // 2
        for some in (values[:half], values[half:]) if half else ():
            _of_values(name, type_name, some)  # raises with the value that is wrong
        given = values[0] if len(values) == 1 else values
        hint = _ISO if dtype.is_temporal() else ""
        raise WrongTypeError(name, given, f"a value of type {type_name}", hint) from error


def _temporal(name: str, values: Sequence[Any], dtype: pl.DataType, type_name: str) -> pl.Series:
    import polars as pl

    if isinstance(dtype, pl.Time):
        return pl.Series(name, [None if each is None else _time_of_day(each) for each in values], dtype)
    if isinstance(dtype, pl.Duration):
        spans = [None if each is None else _span(each) for each in values]
        return _fitted(pl.Series(name, spans, pl.Duration("us")), dtype, type_name)
    moments = [None if each is None else _moment(each) for each in values]
    return _fitted(pl.Series(name, moments, pl.Datetime("us", _utc(dtype))), dtype, type_name)


def _lists(name: str, values: Sequence[Any], dtype: pl.List | pl.Array) -> pl.Series:
    """Lists whose items are looked at as the values of a column are: inside of lists Polars isn't strict."""
    import polars as pl

    from mainspring.data.tables.nested import instance, lists

    given = [each if each is None or isinstance(each, list | tuple) else _items(name, each) for each in values]
    inner = instance(dtype.inner)
    flat = [*chain.from_iterable(each for each in given if each is not None)]
    if inner.is_float() and {*map(type, flat)} <= {float, int, NoneType}:
        found = pl.Series(name, given, dtype=dtype)  # an embedding, of which only what overflows is to be refused
        if inner == pl.Float64() or not found.explode().is_infinite().any():
            return found
    items = _of_values(f"{name}[]", name_of_type(inner), flat)
    lengths = pl.Series([None if each is None else len(each) for each in given], dtype=pl.UInt32)
    return lists(name, items, lengths, dtype)


def _items(name: str, value: Any) -> list[Any]:
    """The items of a NumPy array or a series; a text or a mapping, which Python would take apart, is no list."""
    if isinstance(value, str | bytes | Mapping) or not hasattr(value, "__array__"):
        raise TypeError(name)
    return list(value.tolist() if hasattr(value, "tolist") else value)


def _structs(name: str, values: Sequence[Any], dtype: pl.Struct) -> pl.Series:
    """Mappings field by field; a field that one lacks is null, and one that the type lacks is refused."""
    import polars as pl

    from mainspring.data.tables.nested import fields_of, structs

    known = fields_of(dtype)
    if not all(each is None or (isinstance(each, Mapping) and each.keys() <= known.keys()) for each in values):
        raise TypeError(name)
    fields = [
        _of_values(
            f"{name}.{field}", name_of_type(kind), [None if each is None else each.get(field) for each in values]
        ).alias(field)
        for field, kind in known.items()
    ]
    return structs(name, fields, pl.Series([each is not None for each in values], dtype=pl.Boolean()))


def _of_column(column: pl.Series, type_name: str) -> pl.Series:
    """What can be cast as a whole is; all else goes the way of a request's values."""
    import polars as pl

    if type_name == "uuid":
        return _uuids(column)
    if type_name in ("int", "bytes"):
        return column
    given, dtype = column.dtype, named_type(type_name, column.name)
    if given == dtype:
        return column
    expect_values_shown(column, column.name)  # cast, what overflows would be null
    if given.is_integer() and dtype.is_integer():
        return _expect_equal(column, column.cast(dtype, strict=False), type_name)
    if isinstance(given, pl.Datetime | pl.Date) and isinstance(dtype, pl.Datetime | pl.Date):
        instants = column.cast(pl.Datetime("us")) if isinstance(given, pl.Date) else column
        if isinstance(given, pl.Datetime) and given.time_zone:
            instants = column.dt.convert_time_zone("UTC")
        return _fitted(instants.dt.replace_time_zone(_utc(dtype)), dtype, type_name)
    if isinstance(given, pl.Duration) and isinstance(dtype, pl.Duration):
        return _fitted(column, dtype, type_name)
    if isinstance(given, pl.List | pl.Array) and isinstance(dtype, pl.List | pl.Array):
        return _column_of_lists(column, dtype)
    if isinstance(given, pl.Struct) and isinstance(dtype, pl.Struct):
        return _column_of_structs(column, dtype, type_name)
    if given.is_float() and dtype.is_float():
        return _rounded(column, dtype, type_name)
    is_text = isinstance(given, pl.Categorical | pl.Enum) and dtype == pl.String()
    if is_text or (given.is_integer() and dtype == pl.Float64()):
        return column.cast(dtype)
    return _of_values(column.name, type_name, column.to_list())


def _column_of_lists(column: pl.Series, dtype: pl.List | pl.Array) -> pl.Series:
    import polars as pl

    from mainspring.data.tables.nested import by_items

    if isinstance(dtype, pl.Array):
        lengths = (column.arr.to_list() if isinstance(column.dtype, pl.Array) else column).list.len()
        if (wrong := column.filter((lengths != dtype.size).fill_null(value=False))).len():
            raise WrongTypeError(column.name, wrong[0].to_list(), f"a value of type {name_of_type(dtype)}")
    place = f"{column.name}[]"
    return by_items(column, dtype, lambda items, kind: _of_column(items.alias(place), name_of_type(kind)))


def _column_of_structs(column: pl.Series, dtype: pl.Struct, type_name: str) -> pl.Series:
    from mainspring.data.tables.nested import by_fields, fields_of

    if fields_of(column.dtype).keys() - fields_of(dtype):
        raise WrongTypeError(column.name, column.drop_nulls().first(), f"a value of type {type_name}")

    def act(field: pl.Series, kind: pl.DataType) -> pl.Series:
        return _of_column(field.alias(f"{column.name}.{field.name}"), name_of_type(kind))

    return by_fields(column, dtype, act)


def _uuids(column: pl.Series) -> pl.Series:
    import polars as pl

    if column.dtype == pl.Object:
        return _of_values(column.name, "uuid", column.to_list())
    if column.dtype != pl.Binary and column.dtype.to_python() is not str:
        raise WrongTypeError(column.name, column.dtype, "a column of UUIDs")
    found = uuid_texts(column)
    if not (fits := is_uuid_text(found)).all():
        raise WrongTypeError(column.name, column.filter(~fits)[0], "a value of type uuid")
    return found


def _fitted(column: pl.Series, dtype: pl.DataType, type_name: str) -> pl.Series:
    """Durations, or instants in UTC, which say so if those of the type have a zone, in another type."""
    import polars as pl

    if not isinstance(dtype, pl.Datetime):
        return _expect_equal(column, column.cast(dtype, strict=False), type_name)
    wanted = pl.Datetime(dtype.time_unit, _utc(dtype))
    if column.dtype != wanted:
        column = _expect_equal(column, column.cast(wanted, strict=False), type_name)
    return column if dtype == wanted else column.dt.convert_time_zone(str(dtype.time_zone))


def _utc(dtype: pl.DataType) -> str | None:
    return "UTC" if getattr(dtype, "time_zone", None) else None


def _expect_equal(column: pl.Series, cast: pl.Series, type_name: str) -> pl.Series:
    """The cast column, if it says the same."""
    if not (fits := cast.cast(column.dtype, strict=False).eq_missing(column)).all():
        raise WrongTypeError(column.name, column.filter(~fits)[0], f"a value of type {type_name}")
    return cast


def _rounded(column: pl.Series, dtype: pl.DataType, type_name: str) -> pl.Series:
    """Floats of another precision, whose finite values stay finite."""
    cast = column.cast(dtype)
    if (lost := cast.is_infinite() & column.is_finite()).any():
        raise WrongTypeError(column.name, column.filter(lost)[0], f"a value of type {type_name}")
    return cast


def _moment(value: Any) -> datetime:
    """An instant in UTC, without saying so."""
    found = datetime.fromisoformat(_exact(value)) if isinstance(value, str) else _whole(value)
    if not isinstance(found, datetime):
        return datetime.combine(found, datetime.min.time())
    return found.astimezone(UTC).replace(tzinfo=None) if found.tzinfo else found


def _time_of_day(value: Any) -> time:
    found = time.fromisoformat(_exact(value)) if isinstance(value, str) else value
    if not isinstance(found, time) or found.tzinfo is not None:
        raise TypeError(value)
    return found


def _span(value: Any) -> timedelta:
    if isinstance(value, str):
        return duration_of(_exact(value))
    if not isinstance(value, timedelta):
        raise TypeError(value)
    found: timedelta = _whole(value)
    return found


def _exact(text: str) -> str:
    """A text in ISO 8601 that Python reads as what it says."""
    if _TOO_FINE.search(text) or _NUMBER.match(text):
        raise ValueError(text)
    return text


def _whole(value: Any) -> Any:
    """A time or duration, which is of whole microseconds; those of pandas may be finer."""
    if getattr(value, "nanosecond", 0) or getattr(value, "nanoseconds", 0):
        raise ValueError(value)
    return value


def _decimals(name: str, values: Sequence[Any], dtype: pl.Decimal) -> pl.Series:
    import polars as pl

    exact = [each if each is None or isinstance(each, Decimal) else Decimal(str(each)) for each in values]
    most = (dtype.precision or _DIGITS) - dtype.scale
    if not all(
        each is None or (each.is_finite() and (not each or -dtype.scale <= each.adjusted() < most)) for each in exact
    ):
        raise ValueError(name)  # at which Polars panics
    exact = [Decimal(0) if each == 0 else each for each in exact]  # also 0e400
    found = pl.Series(name, exact, dtype)
    if found.to_list() != exact:
        raise ValueError(name)
    return found
