"""What is larger than memory is joined in little of it."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import polars as pl
import pytest

from mainspring.features.history import join_partitioned

MIB = 1 << 20
WIDTH = 128  # of an embedding of 32-bit floats, so that a row of the history takes about 540 bytes
# Rows are written in pieces, joined, and read back in a process of its own, which says how much memory it took at most.
JOIN = """
import sys, numpy as np, polars as pl
from pathlib import Path
from mainspring.features.history import join_partitioned
from mainspring.runners.resources import ResourceMeter
folder, pieces, width = Path(sys.argv[1]), int(sys.argv[2]), int(sys.argv[3])
random = np.random.default_rng(0)
for piece in range(pieces):
    frame = pl.DataFrame({"k": random.integers(0, 5_000, 20_000), "ts": random.integers(0, 10**9, 20_000)})
    frame = frame.with_columns(pl.col("ts").cast(pl.Datetime("us")))
    frame.select("k", at="ts").write_parquet(folder / f"rows-{piece:04}.parquet")
    values = random.random((20_000, width), dtype=np.float32)
    frame = frame.with_columns(v=pl.Series(values, dtype=pl.Array(pl.Float32, width)))
    frame.write_parquet(folder / f"history-{piece:04}.parquet")
    del values, frame
class Files:
    rows = 20_000 * pieces
    def __init__(self, name):
        self.paths = sorted(folder.glob(f"{name}-*.parquet"))
    def scan(self):
        return pl.scan_parquet(self.paths)
    def batches(self, rows=None, /):
        return map(pl.read_parquet, self.paths)
with ResourceMeter() as meter:
    rows, history = (Files(name) for name in ("rows", "history"))
    with join_partitioned(
        rows, history, keys={"k": "k"}, at="at", event_time="ts", columns=["v"],
        partitions=max(6, pieces // 12)
    ) as joined:
        found = sum(batch.columns["v"].is_not_null().sum() for batch in joined.batches())
        assert found == joined.report.found == joined.rows == 20_000 * pieces
print(meter.peak_memory_bytes)
"""


def peak_of(folder: Path, pieces: int) -> int:
    ran = subprocess.run(
        [sys.executable, "-c", JOIN, str(folder), str(pieces), str(WIDTH)], capture_output=True, text=True, check=False
    )
    assert ran.returncode == 0, ran.stderr
    return int(ran.stdout)


@pytest.mark.journey
@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="the peak can be set back on Linux only")
def test_memory_is_that_of_a_few_parts(tmp_path: Path) -> None:
    assert peak_of(tmp_path, 12) < 300 * MIB  # 123 MB of values, twice: read and given


@pytest.mark.soak
@pytest.mark.timeout(3_600)
def test_two_gigabytes_are_joined_in_less_than_one(tmp_path: Path) -> None:
    assert peak_of(tmp_path, 200) < 1024 * MIB


def test_nothing_is_left_on_disk(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    frame = pl.LazyFrame({"k": [1], "t": [0]}).with_columns(pl.col("t").cast(pl.Datetime("us")))
    with join_partitioned(frame, frame, keys={"k": "k"}, at="t", event_time="t", columns=["k"]) as joined:
        assert [batch.columns["k"].to_list() for batch in joined.batches()] == [[1]] * 1
        assert list(tmp_path.iterdir())
    assert not list(tmp_path.iterdir())
