"""The point-in-time join: for each row the values that were the newest of its entity, and known, at its instant.

Among the rows of the history with event time ≤ t, and created time ≤ t under the guard, the one with the greatest (event
time, created time, position) counts. If it is older than the ttl there is no value; a null in it is a null.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import msgspec
import numpy as np
import polars as pl

from mainspring.data.tables.memory import StoredRows
from mainspring.errors import InvalidError, NotFoundError, close_names
from mainspring.features.history.instants import microseconds
from mainspring.features.history.keys import comparable_keys
from mainspring.features.history.known import Whole
from mainspring.features.history.newest import History, Sought, newest_rows
from mainspring.features.history.report import JoinReport, Tally
from mainspring.features.history.status import Status

Table = pl.DataFrame | pl.LazyFrame | StoredRows
STATUS_TYPE = pl.Enum([status.value for status in Status])
_PRESENT, _OUTSIDE, _UNKNOWN = (
    np.uint32(list(Status).index(status)) for status in (Status.PRESENT, Status.OUTSIDE_MAX_AGE, Status.NOT_FOUND)
)


class Columns(msgspec.Struct, frozen=True, kw_only=True):
    """Which columns of rows and of a history meet: keys by keys, the instant by times; `columns` are what else is needed."""

    keys: Mapping[str, str]
    at: str
    event_time: str
    columns: Sequence[str]
    created_time: str | None = None

    def __post_init__(self) -> None:
        if not self.keys:
            raise InvalidError("keys", dict(self.keys), "one or more columns, each with that of the history")

    @property
    def values(self) -> tuple[str, ...]:
        """The columns that are needed of the history beside its keys, times first."""
        return (self.event_time, *([self.created_time] if self.created_time else []), *self.columns)

    def of_rows(self, schema: pl.Schema) -> list[str]:
        """The columns that are needed of the rows; raises `NotFoundError` if one is missing."""
        return _present([*self.keys, self.at], schema, "The table of rows")

    def of_history(self, schema: pl.Schema) -> list[str]:
        """The columns that are needed of the history; raises `NotFoundError` if one is missing."""
        return _present([*self.keys.values(), *self.values], schema, "The history")


class AsOf(Columns, frozen=True, kw_only=True):
    """Which columns are joined, and how; the arguments of `join_as_of`. `blind` says why the guard can't tell leaks, if so."""

    ttl_us: int | None = None
    guard: bool = True
    blind: str = ""

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.ttl_us is not None and self.ttl_us < 0:
            raise InvalidError("ttl_us", self.ttl_us, "None, or a number of microseconds from 0 on")

    def new_tally(self) -> Tally:
        """Counts of nothing yet."""
        return Tally(guard_on=self.guard, blind=self.blind if self.created_time else "no created time")


class Values(msgspec.Struct, frozen=True):
    """One row for each row given, in its order.

    `columns` have the history's types, null where there is no value. `event_time` is that of the newest known row, also where
    it is too old. `status` is of the whole row: PRESENT, OUTSIDE_MAX_AGE or NOT_FOUND.
    """

    columns: pl.DataFrame
    event_time: pl.Series
    status: pl.Series

    def statuses(self, column: str) -> pl.Series:
        """The status of one column: NULL_VALUE where a row is present and its value null."""
        empty = self.columns.get_column(column).is_null() & (self.status == Status.PRESENT.value)
        return self.status.set(empty, Status.NULL_VALUE.value).alias(column)


class Joined(Values, frozen=True):
    """The values, and a report of what was found."""

    report: JoinReport


