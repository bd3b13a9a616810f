"""A dataset larger than memory: ingest, validation, a SQL step and a split of 4 GB, each in a process of at most 1 GB.

Floor: copying the files. Budget: every step ends within its limit; the peaks are printed. `--small` takes 3 MB.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
import polars as pl

LIMIT_MB = 1024
FLOW = """
import mainspring as ms
from mainspring.data import HashSplit, check, split_dataset, validate
from mainspring.data.ingestion import ingest

@ms.step(memory_mb={limit})
def ingested(folder: str):
    return ingest(folder + "/*.parquet", to="events").version

@ms.step(memory_mb={limit})
def checked(events):
    checks = [check.not_null("user"), check.between("amount", -100, 100), check.between("score", -100, 100),
              check.row_count(at_least=1), check.matches("place", "^p[0-9]+$")]
    report = validate(events, checks)
    report.raise_for_stop()
    return report.rows

@ms.step(memory_mb={limit})
@ms.sql("SELECT user, count(*) AS n, sum(amount) AS amount FROM events GROUP BY user ORDER BY user", memory_mb={limit} // 3)
def totals(events): ...

@ms.step(memory_mb={limit})
@ms.sql("SELECT * FROM events WHERE score > 0 ORDER BY id", memory_mb={limit} // 3, threads=1, result="lazy")
def positive(events): ...

@ms.step(memory_mb={limit})
def split(events, rows: int):
    parts = split_dataset(events, HashSplit("user"))
    return {{name: part.rows for name, part in parts.items()}}

@ms.pipeline
def main(folder: str):
    events = ingested(folder)
    return {{"rows": checked(events), "totals": totals(events), "positive": positive(events), "split": split(events, 1)}}
"""
RUN = """
import sys
from flow import main
result = main.run(folder=sys.argv[1])
result.raise_for_state()
for task in result.tasks:
    print(f"  {task.name:10} {task.wall_s or 0:8.1f} s   peak {(task.peak_bytes or 0) / 2**20:6.0f} MiB")
    if task.peak_bytes and task.peak_bytes > %d * 2**20:
        sys.exit(f"{task.name} took more than its limit")
"""


def write(folder: Path, files: int, rows: int) -> int:
    """Files of random numbers, which hardly compress; gives their bytes."""
    for number in range(files):
        random = np.random.default_rng(number)
        pl.DataFrame(
            {
                "id": np.arange(number * rows, (number + 1) * rows),
                "user": random.integers(0, 200_000, rows),
                **{name: random.normal(0, 5, rows) for name in ("amount", "score", "x", "y", "z")},
                "place": np.char.add("p", random.integers(0, 500, rows).astype(str)),
            }
        ).write_parquet(folder / f"{number:03}.parquet", compression="zstd", compression_level=1)
    return sum(file.stat().st_size for file in folder.iterdir())


def main() -> None:
    """Print each step's time and peak, and the ratio to copying the files."""
    small = "--small" in sys.argv
    files, rows = (2, 30_000) if small else (41, 2_200_000)
    with tempfile.TemporaryDirectory(dir=os.environ.get("TMPDIR")) as root:
        project, source, copied = Path(root, "project"), Path(root, "source"), Path(root, "copied")
        for folder in (project, source):
            folder.mkdir()
        size_bytes = write(source, files, rows)
        began = time.perf_counter()
        shutil.copytree(source, copied)
        floor = time.perf_counter() - began
        shutil.rmtree(copied)
        (project / "mainspring.toml").touch()
        (project / "flow.py").write_text(FLOW.format(limit=LIMIT_MB))
        print(f"{files * rows:,} rows in {size_bytes / 2**30:.2f} GiB of Parquet, {LIMIT_MB} MiB for each step")
        began = time.perf_counter()
        subprocess.run(
            [sys.executable, "-c", RUN % LIMIT_MB, str(source)], cwd=project, check=True,
            env=os.environ | {"PYTHONHASHSEED": "0", "PYTHONPATH": str(project)},
        )  # fmt: skip
        took = time.perf_counter() - began
        print(f"all {took:.1f} s, {took / floor:.1f} × copying the files ({floor:.2f} s)")


if __name__ == "__main__":
    main()
