"""Why a step ran, and what would run now."""

from __future__ import annotations

from pathlib import Path

import pytest

from mainspring.errors import ConflictError, NotFoundError
from mainspring.pipelines.forecast import Prospect, forecast
from mainspring.pipelines.launch import pipeline_run
from mainspring.pipelines.replay import replay_run
from mainspring.pipelines.why import present, recorded
from mainspring.runs import Run, RunStore
from mainspring.testing.workspaces import Lab

FLOW = """
from helper import scale

@ms.step
def load():
    return [1, 2]

@ms.step
def work(values: list):
    return [scale(value) for value in values]

@ms.step
def end(values: list):
    return sum(values)

@ms.pipeline
def main():
    return end(work(load()))
"""


def now(lab: Lab, run: Run, step: str | None = None, pipeline: str = "main") -> dict[str, Prospect]:
    """What would run now, by task."""
    found = present(lab.workspace, run, getattr(lab.load(), pipeline), step)
    return {prospect.task: prospect for prospect in found.tasks}


def helper(lab: Lab, factor: int) -> Path:
    path = lab.root / "helper.py"
    path.write_text(f"FACTOR = {factor}\n\n\ndef scale(x):\n    return x * FACTOR\n")
    return path


def test_the_first_run_says_there_was_none_before(lab: Lab) -> None:
    helper(lab, 2)
    result = lab.write_and_run(FLOW)
    found = recorded(lab.workspace, result.run)
    assert [reason.lines for reason in found] == [["no earlier result of this step"]] * 3


def test_a_reused_step_names_the_run_that_made_it(lab: Lab) -> None:
    helper(lab, 2)
    first = lab.write_and_run(FLOW)
    second = lab.run()
    for reason in recorded(lab.workspace, second.run):
        assert not reason.runs
        assert first.id[:12] in reason.lines[0]


def test_an_edited_helper_is_named_before_and_after_the_run(lab: Lab) -> None:
    helper(lab, 2)
    first = lab.write_and_run(FLOW)
    helper(lab, 3)
    told = now(lab, first.run)
    assert not told["load"].runs
    assert (told["work"].runs, told["work"].lines) == (True, ["constant helper.FACTOR changed"])
    assert (told["end"].runs, told["end"].lines) == (None, ["depends on what `work` gives"])
    second = lab.run()
    after = {reason.task: reason for reason in recorded(lab.workspace, second.run)}
    assert after["work"].lines == ["constant helper.FACTOR changed"]
    assert after["end"].lines == ["argument values changed"]
    assert {prospect.runs for prospect in now(lab, second.run).values()} == {False}


def test_one_step_is_asked_for_by_name(lab: Lab) -> None:
    helper(lab, 2)
    result = lab.write_and_run(FLOW)
    assert [reason.task for reason in recorded(lab.workspace, result.run, "work")] == ["work"]
    with pytest.raises(NotFoundError, match=r"`wrok`.*work"):
        recorded(lab.workspace, result.run, "wrok")


def test_skipped_and_failed_steps_say_why(lab: Lab) -> None:
    helper(lab, 2)
    result = lab.write_and_run(FLOW.replace("return [scale(value) for value in values]", "raise ValueError('no')"))
    found = {reason.task: reason.lines for reason in recorded(lab.workspace, result.run)}
    assert found["end"] == ["`work` has no result"]
    assert now(lab, result.run)["work"].lines == [f"in run {result.id[:12]} it failed, so there is no earlier result"]


def test_the_last_run_of_a_pipeline_is_found_or_its_lack_told(lab: Lab) -> None:
    runs = RunStore(lab.workspace.database)
    with pytest.raises(NotFoundError, match="mainspring run"):
        pipeline_run(runs, "latest")
    helper(lab, 2)
    result = lab.write_and_run(FLOW)
    assert replay_run("latest", workspace=lab.workspace).is_verified
    assert runs.list(limit=1)[0].id != result.id
    assert runs.get("latest").id == result.id
    assert pipeline_run(runs, "latest").id == result.id


MAPPED = """
@ms.step
def many(n: int):
    return list(range(n))

@ms.step
def each(item: int):
    return item * 2

@ms.step
def total(items: list):
    return sum(items)

@ms.pipeline
def main(n: int = 3):
    return total(each.map(many(n)))
"""


def test_a_mapped_step_is_told_by_its_items(lab: Lab) -> None:
    lab.write_and_run(MAPPED)
    second = lab.run(params={"n": 4})
    found = {reason.task: reason for reason in recorded(lab.workspace, second.run)}
    assert (found["each"].lines, found["each"].runs, found["each"].items) == (["1 of 4 items ran"], True, 4)
    told = now(lab, second.run)
    assert (told["each"].lines, told["each"].runs) == (["0 of 4 items would run"], False)
    assert {told[f"each[{i}]"].runs for i in range(4)} == {False}
    lab.write(MAPPED.replace("item * 2", "item * 3"))
    told = now(lab, second.run)
    assert (told["each"].lines, told["each"].runs) == (["4 of 4 items would run"], True)
    lab.write(MAPPED.replace("range(n)", "range(n + 0)"))
    told = now(lab, second.run)
    assert (told["each"].lines, told["each"].runs) == (["depends on what `many` gives"], None)


def test_a_step_that_failed_before_is_said_to_have_no_result(lab: Lab) -> None:
    text = """
@ms.step(may_fail=True)
def shaky(n: int):
    raise ValueError("no")

@ms.step
def end(value: object):
    return bool(value)

@ms.pipeline
def main(n: int = 3):
    return end(shaky(n))
"""
    first = lab.write_and_run(text)
    second = lab.run()
    found = {reason.task: reason.lines for reason in recorded(lab.workspace, second.run)}
    assert found["shaky"] == [f"in run {first.id[:12]} it failed, so there is no earlier result"]


