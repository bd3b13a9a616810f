"""Retries, steps that may fail, and what goes on when one fails."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from mainspring.errors import StepError
from mainspring.ledger import current_scope
from mainspring.pipelines.progress import Listener
from mainspring.pipelines.task import Task
from mainspring.runs import Metrics, RunStore
from mainspring.testing.workspaces import Lab, states, task_of

# A counter outside the project, so that it changes nothing but the attempt.
FLOW = """
from pathlib import Path

@ms.step(retries=3, backoff_s=0.01)
def flaky(counter: str, good_at: int):
    counter = Path(counter)
    tries = int(counter.read_text() or 0) + 1
    counter.write_text(str(tries))
    ms.log_metric("tries", tries)
    print("try", tries)
    if tries < good_at:
        raise RuntimeError(f"try {tries}")
    return tries

@ms.pipeline
def main(counter: str, good_at: int = 3):
    return flaky(counter, good_at)
"""


class Waits(Listener):
    """Notes the waits between attempts."""

    def __init__(self) -> None:
        self.waits: list[float] = []

    def retrying(self, task: Task, wait_s: float) -> None:
        self.waits.append(wait_s)


@pytest.fixture
def counter(tmp_path: Path) -> str:
    path = tmp_path / "counter"
    path.write_text("")
    return str(path)


def attempts(result: Any, name: str) -> list[tuple[int, str, str | None]]:
    return [(each.number, each.state, each.kind) for each in result._store.attempts(task_of(result, name).id)]


def test_a_step_is_tried_again_with_waits_that_double(lab: Lab, counter: str) -> None:
    lab.write(FLOW)
    waits = Waits()
    result = lab.run(params={"counter": counter}, listener=waits)
    assert result.value == 3
    assert attempts(result, "flaky") == [(1, "failed", "error"), (2, "failed", "error"), (3, "succeeded", None)]
    assert waits.waits == [0.01, 0.02]
    assert result.log_of(result.tasks[0]) == "try 3\n"


def test_when_all_tries_fail_the_run_fails_with_the_last_error(lab: Lab, counter: str) -> None:
    lab.write(FLOW)
    result = lab.run(params={"counter": counter, "good_at": 9})
    assert [number for number, _, _ in attempts(result, "flaky")] == [1, 2, 3, 4]
    assert result.run.state.value == "failed"
    assert "flaky: RuntimeError: try 4" in (result.run.error or "")
    with pytest.raises(StepError, match=r"`flaky` failed \(error, attempt 4\): RuntimeError: try 4"):
        result.output()
    log = result.log_of(result.tasks[0])
    assert "Traceback" in log
    assert "execution.py" not in log


def test_only_the_successful_attempts_metrics_are_the_runs(lab: Lab, counter: str) -> None:
    lab.write(FLOW)
    result = lab.run(params={"counter": counter})
    runs = RunStore(lab.workspace.database)
    (child,) = runs.list(parent=result.id)
    metrics = Metrics(lab.workspace.metrics)
    assert metrics.latest_values(child.series) == {"tries": 3.0}
    assert len(metrics.history(child.series, "tries")) == 1
    assert task_of(result, "flaky").child_run == child.id


@pytest.mark.parametrize("runner", ["inline", "pool"])
def test_points_are_kept_however_an_attempt_ends(lab: Lab, counter: str, runner: str) -> None:
    lab.write(
        FLOW.replace(
            "    print(", "    inner = ms.start_run(f'inner {tries}')\n    inner.log_metric('n', tries)\n    print("
        )
    )
    result = lab.run(params={"counter": counter}, runner=runner)
    metrics, runs = Metrics(lab.workspace.metrics), RunStore(lab.workspace.database)
    tries = result._store.attempts(task_of(result, "flaky").id)
    assert [metrics.latest_values(each.id) for each in tries] == [{"tries": n} for n in (1.0, 2.0, 3.0)]
    inner = sorted((run for run in runs.list() if run.kind == "script"), key=lambda run: run.name)
    assert [metrics.latest_values(each.series) for each in inner] == [{"n": n} for n in (1.0, 2.0, 3.0)]
    assert [(each.name, each.state) for each in inner] == [
        ("inner 1", "failed"), ("inner 2", "failed"), ("inner 3", "succeeded")
    ]  # fmt: skip
    assert current_scope() is None


def test_a_run_that_fails_raises_from_the_pipelines_own_run(lab: Lab) -> None:
    lab.write(
        """
        @ms.step
        def bad():
            raise ValueError("no")

        @ms.pipeline
        def main():
            return bad()
        """
    )
    with pytest.raises(StepError, match="ValueError: no"):
        lab.load().main.run(options={"workspace": lab.workspace})


ALLOWED = """
@ms.step(may_fail=True)
def risky(fail: bool):
    if fail:
        raise ValueError("no luck")
    return 7

@ms.step
def takes(value: int | ms.Failed):
    return [bool(value), getattr(value, "task", None), getattr(value, "error", None)]

@ms.step
def needs(value: int):
    return value

@ms.step
def after(value):
    return value

@ms.pipeline
def main(fail: bool = True):
    value = risky(fail)
    return {"takes": takes(value), "needs": after(needs(value)), "value": value}
"""


def test_a_step_that_may_fail_is_handed_on_as_failed_or_skips_what_needs_it(lab: Lab) -> None:
    lab.write(ALLOWED)
    result = lab.run()
    assert result.succeeded
    assert states(result) == {"risky": "failed", "takes": "succeeded", "needs": "skipped", "after": "skipped"}
    assert result.output("takes") == [False, "risky", "ValueError: no luck"]
    assert not result.output("value")
    assert task_of(result, "needs").error == "`risky` has no result"


def test_a_result_made_in_place_of_a_failure_is_not_taken_for_one_with_a_value(lab: Lab) -> None:
    lab.write(ALLOWED)
    lab.run()
    result = lab.run(params={"fail": False})
    assert result.output("takes") == [True, None, None]
    assert lab.run().output("takes") == [False, "risky", "ValueError: no luck"]


BRANCHES = """
@ms.step
def bad():
    raise ValueError("no")

@ms.step
def good(n: int):
    return n

@ms.step
def join(a, b):
    return a + b

@ms.pipeline
def main():
    return {"joined": join(bad(), good(1)), "other": good(good(2))}
"""


def test_a_failure_stops_what_has_not_started(lab: Lab) -> None:
    lab.write(BRANCHES)
    result = lab.run()
    assert result.run.state.value == "failed"
    assert states(result) == {
        "bad": "failed",
        "good": "skipped",
        "join": "skipped",
        "good-2": "skipped",
        "good-3": "skipped",
    }


def test_keep_going_runs_all_that_does_not_depend_on_it(lab: Lab) -> None:
    lab.write(BRANCHES)
    result = lab.run(keep_going=True)
    assert result.run.state.value == "failed"
    assert states(result) == {
        "bad": "failed", "good": "succeeded", "join": "skipped", "good-2": "succeeded", "good-3": "succeeded"
    }  # fmt: skip
    assert task_of(result, "join").error == "`bad` has no result"
