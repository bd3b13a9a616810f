"""A dataset that is larger than what a job may take is predicted in little memory."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

MIB = 1 << 20
WIDTH = 60
# Rows are appended in pieces and predicted in a process of its own, which says how much memory that took at most.
PREDICT = """
import sys, numpy as np, polars as pl
from pathlib import Path
from mainspring.data import dataset
from mainspring.models import Field, Signature, register
from mainspring.runners.resources import ResourceMeter
from mainspring.serving.batch import predict_batch
from mainspring.workspace import Workspace, using
from sklearn.linear_model import LinearRegression
folder, pieces, width = Path(sys.argv[1]), int(sys.argv[2]), int(sys.argv[3])
random, names = np.random.default_rng(0), [f"x{n}" for n in range(width)]
with Workspace.open(folder) as workspace, using(workspace):
    for piece in range(pieces):
        dataset("rows").append(pl.DataFrame(random.random((65_536, width)), schema=names, orient="row"))
    few = random.random((100, width))
    model = LinearRegression().fit(few, few.sum(axis=1))
    register(model, "sums", signature=pl.DataFrame(few, schema=names, orient="row"))
    predict_batch("sums/1", pl.DataFrame(few, schema=names, orient="row"), to="few")
with Workspace.open(folder) as workspace, using(workspace), ResourceMeter() as meter:
    done = predict_batch("sums/1", "rows", to="answers")
    assert done.rows == 65_536 * pieces
print(meter.peak_memory_bytes)
"""


def peak_of(folder: Path, pieces: int) -> int:
    folder.mkdir()
    (folder / "mainspring.toml").touch()
    # The allocator of Polars gives back what is free after a while, which says nothing of what is held.
    variables = os.environ | {"MIMALLOC_PURGE_DELAY": "0", "_RJEM_MALLOC_CONF": "dirty_decay_ms:0,muzzy_decay_ms:0"}
    ran = subprocess.run(
        [sys.executable, "-c", PREDICT, str(folder), str(pieces), str(WIDTH)],
        capture_output=True,
        text=True,
        check=False,
        env=variables,
    )
    assert ran.returncode == 0, ran.stderr
    return int(ran.stdout)


@pytest.mark.journey
@pytest.mark.one_backend("how much is held at a time is the job's own")
@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="the peak can be set back on Linux only")
def test_memory_is_that_of_a_few_parts(tmp_path: Path) -> None:
    assert peak_of(tmp_path / "large", 20) < peak_of(tmp_path / "small", 2) + 450 * MIB  # 566 MB of rows more
