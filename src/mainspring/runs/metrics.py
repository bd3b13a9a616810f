"""Metric points, in a database of their own so that logging never holds up leases and commits.

A point belongs to a series; a run names the one series that is its own, so the points of a failed attempt are not the
run's.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import msgspec

from mainspring.store import Database

MIGRATIONS = [
    """
    CREATE TABLE metric (
        series TEXT NOT NULL, key TEXT NOT NULL, step INTEGER NOT NULL, at INTEGER NOT NULL, value REAL, special TEXT
    );
    CREATE INDEX metric_by_series ON metric (series, key, step, at)
    """,
]
# SQLite keeps NaN as NULL, so what isn't a finite number is kept by name.
_SPECIAL = {"nan": math.nan, "inf": math.inf, "-inf": -math.inf}


class Metric(msgspec.Struct, frozen=True):
    """One point: value at a step (any whole number, 0 where there are none) and a time (microseconds since 1970)."""

    key: str
    value: float
    step: int
    at: int


class Metrics:
    """Metric points of a workspace."""

    def __init__(self, database: Database) -> None:
        self.database = database
        database.migrate("metric", MIGRATIONS)

    def append(self, series: str, points: Sequence[Metric]) -> None:
        """Keep points, all or none."""
        with self.database.transaction() as tx:
            tx.executemany(
                "INSERT INTO metric VALUES (?, ?, ?, ?, ?, ?)",
                [(series, p.key, p.step, p.at, *_stored(p.value)) for p in points],
            )

    def history(self, series: str, key: str) -> list[Metric]:
        """The points of a metric, by step and then time."""
        rows = self.database.query(
            "SELECT key, value, special, step, at FROM metric WHERE series = ? AND key = ? ORDER BY step, at",
            (series, key),
        )
        return [Metric(key, _number(value, special), step, at) for key, value, special, step, at in rows]

    def latest(self, series: str) -> dict[str, float]:
        """The last value of each metric: that of the highest step, and there of the latest time."""
        rows = self.database.query(
            "SELECT key, value, special FROM metric WHERE series = ? ORDER BY key, step, at", (series,)
        )
        return {key: _number(value, special) for key, value, special in rows}


def _stored(value: float) -> tuple[float | None, str | None]:
    if math.isfinite(value):
        return float(value), None
    return None, "nan" if math.isnan(value) else "inf" if value > 0 else "-inf"


def _number(value: float | None, special: str | None) -> float:
    return _SPECIAL[special or "nan"] if value is None else value
