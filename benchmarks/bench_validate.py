"""Validating a table with ten checks against the same ten expressions in one hand-written Polars select.

Budget: at most 1.3 times the select. `--small` runs it once, briefly.
"""

from __future__ import annotations

import sys

import polars as pl
from bench_table_commit import made, seconds

from mainspring.data import check, validate

CHECKS = [
    check.not_null("at"),
    check.not_null("flight"),
    check.between("flight", 1, 10_000),
    check.between("delay", -400, 2_000),
    check.between("distance", low=0),
    check.is_in("carrier", ["UA", "AA", "B6", "DL", "EV", "MQ"]),
    check.matches("tail", "^N[0-9]+$"),
    check.expression("late flights are late", "late or hour >= 0"),
    check.dtype("hour", "i8"),
    check.row_count(at_least=1),
]


def by_hand(frame: pl.DataFrame) -> pl.DataFrame:
    """What the checks ask, written out."""
    return frame.select(
        a=pl.col("at").is_null().sum(),
        b=pl.col("flight").is_null().sum(),
        c=((pl.col("flight") < 1) | (pl.col("flight") > 10_000)).sum(),
        d=((pl.col("delay") < -400) | (pl.col("delay") > 2_000)).sum(),
        e=((pl.col("distance") < 0) | pl.col("distance").is_nan()).sum(),
        f=pl.col("carrier").is_in(["UA", "AA", "B6", "DL", "EV", "MQ"]).not_().sum(),
        g=pl.col("tail").str.contains("^N[0-9]+$").not_().sum(),
        h=(pl.col("late") | (pl.col("hour") >= 0)).not_().sum(),
    )


def main() -> None:
    """Print the ratio."""
    rows, rounds = (50_000, 2) if "--small" in sys.argv else (10_000_000, 5)
    frame = made(rows, 1)
    assert validate(frame, CHECKS).passed
    # In turns, so that both meet the machine in the same moods.
    pairs = [(seconds(lambda: by_hand(frame)), seconds(lambda: validate(frame, CHECKS))) for _ in range(rounds)]
    floor, ours = (min(column) for column in zip(*pairs, strict=True))
    print(f"10 checks on {rows:,} rows: {ours:.3f} s, {ours / floor:.2f} x one fused select (budget 1.3)")


if __name__ == "__main__":
    main()
