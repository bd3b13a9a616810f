"""Events of a stream as rows: their own columns, then the fields of their data with declared types.

Each event is read alone, so that one which doesn't fit is told from the others and set apart with what is wrong with it.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, date, datetime, time, timedelta
from decimal import Decimal
from typing import Annotated, Any, NamedTuple, TypedDict

import msgspec
import polars as pl

from mainspring.data.tables.type_names import named_type
from mainspring.data.validation.quarantine import REASONS
from mainspring.errors import InvalidError, shorten
from mainspring.streams.columns import EVENT_ID, EVENT_OFFSET, EVENT_TIME, OWN, RECEIVED_AT
from mainspring.streams.event import Event

DATA = "data"
_MISFIT = (msgspec.MsgspecError, pl.exceptions.PolarsError, TypeError, ValueError, OverflowError, ArithmeticError)
_WIDEST_BITS = 64
Row = tuple[Any, ...]


class Parted(NamedTuple):
    """Events as rows, and those that don't fit: their columns, their data as text, and the reasons."""

    rows: pl.DataFrame
    apart: pl.DataFrame


class EventTable:
    """The columns of a stream's events. `fields` are the types of their data, in the words of schemas.

    JSON has no dates, times, durations, decimals and bytes: they are texts, as `send` writes them. A whole number is a
    float, too, where floats are declared; nothing else is converted. What isn't declared is left out, what lacks is null.

    Raises:
        InvalidError: no type is called so, or a field is called like a column that every event has.
    """

    def __init__(self, fields: Mapping[str, str]) -> None:
        for name in fields:
            if name in OWN or name == REASONS:
                raise InvalidError(f"fields.{name}", name, f"a name other than {', '.join((*OWN, REASONS))}")
        self.own = {name: named_type(dtype, name) for name, dtype in OWN.items()}
        self.fields = {name: named_type(dtype, f"fields.{name}") for name, dtype in fields.items()}
        places = [
            (f"f{place}", _python_type(dtype) | None, msgspec.field(default=None, name=name))
            for place, (name, dtype) in enumerate(self.fields.items())
        ]
        decode = msgspec.json.Decoder(msgspec.defstruct("Data", places, gc=False)).decode
        self._read: Callable[[bytes], Row] = lambda payload: msgspec.structs.astuple(decode(payload))

    @property
    def schema(self) -> dict[str, pl.DataType]:
        """The types of all columns, in order."""
        return {**self.own, **self.fields}

    def parted(self, events: Sequence[Event]) -> Parted:
        """Events as rows, in their order; those that don't fit apart."""
        good: list[Event] = []
        rows: list[Row] = []
        bad: list[tuple[Event, str]] = []
        for event in events:
            try:
                rows.append(self._read(event.payload))
            except _MISFIT as error:
                bad.append((event, str(error)))
            else:
                good.append(event)
        try:
            return Parted(self._frame(good, rows), self._apart(bad))
        except _MISFIT:
            return self._one_by_one(good, rows, bad)

    def _one_by_one(self, events: list[Event], rows: list[Row], bad: list[tuple[Event, str]]) -> Parted:
        """Where a type of Polars takes less than JSON has, find out whose values those are."""
        good: list[pl.DataFrame] = [self._frame([], [])]
        for event, row in zip(events, rows, strict=True):
            try:
                good.append(self._frame([event], [row]))
            except _MISFIT as error:
                bad.append((event, shorten(str(error))))
        bad.sort(key=lambda each: each[0].offset)
        return Parted(pl.concat(good, rechunk=True), self._apart(bad))

    def _frame(self, events: Sequence[Event], rows: Sequence[Row]) -> pl.DataFrame:
        columns = zip(*rows, strict=True) if rows else [()] * len(self.fields)
        found = [_series(*each, values) for each, values in zip(self.fields.items(), columns, strict=True)]
        return pl.DataFrame([*self._told(events), *found])

    def _told(self, events: Sequence[Event]) -> list[pl.Series]:
        own: dict[str, Sequence[Any]] = {
            EVENT_ID: [event.id for event in events], EVENT_TIME: [event.time_us for event in events],
            RECEIVED_AT: [event.received_us for event in events], EVENT_OFFSET: [event.offset for event in events],
        }  # fmt: skip
        kinds = {name: dtype if dtype == pl.String() else pl.Int64() for name, dtype in self.own.items()}
        return [pl.Series(name, own[name], kinds[name]).cast(dtype) for name, dtype in self.own.items()]

    def _apart(self, bad: Sequence[tuple[Event, str]]) -> pl.DataFrame:
        events = [event for event, _ in bad]
        texts = pl.Series(DATA, [event.payload.decode(errors="replace") for event in events], pl.String)
        reasons = pl.Series(REASONS, [[reason] for _, reason in bad], pl.List(pl.String))
        return pl.DataFrame([*self._told(events), texts, reasons])


def _python_type(dtype: Any) -> Any:
    """The type by which a value of JSON is read."""
    if dtype.is_integer():
        return _whole(int(str(dtype).lstrip("UInt")), is_signed=str(dtype)[0] != "U")
    if isinstance(dtype, pl.List | pl.Array):
        return list[_python_type(dtype.inner) | None]  # type: ignore[misc]  # a type that is made at run time
    if isinstance(dtype, pl.Struct):
        row: Any = TypedDict
        return row("Row", {field.name: _python_type(field.dtype) | None for field in dtype.fields}, total=False)
    if isinstance(dtype, pl.Datetime):
        return datetime
    found = dtype.to_python()
    if found not in (float, bool, str, bytes, date, time, timedelta, Decimal):
        raise InvalidError("fields", str(dtype), "a type that JSON can tell")
    return found


def _whole(bits: int, *, is_signed: bool) -> Any:
    if bits >= _WIDEST_BITS:
        return int if is_signed else Annotated[int, msgspec.Meta(ge=0)]
    low, high = (-(1 << bits - 1), (1 << bits - 1) - 1) if is_signed else (0, (1 << bits) - 1)
    return Annotated[int, msgspec.Meta(ge=low, le=high)]


def _series(name: str, dtype: pl.DataType, values: Sequence[Any]) -> pl.Series:
    if isinstance(dtype, pl.Datetime):
        moments = [value if value is None or value.tzinfo else value.replace(tzinfo=UTC) for value in values]
        instants = pl.Series(name, moments, pl.Datetime(dtype.time_unit, "UTC"))
        zone = dtype.time_zone
        return instants.dt.convert_time_zone(zone) if zone else instants.dt.replace_time_zone(None)
    if isinstance(dtype, pl.Decimal):
        for value in values:
            if value is not None and value != round(value, dtype.scale):
                raise InvalidError(name, value, f"a number with {dtype.scale} places at most")
    return pl.Series(name, values, dtype, strict=True)
