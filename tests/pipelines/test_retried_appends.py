"""A step that appends to a dataset leaves the same rows however often it was killed or failed on the way."""

from __future__ import annotations

import random
import signal
from pathlib import Path

import pytest

from mainspring.data import dataset
from mainspring.pipelines import replay_run
from mainspring.testing.workspaces import Lab, digests
from mainspring.workspace import using
from tests.pipelines.lives import seed_of

APPENDS = 12
FLOW = f"""
import os, signal, threading
from pathlib import Path

import polars as pl

@ms.step
def frames(kill_after: str):
    delay_s = float(Path(kill_after).read_text())
    ms.dataset("first").commit(pl.DataFrame({{"n": [1]}}))  # which imports what the others need
    if delay_s:
        timer = threading.Timer(delay_s, os.kill, (os.getpid(), signal.SIGKILL))
        timer.daemon = True
        timer.start()
    for number in range({APPENDS}):
        ms.dataset("frames").append(pl.DataFrame({{"n": [number // 2] * 3}}))
    while delay_s:
        timer.join()
    return ms.dataset("frames").latest()

@ms.pipeline
def main(kill_after: str):
    return frames(kill_after)
"""
RUN = "from flow import main; from mainspring.pipelines import run_pipeline; run_pipeline(main, {{'kill_after': {!r}}})"
RESUME = "from mainspring.pipelines import resume_run; resume_run('latest')"
FAILING = """
from pathlib import Path

import polars as pl

@ms.step(retries=3, backoff_s=0)
def flaky(n: int, folder: str):
    tries = Path(folder, str(n))
    ms.dataset("frames").append(pl.DataFrame({"n": [n] * 4}), source="https://example.org/frames")
    tries.write_text(tries.read_text() + "." if tries.exists() else ".")
    version = ms.dataset("frames").append(pl.DataFrame({"n": [n]}))
    if len(tries.read_text()) < 3:
        raise RuntimeError("again")
    return version

@ms.pipeline
def main(folder: str):
    return flaky.map([1, 2, 2], folder=folder)
"""


def frames(lab: Lab) -> list[int]:
    with using(lab.workspace):
        return list(dataset("frames").to_polars()["n"])


@pytest.mark.parametrize("runner", ["inline", "pool"])
def test_rows_are_appended_once_by_retries(lab: Lab, runner: str, tmp_path: Path) -> None:
    result = lab.write_and_run(FAILING, params={"folder": str(tmp_path)}, runner=runner)
    assert result.succeeded
    assert sorted(frames(lab)) == [1] * 5 + [2] * 10
    version = dataset("frames", lab.workspace).latest()
    ledger = lab.workspace.ledger
    makers = [edge.dst for edge in ledger.edges([version.id]) if edge.role == "made_by"]
    assert {ledger.get_node(each).kind for each in makers} == {"task"}
    replayed = replay_run(result.run.id, workspace=lab.workspace)
    assert replayed.verdict == "VERIFIED"
    assert dataset("frames", lab.workspace).latest() == version


def test_rows_are_appended_once_by_a_run_that_is_killed_at_any_instant(lab: Lab, tmp_path: Path) -> None:
    draw, path = random.Random(seed_of("appends")), tmp_path / "kill_after"
    lab.write(FLOW)
    code = RUN
    for _ in range(3):
        path.write_text(str(draw.uniform(0.001, 0.15)))
        process = lab.start(code.format(str(path)), MAINSPRING_LEASE_S="15")
        _, err = process.communicate(timeout=60)
        assert process.returncode == -signal.SIGKILL, err
        code = RESUME
    path.write_text("0")
    killed = lab.resume("latest")
    assert frames(lab) == [number // 2 for number in range(APPENDS) for _ in range(3)]
    with using(lab.workspace):
        dataset("frames").commit(dataset("frames").to_polars().clear())
    assert digests(lab.run(params={"kill_after": str(path)}, reuse=False)) == digests(killed)
