"""A worker that was stopped, lost its lease and goes on: its late commit is refused."""

from __future__ import annotations

import os
import signal
import subprocess
import time
from pathlib import Path

import pytest

from mainspring.errors import ConflictError
from mainspring.testing.workspaces import Lab

FLOW = """
import os, time
from pathlib import Path

@ms.step
def slow(marker: str):
    Path(marker).write_text(f"{os.getpid()} {os.getppid()}")
    while not Path(marker + ".go").exists():
        time.sleep(0.01)
    return Path(marker).name

@ms.pipeline
def main(marker: str):
    return slow(marker)
"""
ENGINE = """
from flow import main
from mainspring.errors import LeaseLostError
from mainspring.pipelines import run_pipeline
try:
    print(run_pipeline(main, {{"marker": {marker!r}}}, runner={runner!r}))
except LeaseLostError as error:
    print("refused:", error)
"""
TTL_S = 0.6
WORKER_TTL_S = 3.0  # a busy machine lets a worker that starts renew nothing for a second


def wait_for(marker: Path, engine: subprocess.Popen[str]) -> list[int]:
    until = time.monotonic() + 120  # a busy machine takes long to start a process
    while not (marker.exists() and " " in marker.read_text()):
        assert engine.poll() is None, engine.communicate(timeout=5)
        assert time.monotonic() < until
        time.sleep(0.01)
    return [int(pid) for pid in marker.read_text().split()]


@pytest.mark.parametrize("runner", ["inline", "pool"])
def test_a_stopped_engine_is_refused_when_it_goes_on(lab: Lab, runner: str) -> None:
    marker = lab.root.parent / "marker"
    lab.write(FLOW)
    process = lab.start(ENGINE.format(marker=str(marker), runner=runner), MAINSPRING_LEASE_S=str(TTL_S))
    worker = wait_for(marker, process)[0]
    stopped = {process.pid, worker}
    for pid in stopped:
        os.kill(pid, signal.SIGSTOP)
    (run,) = [row[0] for row in lab.workspace.database.query("SELECT id FROM run")]
    until = time.monotonic() + 120  # a busy machine takes long to start a process
    while lab.workspace.leases.held(f"run:{run}"):
        assert time.monotonic() < until
        time.sleep(0.02)
    marker.with_name("marker.go").touch()
    taken = lab.resume(run)
    assert taken.value == "marker"
    before = everything(lab)
    for pid in stopped:
        os.kill(pid, signal.SIGCONT)
    out, err = process.communicate(timeout=20)
    assert out.startswith("refused: The lease"), (out, err)
    assert everything(lab) == before
    assert [each.state for each in taken._store.attempts(taken.tasks[0].id)] == ["lost", "succeeded"]


def test_a_stopped_detached_worker_is_refused_when_it_goes_on(lab: Lab) -> None:
    marker = lab.root.parent / "marker"
    lab.write(FLOW.replace("@ms.step\n", "@ms.step(retries=1, backoff_s=0)\n"))
    process = lab.start(ENGINE.format(marker=str(marker), runner="detached"), MAINSPRING_LEASE_S=str(WORKER_TTL_S))
    stopped = wait_for(marker, process)
    for pid in reversed(stopped):
        os.kill(pid, signal.SIGSTOP)
    marker.unlink()
    second = wait_for(marker, process)  # the engine saw the lease run out and gave the task out again
    assert second[0] != stopped[0]
    marker.with_name("marker.go").touch()
    process.wait(timeout=30)
    before = everything(lab)
    for pid in stopped:
        os.kill(pid, signal.SIGCONT)
    out, err = process.communicate(timeout=30)  # the stopped ones kept its pipes open
    assert "succeeded" in out, (out, err)
    until = time.monotonic() + 10
    while any(Path(f"/proc/{pid}").exists() for pid in stopped) and time.monotonic() < until:
        time.sleep(0.02)
    assert everything(lab) == before
    assert dict(lab.workspace.database.query("SELECT number, state FROM attempt")) == {1: "failed", 2: "succeeded"}


def everything(lab: Lab) -> dict[str, list[object]]:
    """The rows that a late commit would change."""
    query = lab.workspace.database.query
    tables = ("run", "task", "attempt", "artifact", "cache_entry", "event", "edge")
    return {table: sorted(query(f"SELECT * FROM {table}"), key=repr) for table in tables}


def test_a_run_that_somebody_drives_is_not_resumed(lab: Lab) -> None:
    marker = lab.root.parent / "marker"
    lab.write(FLOW)
    process = lab.start(ENGINE.format(marker=str(marker), runner="inline"))
    wait_for(marker, process)
    with pytest.raises(ConflictError, match="is running"):
        lab.resume("latest")
    marker.with_name("marker.go").touch()
    out, err = process.communicate(timeout=20)
    assert "succeeded" in out, err
    with pytest.raises(ConflictError, match="nothing to resume"):
        lab.resume("latest")
