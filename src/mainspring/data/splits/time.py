"""Splits of a table by time: what comes later is never trained on."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import suppress
from datetime import UTC, date, datetime, time, timedelta
from itertools import pairwise
from typing import TYPE_CHECKING, Any

import msgspec

from mainspring.data.splits.rule import require_columns
from mainspring.errors import InvalidError, WrongTypeError, counted

if TYPE_CHECKING:
    import polars as pl

_NAMES = {1: ("train", "test"), 2: ("train", "validation", "test")}
Instant = int | float | str | date | datetime
Stored = int | float | str
Cuts = Any  # an instant, or several in ascending order; kept as a tuple of `Stored`


class TimeSplit(msgspec.Struct, frozen=True, tag="time"):
    """A rule that cuts a table at instants of a column: `names[i]` is what comes before `at[i]`, the last the rest.

    A row exactly at a cut belongs to the later part. Dates and times, or text of them, are kept as ISO 8601 text, those with
    a zone in UTC. A date means its midnight; what has no zone is UTC where the column has one, and else the column's own
    local time. One cut gives `train` and `test`, two `train`, `validation` and `test`, if no names are given.
    """

    column: str
    at: Cuts
    names: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        at = (self.at,) if isinstance(self.at, int | float | str | date) else self.at
        cuts = tuple(_stored(instant) for instant in at)
        names = tuple(self.names) or _NAMES.get(len(cuts)) or tuple(f"part_{n}" for n in range(len(cuts) + 1))
        if len({isinstance(cut, str) for cut in cuts}) > 1:
            raise InvalidError("at", self.at, "instants of one kind")
        order: list[Any] = [_utc(datetime.fromisoformat(cut)) if isinstance(cut, str) else cut for cut in cuts]
        if not order or any(before >= after for before, after in pairwise(order)):
            raise InvalidError("at", self.at, "one or more ascending instants")
        if len(names) != len(cuts) + 1 or len(set(names)) != len(names):
            raise InvalidError("names", names, f"{len(cuts) + 1} different names")
        msgspec.structs.force_setattr(self, "at", cuts)
        msgspec.structs.force_setattr(self, "names", names)

    def apply(self, frame: Any) -> dict[str, pl.DataFrame]:
        """Cut a table into its parts, by name, earliest first.

        Raises:
            NotFoundError: the table has no such column.
            InvalidError: a row has no time, or the cuts don't compare with the column.
        """
        import polars as pl

        from mainspring.data.splits.parts import cut, table_with

        table = table_with(frame, [self.column])
        require_times(table.get_column(self.column))
        number = self.expression(table.schema)
        try:
            return cut(table, table.select(number.alias("number")).to_series(), self.names)
        except pl.exceptions.PolarsError as error:
            raise self._unfit(table.schema[self.column]) from error

    def expression(self, schema: Mapping[str, pl.DataType]) -> pl.Expr:
        """The number of a row's part as a Polars expression; null if the row has no time.

        Raises:
            NotFoundError: there is no such column.
            InvalidError: the cuts don't compare with it.
        """
        import polars as pl

        require_columns(schema, [self.column])
        first, *others = [(pl.col(self.column) >= cut).cast(pl.UInt32) for cut in self._literals(schema[self.column])]
        return sum(others, start=first)

    def apply_lazily(self, frame: pl.LazyFrame) -> dict[str, pl.LazyFrame]:
        """The parts as lazy frames, each a range of times, so that a scan skips what lies outside.

        The column is read once here, to see that every row has a time; raises as `apply` does.
        """
        import polars as pl

        schema = frame.collect_schema()
        require_columns(schema, [self.column])
        dtype, column = schema[self.column], pl.col(self.column)
        missing = column.is_null() | column.is_nan() if dtype.is_float() else column.is_null()
        if frame.select(missing.any()).collect(engine="streaming").item():
            raise InvalidError(self.column, "a row without a time", "a time in every row", "Drop these rows first.")
        cuts = self._literals(dtype)
        low, high = [None, *cuts], [*cuts, None]
        return {
            name: frame.filter(*([column >= a] if a is not None else []), *([column < b] if b is not None else []))
            for name, a, b in zip(self.names, low, high, strict=True)
        }

    def _literals(self, dtype: pl.DataType) -> list[pl.Expr]:
        try:
            return [_literal(cut, dtype) for cut in self.at]
        except (ValueError, TypeError) as error:
            raise self._unfit(dtype) from error

    def _unfit(self, dtype: Any) -> InvalidError:
        hint = "Parse the column first." if str(dtype) == "String" else ""
        return InvalidError("at", self.at, f"times that compare with `{dtype}`", hint)


def split_by_time(
    frame: Any, column: str, *, at: Instant | Sequence[Instant], names: Sequence[str] = ()
) -> dict[str, pl.DataFrame]:
    """Cut a table at instants: one gives `train` and `test`, two give `train`, `validation` and `test`.

    Raises:
        InvalidError: the cuts don't ascend, names don't fit them, or a row has no time.

    >>> import polars as pl
    >>> parts = split_by_time(pl.DataFrame({"month": [1, 9, 10, 12]}), "month", at=10)
    >>> {name: part.height for name, part in parts.items()}
    {'train': 2, 'test': 2}
    """
    return TimeSplit(column, at, tuple(names)).apply(frame)


def require_time_type(column: str, dtype: pl.DataType) -> None:
    """Go on only if a column's type orders its values as times or numbers; text of times is in another order."""
    if not (dtype.is_temporal() or dtype.is_numeric()):
        hint = "Parse it first." if str(dtype) in ("String", "Categorical") else ""
        raise InvalidError(column, str(dtype), "a column of times or numbers", hint)


