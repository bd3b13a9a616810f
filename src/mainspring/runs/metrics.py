"""Metric points, in a database of their own so that logging never holds up leases and commits.

A point belongs to a series; a run names the one series that is its own, so the points of a failed attempt are not the
run's. Two points that are equal in everything are one, so writing a group again does no harm.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

import msgspec

from mainspring.runs.filters import Condition
from mainspring.runs.listing import comparison
from mainspring.runs.page import Page, checked_limit, from_cursor, to_cursor
from mainspring.store import BATCH, Database, batches

# No database keeps NaN as a number that orders and compares, so it is a column of its own.
MIGRATIONS = [
    """
    CREATE TABLE metric (
        series TEXT NOT NULL, key TEXT NOT NULL, step INTEGER NOT NULL, at INTEGER NOT NULL, is_nan INTEGER NOT NULL,
        value REAL NOT NULL, PRIMARY KEY (series, key, step, at, is_nan, value)
    ) WITHOUT ROWID;
    CREATE TABLE metric_latest (
        series TEXT NOT NULL, key TEXT NOT NULL, step INTEGER NOT NULL, at INTEGER NOT NULL, is_nan INTEGER NOT NULL,
        value REAL NOT NULL, PRIMARY KEY (series, key)
    ) WITHOUT ROWID;
    CREATE INDEX metric_latest_by_key ON metric_latest (key, is_nan, value, series)
    """,
]
_PLACE = "step, at, is_nan, value"
_ADD = "INSERT INTO metric VALUES (?, ?, ?, ?, ?, ?) ON CONFLICT DO NOTHING"
_ADVANCE = f"""
INSERT INTO metric_latest VALUES (?, ?, ?, ?, ?, ?) ON CONFLICT (series, key) DO UPDATE
SET step = excluded.step, at = excluded.at, is_nan = excluded.is_nan, value = excluded.value
WHERE ({", ".join(f"excluded.{name}" for name in _PLACE.split(", "))}) >
      ({", ".join(f"metric_latest.{name}" for name in _PLACE.split(", "))})"""
_MANY = 5 * BATCH  # series: about where reading all of a metric in 10,000 runs is as quick as asking for each
_Row = tuple[str, str, int, int, int, float]


class Metric(msgspec.Struct, frozen=True):
    """One point: value at a step (any whole number of 64 bits, 0 where there are none) and a time (microseconds since 1970)."""

    key: str
    value: float
    step: int
    at: int


class Metrics:
    """Metric points of a workspace."""

    def __init__(self, database: Database) -> None:
        self.database = database
        database.migrate("metric", MIGRATIONS)

    def append(self, series: str, points: Iterable[Metric]) -> None:
        """Keep points, all or none."""
        self.append_many({series: points})

    def append_many(self, points: Mapping[str, Iterable[Metric]]) -> None:
        """Keep points of many series in one transaction, all or none."""
        rows = [_row(series, point) for series, group in points.items() for point in group]
        newest: dict[tuple[str, str], _Row] = {}
        for row in rows:
            known = newest.get(row[:2])
            if known is None or row[2:] > known[2:]:
                newest[row[:2]] = row
        with self.database.transaction() as tx:
            tx.executemany(_ADD, rows)
            tx.executemany(_ADVANCE, newest.values())

    def history(self, series: str, key: str, *, limit: int | None = None, cursor: str | None = None) -> Page[Metric]:
        """The points of a metric by step and then time, all of them if there is no limit.

        Raises:
            InvalidError: the limit or the cursor is wrong.
        """
        sql, values = f"SELECT {_PLACE} FROM metric WHERE series = ? AND key = ?", [series, key]
        if cursor is not None:
            sql, values = f"{sql} AND ({_PLACE}) > (?, ?, ?, ?)", [*values, *from_cursor(cursor, 4)]
        sql = f"{sql} ORDER BY {_PLACE}"
        if limit is None:
            return Page([_point(key, row) for row in self.database.query(sql, values)])
        rows = self.database.query(f"{sql} LIMIT ?", [*values, checked_limit(limit) + 1])
        following = to_cursor(rows[limit - 1]) if len(rows) > limit else None
        return Page([_point(key, row) for row in rows[:limit]], following)

    def latest(self, series: str) -> dict[str, Metric]:
        """The last point of each metric, by key: that of the highest step, and there of the latest time."""
        return self.latest_of([series]).get(series, {})

    def latest_values(self, series: str) -> dict[str, float]:
        """The value of the last point of each metric, by key."""
        return {key: point.value for key, point in self.latest(series).items()}

    def latest_of(self, series: Iterable[str]) -> dict[str, dict[str, Metric]]:
        """The last point of each metric of many series, by series and key."""
        found: dict[str, dict[str, Metric]] = {}
        for batch, marks in batches(series):
            rows = self.database.query(
                f"SELECT series, key, {_PLACE} FROM metric_latest WHERE series IN ({marks}) ORDER BY series, key", batch
            )
            for each, key, *place in rows:
                found.setdefault(each, {})[key] = _point(key, place)
        return found

    def by_value(self, key: str, series: Sequence[str]) -> dict[str, float]:
        """The last value of a metric in those of these series that have it, and maybe in others."""
        rows = self._among(series, "SELECT series, is_nan, value FROM metric_latest WHERE key = ?", [key])
        return {each: math.nan if is_nan else value for each, is_nan, value in rows}

    def names(self) -> list[str]:
        """The names of all metrics that were logged."""
        return [name for (name,) in self.database.query("SELECT DISTINCT key FROM metric_latest ORDER BY key")]

    def best(
        self, key: str, *, highest: bool, count: int, after: float | None = None, where: Sequence[Condition] = ()
    ) -> dict[str, float]:
        """The series with the best last values of a metric that are numbers, best first; `after` a value, it included.

        Of those only that fulfil all conditions, which are on metrics.
        """
        direction, sign = ("DESC", "<=") if highest else ("ASC", ">=")
        values: list[Any] = [key]
        sql = "SELECT series, value FROM metric_latest AS best WHERE key = ? AND is_nan = 0"
        if after is not None:
            sql, values = f"{sql} AND value {sign} ?", [*values, after]
        for condition in where:
            # One value, looked up by the primary key: of EXISTS PostgreSQL makes a join that reads all of a key for each row.
            holds, others = _holds(condition)
            of_one = "SELECT {} FROM metric_latest AS latest WHERE latest.series = best.series AND latest.key = ?"
            if condition.operator == "IS NULL":
                sql, values = f"{sql} AND ({of_one.format('1')}) IS NULL", [*values, condition.key]
            else:
                told = of_one.format(f"CASE WHEN {holds} THEN 1 ELSE 0 END")
                sql, values = f"{sql} AND ({told}) = 1", [*values, *others, condition.key]
        return dict(self.database.query(f"{sql} ORDER BY value {direction} LIMIT ?", [*values, count]))

    def matching(self, condition: Condition, series: Sequence[str]) -> set[str]:
        """Those of these series, and maybe others, whose last value of a metric fulfils a condition; for IS NULL those that
        don't. NaN is unequal to every number.
        """
        holds, values = _holds(condition)
        sql = f"SELECT series FROM metric_latest AS latest WHERE key = ? AND ({holds})"
        return {each for (each,) in self._among(series, sql, [condition.key, *values])}

    def _among(self, series: Sequence[str], sql: str, values: Sequence[Any]) -> Iterator[tuple[Any, ...]]:
        """The rows that a statement finds for these series; of many, all that it finds, which is quicker then."""
        if len(series) > _MANY:
            yield from self.database.query(sql, values)
            return
        for batch, marks in batches(series):
            yield from self.database.query(f"{sql} AND series IN ({marks})", [*values, *batch])

    def remove(self, series: Sequence[str]) -> None:
        """Remove every point of these series."""
        with self.database.transaction() as tx:
            for batch, marks in batches(series):
                tx.execute(f"DELETE FROM metric WHERE series IN ({marks})", batch)
                tx.execute(f"DELETE FROM metric_latest WHERE series IN ({marks})", batch)


def _holds(condition: Condition) -> tuple[str, tuple[Any, ...]]:
    """A condition on a row `latest` of its key; that there is one is all that IS NULL and IS NOT NULL ask."""
    if condition.operator in ("IS NULL", "IS NOT NULL"):
        return "1 = 1", ()
    compared, values = comparison("latest.value", condition)
    either = "latest.is_nan = 1 OR" if condition.operator == "!=" else "latest.is_nan = 0 AND"
    return f"{either} {compared}", values


def _row(series: str, point: Metric) -> _Row:
    is_nan = point.value != point.value
    return series, point.key, point.step, point.at, int(is_nan), 0.0 if is_nan else float(point.value)


def _point(key: str, place: Sequence[Any]) -> Metric:
    step, at, is_nan, value = place
    return Metric(key, math.nan if is_nan else value, step, at)