def join_as_of(
    rows: pl.DataFrame,
    history: Table,
    *,
    keys: Mapping[str, str],
    at: str,
    event_time: str,
    created_time: str | None = None,
    ttl_us: int | None = None,
    columns: Sequence[str],
    guard: bool = True,
) -> Joined:
    """The values of `columns` that each row of `rows` could have known at its instant `at`.

    `keys` maps columns of the rows to those of the history. A value may be exactly `ttl_us` old. With the guard, rows created
    after the instant are not seen; it needs `created_time`. The history may be in any order; of a lazy or stored one the
    columns that are needed are read whole (`join_partitioned` joins in bounded memory). A null in a key is an unknown entity.

    Raises:
        NotFoundError: a column is missing.
        InvalidError: a column has a type that doesn't fit, or a time is null.

    >>> from datetime import datetime
    >>> weather = pl.DataFrame({"airport": ["JFK", "JFK"], "seen": [datetime(2013, 1, day) for day in (1, 3)], "wind": [5, 9]})
    >>> flights = pl.DataFrame({"origin": ["JFK", "LGA"], "departs": [datetime(2013, 1, 2)] * 2})
    >>> joined = join_as_of(
    ...     flights, weather, keys={"origin": "airport"}, at="departs", event_time="seen", columns=["wind"]
    ... )
    >>> joined.columns["wind"].to_list(), joined.status.to_list()
    ([5, None], ['PRESENT', 'NOT_FOUND'])
    """
    how = AsOf(
        keys=keys, at=at, event_time=event_time, created_time=created_time, ttl_us=ttl_us, columns=columns, guard=guard
    )
    tally = how.new_tally()
    lazy = history.scan() if isinstance(history, StoredRows) else history.lazy()
    needed = lazy.select(how.of_history(lazy.collect_schema())).collect(engine="in-memory")
    values = join_frames(rows, needed, how, tally)
    return Joined(values.columns, values.event_time, values.status, tally.report())


def join_frames(rows: pl.DataFrame, history: pl.DataFrame, how: AsOf, tally: Tally) -> Values:
    """The same of frames, counted into a tally; raises as `join_as_of` does."""
    rows, history = rows.select(how.of_rows(rows.schema)), history.select(how.of_history(history.schema))
    row_keys, history_keys = comparable_keys(rows, history, how.keys)
    at, event = (
        microseconds(frame.get_column(name), f"{side}.{name}")
        for side, frame, name in (("rows", rows, how.at), ("history", history, how.event_time))
    )
    created = (
        microseconds(history.get_column(how.created_time), f"history.{how.created_time}") if how.created_time else None
    )
    newest = newest_rows(Sought(row_keys, at), History(history_keys, event, created), guard=how.guard)
    known, fresh = newest.age >= 0, _fresh(newest.age, how.ttl_us)
    values = history.select(pl.col(list(dict.fromkeys(how.columns))).gather(_where(fresh, newest.position)))
    found = int(fresh.sum())
    tally.add_rows(
        len(at), found=found, outside=int((known & ~fresh).sum()), ages=newest.age[fresh],
        nulls={column.name: column.null_count() - (len(at) - found) for column in values},
    )  # fmt: skip
    changed = newest.late[_fresh(newest.late_age, how.ttl_us)]
    tally.add_guarded(len(changed), int(fresh[changed].sum()))
    status = _status(np.where(fresh, _PRESENT, np.where(known, _OUTSIDE, _UNKNOWN)))
    event_time = history.get_column(how.event_time).gather(_where(known, newest.position))
    return Values(values, event_time, status)


def _fresh(age: Whole, ttl_us: int | None) -> np.ndarray[Any, np.dtype[np.bool_]]:
    """Whether there is a row that is not too old; −1 is no row."""
    return (age >= 0) & (age <= ttl_us) if ttl_us is not None else age >= 0


def _status(codes: np.ndarray[Any, np.dtype[np.uint32]]) -> pl.Series:
    return pl.Series("status", STATUS_TYPE.categories, STATUS_TYPE).gather(pl.Series(codes))


def _where(mask: np.ndarray[Any, np.dtype[np.bool_]], positions: Whole) -> pl.Series:
    """Positions, null where there is none to take."""
    return pl.select(pl.when(pl.Series(mask)).then(pl.Series(positions))).to_series()


def _present(names: Sequence[str], schema: pl.Schema, owner: str) -> list[str]:
    for name in names:
        if name not in schema:
            raise NotFoundError("column", name, near=close_names(name, schema), owner=owner)
    return list(dict.fromkeys(names))
