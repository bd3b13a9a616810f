"""Committing a table: `Dataset.commit` against Polars' bare Parquet write of the same frame, and appending one row.

Budget: at most 2 times the write; over it, it exits with 1. `--small` runs it once, briefly, and holds it to nothing.
"""

from __future__ import annotations

import sys
import tempfile
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path

import numpy as np
import polars as pl

from mainspring.data import dataset
from mainspring.workspace import Workspace


def made(rows: int, seed: int) -> pl.DataFrame:
    """Eight columns as flights have them: times, counts, delays, short texts."""
    random = np.random.default_rng(seed)
    carriers = np.array(["UA", "AA", "B6", "DL", "EV", "MQ"])
    return pl.DataFrame(
        {
            "at": np.arange(rows) * 60_000_000,
            "flight": random.integers(1, 8_000, rows),
            "delay": random.normal(8, 40, rows).round(),
            "distance": random.gamma(2, 500, rows),
            "carrier": carriers[random.integers(0, 6, rows)],
            "tail": np.char.add("N", random.integers(100, 4_000, rows).astype(str)),
            "late": random.random(rows) < 0.2,
            "hour": random.integers(0, 24, rows).astype(np.int8),
        }
    ).with_columns(pl.col("at").cast(pl.Datetime("us")))


def seconds(call: Callable[[], object]) -> float:
    """The time of one call."""
    began = time.perf_counter()
    call()
    return time.perf_counter() - began


def main() -> None:
    """Print the ratios."""
    small = "--small" in sys.argv
    rows, rounds, appends = (50_000, 1, 5) if small else (10_000_000, 3, 200)
    with tempfile.TemporaryDirectory() as folder, Workspace.open(Path(folder)) as workspace:
        flights = dataset("flights", workspace)
        flights.commit(made(1_000, 0))
        bare, ours = [], []
        for round_ in range(rounds):
            frame = made(rows, round_ + 1)
            bare.append(seconds(partial(frame.write_parquet, Path(folder) / "bare.parquet")))
            ours.append(seconds(partial(flights.commit, frame)))
        print(f"commit of {rows:,} rows: {min(ours):.2f} s, {min(ours) / min(bare):.2f} x the bare write (budget 2)")
        row = frame[:1]
        own = dataset("rows", workspace)
        floor = min(seconds(lambda: row.write_parquet(Path(folder) / "row.parquet")) for _ in range(appends))
        each = seconds(lambda: [own.append(row) for _ in range(appends)]) / appends
        print(f"append of one row: {each * 1e3:.2f} ms, {each / floor:.1f} x the bare write of a row")
    sys.exit(not small and min(ours) / min(bare) > 2)


if __name__ == "__main__":
    main()