def require_times(times: pl.Series) -> None:
    """Go on only if every row has a time; NaN is none."""
    missing = times.null_count()
    if times.dtype.is_float():
        missing += int(times.is_nan().sum())
    if missing:
        raise InvalidError(times.name, counted(missing, "null"), "a time in every row", "Drop these rows first.")


def _stored(instant: Any) -> Stored:
    if isinstance(instant, str):
        instant = _parsed(instant)
    if isinstance(instant, datetime):
        return (instant.astimezone(UTC) if instant.tzinfo else instant).isoformat()
    if isinstance(instant, date):
        return instant.isoformat()
    if isinstance(instant, int | float) and instant == instant:
        return instant
    raise WrongTypeError("at", instant, "a number, a date, a time, or text of one")


def _parsed(text: str) -> date:
    with suppress(ValueError):
        return date.fromisoformat(text)
    try:
        return datetime.fromisoformat(text)
    except ValueError as error:
        raise InvalidError(
            "at", text, "a date or time as ISO 8601 text, e.g. 2013-10-01 or 2013-10-01T04:00Z"
        ) from error


def _utc(at: datetime) -> datetime:
    """A time in UTC; one without a zone is taken for it."""
    return at.astimezone(UTC) if at.tzinfo else at.replace(tzinfo=UTC)


def _literal(cut: Any, dtype: pl.DataType) -> pl.Expr:
    """A stored cut as what compares with a column of this type; raises `ValueError`, `TypeError`."""
    import polars as pl

    if dtype == pl.Date:
        at = datetime.fromisoformat(cut)
        if at.timetz() != time():
            raise ValueError("a time of day, or a zone")
        return pl.lit(at.date())
    if isinstance(dtype, pl.Datetime):
        at = datetime.fromisoformat(cut)
        if dtype.time_unit == "ms":
            at += timedelta(microseconds=-at.microsecond % 1000)  # the first that the column can hold
        if dtype.time_zone is None:
            if at.tzinfo is not None:
                raise ValueError("a zone")
            return pl.lit(at, dtype)
        return pl.lit(_utc(at), pl.Datetime(dtype.time_unit, "UTC")).dt.convert_time_zone(dtype.time_zone)
    if isinstance(cut, str) or not dtype.is_numeric():  # the order of text is not that of the times that it tells
        raise TypeError("a time and no time")
    return pl.lit(cut)
