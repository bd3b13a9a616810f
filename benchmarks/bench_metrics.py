"""What logging a metric costs: for the caller, and sustained until the points are on disk, against raw SQLite.

Budgets: at most 5 µs for the caller (median), at least 15,000 points a second. `--small` logs few.
"""

from __future__ import annotations

import sqlite3
import statistics
import sys
import tempfile
import time
from pathlib import Path

from mainspring.runs import start_run
from mainspring.workspace import Workspace

GROUP = 500


def floor_s(path: Path, count: int) -> float:
    """The same points in raw SQLite, in groups."""
    database = sqlite3.connect(path, isolation_level=None)
    database.execute("PRAGMA journal_mode = WAL")
    database.execute("PRAGMA synchronous = NORMAL")
    database.execute("CREATE TABLE metric (series TEXT, key TEXT, step INTEGER, at INTEGER, value REAL)")
    began = time.perf_counter()
    for start in range(0, count, GROUP):
        database.execute("BEGIN")
        rows = [("s", "loss", step, 0, 1.0 / (step + 1)) for step in range(start, start + GROUP)]
        database.executemany("INSERT INTO metric VALUES (?, ?, ?, ?, ?)", rows)
        database.execute("COMMIT")
    return time.perf_counter() - began


def main() -> None:
    """Print the caller's median, the rate, and the ratio."""
    count = 2_000 if "--small" in sys.argv else 100_000
    with tempfile.TemporaryDirectory() as folder, Workspace.open(Path(folder)) as workspace:
        floor = floor_s(Path(folder) / "floor.db", count)
        calls = []
        began = time.perf_counter()
        with start_run("bench", workspace=workspace) as run:
            for step in range(count):
                at = time.perf_counter()
                run.log_metric("loss", 1.0 / (step + 1), step=step)
                calls.append(time.perf_counter() - at)
        took = time.perf_counter() - began
    print(
        f"caller: median {statistics.median(calls) * 1e6:.2f} µs a point (budget 5), longest {max(calls) * 1e3:.1f} ms"
    )
    print(f"sustained: {count / took:,.0f} points a second (budget 15,000), {took / floor:.2f} x raw SQLite in groups")


if __name__ == "__main__":
    main()