@pytest.mark.one_backend("what is said of a run is told by rows of both alike")
def test_every_step_of_a_replay_says_that_it_is_one(lab: Lab) -> None:
    result = lab.write_and_run(MAPPED)
    report = replay_run(result.id, workspace=lab.workspace)
    reasons = recorded(lab.workspace, RunStore(lab.workspace.database).get(report.replay_id))
    assert {tuple(reason.lines) for reason in reasons} == {("a replay runs every step",)}


SHORT = """
@ms.step
def s(n: int):
    return n + 1

@ms.step
def u(n: int):
    return n + 2

@ms.pipeline
def main(n: int = 1):
    return s(n)
"""
EDITS = {
    "another argument": ("return s(n)", "return s(7)"),
    "another default": ("n: int = 1", "n: int = 5"),
    "a step more": ("return s(n)", "return u(s(n))"),
    "another step": ("return s(n)", "return u(n)"),
    "nothing": ("return s(n)", "return s(n)"),
}


@pytest.mark.parametrize("edit", EDITS)
def test_what_the_pipeline_itself_says_counts_as_in_a_dry_run(lab: Lab, edit: str) -> None:
    first = lab.write_and_run(SHORT)
    lab.write(SHORT.replace(*EDITS[edit]))
    main = lab.load().main
    found = present(lab.workspace, first.run, main)
    assert found.tasks == forecast(main, {}, workspace=lab.workspace)
    assert any(prospect.runs for prospect in found.tasks) == (edit != "nothing")
    assert found.gone == (["s"] if edit == "another step" else [])
    if edit == "another step":
        assert present(lab.workspace, first.run, main, "s").gone == ["s"]


def test_the_parameters_and_the_seed_that_the_run_was_given_are_given_again(lab: Lab) -> None:
    lab.write(SHORT)
    second = lab.run(params={"n": "3"}, strict=False, seed=9)
    lab.write(SHORT.replace("n: int = 1", "n: int = 5"))
    assert now(lab, second.run)["s"].runs is False


GIVEN = """
from pathlib import Path
import enum
import polars as pl

class Mode(enum.Enum):
    FAST = "fast"

@ms.step
def take(value):
    return str(value)

@ms.pipeline
def main(frame: pl.DataFrame, path: Path, mode: Mode, names: tuple[str, ...] = ("a",)):
    return take(frame), take(path), take(mode), take(names)

@ms.pipeline
def other(call: object):
    return take(call())
"""


def test_parameters_that_json_cannot_hold_are_given_again_too(lab: Lab) -> None:
    import polars as pl

    lab.write(GIVEN)
    path = lab.root / "some.txt"
    path.write_text("one")
    flow = lab.load()
    frame = pl.DataFrame({"a": [1, 2]})
    result = flow.main.run(
        options={"workspace": lab.workspace}, frame=frame, path=path, mode=flow.Mode.FAST, names=("b", "c")
    )
    found = present(lab.workspace, result.run, flow.main)
    assert [prospect.runs for prospect in found.tasks] == [False] * 4
    path.write_text("two")
    found = present(lab.workspace, result.run, flow.main)
    assert [prospect.task for prospect in found.tasks if prospect.runs] == ["take-2"]
    lost = flow.other.run(options={"workspace": lab.workspace}, call=lambda: 1)
    with pytest.raises(ConflictError, match="`call`"):
        present(lab.workspace, lost.run, flow.other)


def test_asking_writes_nothing(lab: Lab) -> None:
    first = lab.write_and_run(SHORT)
    lab.write(SHORT.replace("n + 1", "n + 3"))
    count = "SELECT (SELECT COUNT(*) FROM fingerprint), (SELECT COUNT(*) FROM task), (SELECT MAX(seq) FROM event)"
    before = lab.workspace.database.query(count)
    assert now(lab, first.run)["s"].lines == ["code flow.s changed"]
    assert lab.workspace.database.query(count) == before


def test_a_step_that_would_fail_before_it_runs_is_said_to(lab: Lab) -> None:
    first = lab.write_and_run(MAPPED)
    lab.write(MAPPED.replace("each.map(many(n))", "each.map(each(n))"))
    told = now(lab, first.run)
    assert told["each-2"].runs is None
    lab.run()
    told = now(lab, first.run)
    assert (told["each-2"].runs, told["each-2"].lines[0][:13]) == (True, "it would fail")


def test_tasks_that_did_not_run_are_not_said_to_have(lab: Lab) -> None:
    result = lab.write_and_run(
        """
        @ms.step
        def bad():
            raise ValueError("no")

        @ms.step
        def after(n):
            return n

        @ms.pipeline
        def main():
            return after(bad())
        """
    )
    database = lab.workspace.database
    assert [(each.state, each.runs) for each in recorded(lab.workspace, result.run)] == [
        ("failed", True),
        ("skipped", False),
    ]
    with database.transaction() as tx:
        tx.execute("UPDATE task SET state = 'waiting' WHERE name = 'after'")
    assert [each.runs for each in recorded(lab.workspace, result.run)] == [True, None]


def test_a_replay_is_not_what_the_next_run_is_compared_with(lab: Lab) -> None:
    lab.write("class N:\n    n = 1\nVALUE = N()\ndef scale(x):\n    return x * VALUE.n\n", "helper")
    first = lab.write_and_run(FLOW)
    replay_run(first.id, workspace=lab.workspace, step="work")
    lab.write("class N:\n    n = 1\nVALUE = N()\ndef scale(x):\n    return 2 * x * VALUE.n\n", "helper")
    assert now(lab, first.run)["work"].lines == ["code helper.scale changed"]
