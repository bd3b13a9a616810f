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
# A step that is stopped and goes on late writes what nobody else has, as it names its process.
WRITER = """
import os, time
from dataclasses import dataclass
from pathlib import Path

import polars as pl
from mainspring.data.retention import remove_version
from mainspring.data import HashSplit, split_dataset
from mainspring.errors import LeaseLostError
from mainspring.evaluation import approve
from mainspring.models import (
    Field, Signature, create_model, delete_alias, extend_card, register, set_alias, set_stage, set_version_tags,
)
from mainspring.serving import bind

@dataclass
class Constant:
    n: int

    def predict(self, rows):
        return rows[:, 0] * 0 + self.n

def registered():
    return register(Constant(os.getpid()), "delay", signature=Signature((Field("x", "f64"),)), input_kind="numpy")

def logged_run():
    with ms.start_run(str(os.getpid())) as run:
        run.log_param("n", os.getpid())
        run.log_metric("n", os.getpid())

def objective(x: float):
    return x

def tuned():
    ms.tune(objective, name=f"s{os.getpid()}", space={"x": ms.floats(0.0, 1.0)}, direction="minimize", trials=1)

def frame(n=None):
    return pl.DataFrame({"n": [n or os.getpid()]})

WRITES = {
    "commit": lambda: ms.dataset("frames").commit(frame()),
    "append": lambda: ms.dataset("frames").append(frame()),
    "confirmation": lambda: ms.dataset("constant").commit(frame(1)),
    "tag": lambda: ms.dataset("constant").tag("latest", f"p{os.getpid()}"),
    "look-up": lambda: ms.dataset("constant", as_of="latest").to_polars(),
    "removal": lambda: remove_version("frames/1", force=True),
    "split": lambda: split_dataset(ms.dataset("frames").latest(), HashSplit("n")),
    "version": registered,
    "alias": lambda: set_alias("delay/1", f"a{os.getpid()}"),
    "alias removed": lambda: delete_alias("delay", "a1"),
    "stage": lambda: set_stage("delay/1", "Staging", note=str(os.getpid())),
    "tags": lambda: set_version_tags("delay/1", {"by": str(os.getpid())}),
    "card": lambda: extend_card("delay/1", "Made by", str(os.getpid())),
    "model": lambda: create_model(f"m{os.getpid()}"),
    "approval": lambda: approve("delay/1", role="owner", comment=str(os.getpid())),
    "endpoint": lambda: bind(f"e{os.getpid()}", f"delay@e{os.getpid()}", version="delay/1"),
    "checkpoint": lambda: ms.checkpoints().save([os.getpid()], step=1),
    "run": logged_run,
    "study": tuned,
}

@ms.step
def writes(marker: str):
    Path(marker).write_text(f"{os.getpid()} {os.getppid()}")
    while not Path(marker + ".go").exists():
        time.sleep(0.01)
    told = {}
    for name, write in WRITES.items():
        try:
            write()
            told[name] = "written"
        except LeaseLostError:
            told[name] = "refused"
        except Exception as error:
            told[name] = repr(error)
    Path(f"{marker}.{os.getpid()}").write_text("\\n".join(f"{name}: {what}" for name, what in told.items()))
    ms.log_metric("n", os.getpid())
    ms.log_param("n", os.getpid())

@ms.pipeline
def main(marker: str):
    return writes(marker)
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


def lapsed_run(lab: Lab) -> str:
    """The one run there is, once nobody holds its lease any more."""
    (run,) = [str(row[0]) for row in lab.workspace.database.query("SELECT id FROM run")]
    until = time.monotonic() + 120  # a busy machine takes long to start a process
    while lab.workspace.leases.held(f"run:{run}"):
        assert time.monotonic() < until
        time.sleep(0.02)
    return run


@pytest.mark.parametrize("runner", ["inline", "pool"])
def test_a_stopped_engine_is_refused_when_it_goes_on(lab: Lab, runner: str) -> None:
    marker = lab.root.parent / "marker"
    lab.write(FLOW)
    process = lab.start(ENGINE.format(marker=str(marker), runner=runner), MAINSPRING_LEASE_S=str(TTL_S))
    worker = wait_for(marker, process)[0]
    stopped = {process.pid, worker}
    for pid in stopped:
        os.kill(pid, signal.SIGSTOP)
    run = lapsed_run(lab)
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


def test_nothing_that_a_stopped_step_writes_when_it_goes_on_is_kept(lab: Lab) -> None:
    marker = lab.root.parent / "marker"
    lab.write(WRITER)
    process = lab.start(ENGINE.format(marker=str(marker), runner="inline"), MAINSPRING_LEASE_S=str(TTL_S))
    wait_for(marker, process)
    os.kill(process.pid, signal.SIGSTOP)
    run = lapsed_run(lab)
    marker.with_name("marker.go").touch()
    lab.resume(run)
    written = outcomes(marker, os.getpid())
    assert {name: what for name, what in written.items() if what != "written"} == {}
    before = whole_record(lab)
    os.kill(process.pid, signal.SIGCONT)
    out, err = process.communicate(timeout=60)
    assert out.startswith("refused: The lease"), (out, err)
    assert outcomes(marker, process.pid) == dict.fromkeys(written, "refused")
    assert whole_record(lab) == before


def outcomes(marker: Path, pid: int) -> dict[str, str]:
    """What became of each write of the step, in that process."""
    lines = marker.with_name(f"{marker.name}.{pid}").read_text().splitlines()
    return {name: what for name, _, what in (line.partition(": ") for line in lines)}


def whole_record(lab: Lab) -> dict[str, list[object]]:
    """Every row of the workspace's databases but the leases, of which a process that goes on lets its own run out."""
    return {
        f"{table} in {database.place}": sorted(database.query(f"SELECT * FROM {table}"), key=repr)
        for database in (lab.workspace.database, lab.workspace.metrics)
        for table in sorted(database._driver.tables() - {"lease"})
    }


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
