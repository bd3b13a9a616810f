"""Ctrl-C: once stops cleanly, twice kills; either way the run can be resumed."""

from __future__ import annotations

import signal
import subprocess
import time
from pathlib import Path

import pytest

from mainspring.runs import RunState, RunStore
from mainspring.testing.runners import DETACHED, POOL
from mainspring.testing.workspaces import Lab, states, task_of

FLOW = """
import os, time
from pathlib import Path

@ms.step
def first():
    return 1

@ms.step
def slow(n: int, marker: str):
    Path(marker).write_text(str(os.getpid()))
    BODY
    return n + 1

@ms.step
def last(n: int):
    return n + 1

@ms.pipeline
def main(marker: str):
    return last(slow(first(), marker))
"""
START = "from flow import main; main.run(marker={marker!r}, options={{'runner': {runner!r}}})"
WAITS = "while not Path(marker + '.go').exists(): time.sleep(0.01)"
STUBBORN = (
    "import signal\n    [signal.signal(s, signal.SIG_IGN) for s in (signal.SIGTERM,)]\n    try:\n"
    "        Path(marker + '.armed').touch()\n        time.sleep(60)\n"
    "    except KeyboardInterrupt:\n        Path(marker + '.deaf').touch()\n        time.sleep(60)"
)


def started(lab: Lab, runner: str, body: str) -> tuple[subprocess.Popen[str], Path]:
    """A process whose run is in the middle of its slow step."""
    marker = lab.root.parent / "marker"
    lab.write(FLOW.replace("BODY", body))
    process = lab.start(START.format(marker=str(marker), runner=runner))
    until = time.monotonic() + 30
    while not (marker.exists() and marker.read_text()):
        assert process.poll() is None, process.communicate()
        assert time.monotonic() < until
        time.sleep(0.01)
    return process, marker


def wait_for(file: Path, process: subprocess.Popen[str]) -> None:
    until = time.monotonic() + 30
    while not file.exists():
        assert process.poll() is None, process.communicate()
        assert time.monotonic() < until
        time.sleep(0.01)


def is_gone(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_bytes().rpartition(b")")[2].split()[0] == b"Z"
    except OSError:
        return True


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
@pytest.mark.parametrize("runner", ["inline", POOL, DETACHED])
def test_one_interrupt_stops_cleanly_and_resume_goes_on(lab: Lab, runner: str, number: signal.Signals) -> None:
    process, marker = started(lab, runner, WAITS)
    process.send_signal(number)
    _, err = process.communicate(timeout=20)
    assert process.returncode == 1, err
    run = RunStore(lab.workspace.database).get("latest")
    assert run.state is RunState.CANCELLED
    query = lab.workspace.database.query
    assert dict(query("SELECT name, state FROM task")) == {
        "first": "succeeded",
        "slow": "cancelled",
        "last": "cancelled",
    }
    assert query("SELECT state, kind FROM attempt WHERE state != 'succeeded'") == [("cancelled", "cancelled")]
    assert query("SELECT name FROM lease WHERE expires_at > 0") == []
    assert is_gone(int(marker.read_text()))
    marker.with_name("marker.go").touch()
    again = lab.resume(run.id, runner=runner)
    assert again.value == 3
    assert [len(again._store.attempts(task.id)) for task in again.tasks] == [1, 2, 1]


@pytest.mark.one_backend("what a signal does is not the store's affair")
@pytest.mark.parametrize("runner", ["inline", POOL, DETACHED])
def test_a_second_interrupt_ends_the_process_at_once_and_resume_goes_on(lab: Lab, runner: str) -> None:
    body = STUBBORN if runner == "inline" else WAITS
    process, marker = started(
        lab, runner, f"if not Path(marker + '.go').exists():\n        {body.replace(chr(10), chr(10) + '    ')}"
    )
    if runner == "inline":
        wait_for(marker.with_name("marker.armed"), process)  # from here on the step outlives the first one
    process.send_signal(signal.SIGINT)
    if runner == "inline":
        wait_for(marker.with_name("marker.deaf"), process)
    process.send_signal(signal.SIGINT)
    process.communicate(timeout=30)
    assert process.returncode in ((130,) if runner == "inline" else (130, 1))
    until = time.monotonic() + 30
    while not is_gone(int(marker.read_text())):
        assert time.monotonic() < until
        time.sleep(0.01)
    marker.with_name("marker.go").touch()
    run = RunStore(lab.workspace.database).get("latest")
    assert lab.resume(run.id, runner=runner).value == 3


HAS_CHILD = (
    "import subprocess\n    child = subprocess.Popen(['sleep', '1000'])\n"
    "    Path(marker + '.child').write_text(str(child.pid))\n    while True:\n        time.sleep(0.01)"
)


@pytest.mark.one_backend("what a signal does is not the store's affair")
@pytest.mark.parametrize("interrupts", [1, 2])
@pytest.mark.parametrize("runner", [POOL, DETACHED])
def test_what_a_step_has_started_ends_with_its_run(lab: Lab, runner: str, interrupts: int) -> None:
    process, marker = started(lab, runner, HAS_CHILD)
    child = marker.with_name("marker.child")
    until = time.monotonic() + 30
    while not (child.exists() and child.read_text()):
        assert time.monotonic() < until
        time.sleep(0.01)
    for _ in range(interrupts):
        process.send_signal(signal.SIGINT)
    process.communicate(timeout=30)
    while not (is_gone(int(child.read_text())) and is_gone(int(marker.read_text()))):
        assert time.monotonic() < until
        time.sleep(0.01)


def test_a_run_that_was_killed_is_shown_as_interrupted(lab: Lab) -> None:
    process, _ = started(lab, "inline", WAITS)
    store = RunStore(lab.workspace.database)
    run = store.get("latest")
    assert store.shown_state(run, lab.workspace.leases) is RunState.RUNNING
    process.kill()
    process.communicate()
    assert store.shown_state(run, lab.workspace.leases) is RunState.INTERRUPTED


@pytest.mark.one_backend("how an error is taken is decided before it is stored")
@pytest.mark.parametrize("runner", ["inline", POOL])
def test_an_interrupt_that_a_step_raises_itself_is_its_failure_alone(lab: Lab, runner: str) -> None:
    lab.write(
        """
        @ms.step(may_fail=True)
        def stops():
            raise KeyboardInterrupt

        @ms.step
        def goes():
            return 1

        @ms.pipeline
        def main():
            return {"stops": stops(), "goes": goes()}
        """
    )
    result = lab.run(runner=runner)
    assert result.succeeded
    assert states(result) == {"stops": "failed", "goes": "succeeded"}
    assert task_of(result, "stops").error == "KeyboardInterrupt"
