"""A replayed commit is given what it made or found then."""

from __future__ import annotations

from contextlib import AbstractContextManager
from pathlib import Path

import polars as pl
import pytest

from mainspring.data import HashSplit, check, dataset, split_dataset
from mainspring.data.retention import remove_version
from mainspring.errors import NotAllowedError
from mainspring.ledger import Replay, within_task
from mainspring.workspace import Workspace, collect


def again(task: str) -> AbstractContextManager[None]:
    return within_task("replay", replay=Replay(task))


def rows(*names: str, age: int = 1) -> pl.DataFrame:
    return pl.DataFrame({"name": names, "age": [age] * len(names)}, {"name": pl.String, "age": pl.Int64})


@pytest.mark.parametrize("task", ["then", "nobody"], ids=["recorded", "unrecorded"])
def test_what_changed_nothing_is_given_again(workspace: Workspace, task: str, tmp_path: Path) -> None:
    (tmp_path / "tree").mkdir()
    (tmp_path / "tree" / "a.txt").write_text("a")
    people, tree = dataset("people"), dataset("tree")
    first = people.commit(rows("ann", "bob"))
    files = tree.add(tmp_path / "tree")

    def unchanged() -> set[str]:
        return {
            people.upsert(rows("bob"), key="name").id,
            people.append(rows()).id,
            people.append(rows("ann"), checks=[check.unique("name", severity="quarantine")], quarantine="apart").id,
            people.delete(["eve"], key="name").id,
            people.delete(where="age > 9").id,
            people.commit(rows("ann", "bob")).id,
            tree.add(tmp_path / "tree", mode="update").id,
        }

    with within_task("then"):
        assert unchanged() == {first.id, files.id}
    if task == "then":  # else any version may be what no rows were put behind
        people.append(rows("eve"))
    with again(task):
        assert unchanged() == {first.id, files.id}


def test_rows_set_apart_are_compared_as_those_that_go_in(workspace: Workspace) -> None:
    young = [check.between("age", 0, 99, severity="quarantine")]

    def commit(*ages: int) -> str:
        frame = pl.DataFrame({"name": ["x"] * len(ages), "age": ages}, {"name": pl.String, "age": pl.Int64})
        return dataset("people").append(frame, checks=young, quarantine="apart").id

    with within_task("then"):
        recorded = [commit(1, 100), commit(2), commit(101), commit()]
    with within_task("later"):
        commit(3, 300)
    with again("then"):
        assert [commit(1, 100), commit(2), commit(101), commit()] == recorded
    assert (len(dataset("people").versions()), len(dataset("apart").versions())) == (3, 3)
    differing: list[list[tuple[int, ...]]] = [[(1, 102)], [(1,)], [(1, 100, 100)], [(1, 100), (2, 100)]]
    for commits in differing:
        with again("then"):
            *before, last = commits
            assert [commit(*ages) for ages in before] == recorded[: len(before)]
            with pytest.raises(NotAllowedError, match="it differs"):
                commit(*last)


def test_another_version_with_the_same_content_is_not_taken_for_what_was_found(workspace: Workspace) -> None:
    table = dataset("e")
    first = table.commit(rows("ann"))
    table.commit(rows("ann", "bob"))
    third = table.delete(["bob"], key="name")
    assert third.content_digest == first.content_digest
    with within_task("then"):
        assert table.delete(["bob"], key="name").id == third.id
    with within_task("later"):
        table.commit(rows("bob"))
        fifth = table.commit(rows("ann"))
    with again("then"):
        assert table.delete(["bob"], key="name").id == third.id
        assert table.delete(["bob"], key="name").id == third.id
    with again("later"):
        assert table.commit(rows("bob")).number == 4
        assert table.commit(rows("ann")).id == fifth.id


def test_what_was_committed_several_times_is_given_in_its_order(workspace: Workspace) -> None:
    table = dataset("t")

    def commits() -> list[int]:
        made = [table.commit(rows("ann")), table.append(rows("bob")), table.append(rows()), table.append(rows())]
        made += [table.commit(rows("ann")), table.commit(rows("ann")), table.append(rows("bob")), table.append(rows())]
        return [each.number for each in made]

    with within_task("then"):
        expected = commits()
    assert expected == [1, 2, 2, 2, 3, 3, 4, 4]
    with again("then"):
        assert commits() == expected
    with again("then"):  # in another order, as threads of a step may be
        assert [table.append(rows("bob")).number, table.commit(rows("ann")).number] == [2, 3]


def test_what_a_failed_attempt_committed_is_not_what_the_next_one_did(workspace: Workspace) -> None:
    table = dataset("t")
    with within_task("then"):
        table.append(rows("ann"))
    with workspace.database.transaction() as tx:
        workspace.ledger.set_aside(tx, "then", "run", "attempt")
    with within_task("then"):
        second = table.append(rows("ann"))
    with again("then"):
        assert [table.append(rows("ann")).number for _ in range(2)] == [second.number, 1]
    with within_task("then", earlier=["attempt"]):
        third = table.append(rows("ann"))
    with again("then"):
        assert [table.append(rows("ann")).number for _ in range(2)] == [second.number, third.number]


def test_other_content_than_was_recorded_differs_though_a_version_has_it(workspace: Workspace) -> None:
    table = dataset("t")
    table.commit(rows("bob"))
    with within_task("then"):
        table.commit(rows("ann"))
    with again("then"), pytest.raises(NotAllowedError, match="it differs"):
        table.commit(rows("bob"))
    with again("then"), pytest.raises(NotAllowedError, match="it differs"):
        dataset("never").delete(["ann"], key="name")


def test_parts_that_were_made_together_are_given_together(workspace: Workspace) -> None:
    source = dataset("visits").commit(pl.DataFrame({"user": range(50)}))
    with within_task("then"):
        before = split_dataset(source, HashSplit("user"))
        assert split_dataset(source, HashSplit("user")) == before
    with again("then"):
        parts = split_dataset(source, HashSplit("user"))
    assert {name: part.id for name, part in parts.items()} == {name: part.id for name, part in before.items()}


def test_what_was_put_behind_a_removed_version_is_said_so(workspace: Workspace) -> None:
    table = dataset("t")
    table.commit(rows("ann"))
    with within_task("then"):
        table.upsert(rows("bob", age=3), key="name")
    table.commit(rows("eve"))
    remove_version("t/1")
    for _ in range(2):
        collect(workspace, grace_s=-1)
    with again("then"), pytest.raises(NotAllowedError, match=r"t/1, behind which this was put then, was removed"):
        table.upsert(rows("bob", age=4), key="name")
