"""Rows and events of frames as sorted arrays: entities are numbered, times are microseconds, repeated events are left out."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any, NamedTuple

import numpy as np
import polars as pl

from mainspring.errors import InvalidError, NotFoundError, WrongTypeError, close_names, counted
from mainspring.features.aggregation.chains import Array
from mainspring.features.aggregation.values import ValueType
from mainspring.features.history.instants import microseconds
from mainspring.features.history.keys import comparable_keys

_ENTITY = "__entity"


class Column(NamedTuple):
    """The values of a column, by event: numbers, or places in `lookup`, the sorted different values; `null` where none is."""

    type: ValueType
    data: Array
    null: Array | None
    lookup: pl.Series | None

    def taken(self, some: Any) -> Column:
        """The values of some events."""
        null = self.null[some] if self.null is not None else None
        return self._replace(data=self.data[some], null=null if null is not None and null.any() else None)

    def series(self, name: str, index: Array, null: Array, dtype: pl.DataType) -> pl.Series:
        """The results `index`, values of this column as they stand in `data`."""
        if self.lookup is None:
            return nulled(as_series(name, index, self.type, dtype), null)
        place = pl.Series(index).set(pl.Series(null), None) if null.any() else pl.Series(index)
        return self.lookup.gather(place).alias(name).cast(dtype)


def as_series(name: str, data: Array, kind: ValueType, dtype: pl.DataType) -> pl.Series:
    """Plain numbers as a series of their type."""
    series = pl.Series(name, data)
    if kind.family == "decimal":
        return (series.cast(pl.Decimal(38, kind.scale)) / pl.Series([10**kind.scale]).cast(pl.Decimal(38, 0))).cast(
            dtype
        )
    return series.cast(dtype)


def nulled(series: pl.Series, null: Array) -> pl.Series:
    """The series with nulls."""
    return series if not null.any() else series.to_frame().select(
        pl.when(pl.Series("", ~null)).then(pl.col(series.name)).alias(series.name)
    ).to_series()  # fmt: skip


def micros(frame: pl.DataFrame, column: str, what: str) -> Array:
    """A column of instants as microseconds since 1970; naive ones and dates count as UTC.

    Raises:
        WrongTypeError: it holds no instants.
        InvalidError: instants are missing, or such that no datetime can show them.
    """
    series = frame[column]
    if not isinstance(series.dtype, pl.Datetime | pl.Date):
        raise WrongTypeError(f"{what} `{column}`", series.dtype, "a column of Datetime or Date")
    if missing := series.null_count():
        raise InvalidError(f"{what} `{column}`", f"null in {counted(missing, 'row')}", "an instant", "Drop these rows.")
    return microseconds(series, f"{what} `{column}`").to_numpy()


def entities(rows: pl.DataFrame, events: pl.DataFrame, keys: Mapping[str, str]) -> tuple[Array, Array]:
    """The entities of rows and of events, by number; −1 in rows that have no event, and in events without a key.

    Raises:
        InvalidError: a key has different types, or one that makes no key; integers of any width are one type.
    """
    if not keys:
        return np.zeros(rows.height, np.int64), np.zeros(events.height, np.int64)
    ours, theirs = (pl.DataFrame(side) for side in comparable_keys(rows, events, keys))
    numbered = theirs.drop_nulls().unique(maintain_order=True).with_row_index(_ENTITY)
    return _numbers(ours, numbered), _numbers(theirs, numbered)


def _numbers(keys: pl.DataFrame, numbered: pl.DataFrame) -> Array:
    joined = keys.join(numbered, on=keys.columns, how="left", maintain_order="left", validate="m:1")
    return joined[_ENTITY].cast(pl.Int64).fill_null(-1).to_numpy()


def ordered(entity: Array, time: Array) -> Array:
    """The order by entity and time; equals stay as they are."""
    order = np.argsort(time, kind="stable")
    # NumPy sorts 16 bits by radix, ten times faster than all 64.
    for shift in range(0, int(entity.max(initial=0) + 1).bit_length(), 16):
        order = order[np.argsort(((entity[order] + 1) >> shift).astype(np.uint16), kind="stable")]
    return order


def event_order(entity: Array, time: Array, event_id: pl.Series | None, known: Array | None) -> Array:
    """The events by entity, time and id, each once: of repeated ones that which was known first, then stood first.

    Events without an entity are left out. Without ids every row is an event of its own, in the order of the source.

    Raises:
        InvalidError: ids are missing.
    """
    if event_id is not None and (missing := event_id.null_count()):
        raise InvalidError(f"The event id `{event_id.name}`", f"null in {counted(missing, 'row')}", "an id")
    order = ordered(entity, time)
    order = order[np.searchsorted(entity[order], 0) :]
    if event_id is None:
        return order
    sorted_time, sorted_entity = time[order], entity[order]
    same = (sorted_time[1:] == sorted_time[:-1]) & (sorted_entity[1:] == sorted_entity[:-1])
    tied = np.zeros(len(order), bool)
    tied[1:] |= same
    tied[:-1] |= same
    place = np.flatnonzero(tied)
    members = order[place]
    group = np.cumsum(~np.concatenate([[False], same])[place]) if len(order) else place
    # Ids are compared as text, as online, where they are nothing else.
    columns = {"group": group, "id": event_id.gather(members).cast(pl.String), "member": members}
    ties = pl.DataFrame(columns | ({"known": known[members]} if known is not None else {}))
    ties = ties.sort("group", "id", *(["known"] if known is not None else []), "member")
    order[place] = ties["member"].to_numpy()
    kept = np.ones(len(order), bool)
    kept[place] = ties.select(pl.struct("group", "id").is_first_distinct()).to_series().to_numpy()
    return order[kept]


def column(events: pl.DataFrame, name: str, kind: ValueType, order: Array) -> Column:
    """The values of a column in the order of events."""
    series = events[name].gather(pl.Series(order)) if len(order) else events[name].clear()
    null = series.is_null().to_numpy() if series.null_count() else None
    if kind.family == "any":
        return Column(kind, np.ones(len(series), np.int64), null, None)
    if kind.family == "text":
        series = series.cast(pl.String)
    if kind.family == "float":
        # −0.0 becomes 0.0
        return Column(kind, series.cast(pl.Float64).fill_null(0.0).to_numpy() + 0.0, null, None)
    if kind.family == "decimal":
        return Column(kind, _unscaled(series, name), null, None)
    if kind.family in ("text", "bytes"):
        lookup = series.unique().drop_nulls().sort()
        places = pl.DataFrame({"value": lookup}).with_row_index("place")
        found = series.to_frame("value").join(places, on="value", how="left", maintain_order="left")["place"]
        return Column(kind, found.cast(pl.Int64).fill_null(0).to_numpy(), null, lookup)
    if kind.family in ("datetime", "duration"):
        series = series.cast(pl.Datetime("us") if kind.family == "datetime" else pl.Duration("us"))
    physical = series.to_physical()
    wide = physical if physical.dtype == pl.UInt64 else physical.cast(pl.Int64)
    return Column(kind, wide.fill_null(0).to_numpy(), null, None)


def _unscaled(series: pl.Series, name: str) -> Array:
    """The integers of decimals, without their point."""
    if not isinstance(series.dtype, pl.Decimal):
        raise WrongTypeError(name, series.dtype, "a column of Decimal")
    try:
        return series.to_physical().cast(pl.Int64).fill_null(0).to_numpy()
    except pl.exceptions.PolarsError as error:
        raise InvalidError(f"`{name}`", series.abs().max(), "a decimal of 64 bits without its point") from error


def named_columns(frame: pl.DataFrame | pl.LazyFrame, wanted: Iterable[tuple[str, str]]) -> pl.DataFrame:
    """Some columns of a frame, in memory; each is asked for with what it is.

    Raises:
        NotFoundError: there is no such column.
    """
    have = frame.collect_schema().names()
    names: dict[str, None] = {}
    for what, name in wanted:
        if name not in have:
            raise NotFoundError("column", name, close_names(name, have), owner=what)
        names[name] = None
    return frame.lazy().select(list(names)).collect()
