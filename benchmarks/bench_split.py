"""Splitting a table by a hash of its key against Polars' own hash of the same key and the same cut.

Polars' hash may change with each of its releases, so it can't decide where a row lies; it is the floor. `--small` runs it
once, briefly. Budget of a key of whole numbers: 10 M rows in a second. The leakage report is timed beside it.
"""

from __future__ import annotations

import sys
from functools import partial

import numpy as np
import polars as pl
from bench_table_commit import made, seconds

from mainspring.data import HashSplit, leakage


def by_hand(frame: pl.DataFrame, key: str) -> list[pl.DataFrame]:
    """The cut with Polars' hash."""
    is_test = frame.get_column(key).hash() > np.uint64(0.8 * 2**64)
    return [frame.filter(~is_test), frame.filter(is_test)]


def main() -> None:
    """Print the ratios."""
    rows, rounds = (50_000, 1) if "--small" in sys.argv else (10_000_000, 3)
    frame = made(rows, 1).with_row_index("id").with_columns(pl.format("user-{}", "id").alias("user"))
    for key in ("id", "user", "delay"):
        pairs = [
            (seconds(partial(by_hand, frame, key)), seconds(partial(HashSplit(key).apply, frame)))
            for _ in range(rounds)
        ]
        floor, ours = (min(column) for column in zip(*pairs, strict=True))
        kind = str(frame.schema[key])
        print(f"split of {rows:,} rows by `{key}` ({kind}): {ours:.2f} s, {ours / floor:.2f} x with Polars' own hash")
    parts = HashSplit("id").apply(frame)
    floor = seconds(parts["train"].hash_rows)
    took = seconds(lambda: leakage(parts["train"], parts["test"], key="id", target="late", ignore=["user"]))
    print(f"leakage report on {rows:,} rows: {took:.2f} s, {took / floor:.1f} x one hash of the rows to train on")


if __name__ == "__main__":
    main()
