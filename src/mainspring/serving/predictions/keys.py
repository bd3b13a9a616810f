"""Keys by which labels join predictions: one text for each value, however it is spelt and whatever stands beside it.

`held` is the value that a declared type has for what was given, which is cut to its unit. Predictions and labels both go
through it, so that what is given with both joins.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from datetime import UTC, datetime, time, timedelta
from decimal import Decimal
from functools import lru_cache, partial
from typing import TYPE_CHECKING, Any

import msgspec

from mainspring.clock import duration_of

if TYPE_CHECKING:
    from zoneinfo import ZoneInfo

    import polars as pl

_KIND = re.compile(r"(datetime|duration|time)(?:\[(?:([num]s)(?:,\s*)?)?([^\]]*)\])?")
_COARSE = {"ms": timedelta(milliseconds=1)}  # units that Python's times are finer than
_DOUBLE_BYTES = 8
_EXACT = 2**53  # below it, every whole number is a float
NARROW = ("f16", "f32")
"""The types that hold other numbers than those that are given."""


def held(value: Any, dtype: str) -> Any:
    """A value of a request, or of the log, as its declared type holds it; what is none of that type stays as it is.

    An instant without a zone is of that of its type, or of UTC, and is in UTC; what is finer than the type's unit is cut.

    >>> held("2026-01-31T08:30:00.123456+01:00", "datetime[ms]"), held("PT0.0005S", "duration[ms]")
    (datetime.datetime(2026, 1, 31, 7, 30, 0, 123000), datetime.timedelta(0))
    """
    holds = holding(dtype)
    return value if holds is None else holds(value)


@lru_cache(maxsize=256)
def holding(dtype: str) -> Callable[[Any], Any] | None:
    """What `held` does with a value of a type; None if nothing."""
    found = _KIND.fullmatch(dtype)
    if found is None:
        return None
    kind, unit, zone = found[1], _COARSE.get(found[2]), found[3]
    if kind == "datetime":
        return partial(_instant, unit=unit, zone=_zone(zone) if zone and zone != "None" else None)
    return partial(_span, unit=unit) if kind == "duration" else _time_of_day


def _zone(name: str) -> ZoneInfo:
    from zoneinfo import ZoneInfo  # which asks how Python was built: most servers need none

    return ZoneInfo(name)


def _instant(value: Any, unit: timedelta | None, zone: ZoneInfo | None) -> Any:
    try:
        told = msgspec.convert(value, datetime) if isinstance(value, str) else value
    except msgspec.ValidationError:
        return value
    if not isinstance(told, datetime):
        return value
    try:
        known = (told if told.tzinfo else told.replace(tzinfo=zone or UTC)).astimezone(UTC)
    except OverflowError:  # before the year 1, or after 9999
        return value
    cut = known if unit is None else known - timedelta(microseconds=known.microsecond) % unit
    return cut if zone else cut.replace(tzinfo=None)


def _span(value: Any, unit: timedelta | None) -> Any:
    if isinstance(value, str):
        try:
            value = duration_of(value)
        except ValueError:
            return value
    if unit is None or not isinstance(value, timedelta):
        return value
    cut = abs(value) - abs(value) % unit
    return cut if value >= timedelta(0) else -cut


def _time_of_day(value: Any) -> Any:
    try:
        found = time.fromisoformat(value) if isinstance(value, str) else value
    except ValueError:
        return value
    if not isinstance(found, time) or found.tzinfo is None:
        return found
    return found.replace(tzinfo=None) if found.utcoffset() == timedelta(0) else str(value)


def rounded(value: float, dtype: str) -> float:
    """A number as `f16` or `f32` holds it, told with no more digits than tell it from its neighbours.

    >>> rounded(0.10000000149011612, "f32"), rounded(123456789, "f32")
    (0.1, 123456792.0)
    """
    import numpy as np

    narrow = np.float32(np.float16(value) if dtype == "f16" else value)
    whole = float(narrow)
    return whole if whole.is_integer() and abs(whole) < _EXACT else float(str(narrow))


def plain_key(value: Any) -> Any:
    """A value of a key that has no declared type, as the logs of predictions and labels keep it, whatever library it is of.

    NaN, which is no value, is null.

    >>> import numpy as np
    >>> plain_key(np.float32(0.1)), plain_key(np.bool_(True)), plain_key(Decimal("1E+5")), plain_key(time(8, 30, tzinfo=UTC))
    (0.1, True, '100000', datetime.time(8, 30))
    """
    if type(value) in (str, int, bool):
        return value
    if getattr(value, "shape", None) == ():  # a scalar of NumPy
        value = _of_numpy(value)
    if isinstance(value, time):
        return _time_of_day(value)
    if isinstance(value, float | Decimal | datetime) and value != value:
        return None
    if isinstance(value, Decimal):
        return f"{value:f}"
    if isinstance(value, datetime) and type(value) is not datetime:  # one of pandas, whose nanoseconds are cut
        return datetime.combine(value.date(), value.timetz())
    return value


def _of_numpy(value: Any) -> Any:
    kind = value.dtype.kind
    if kind == "f":
        return rounded(value, "f32") if value.dtype.itemsize < _DOUBLE_BYTES else float(value)
    told = value.tolist()
    return value.astype(f"{kind}8[us]").tolist() if kind in "mM" and isinstance(told, int) else told


def plain_floats(column: pl.Series) -> pl.Series:
    """A column whose narrow floats are `f64`, told with the digits that they need, as JSON or CSV has them.

    >>> import polars as pl
    >>> plain_floats(pl.Series([0.1], dtype=pl.Float32)).to_list()
    [0.1]
    """
    import polars as pl

    is_narrow = column.dtype.is_float() and column.dtype != pl.Float64()
    return column.cast(pl.Float32).cast(pl.String).cast(pl.Float64) if is_narrow else column


def text_of(column: str, schema: pl.Schema) -> pl.Expr:
    """The values of a column as texts that are equal if they are: whole numbers are so also among floats. NaN has none.

    Of a declared type they are those of what `stored_key` makes of a label's.
    """
    import polars as pl

    dtype, value = schema[column], pl.col(column)
    if dtype.is_float():
        is_whole = (value == value.round()) & (value.abs().cast(pl.Float64) < _EXACT)
        whole = value.cast(pl.Float64).cast(pl.Int64, strict=False).cast(pl.String)
        if dtype != pl.Float64():  # as `rounded` tells it
            value = value.cast(pl.Float32).cast(pl.String).cast(pl.Float64)
        return pl.when(is_whole).then(whole).when(value.is_not_nan()).then(value.cast(pl.String))
    if isinstance(dtype, pl.Datetime):
        utc = value.dt.convert_time_zone("UTC") if dtype.time_zone else value
        return _without_zeros(utc.dt.to_string("%Y-%m-%dT%H:%M:%S%.6f")) + "Z"
    if isinstance(dtype, pl.Duration):
        return value.dt.total_microseconds().cast(pl.String)
    if isinstance(dtype, pl.Time):
        return _without_zeros(value.dt.to_string("%H:%M:%S%.6f"))
    if isinstance(dtype, pl.Decimal):
        text = value.cast(pl.String)
        return pl.when(text.str.contains(".", literal=True)).then(_without_zeros(text)).otherwise(text)
    if isinstance(dtype, pl.Binary):
        return value.bin.encode("base64")
    if dtype.is_nested():
        return pl.lit(None, dtype=pl.String)
    return value.cast(pl.String)


def texts_of(column: pl.Series) -> pl.Series:
    """The texts of a column that stands alone, under its name."""
    import polars as pl

    frame = pl.DataFrame({column.name: column})
    return frame.with_columns(text_of(column.name, frame.schema).alias(column.name)).to_series()


def key_texts(name: str, values: Sequence[Any]) -> pl.Series:
    """The text of each of some values that have no declared type: that which it has alone, whatever stands beside it.

    >>> key_texts("key", [1, "1", 1.0, True, None, 1.5]).to_list()
    ['1', '1', '1', 'true', None, '1.5']
    """
    import polars as pl

    kinds = dict.fromkeys(map(type, values))
    kinds.pop(type(None), None)
    parts = [_of_kind(name, [each if type(each) is kind else None for each in values]) for kind in kinds]
    if len(parts) < 2:
        return parts[0] if parts else pl.Series(name, values, dtype=pl.String)
    named = [part.alias(str(place)) for place, part in enumerate(parts)]
    return pl.DataFrame(named).select(pl.coalesce(pl.all()).alias(name)).to_series()


def _of_kind(name: str, values: Sequence[Any]) -> pl.Series:
    import polars as pl

    missing = values.count(None)
    try:
        made = pl.Series(name, values, strict=False)
        if made.null_count() == missing and made.dtype != pl.Object:
            return texts_of(made)
    except pl.exceptions.PolarsError:  # values that have no type in common
        pass
    return pl.Series(name, [None if each is None else str(each) for each in values], dtype=pl.String)


def _without_zeros(text: pl.Expr) -> pl.Expr:
    """Texts of numbers with a point, without the zeros at their end."""
    return text.str.strip_chars_end("0").str.strip_chars_end(".")
