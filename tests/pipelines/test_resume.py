"""Resume: the same run with new attempts of what is not done, on the code that it recorded."""

from __future__ import annotations

import os

import pytest

from mainspring.errors import ConflictError, NotFoundError
from mainspring.pipelines.progress import Listener
from mainspring.testing.workspaces import Lab, states, task_of

FLOW = """
from pathlib import Path

@ms.step
def first():
    return 1

@ms.step
def second(n: int, marker: str):
    if not Path(marker).exists():
        raise RuntimeError("not yet")
    return n + 1

@ms.step
def third(n: int):
    return n + 1

@ms.pipeline
def main(marker: str):
    return third(second(first(), marker))
"""


@pytest.fixture
def failed(lab: Lab) -> tuple[Lab, str]:
    lab.write(FLOW)
    marker = lab.root.parent / "marker"
    result = lab.run(params={"marker": str(marker)})
    assert states(result) == {"first": "succeeded", "second": "failed", "third": "skipped"}
    marker.touch()
    return lab, result.id


def test_a_failed_run_goes_on_where_it_failed(failed: tuple[Lab, str]) -> None:
    lab, run = failed
    again = lab.resume(run)
    assert again.id == run
    assert again.value == 3
    assert again.run.error is None
    assert [len(again._store.attempts(task.id)) for task in again.tasks] == [1, 2, 1]
    kinds = [event.kind for event in lab.workspace.ledger.events(subject=run)]
    assert kinds == ["run.started", "run.failed", "run.resumed", "run.succeeded"]


def test_it_runs_the_recorded_code_though_the_sources_have_changed(failed: tuple[Lab, str]) -> None:
    lab, run = failed
    lab.write(FLOW.replace("return n + 1", "return -100"))
    again = lab.resume(run)
    assert again.value == 3
    assert [each.runner for each in again._store.attempts(task_of(again, "second").id)] == ["inline", "pool"]


def test_the_files_that_have_changed_are_named(failed: tuple[Lab, str]) -> None:
    lab, run = failed
    notes: list[str] = []

    class Notes(Listener):
        def noted(self, line: str) -> None:
            notes.append(line)

    lab.write(FLOW.replace("return n + 1", "return -100"))
    (lab.root.parent / "marker").unlink()
    assert not lab.resume(run, listener=Notes()).succeeded
    (note,) = notes
    assert note.startswith(f"the recorded code of run {run[:12]} is used: flow.py changed since; `mainspring run flow:")
    notes.clear()
    lab.write(FLOW)
    (lab.root.parent / "marker").touch()
    assert lab.resume(run, listener=Notes()).succeeded
    assert notes == []


def test_a_run_that_was_told_not_to_reuse_takes_its_own_results_only(lab: Lab) -> None:
    marker = lab.root.parent / "marker"
    lab.write(FLOW)
    failed = lab.run(params={"marker": str(marker)}, reuse=False)
    marker.touch()
    assert lab.run(params={"marker": str(marker)}).succeeded
    again = lab.resume(failed.id)
    assert states(again) == dict.fromkeys(("first", "second", "third"), "succeeded")
    assert [len(again._store.attempts(task.id)) for task in again.tasks] == [1, 2, 1]
    assert task_of(again, "third").reasons == ["this run was told not to reuse"]


def test_a_run_that_goes_on_names_the_process_that_drives_it(failed: tuple[Lab, str]) -> None:
    lab, run = failed
    lease = lab.workspace.leases.claim(f"run:{run}", f"{lab.workspace.owner}", 60)
    with pytest.raises(ConflictError, match=rf"Run {run[:12]} is running \(process {os.getpid()} here\)") as error:
        lab.resume(run)
    assert f"mainspring cancel {run[:12]}" in str(error.value)
    lab.workspace.leases.release(lease)
    lab.workspace.leases.claim(f"run:{run}", "far:boot:17:0", 60)
    with pytest.raises(ConflictError, match=r"\(process 17 on far\)"):
        lab.resume(run)


def test_what_another_run_made_meanwhile_is_taken(failed: tuple[Lab, str]) -> None:
    lab, run = failed
    other = lab.run(params={"marker": str(lab.root.parent / "marker")})
    assert other.succeeded
    again = lab.resume(run)
    assert states(again) == {"first": "succeeded", "second": "reused", "third": "reused"}


def test_a_run_that_succeeded_is_refused(lab: Lab) -> None:
    lab.write(FLOW)
    (lab.root.parent / "marker").touch()
    done = lab.run(params={"marker": str(lab.root.parent / "marker")})
    with pytest.raises(ConflictError, match="nothing to resume"):
        lab.resume(done.id)


def test_an_unknown_run_is_named(lab: Lab) -> None:
    lab.write(FLOW)
    with pytest.raises(NotFoundError, match="`abcdef`"):
        lab.resume("abcdef")


def test_a_run_whose_resume_is_refused_can_be_resumed_later(
    failed: tuple[Lab, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    lab, run = failed
    from mainspring.pipelines import launch

    def broken(*_: object) -> None:
        raise NotFoundError("blob", "code")

    with monkeypatch.context() as patched:
        patched.setattr(launch, "_functions", broken)
        with pytest.raises(NotFoundError):
            lab.resume(run)
    assert lab.resume(run).value == 3


def test_a_script_is_not_resumed(lab: Lab) -> None:
    from mainspring.runs import start_run

    with start_run("trial", workspace=lab.workspace) as run:
        pass
    lab.write(FLOW)
    with pytest.raises(ConflictError, match="only runs of pipelines"):
        lab.resume(run.id)
