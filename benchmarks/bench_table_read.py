"""Reading a version against Polars' bare read of the same Parquet file, and after many small appends.

Budget: at most 1.2 times the read, also after 10,000 appends of a row, as they left it and compacted; over it, it exits with
1. The first read of a process also verifies the parts. `--small` runs it once, briefly, and holds it to nothing.
"""

from __future__ import annotations

import sys
import tempfile
import threading
from functools import partial
from pathlib import Path

import polars as pl
from bench_table_commit import made, seconds

from mainspring.data import DatasetVersion, dataset
from mainspring.workspace import Workspace, using

BUDGET = 1.2


def main() -> None:
    """Print the ratios."""
    small = "--small" in sys.argv
    rows, rounds, appends = (50_000, 2, 300) if small else (10_000_000, 5, 10_000)
    with tempfile.TemporaryDirectory() as folder, Workspace.open(Path(folder)) as workspace, using(workspace):
        frame, path = made(rows, 1), Path(folder) / "bare.parquet"
        frame.write_parquet(path)
        version = dataset("flights").commit(frame)
        bare = [seconds(lambda: pl.read_parquet(path)) for _ in range(rounds)]
        ours = [seconds(version.to_polars) for _ in range(rounds)]
        print(f"first read of {rows:,} rows, verified: {ours[0]:.2f} s, {ours[0] / min(bare):.2f} x the bare read")
        print(f"later reads: {min(ours):.2f} s, {min(ours) / min(bare):.2f} x the bare read (budget 1.2)")
        ratios = [min(ours) / min(bare), *appended(frame, appends, Path(folder) / "rows.parquet")]
    sys.exit(not small and max(ratios) > BUDGET)


def appended(frame: pl.DataFrame, appends: int, path: Path) -> list[float]:
    """What reading costs after many appends of one row, as they left it and compacted."""
    own = dataset("rows")
    each = [seconds(partial(own.append, frame[at % frame.height])) for at in range(appends)]
    for thread in threading.enumerate():
        if thread.name.startswith("compact "):
            thread.join()
    many = own.latest()
    many.to_polars().write_parquet(path)
    ratios = [told(f"after {appends:,} appends, as they left it", many, path)]
    took = seconds(own.compact)
    ratios.append(told("compacted", own.latest(), path))
    late = sorted(each)[-len(each) // 100 :]
    print(
        f"the compaction took {took:.2f} s; an append {sum(each) / len(each) * 1e3:.1f} ms, the slowest in a hundred"
        f" {late[0] * 1e3:.1f} ms"
    )
    return ratios


def told(when: str, version: DatasetVersion, path: Path) -> float:
    """Print what a read costs beside that of one file, in turns; gives the ratio."""
    version.to_polars()
    pairs = [(seconds(version.to_polars), seconds(lambda: pl.read_parquet(path))) for _ in range(100)]
    took, floor = (min(times) for times in zip(*pairs, strict=True))
    print(
        f"{when}, {version.parts:,} parts: {took * 1e3:.2f} ms, {took / floor:.2f} x the read of one file (budget 1.2)"
    )
    return took / floor


if __name__ == "__main__":
    main()
