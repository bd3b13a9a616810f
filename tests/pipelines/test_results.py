"""What a run gives to whoever started it from Python: failures with the user's lines, what was printed, metrics."""

from __future__ import annotations

import traceback

import pytest

from mainspring.errors import StepError
from mainspring.pipelines.progress import Listener
from mainspring.runs import Metrics, RunStore
from mainspring.testing.runners import POOL
from mainspring.testing.workspaces import Lab, task_of
from mainspring.workspace import using

FLOW = """
@ms.step
def risky(n: int) -> float:
    print("dividing", n)
    ms.log_metric("n", n)
    ms.log_artifact("input", {"n": n})
    return 1 / n

@ms.pipeline
def main(n: int = 2):
    return risky(n)
"""


def failure(lab: Lab, runner: str) -> StepError:
    lab.write(FLOW)
    with using(lab.workspace), pytest.raises(StepError) as raised:
        lab.load().main.run(n=0, options={"workspace": lab.workspace, "runner": runner})
    return raised.value


def test_a_failure_here_is_chained_to_what_the_step_raised(lab: Lab) -> None:
    error = failure(lab, "inline")
    assert isinstance(error.__cause__, ZeroDivisionError)
    frames = traceback.extract_tb(error.__cause__.__traceback__)
    assert [(frame.name, frame.line) for frame in frames] == [("risky", "return 1 / n")]
    run = RunStore(lab.workspace.database).get("latest")
    assert error.__notes__ == [f"What it printed: mainspring logs {run.id[:12]} risky"]


def test_a_failure_in_a_worker_brings_its_traceback(lab: Lab) -> None:
    error = failure(lab, "pool")
    assert error.__cause__ is None
    assert "return 1 / n" in error.__notes__[0]
    assert error.__notes__[0].splitlines()[-1] == "ZeroDivisionError: division by zero"


def test_what_a_step_prints_is_shown_behind_its_name(lab: Lab, capsys: pytest.CaptureFixture[str]) -> None:
    lab.write(FLOW)
    lab.load().main.run(options={"workspace": lab.workspace})
    assert capsys.readouterr().out == "risky | dividing 2\n"
    lab.load().main.run(n=3, options={"workspace": lab.workspace, "listener": Listener()})
    assert capsys.readouterr().out == ""


def test_a_reused_step_has_the_metrics_and_artifacts_of_when_it_ran(lab: Lab) -> None:
    first, second = lab.write_and_run(FLOW), lab.run()
    assert task_of(second, "risky").state == "reused"
    assert first.metrics == second.metrics == {"n": 2.0}
    child = task_of(first, "risky").child_run or ""
    assert RunStore(lab.workspace.database).artifacts(child)["input"].preview.detail["text"] == "{'n': 2}"
    made = [
        edge.dst for edge in lab.workspace.ledger.edges([RunStore(lab.workspace.database).artifacts(child)["input"].id])
    ]
    assert made == [task_of(first, "risky").id]


def test_a_run_shows_how_many_tasks_it_has(lab: Lab) -> None:
    assert repr(lab.write_and_run(FLOW)).endswith("succeeded, 1 task>")


@pytest.mark.parametrize("runner", ["inline", POOL])
def test_points_of_a_long_step_are_written_while_it_runs(lab: Lab, runner: str) -> None:
    result = lab.write_and_run(
        """
        import threading, time
        from mainspring.runs import Metrics
        from mainspring.workspace import current_workspace

        def written():
            return Metrics(current_workspace().metrics).database.query("SELECT count(*) FROM metric")[0][0]

        @ms.step(retries=1, backoff_s=0.01)
        def train(epochs: int) -> int:
            before, until = written(), time.monotonic() + 30
            for epoch in range(epochs):
                ms.log_metric("loss", epoch, step=epoch)
            while written() == before and time.monotonic() < until:
                threading.Event().wait(0.01)
            if not before:
                raise RuntimeError(f"{written()} written, and it fails")
            return written() - before

        @ms.pipeline
        def main():
            return train(1_200)
        """,
        runner=runner,
    )
    assert result.value > 0
    (task,) = result.tasks
    metrics = Metrics(lab.workspace.metrics)
    run = RunStore(lab.workspace.database).get(task.child_run or "")
    assert [point.step for point in metrics.history(run.series, "loss")] == list(range(1_200))
    assert task.seen == []


def test_a_mapped_step_that_failed_as_a_whole_is_the_failure(lab: Lab) -> None:
    lab.write(f"{FLOW}\n@ms.pipeline\ndef mapped():\n    return risky.map(risky(2))\n")
    with using(lab.workspace), pytest.raises(StepError, match=r"Step `risky-2` failed .*list"):
        lab.load().mapped.run(options={"workspace": lab.workspace})
