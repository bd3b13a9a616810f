"""Machines and processes that compact the same segments at once, and are killed at any instant: nothing is lost or doubled."""

from __future__ import annotations

import random
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import polars as pl
import pytest
from sklearn.linear_model import LinearRegression

from mainspring.models import register
from mainspring.serving import bind, get_endpoint
from mainspring.serving.predictions import (
    Entry,
    PredictionLog,
    Source,
    compact_predictions,
    find_prediction,
    scan_predictions,
)
from mainspring.serving.predictions.ids import ids_from
from mainspring.serving.predictions.log import predictions_folder
from mainspring.store import list_segments
from mainspring.workspace import Workspace, using

COMPACTS = """
import sys
import time
from contextlib import suppress
from pathlib import Path
from mainspring.errors import ConflictError
from mainspring.store import lease
from mainspring.serving.predictions import compact_predictions
from mainspring.workspace import Workspace

lease._host = lambda: sys.argv[2]
with Workspace.open(Path(sys.argv[1])) as workspace:
    print("here", flush=True)
    while True:
        with suppress(ConflictError):
            compact_predictions(workspace)
        time.sleep(0.005)
"""


def compacting(folder: Path, host: str) -> subprocess.Popen[str]:
    """A process of a machine that compacts again and again."""
    command = [sys.executable, "-c", COMPACTS, str(folder), host]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    assert process.stdout is not None
    assert process.stdout.readline() == "here\n", process.communicate()[1]
    return process


@pytest.mark.one_backend("the processes are given a folder")
@pytest.mark.parametrize("rounds", [2, pytest.param(40, marks=pytest.mark.soak)])
def test_nothing_is_lost_or_doubled_however_many_compact_and_are_killed(tmp_path: Path, rounds: int) -> None:
    seed = random.randrange(2**32)
    chance = random.Random(seed)
    (tmp_path / "mainspring.toml").write_text('name = "together"\n')
    ids: list[str] = []
    with Workspace.open(tmp_path) as workspace, using(workspace):
        model = LinearRegression().fit(np.array([[0.0], [1.0]]), [0.0, 2.0])
        register(model, "line", input_example=pl.DataFrame({"x": [1.0]}))
        bind("lines", "line@production", version="line/1")
        source = Source(get_endpoint("lines"))
        log = PredictionLog(predictions_folder(workspace))
        for _ in range(rounds):
            processes = [compacting(tmp_path, host) for host in ("one", "one", "two")]
            until = time.monotonic() + chance.uniform(0.3, 1.5)
            while time.monotonic() < until:
                entry = Entry("", "", 0.0, {"x": [1.0, 2.0]}, 2)
                log.write(source, [(entry, [2.0, 4.0])])
                ids += ids_from(entry.first, 2)
                if chance.random() < 0.2:
                    log.rotate()
                    assert sorted(scan_predictions("lines").collect()["id"]) == ids, f"seed {seed}"
            for process in chance.sample(processes, 3):
                assert process.poll() is None, f"seed {seed}: {process.communicate()[1]}"
                process.kill()
                time.sleep(chance.random() * 0.05)
                process.communicate()
            assert sorted(scan_predictions("lines").collect()["id"]) == ids, f"seed {seed}"
        log.close()
        compact_predictions()
        assert list_segments(predictions_folder(workspace)) == []
        assert sorted(scan_predictions("lines").collect()["id"]) == ids, f"seed {seed}"
        assert find_prediction(ids[0]) is not None
