"""Why a step ran, and what would run now."""

from __future__ import annotations

from pathlib import Path

import pytest

from mainspring.errors import NotFoundError
from mainspring.pipelines.why import last_pipeline_run, present, recorded
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
    now = {reason.task: reason for reason in present(lab.workspace, first.run)}
    assert not now["load"].runs
    assert now["work"].lines == ["constant helper.FACTOR changed"]
    assert now["end"].lines == ["depends on `work`, if that gives another result"]
    second = lab.run()
    after = {reason.task: reason for reason in recorded(lab.workspace, second.run)}
    assert after["work"].lines == ["constant helper.FACTOR changed"]
    assert after["end"].lines == ["argument values changed"]
    assert not any(reason.runs for reason in present(lab.workspace, second.run))


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
    now = {reason.task: reason.lines for reason in present(lab.workspace, result.run)}
    assert now["work"] == ["it has no result: failed (ValueError: no)"]


def test_the_last_run_of_a_pipeline_is_found_or_its_lack_told(lab: Lab) -> None:
    with pytest.raises(NotFoundError, match="mainspring run"):
        last_pipeline_run(lab.workspace)
    helper(lab, 2)
    result = lab.write_and_run(FLOW)
    assert last_pipeline_run(lab.workspace).id == result.id


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
    now = {reason.task: reason for reason in present(lab.workspace, second.run)}
    assert (now["each"].lines, now["each"].runs) == (["0 of 4 items would run"], False)
    lab.write(MAPPED.replace("item * 2", "item * 3"))
    now = {reason.task: reason for reason in present(lab.workspace, second.run)}
    assert (now["each"].lines, now["each"].runs) == (["4 of 4 items would run"], True)
    lab.write(MAPPED.replace("range(n)", "range(n + 0)"))
    now = {reason.task: reason for reason in present(lab.workspace, second.run)}
    assert now["each"].runs
    assert now["each"].lines == ["0 of 4 items would run", "depends on `many`, if that gives another result"]


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
