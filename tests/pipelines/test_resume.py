"""Resume: the same run with new attempts of what is not done, on the code that it recorded."""

from __future__ import annotations

import pytest

from mainspring.errors import ConflictError, NotFoundError
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
