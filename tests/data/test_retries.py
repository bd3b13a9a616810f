"""A task that is tried again is given what an earlier attempt of it appended."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mainspring.data import DatasetVersion, check, dataset
from mainspring.errors import InvalidError
from mainspring.ledger import close_scope, open_scope, within_task
from mainspring.workspace import Workspace, using


def rows(*names: str) -> pl.DataFrame:
    return pl.DataFrame({"name": names}, {"name": pl.String})


def names(table: str = "t") -> str:
    return "".join(dataset(table).to_polars()["name"])


class Tries:
    """The attempts of one task, each of which parts what the one before recorded from its own."""

    def __init__(self, workspace: Workspace, task: str = "task") -> None:
        self.workspace, self.task, self.earlier = workspace, task, list[str]()

    @contextmanager
    def __call__(self) -> Iterator[None]:
        with within_task(self.task, earlier=self.earlier):
            yield
        self.earlier.append(f"{self.task} {len(self.earlier) + 1}")
        with self.workspace.database.transaction() as tx:
            self.workspace.ledger.set_aside(tx, self.task, "run", self.earlier[-1])


@pytest.fixture
def attempt(workspace: Workspace) -> Tries:
    return Tries(workspace)


def test_rows_that_an_earlier_attempt_appended_are_there_once(attempt: Tries, workspace: Workspace) -> None:
    table = dataset("t")
    table.append(rows("a"))
    with attempt():
        first = table.append(rows("b"), source="https://example.org/b")
    for _ in range(3):
        with attempt():
            assert dataset("t").append(rows("b"), source="https://example.org/b").id == first.id
            assert table.append(rows("b").lazy()).number == 3
    assert names() == "abb"
    with within_task("task", earlier=attempt.earlier):
        table.append(rows("b"))
        made = [edge for edge in workspace.ledger.edges([first.id]) if edge.role == "made_by"]
        assert [(edge.dst, edge.by_task) for edge in made] == [("task", "task")]


def test_equal_rows_of_one_attempt_count_each(attempt: Tries) -> None:
    table = dataset("t")
    with attempt():
        assert [table.append(rows("a")).number for _ in range(2)] == [1, 2]
    with attempt():
        assert [table.append(rows("a")).number for _ in range(4)] == [1, 2, 3, 4]
    assert names() == "aaaa"


def test_another_task_takes_nothing_over(attempt: Tries, workspace: Workspace) -> None:
    with attempt():
        dataset("t").append(rows("a"))
    other = Tries(workspace, "other")
    with other():
        dataset("t").append(rows("a"))
    with other():
        dataset("t").append(rows("a"))
    assert names() == "aa"


def test_other_rows_stand_behind_what_the_earlier_attempt_left(attempt: Tries) -> None:
    table = dataset("t")
    with attempt():
        table.append(rows("a"))
        table.append(rows("b"))
    with attempt():
        table.append(rows("a"))
        table.append(rows("c"))
        table.append(rows("b"))
    assert names() == "abcb"


def test_what_others_appended_since_changes_nothing(attempt: Tries) -> None:
    table = dataset("t")
    with attempt():
        table.append(rows("a"))
    table.append(rows("x"))
    with attempt():
        table.append(rows("a"))
        table.append(rows("b"))
    assert names() == "axb"


@pytest.mark.parametrize("undo", ["deletion", "replacement", "within the attempt"])
def test_rows_that_are_gone_are_appended_again(attempt: Tries, undo: str) -> None:
    table = dataset("t")
    table.commit(rows("x"))
    with attempt():
        table.append(rows("a"))
        if undo == "within the attempt":  # by a step that takes back what it did before it fails
            table.delete(["a"], key="name")
    if undo == "deletion":
        table.delete(["a"], key="name")
    if undo == "replacement":
        table.commit(rows("x"))
    with attempt():
        table.append(rows("a"))
    assert names() == "xa"


def test_a_compaction_since_changes_nothing(attempt: Tries, unfolded: None) -> None:
    table = dataset("t")
    with attempt():
        for name in "abc":
            table.append(rows(name))
    table.append(rows("x"))
    table.compact()
    with attempt():
        for name in "abcd":
            table.append(rows(name))
    assert names() == "abcxd"


def test_a_replacement_is_committed_again_with_what_follows_it(attempt: Tries) -> None:
    table = dataset("t")
    for _ in range(2):
        with attempt():
            table.commit(rows("a"))
            table.append(rows("b"))
        assert names() == "ab"


@pytest.mark.parametrize("second", ["b", "c"])
def test_rows_that_are_deleted_first_stand_as_the_last_attempt_gave_them(attempt: Tries, second: str) -> None:
    table = dataset("t")
    table.commit(rows("a", "b", "c"))
    for name in ("b", second):
        with attempt():
            table.delete(where="name <> 'a'")
            table.append(rows(name))
    assert names() == "a" + second


def test_an_upsert_is_made_of_what_is_there(attempt: Tries) -> None:
    table = dataset("t")
    for number in range(2):
        with attempt():
            table.append(rows("a"))
            table.upsert(rows("b"), key="name")
            if not number:
                table.delete(["b"], key="name")
    assert names() == "ab"


def test_rows_that_were_set_apart_are_there_once(attempt: Tries, workspace: Workspace) -> None:
    table, checks = dataset("t"), [check.unique("name"), check.matches("name", "^[ab]$", severity="quarantine")]
    for _ in range(2):
        with attempt():
            version = table.append(rows("a", "x"), checks=checks, quarantine="apart")
        assert (version.number, names(), names("apart")) == (1, "a", "x")
    with pytest.raises(InvalidError, match="unique"):
        table.append(rows("a"), checks=checks, quarantine="apart")


def test_rows_of_which_none_goes_in_are_set_apart_once(attempt: Tries) -> None:
    table, checks = dataset("t"), [check.matches("name", "^[ab]$", severity="quarantine")]
    table.commit(rows("a"))
    for number in range(3):
        with attempt():
            for name in "xxb"[: 3 if number else 2]:
                table.append(rows(name), checks=checks, quarantine="apart")
        assert (names(), names("apart")) == ("ab" if number else "a", "xx")
    table.append(rows("x"), checks=checks, quarantine="apart")
    assert names("apart") == "xxx"


@pytest.mark.parametrize("first", ["run", "step"])
@pytest.mark.parametrize("second", ["another", "run", "step"])
def test_what_was_appended_in_a_run_of_the_step_is_the_steps(
    attempt: Tries, workspace: Workspace, first: str, second: str
) -> None:
    def appended(name: str, run: str) -> DatasetVersion:
        if run == "step":
            return dataset("t").append(rows(name))
        outer, inner = open_scope("outer"), open_scope(run)
        try:
            return dataset("t").append(rows(name))
        finally:
            close_scope(inner)
            close_scope(outer)

    with attempt():
        made = [appended("a", first), appended("b", "run"), appended("a", "step")]
    for number in range(2):
        with attempt():
            again = [appended("a", second), appended("b", "step"), appended("a", "run")]
            assert [each.id for each in again] == [each.id for each in made], number
    with within_task("task", earlier=attempt.earlier):
        assert appended("a", second).made_by == ("task" if second == "step" else second)
        assert dataset("t").append(rows("c")).number == 4
    maker = {edge.role: edge.dst for edge in workspace.ledger.edges([made[0].id])}
    assert maker == ({"made_by": "task"} if second == "step" else {"made_by": second, "made_within": "task"})
    assert names() == "abac"


def test_a_version_is_taken_over_once_by_processes_that_share_an_attempt(attempt: Tries) -> None:
    with attempt():
        dataset("t").append(rows("a"))
    for _ in range(2):  # as children of a fork: each with a scope of its own, of the same task
        with within_task("task", earlier=attempt.earlier):
            dataset("t").append(rows("a"))
    assert names() == "aa"


@settings(max_examples=25)
@given(data=st.data())
def test_attempts_cut_off_anywhere_append_what_one_would(
    data: st.DataObject, tmp_path_factory: pytest.TempPathFactory
) -> None:
    with Workspace.open(tmp_path_factory.mktemp("w")) as workspace, using(workspace):
        appends = data.draw(st.lists(st.sampled_from(["a", "b", "ab"]), min_size=1, max_size=5))
        cuts = data.draw(st.lists(st.integers(0, len(appends)), max_size=3))
        attempt, done, expected = Tries(workspace), 0, ""
        for cut in [*cuts, len(appends)]:
            with attempt():
                for each in appends[:cut]:
                    dataset("t").append(rows(*each))
            expected, done = expected + "".join(appends[done:cut]), max(done, cut)
            if done and data.draw(st.booleans()):
                dataset("t").append(rows("x"))  # of somebody else
                expected += "x"
        assert names() == expected
