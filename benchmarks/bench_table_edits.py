"""Editing a table: an upsert of 1 % of the rows, scattered, and what reading, comparing and profiling cost afterwards.

The floor of the upsert is reading and digesting the table, since rows behind the first changed one move up. `--small` runs
it once, briefly.
"""

from __future__ import annotations

import sys
import tempfile
from pathlib import Path

import numpy as np
import polars as pl
from bench_table_commit import made, seconds

from mainspring.artifacts import table_digest
from mainspring.data import dataset
from mainspring.workspace import Workspace, using


def main() -> None:
    """Print the ratios."""
    rows = 50_000 if "--small" in sys.argv else 10_000_000
    with tempfile.TemporaryDirectory() as folder, Workspace.open(Path(folder)) as workspace, using(workspace):
        frame = made(rows, 1).with_columns(id=pl.int_range(rows))
        table = dataset("flights")
        first = table.commit(frame)
        first.to_polars()  # parts are verified once in a process
        floor = seconds(lambda: table_digest(first.to_polars()))
        some = np.sort(np.random.default_rng(2).choice(rows, rows // 100, replace=False))
        took = seconds(lambda: table.upsert(frame[some].with_columns(pl.col("delay") + 1), key="id"))
        print(f"upsert of {len(some):,} of {rows:,} rows: {took:.2f} s, {took / floor:.2f} x reading and digesting all")
        second = table.latest()
        read = min(seconds(first.to_polars) for _ in range(3))
        again = min(seconds(second.to_polars) for _ in range(3))
        print(f"reading it: {again:.2f} s, {again / read:.2f} x the read of the version before")
        for key in ("id", None):
            took = seconds(lambda key=key: first.diff(second, key))
            print(f"diff {'by key' if key else 'of whole rows'}: {took:.2f} s, {took / read:.2f} x one read")
        took = seconds(second.profile)
        print(f"profile of {rows:,} x {frame.width}: {took:.2f} s (budget 2), {took / read:.2f} x one read")
        took = seconds(lambda: table.delete(where=pl.col("hour") == 3))
        print(
            f"delete of {second.rows - table.latest().rows:,} rows: {took:.2f} s, {took / floor:.2f} x reading and digesting"
        )
        took = seconds(table.compact)
        print(
            f"compaction to {table.latest().parts} parts: {took:.2f} s, {took / floor:.2f} x reading and digesting all"
        )


if __name__ == "__main__":
    main()
