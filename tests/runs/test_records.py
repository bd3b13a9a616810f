"""The records of runs: parameters are written once, tags change, a run is renamed, noted, deleted and restored."""

from __future__ import annotations

import io
from pathlib import Path
from typing import Any

import pytest

from mainspring.errors import ConflictError, InvalidError, NotFoundError
from mainspring.ledger import within_task
from mainspring.runs import (
    CheckpointStore,
    DatasetInput,
    Metrics,
    RunFiles,
    RunInputs,
    RunStore,
    checkpoints,
    start_run,
)
from mainspring.runs.purging import purge
from mainspring.runs.run import CLIENT_KIND
from mainspring.workspace import Workspace, collect, using


@pytest.fixture
def run_id(workspace: Workspace, runs: RunStore) -> str:
    with workspace.database.transaction() as tx:
        return runs.create(tx, kind="script", name="one").id


def change(workspace: Workspace, store: Any, verb: str, *arguments: Any) -> None:
    with workspace.database.transaction() as tx:
        getattr(store, verb)(tx, *arguments)


def test_a_parameter_is_written_once(workspace: Workspace, runs: RunStore, run_id: str) -> None:
    change(workspace, runs, "log_params", run_id, {"depth": 3, "layers": [1, 2], "a/b `c` 🎯": None})
    change(workspace, runs, "log_params", run_id, {"depth": 3})
    with pytest.raises(ConflictError, match=r"`depth` of run .* is `3` and can't become `4`"):
        change(workspace, runs, "log_params", run_id, {"new": 1, "depth": 4})
    assert runs.get(run_id).params == {"depth": 3, "layers": [1, 2], "a/b `c` 🎯": None}


def test_tags_change_and_go(workspace: Workspace, runs: RunStore, run_id: str) -> None:
    change(workspace, runs, "set_tags", run_id, {"stage": "draft", "team": "ops"})
    change(workspace, runs, "set_tags", run_id, {"stage": "done"})
    change(workspace, runs, "delete_tag", run_id, "team")
    assert runs.get(run_id).tags == {"stage": "done"}
    with pytest.raises(NotFoundError, match="no tag `team`"):
        change(workspace, runs, "delete_tag", run_id, "team")


def test_a_run_is_renamed_and_noted_with_events(workspace: Workspace, runs: RunStore, run_id: str) -> None:
    change(workspace, runs, "rename", run_id, "two")
    change(workspace, runs, "set_note", run_id, "best so far, password = hunter22")
    run = runs.get(run_id)
    assert (run.name, run.note) == ("two", "best so far, password = [redacted]")
    kinds = [event.kind for event in workspace.ledger.events(subject=run_id)]
    assert kinds == ["run.started", "run.renamed", "run.noted"]


def test_a_deleted_run_is_hidden_and_comes_back_with_the_runs_of_its_steps(
    workspace: Workspace, runs: RunStore, run_id: str
) -> None:
    with workspace.database.transaction() as tx:
        step = runs.create(tx, kind="task", name="fit", parent=run_id).id
        nested = runs.create(tx, kind="script", name="nested", parent=run_id).id
        runs.delete(tx, run_id)
    assert runs.list() == []
    gone = [runs.get(each).deleted_at is not None for each in (run_id, step, nested)]
    assert gone == [True, True, False]
    assert [run.id for run in runs.list(deleted=True)] == [run_id]
    change(workspace, runs, "restore", run_id)
    assert [run.id for run in runs.list()] == [run_id]
    assert runs.get(step).deleted_at is None


def test_of_deleted_runs_the_one_deleted_last_is_the_latest_also_one_inside_another(
    workspace: Workspace, runs: RunStore, run_id: str
) -> None:
    with workspace.database.transaction() as tx:
        newer = runs.create(tx, kind="script", name="newer").id
        nested = runs.create(tx, kind="script", name="nested", parent=newer).id
    for each in (newer, run_id, nested):
        change(workspace, runs, "delete", each)
    assert runs.get("latest", deleted=True).id == run_id  # the nested one is in what is deleted
    change(workspace, runs, "restore", newer)
    assert runs.get("latest", deleted=True).id == nested
    assert [run.id for run in runs.list(deleted=True)] == [nested, run_id]
    with workspace.database.transaction() as tx:
        assert [runs.restore(tx, nested), runs.restore(tx, nested), runs.delete(tx, run_id)] == [True, False, False]


@pytest.mark.parametrize(
    ("verb", "given", "told"),
    [
        ("log_params", {"": 1}, "name of a parameter"),
        ("log_params", {"k" * 251: 1}, "at most 250 characters"),
        ("log_params", {"k": "x" * 10_000_000}, "at most 65,536 characters long, but 10,000,000"),
        ("set_tags", {"a\nb": "x"}, "name of a tag"),
        ("set_tags", {"a": "x\0"}, "NUL"),
        ("set_tags", {"a": "\ud83d"}, "half of a character"),
        ("set_tags", {"a": "x" * 10_000_000}, "log_text"),
    ],
)
def test_what_can_not_be_kept_is_refused_whole(
    workspace: Workspace, runs: RunStore, run_id: str, verb: str, given: dict[str, Any], told: str
) -> None:
    with pytest.raises(InvalidError, match=told):
        change(workspace, runs, verb, run_id, {"fine": "1"} | given)
    run = runs.get(run_id)
    assert (run.params, run.tags) == ({}, {})


