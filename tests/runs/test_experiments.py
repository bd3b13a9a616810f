"""Experiments: found by name, id and number, hidden and brought back with their runs, searched page by page."""

from __future__ import annotations

import pytest

from mainspring.errors import ExistsError, InvalidError, NotFoundError
from mainspring.runs import Experiment, ExperimentStore, RunStore
from mainspring.workspace import Workspace


@pytest.fixture
def experiments(workspace: Workspace) -> ExperimentStore:
    return ExperimentStore(workspace.database, workspace.ledger)


def a_run(workspace: Workspace, runs: RunStore, experiment: str) -> str:
    with workspace.database.transaction() as tx:
        return runs.create(tx, kind="script", name="one", experiment=experiment).id


def test_default_is_there_from_the_first(experiments: ExperimentStore) -> None:
    assert [experiments.get(ref).name for ref in (0, "0", "Default")] == ["Default"] * 3


def test_an_experiment_is_found_by_name_id_and_number(experiments: ExperimentStore) -> None:
    made = experiments.create("delays / 🎯 'a'", {"team": "ops"})
    assert [experiments.get(ref) for ref in (made.name, made.id, made.number, str(made.number))] == [made] * 4
    assert (made.number, made.tags) == (1, {"team": "ops"})
    with pytest.raises(ExistsError):
        experiments.create(made.name)
    with pytest.raises(NotFoundError, match="Nearest: Default"):
        experiments.get("Defualt")


def test_every_change_is_an_event(workspace: Workspace, experiments: ExperimentStore) -> None:
    made = experiments.create("one")
    experiments.rename("one", "two")
    experiments.set_tag("two", "note", "password = hunter22")
    assert experiments.get("two").tags == {"note": "password = [redacted]"}
    experiments.delete_tag("two", "note")
    with pytest.raises(NotFoundError, match="no tag `note`"):
        experiments.delete_tag("two", "note")
    experiments.delete("two")
    assert experiments.restore("two").deleted_at is None
    kinds = [event.kind.removeprefix("experiment.") for event in workspace.ledger.events(subject=made.id)]
    assert kinds == ["created", "renamed", "tagged", "untagged", "deleted", "restored"]


def test_runs_go_and_come_back_with_their_experiment(
    workspace: Workspace, runs: RunStore, experiments: ExperimentStore
) -> None:
    first, second = (a_run(workspace, runs, "one") for _ in range(2))
    with workspace.database.transaction() as tx:
        runs.delete(tx, first)
    experiments.delete("one")
    assert runs.list() == []
    with pytest.raises(InvalidError, match="it is deleted"):
        a_run(workspace, runs, "one")
    experiments.restore("one")
    assert [run.id for run in runs.list()] == [second]


def test_default_stays(experiments: ExperimentStore) -> None:
    with pytest.raises(InvalidError, match="Default"):
        experiments.delete(0)
    with pytest.raises(InvalidError, match="Default"):
        experiments.rename(0, "x")


def test_what_is_no_name_is_refused(experiments: ExperimentStore) -> None:
    for name in ("", " ", "a\nb", "nul\0", "x" * 501, "\ud800"):
        with pytest.raises(InvalidError, match="experiment"):
            experiments.create(name)


def test_search_pages_in_an_order_that_new_ones_do_not_shift(experiments: ExperimentStore) -> None:
    for number in range(5):
        experiments.create(f"exp-{number}", {"team": "a" if number % 2 else "b"} if number else {})
    found: list[Experiment] = []
    cursor: str | None = None
    for _ in range(3):
        page = experiments.search("name LIKE 'exp-%'", ["tags.team", "name DESC"], limit=2, cursor=cursor)
        found += page
        cursor = page.cursor
        experiments.create(f"exp--{len(found)}", {"team": "0"})  # before the place of the cursor
    assert [each.name for each in found] == ["exp-3", "exp-1", "exp-4", "exp-2", "exp-0"]


def test_search_knows_views_and_attributes(experiments: ExperimentStore) -> None:
    gone = experiments.create("gone")
    experiments.delete("gone")
    assert [each.name for each in experiments.search()] == ["Default"]
    assert list(experiments.search(view="deleted")) == [experiments.get(gone.number)]
    assert len(experiments.search(f"creation_time >= {gone.created_at // 1000}", view="all")) == 1
    with pytest.raises(InvalidError, match=r"character 1: `metrics\.auc > 1` is not one of"):
        experiments.search("metrics.auc > 1")
