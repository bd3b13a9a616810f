"""Ingesting CSV files: `ingest` against Polars' bare `read_csv` and Parquet write of the same files, and its peak of memory.

No budget is set; the floor holds everything in memory and records nothing. `--small` runs it once, briefly.
"""

from __future__ import annotations

import resource
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import polars as pl

from mainspring.data.ingestion import ingest
from mainspring.workspace import Workspace


def write_files(folder: Path, files: int, rows: int) -> int:
    """Files as flights have them; gives their bytes."""
    random = np.random.default_rng(0)
    carriers = np.array(["UA", "AA", "B6", "DL", "EV", "MQ"])
    for number in range(files):
        pl.DataFrame(
            {
                "at": np.arange(rows) + number * rows,
                "flight": random.integers(1, 8_000, rows),
                "delay": random.normal(8, 40, rows).round(1),
                "distance": random.gamma(2, 500, rows),
                "carrier": carriers[random.integers(0, 6, rows)],
            }
        ).write_csv(folder / f"{number:03}.csv")
    return sum(path.stat().st_size for path in folder.iterdir())


def seconds(call: Callable[[], object]) -> float:
    """The time of one call."""
    began = time.perf_counter()
    call()
    return time.perf_counter() - began


def main() -> None:
    """Print the ratios."""
    files, rows = (3, 5_000) if "--small" in sys.argv else (10, 1_000_000)
    with tempfile.TemporaryDirectory() as folder, Workspace.open(Path(folder)) as workspace:
        raw = Path(folder) / "raw"
        raw.mkdir()
        size_bytes = write_files(raw, files, rows)
        before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        ours = seconds(lambda: ingest(raw, to="flights", workspace=workspace))
        peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before
        again = seconds(lambda: ingest(raw, to="flights", workspace=workspace))
        paths = sorted(raw.iterdir())
        floor = seconds(lambda: pl.read_csv(paths).write_parquet(Path(folder) / "bare.parquet", compression="zstd"))
        print(
            f"ingest of {files * rows:,} rows, {size_bytes / 1e6:,.0f} MB of CSV: {ours:.2f} s, {ours / floor:.1f} x the bare"
            f" read and write; {max(peak, 0) / 1024:,.0f} MiB above the start"
        )
        print(
            f"the same again, nothing being new: {again * 1e3:.1f} ms for {files} files, {again / floor:.3f} x the same"
        )


if __name__ == "__main__":
    main()
