"""What the content digest of a table costs: as a ratio to BLAKE3 over the same bytes, and to Polars' bare Parquet write.

`--small` runs it once, briefly.
"""

from __future__ import annotations

import io
import sys
import time
from collections.abc import Callable
from functools import partial

import numpy as np
import polars as pl
from blake3 import blake3

from mainspring.artifacts import table_digest


def best_s(call: Callable[[], object], rounds: int) -> float:
    """The best of some rounds, in seconds."""
    times = []
    for _ in range(rounds):
        start = time.perf_counter()
        call()
        times.append(time.perf_counter() - start)
    return min(times)


def tables(rows: int) -> dict[str, pl.DataFrame]:
    """Numbers, numbers with a tenth missing, short texts, and lists."""
    random = np.random.default_rng(0)
    numbers = pl.DataFrame(
        {f"f{i}": random.random(rows) for i in range(5)} | {f"i{i}": random.integers(0, 1000, rows) for i in range(3)}
    )
    missing = numbers.with_columns(pl.when(pl.col("i0") >= 100).then(pl.all()))
    texts = numbers.select((pl.col("i0", "i1") * 1_000_003).cast(pl.String))
    lists = numbers.select(pl.concat_list("f0", "f1", "f2").alias("l"))
    return {"numbers": numbers, "numbers, 10 % missing": missing, "texts": texts, "lists": lists}


def write(frame: pl.DataFrame) -> None:
    """Write Parquet, as Polars does by itself."""
    frame.write_parquet(io.BytesIO())


def main() -> None:
    """Print seconds, rate and ratios for each table."""
    small = "--small" in sys.argv
    rows, rounds = (10_000, 1) if small else (2_000_000, 5)
    print(f"{rows:,} rows          digest      rate   × blake3   × write_parquet")
    for name, frame in tables(rows).items():
        size = int(frame.estimated_size())
        data = np.random.default_rng(0).bytes(size)
        took = best_s(partial(table_digest, frame), rounds)
        floor = best_s(partial(blake3, data), rounds)
        written = best_s(partial(write, frame), rounds)
        print(f"{name:22} {took:8.4f} s {size / took / 1e9:5.2f} GB/s {took / floor:7.2f} {took / written:13.2f}")


if __name__ == "__main__":
    main()
