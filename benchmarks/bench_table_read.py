"""Reading a version against Polars' bare read of the same Parquet file, and after many small appends.

Budget: at most 1.2 times the read. The first read of a process also verifies the parts. `--small` runs it once, briefly.
"""

from __future__ import annotations

import sys
import tempfile
from pathlib import Path

from bench_table_commit import made, seconds

from mainspring.data import dataset
from mainspring.workspace import Workspace, using


def main() -> None:
    """Print the ratios."""
    small = "--small" in sys.argv
    rows, rounds, appends = (50_000, 2, 20) if small else (10_000_000, 5, 1_000)
    with tempfile.TemporaryDirectory() as folder, Workspace.open(Path(folder)) as workspace, using(workspace):
        frame, path = made(rows, 1), Path(folder) / "bare.parquet"
        frame.write_parquet(path)
        version = dataset("flights").commit(frame)
        import polars as pl

        bare = [seconds(lambda: pl.read_parquet(path)) for _ in range(rounds)]
        ours = [seconds(version.to_polars) for _ in range(rounds)]
        print(f"first read of {rows:,} rows, verified: {ours[0]:.2f} s, {ours[0] / min(bare):.2f} x the bare read")
        print(f"later reads: {min(ours):.2f} s, {min(ours) / min(bare):.2f} x the bare read (budget 1.2)")
        own, one = dataset("rows"), frame[:1]
        many = [own.append(one) for _ in range(appends)][-1]
        many.to_polars()
        scattered = min(seconds(many.to_polars) for _ in range(rounds))
        files = [workspace.blobs.path(part.blob) for part in _parts(workspace, many.manifest)]
        floor = min(seconds(lambda: pl.read_parquet(files)) for _ in range(rounds))
        print(
            f"after {appends:,} appends: {scattered * 1e3:.1f} ms, {scattered / floor:.2f} x Polars' read of the parts"
        )


def _parts(workspace: Workspace, manifest: str) -> tuple[object, ...]:
    from mainspring.data.tables.manifest import read_listing

    return read_listing(workspace.blobs, manifest).parts


if __name__ == "__main__":
    main()
