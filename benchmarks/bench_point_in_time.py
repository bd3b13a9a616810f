"""The point-in-time join against Polars' bare `join_asof`, the sorts counted in both: 1 M rows, 3 views of 5 M rows each.

Ours sees no row before it was created, tells what is too old from what isn't there, and reports what it found; the floor does
neither. Ages up to 7 days count, 1 % of event times are ties. Budget: 1.2 ×. `--small` runs it once, briefly. The worst case of
the guard (every newest row became known only later) and of keys of text are printed beside it, and few rows on a long history.
"""

from __future__ import annotations

import sys
from datetime import timedelta
from functools import partial

import numpy as np
import polars as pl
from bench_table_commit import seconds

from mainspring.features.history import Joined, join_as_of, join_partitioned

TTL = timedelta(days=7)
_SPAN_US = 30 * 86_400_000_000
_HOUR_US = 3_600_000_000
_UTC = pl.Datetime("us", "UTC")
VALUES = ["a", "b", "c", "d"]
HOW = {"keys": {"user": "user"}, "at": "at", "event_time": "seen", "created_time": "made", "columns": VALUES}


def view(rows: int, entities: int, seed: int) -> pl.DataFrame:
    """Rows in the order in which they came, known up to an hour after their event."""
    random = np.random.default_rng(seed)
    seen, user = random.integers(0, _SPAN_US, rows), random.integers(0, entities, rows)
    tied = np.flatnonzero(random.random(rows - 1) < 0.01) + 1
    seen[tied], user[tied] = seen[tied - 1], user[tied - 1]
    times = {"seen": seen, "made": seen + random.integers(0, _HOUR_US, rows)}
    return pl.DataFrame({"user": user, **times, **{name: random.random(rows) for name in VALUES}}).with_columns(
        pl.col(*times).cast(_UTC)
    )


def bare(rows: pl.DataFrame, views: list[pl.DataFrame]) -> list[pl.DataFrame]:
    """The join as Polars has it, which sees rows that were not known yet."""
    return [
        rows.sort("at").join_asof(
            history.sort("seen", "made"),
            left_on="at",
            right_on="seen",
            by="user",
            tolerance=TTL,
            check_sortedness=False,
        )
        for history in views
    ]


def ours(rows: pl.DataFrame, views: list[pl.DataFrame]) -> list[Joined]:
    """The join with all that it promises."""
    return [join_as_of(rows, history, ttl_us=TTL // timedelta(microseconds=1), **HOW) for history in views]


def in_parts(rows: pl.DataFrame, views: list[pl.DataFrame]) -> None:
    """The join of what is larger than memory, of the first view."""
    with join_partitioned(rows, views[0], partitions=8, **HOW) as joined:
        for _ in joined.batches():
            pass


def compare(what: str, rows: pl.DataFrame, views: list[pl.DataFrame], rounds: int) -> None:
    """Print one line."""
    pairs = [(seconds(partial(bare, rows, views)), seconds(partial(ours, rows, views))) for _ in range(rounds)]
    floor, took = (min(column) for column in zip(*pairs, strict=True))
    print(f"{what}: {took:.2f} s, {took / floor:.2f} x bare join_asof ({floor:.2f} s)")


def main() -> None:
    """Print the ratios."""
    wanted, known, rounds = (2_000, 10_000, 1) if "--small" in sys.argv else (1_000_000, 5_000_000, 3)
    entities = known // 50
    random = np.random.default_rng(0)
    rows = pl.DataFrame({"user": random.integers(0, entities, wanted), "at": random.integers(0, _SPAN_US, wanted)})
    rows = rows.with_columns(pl.col("at").cast(_UTC))
    views = [view(known, entities, seed) for seed in (1, 2, 3)]
    compare(f"{wanted:,} rows x 3 views of {known:,}", rows, views, rounds)
    late = [views[0].with_columns(made=pl.col("seen") + pl.duration(days=2))]
    compare("every newest row known 2 days late, 1 view", rows, late, rounds)
    text = pl.format("user-{}", "user").alias("user")
    compare("keys of text, 1 view", rows.with_columns(text), [views[0].with_columns(text)], rounds)
    compare("a thousandth of the rows, 1 view", rows[: wanted // 1000], views[:1], rounds)
    floor, took = seconds(partial(ours, rows, views[:1])), seconds(partial(in_parts, rows, views))
    print(f"in 8 partitions on disk, 1 view: {took:.2f} s, {took / floor:.2f} x the join in memory")


if __name__ == "__main__":
    main()
