"""What a step printed whose driver was killed: it stays with its attempt, whatever goes on or tidies up afterwards."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import pytest

from mainspring.pipelines.printed import unkept
from mainspring.pipelines.progress import Listener
from mainspring.pipelines.task import Attempt
from mainspring.runs import RunStore
from mainspring.store.scratch import Scratch
from mainspring.testing.workspaces import Lab
from mainspring.workspace import collect

FLOW = """
import os, time
from pathlib import Path

@ms.step(retries=1, backoff_s=0)
def work(marker: str):
    if Path(marker).exists():
        print("again")
        return 1
    print("kept")
    Path(marker + ".new").write_text(f"{os.getpid()} {os.getppid()}")
    os.rename(marker + ".new", marker)
    time.sleep(600)

@ms.pipeline
def main(marker: str):
    return work(marker)
"""


def soon(found: Callable[[], bool]) -> None:
    until = time.monotonic() + 60
    while not found():
        assert time.monotonic() < until
        time.sleep(0.01)


def killed(lab: Lab, runner: str, flow: str = FLOW) -> str:
    """Run it in a process that is killed once the step has printed; gives the run."""
    with started(lab, runner, flow) as engine:
        engine.send_signal(signal.SIGKILL)
    (run,) = RunStore(lab.workspace.database, lab.workspace.ledger).list(limit=1)
    return run.id


def workers(lab: Lab) -> list[int]:
    """The process that the step is in and the one that started that, a detached worker."""
    return [int(pid) for pid in (lab.root.parent / "marker").read_text().split()]


@contextmanager
def started(lab: Lab, runner: str, flow: str = FLOW) -> Iterator[subprocess.Popen[bytes]]:
    """A process that runs it, once the step has printed."""
    lab.write(flow)
    marker = lab.root.parent / "marker"
    told = lab.root.parent / "told"
    with told.open("wb") as stderr, subprocess.Popen(
        [sys.executable, "-c", f"from flow import main; main.run(marker={str(marker)!r}, options={{'runner': {runner!r}}})"],
        cwd=lab.root, env=lab.environment(MAINSPRING_LEASE_S="3"), stdout=subprocess.DEVNULL, stderr=stderr,
    ) as engine:  # fmt: skip  # no pipes: a detached worker lives on and holds them
        try:
            soon(lambda: marker.exists() or engine.poll() is not None)
            assert engine.poll() is None
            yield engine
        finally:
            engine.send_signal(signal.SIGKILL)


def attempts(lab: Lab, run: str) -> list[Attempt]:
    from mainspring.pipelines._store import TaskStore

    store = TaskStore(lab.workspace.database, lab.workspace.ledger, lab.workspace.leases)
    (task,) = store.of_run(run)
    return store.attempts(task.id)


def printed(lab: Lab, attempt: Attempt) -> str | None:
    return lab.workspace.blobs.read(attempt.log).decode() if attempt.log else None


@pytest.mark.parametrize("runner", ["inline", "pool", "detached"])
def test_what_a_killed_attempt_printed_stays_when_the_run_goes_on(lab: Lab, runner: str) -> None:
    run = killed(lab, runner)
    assert lab.resume(run, runner="inline").succeeded
    soon(lambda: attempts(lab, run)[0].log is not None)  # a detached worker that lived on hands it in
    assert [(each.state, printed(lab, each)) for each in attempts(lab, run)] == [
        ("lost", "kept\n"), ("succeeded", "again\n"),
    ]  # fmt: skip
    assert not (lab.workspace.scratch / run).exists()


@pytest.mark.one_backend("where the files of a run are is not the backends' affair")
@pytest.mark.parametrize("here", [True, False])
def test_a_resume_where_the_scratch_is_not_says_so(lab: Lab, here: bool) -> None:
    notes: list[str] = []

    class Notes(Listener):
        def noted(self, line: str) -> None:
            notes.append(line)

    run = killed(lab, "inline")
    lab.workspace.scratch.rename(lab.root.parent / "elsewhere")
    if not here:
        with lab.workspace.database.transaction() as tx:
            tx.execute("UPDATE attempt SET worker = 'another:boot:1:1'")
    assert lab.resume(run, listener=Notes()).succeeded
    first, _ = attempts(lab, run)
    place = "its folder on this machine is gone" if here else "it ran on `another`"
    assert (first.log, first.message) == (None, f"its process is gone, and what it printed is not here: {place}")
    assert notes == [f"what a step that was under way had printed is not here: {place}"]


@pytest.mark.one_backend("processes apart are held to PostgreSQL, as on many", name="postgres")
@pytest.mark.parametrize("how", [signal.SIGKILL, signal.SIGSTOP])
def test_what_a_detached_worker_printed_stays_if_it_is_killed_or_falls_silent(lab: Lab, how: signal.Signals) -> None:
    # On a machine with too much to do an attempt that nobody stopped may be silent for longer than its lease, too.
    with started(lab, "detached", FLOW.replace("retries=1", "retries=9")) as engine:
        for pid in reversed(workers(lab)):
            os.kill(pid, how)
        assert engine.wait(120) == 0, (lab.root.parent / "told").read_text()
    (run,) = RunStore(lab.workspace.database, lab.workspace.ledger).list(limit=1)
    for pid in workers(lab):
        with suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)
    first, *starved, last = attempts(lab, run.id)
    assert {(each.state, each.kind) for each in starved} <= {("failed", "lost")}
    assert [(each.state, printed(lab, each)) for each in (first, last)] == [
        ("failed", "kept\n"), ("succeeded", "again\n"),
    ]  # fmt: skip
    assert (first.kind, first.wall_s, last.wall_s is None) == ("lost", None, False)


@pytest.mark.one_backend("where the files of a run are is not the backends' affair")
def test_that_an_attempt_printed_nothing_is_known_once_the_collector_removed_its_folder(lab: Lab) -> None:
    run = killed(lab, "pool", FLOW.replace('print("kept")', "pass"))
    collect(lab.workspace, grace_s=3600)
    assert not (lab.workspace.scratch / run).exists()
    assert lab.resume(run).succeeded
    assert [(each.message, printed(lab, each)) for each in attempts(lab, run)] == [
        ("its process is gone", ""), (None, "again\n"),
    ]  # fmt: skip


@pytest.mark.one_backend("where the files of a run are is not the backends' affair")
@pytest.mark.parametrize("by", ["resume", "gc"])
def test_what_a_detached_worker_printed_outlives_it_and_its_run(
    lab: Lab, by: str, tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch
) -> None:
    temporary = tmp_path_factory.mktemp("tmp")
    monkeypatch.setenv("TMPDIR", str(temporary))
    monkeypatch.setattr(tempfile, "tempdir", None)
    run = killed(lab, "detached")
    for pid in reversed(workers(lab)):
        os.kill(pid, signal.SIGKILL)
    soon(lambda: not lab.workspace.leases.held(f"run:{run}"))
    Scratch().close()  # takes away what nobody needs
    (folder,) = unkept(lab.workspace, run)
    assert folder.is_relative_to(temporary)
    if by == "gc":
        collect(lab.workspace, grace_s=0)
        assert unkept(lab.workspace, run) == []
        assert not folder.exists()
    assert lab.resume(run, runner="inline").succeeded
    assert [printed(lab, each) for each in attempts(lab, run)] == ["kept\n", "again\n"]
    assert not folder.exists()


@pytest.mark.one_backend("where the files of a run are is not the backends' affair")
@pytest.mark.parametrize("grace_s", [0, 3600])
def test_the_collector_keeps_what_an_interrupted_run_printed(lab: Lab, grace_s: float) -> None:
    run = killed(lab, "pool")
    folder = lab.workspace.scratch / run
    collect(lab.workspace, grace_s=grace_s)
    assert [path.name for path in folder.glob("*.raw")] == []
    assert folder.exists() == bool(grace_s)
    (open_,) = attempts(lab, run)
    assert (open_.state, printed(lab, open_)) == ("running", "kept\n")
    assert lab.resume(run).succeeded
    assert [printed(lab, each) for each in attempts(lab, run)] == ["kept\n", "again\n"]


@pytest.mark.one_backend("where the files of a run are is not the backends' affair")
def test_a_failure_of_the_engine_itself_keeps_what_its_steps_had_printed(
    lab: Lab, monkeypatch: pytest.MonkeyPatch
) -> None:
    from mainspring.pipelines import execution

    def broken(*_: object, **__: object) -> None:
        raise RuntimeError("the engine")

    monkeypatch.setattr(execution, "_record_success", broken)
    monkeypatch.setattr(execution, "_record_failure", broken)
    marker = Path(lab.root.parent / "marker")
    marker.touch()
    with pytest.raises(RuntimeError, match="the engine"):
        lab.write_and_run(FLOW, params={"marker": str(marker)}, runner="inline")
    (run,) = RunStore(lab.workspace.database, lab.workspace.ledger).list(limit=1)
    (ended,) = attempts(lab, run.id)
    assert (ended.state, printed(lab, ended)) == ("cancelled", "again\n")