def test_files_are_kept_listed_replaced_and_removed(workspace: Workspace, run_id: str, tmp_path: Path) -> None:
    files = RunFiles(workspace)
    (tmp_path / "b.bin").write_bytes(b"b" * 10)
    files.put(run_id, "top.txt", b"first")
    files.put(run_id, "top.txt", b"second")
    files.put(run_id, "plots/a 'q' 🎯.png", tmp_path / "b.bin")
    files.put(run_id, "plots/deep/c.bin", io.BytesIO(b"c" * 3))
    assert [(each.path, each.is_folder, each.size_bytes) for each in files.list(run_id)] == [
        ("plots", True, None), ("top.txt", False, 6),
    ]  # fmt: skip
    assert [each.path for each in files.list(run_id, "plots")] == ["plots/a 'q' 🎯.png", "plots/deep"]
    assert [each.path for each in files.list(run_id, "top.txt")] == ["top.txt"]
    with files.open(run_id, "plots/deep/c.bin") as file:
        assert file.read() == b"ccc"
    collect(workspace, grace_s=0)
    collect(workspace, grace_s=0)  # what rows name stays
    files.delete(run_id, "plots")
    assert list(files.walk(run_id)) == ["top.txt"]
    with pytest.raises(NotFoundError, match=r"Nearest: top\.txt"):
        files.open(run_id, "tpo.txt")


@pytest.mark.parametrize(
    "path", ["", "/etc/passwd", "../up", "a/../b", "a//b", "a/", "./a", "a\0b", "a\\..\\b", "a/\n", "é" * 128]
)
def test_a_path_that_leads_elsewhere_is_refused(workspace: Workspace, run_id: str, path: str) -> None:
    with pytest.raises(InvalidError, match="path of a file"):
        RunFiles(workspace).put(run_id, path, b"x")
    assert RunFiles(workspace).list(run_id) == []


@pytest.mark.parametrize(("first", "second"), [("a", "a/b"), ("a/b/c", "a/b"), ("a/b", "a/b/c/d")])
def test_a_path_is_a_file_or_a_folder(workspace: Workspace, run_id: str, first: str, second: str) -> None:
    files = RunFiles(workspace)
    files.put(run_id, first, b"x")
    with pytest.raises(InvalidError, match=f"There is `{first}`"):
        files.put(run_id, second, b"y")


def test_datasets_used_are_told_and_merged(workspace: Workspace, run_id: str) -> None:
    inputs = RunInputs(workspace.database, workspace.ledger)
    given = DatasetInput("flights", "abc", "http", "https://example.org", '{"a": 1}', "", {"context": "train"})
    change(workspace, inputs, "log_inputs", run_id, [given, DatasetInput("weather", "def")])
    change(workspace, inputs, "log_inputs", run_id, [DatasetInput("flights", "abc", tags={"kind": "raw"})])
    flights, weather = inputs.inputs(run_id)
    assert (flights.source, flights.tags) == ("https://example.org", {"context": "train", "kind": "raw"})
    assert weather == DatasetInput("weather", "def")
    again = DatasetInput("flights", "abc", tags={"context": "eval", "more": "x"})
    with workspace.database.transaction() as tx:
        inputs.log_inputs(tx, run_id, [again, DatasetInput("new", "1", tags={"context": "a"}), again], merge=False)
    assert inputs.inputs(run_id) == [flights, weather, DatasetInput("new", "1", tags={"context": "a"})]


def test_a_collection_leaves_a_deleted_run_that_goes_on(workspace: Workspace, runs: RunStore) -> None:
    with start_run("still", workspace=workspace) as still:
        with workspace.database.transaction() as tx:
            client = runs.create(tx, kind=CLIENT_KIND, name="of a client").id
        for each in (still.id, client):
            change(workspace, runs, "delete", each)
        assert purge(workspace, 0) == 1
        assert runs.get(still.id).deleted_at is not None
    assert purge(workspace, 0) == 1


def test_a_collection_purges_what_was_deleted_before_its_grace(workspace: Workspace, runs: RunStore) -> None:
    with (
        start_run("gone", params={"a": 1}, workspace=workspace) as gone,
        start_run("kept", workspace=workspace) as kept,
    ):
        for run in (gone, kept):
            RunFiles(workspace).put(run.id, "a.txt", run.name.encode())
            run.log_metric("loss", 1.0)
            run.log_artifact("value", {"of": run.name})
            with using(workspace), within_task(run.id, key="work"):
                checkpoints().save([run.name], step=1)
    made = {run.id: {edge.src for edge in workspace.ledger.edges([run.id], "down")} for run in (gone, kept)}
    assert [len(ids) for ids in made.values()] == [2, 2]
    change(workspace, runs, "delete", gone.id)
    purge(workspace, 3600)
    assert runs.get(gone.id).params == {"a": 1}
    assert [purge(workspace, 0), purge(workspace, 0)] == [1, 0]
    with pytest.raises(NotFoundError):
        runs.get(gone.id)
    assert Metrics(workspace.metrics).latest(gone.series) == {}
    assert RunFiles(workspace).list(gone.id) == []
    assert Metrics(workspace.metrics).latest_values(kept.series) == {"loss": 1.0}
    store = CheckpointStore(workspace.database)
    assert [len(store.of(run.id)) for run in (gone, kept)] == [0, 1]
    assert [set(store.artifacts.removed(made[run.id])) for run in (gone, kept)] == [made[gone.id], set()]
    assert workspace.ledger.events(subject=gone.id)[-1].kind == "run.purged"
