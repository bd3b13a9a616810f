"""What is tracked goes into a store of MLflow's and back, and nothing is lost, doubled or left half."""

from __future__ import annotations

import math
import sqlite3
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from mainspring.errors import ConflictError, ExistsError, InvalidError, NotFoundError, StorageError
from mainspring.models import create_model, delete_version, get_model_version, set_alias, set_stage
from mainspring.models.folder import create_version
from mainspring.models.logged import LoggedMetric
from mainspring.runs import ExperimentStore, RunState, RunStore, search_runs
from mainspring.runs.files import RunFiles
from mainspring.runs.inputs import DatasetInput
from mainspring.runs.metrics import Metric
from mainspring.server.migration import export_mlflow, import_mlflow, importing
from mainspring.server.mlflow.records import Records
from mainspring.testing.plugin import Backend
from mainspring.testing.workspaces import lab_in
from mainspring.workspace import Workspace

POINTS = [Metric("loss", value, step, 1_000 * step) for step, value in enumerate((0.5, math.nan, math.inf, -math.inf))]


@pytest.fixture
def source(tmp_path: Path) -> Iterator[Workspace]:
    """A workspace with one of everything."""
    folder = tmp_path / "source"
    with lab_in(folder, f"sqlite:///{folder}/db.sqlite", f"file://{folder}/blobs") as lab:
        _fill(lab.workspace)
        yield lab.workspace


@pytest.fixture
def target(tmp_path: Path, backend: Backend) -> Iterator[Workspace]:
    with lab_in(tmp_path / "target", backend.database_url, backend.blob_url) as lab:
        yield lab.workspace


def _fill(workspace: Workspace) -> None:
    records = Records(workspace)
    records.experiments.create("old")
    records.experiments.create("taxis", {"team": "a"})
    with workspace.database.transaction() as tx:
        run = records.runs.create(tx, kind="script", name="fit", experiment="taxis", params={"lr": 0.1, "name": "a"})
        child = records.runs.create(tx, kind="mlflow", name="child", experiment="taxis", parent=run.id)
        gone = records.runs.create(tx, kind="mlflow", name="gone", experiment="old", tags={"mlflow.user": "ada"})
        records.inputs.log_inputs(tx, run.id, [DatasetInput("flights", "d1", "local", "{}", tags={"context": "test"})])
        records.runs.finish(tx, run.id, RunState.SUCCEEDED)
        records.runs.delete(tx, gone.id)
        records.runs.set_note(tx, child.id, "a note")
    records.metrics.append(run.series, POINTS)
    records.files.put(run.id, "deep/er/a b.txt", b"hello")
    records.files.put(run.id, "empty.txt", b"")
    records.experiments.delete("old")
    _fill_models(records, run.id)


def _fill_models(records: Records, run: str) -> None:
    workspace = records.workspace
    logged = records.logged.create(1, "net", run=run, kind="agent", tags={"k": "v"}, params={"c": "1"})
    records.logged.finalize(logged.id, "READY")
    records.logged.log_metrics(logged.id, [LoggedMetric("auc", math.inf, 2, 5_000, "flights", "d1", run)])
    records.files.put(logged.id, "MLmodel", b"flavors: {}")
    create_model("churn", description="who leaves", tags={"owner": "ada"}, workspace=workspace)
    first = create_version("churn", records.files.walk(logged.id), run=run, tags={"a": "b"}, workspace=workspace)
    create_version("churn", {}, source=f"runs:/{run}/deep", workspace=workspace)
    delete_version(create_version("churn", {}, workspace=workspace), workspace=workspace)
    set_stage(first, "Production", workspace=workspace)
    set_alias("churn/1", "champion", workspace=workspace)
    with workspace.database.transaction() as tx:
        tx.execute("INSERT INTO mlflow_run_model VALUES (?, 'output', ?, 3)", (run, logged.id))


def _rows(folder: Path) -> dict[str, list[str]]:
    """All that a store says, its own folder left out of addresses."""
    connection = sqlite3.connect(folder / "mlflow.db")
    tables = [name for (name,) in connection.execute("SELECT name FROM sqlite_master WHERE type = 'table'")]
    rows = {table: connection.execute(f'SELECT * FROM "{table}"').fetchall() for table in tables}
    connection.close()
    return {table: sorted(repr(row).replace(str(folder), "HERE") for row in found) for table, found in rows.items()}


def _files(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("mlruns/**/*") if path.is_file()}


def test_a_store_comes_back_as_it_was(source: Workspace, target: Workspace, tmp_path: Path) -> None:
    first, second = tmp_path / "first", tmp_path / "second"
    told = export_mlflow(first, workspace=source)
    assert (told.runs, told.points, told.versions, told.without_files) == (3, 4, 2, [])
    done = import_mlflow(told.uri, workspace=target)
    assert (done.experiments.new, done.runs.new, done.points, done.files, done.notes) == (3, 3, 4, 3, [])
    export_mlflow(second, workspace=target)
    assert _rows(second) == _rows(first)
    assert _files(second) == _files(first)


def test_datasets_keep_the_order_in_which_they_were_told(source: Workspace, target: Workspace, tmp_path: Path) -> None:
    told = ["train", "eval", "all", "before"]
    records = Records(source)
    run = next(each.id for each in search_runs(workspace=source) if each.name == "child")
    with source.database.transaction() as tx:
        records.inputs.log_inputs(tx, run, [DatasetInput(name, "d", "local", "{}") for name in told[:3]])
        records.inputs.log_inputs(tx, run, [DatasetInput(name, "d", "local", "{}") for name in (told[3], told[0])])
    import_mlflow(export_mlflow(tmp_path / "out", workspace=source).uri, workspace=target)
    assert [each.name for each in Records(target).inputs.inputs(run)] == told


def test_records_keep_ids_times_and_values(source: Workspace, target: Workspace, tmp_path: Path) -> None:
    import_mlflow(export_mlflow(tmp_path / "out", workspace=source).uri, workspace=target)
    before, after = Records(source), Records(target)
    [run] = [each for each in before.runs.get_many(_ids(source)).values() if each.name == "fit"]
    came = after.runs.get(run.id)
    assert (came.kind, came.state, came.experiment) == ("mlflow", RunState.SUCCEEDED, "taxis")
    assert came.started_at // 1000 == run.started_at // 1000
    assert came.params == {"lr": "0.1", "name": "a"}
    assert [repr(each) for each in after.metrics.history(came.series, "loss")] == [repr(each) for each in POINTS]
    assert after.experiments.get("old").deleted_at is not None
    assert after.experiments.restore("old").deleted_at is None
    assert [each.deleted_at for each in after.runs.get_many(_ids(source)).values() if each.name == "gone"] == [None]
    version = get_model_version("churn@champion", target)
    assert (version.number, version.stage, version.tags, version.run) == (1, "Production", {"a": "b"}, run.id)
    assert list(after.files.walk(version.id)) == ["MLmodel"]
    assert list(after.files.walk(get_model_version("churn/2", target).id)) == ["er/a b.txt"]
    assert create_version("churn", {}, workspace=target).number == 4


def _ids(workspace: Workspace) -> list[str]:
    return [run for (run,) in workspace.database.query("SELECT id FROM run")]


def test_again_nothing_changes(source: Workspace, target: Workspace, tmp_path: Path) -> None:
    uri = export_mlflow(tmp_path / "out", workspace=source).uri
    planned = import_mlflow(uri, dry_run=True, workspace=target)
    assert target.ledger.last_seq() == 0
    done = import_mlflow(uri, workspace=target)
    assert (planned.experiments, planned.runs, planned.logged_models, planned.models) == (
        done.experiments, done.runs, done.logged_models, done.models
    )  # fmt: skip
    seq = target.ledger.last_seq()
    again = import_mlflow(uri, workspace=target)
    assert (again.runs.same, again.models.same, again.points, again.files) == (3, 1, 0, 0)
    assert target.ledger.last_seq() == seq


def test_what_was_logged_since_comes_with_the_next_import(source: Workspace, target: Workspace, tmp_path: Path) -> None:
    uri = export_mlflow(tmp_path / "out", workspace=source).uri
    import_mlflow(uri, workspace=target)
    connection = sqlite3.connect(tmp_path / "out" / "mlflow.db", isolation_level=None)
    [(run,)] = connection.execute("SELECT run_uuid FROM runs WHERE name = 'fit'").fetchall()
    connection.execute("INSERT INTO metrics VALUES ('new', 1.5, 7, ?, 0, 0)", (run,))
    connection.execute("UPDATE registered_model_aliases SET alias = 'best'")
    connection.close()
    done = import_mlflow(uri, workspace=target)
    assert (done.runs.changed, done.runs.same, done.models.changed) == (1, 2, 1)
    records = Records(target)
    assert set(records.metrics.latest(run)) == {"loss", "new"}
    assert [each.alias for each in records.models.aliases("churn")] == ["best"]


@pytest.mark.parametrize("place", ["_put_run", "_logged", "_version"])
def test_an_import_that_was_killed_goes_on(
    source: Workspace, target: Workspace, tmp_path: Path, place: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    first, second = tmp_path / "first", tmp_path / "second"
    uri = export_mlflow(first, workspace=source).uri
    calls: list[object] = []
    own = getattr(importing._Import, place)

    def killed(self: Any, *given: Any) -> None:
        calls.append(given)
        if len(calls) == 2 or place == "_logged":
            raise KeyboardInterrupt
        own(self, *given)

    with monkeypatch.context() as patch:
        patch.setattr(importing._Import, place, killed)
        with pytest.raises(KeyboardInterrupt):
            import_mlflow(uri, workspace=target)
    import_mlflow(uri, workspace=target)
    export_mlflow(second, workspace=target)
    assert _rows(second) == _rows(first)


def test_a_number_that_is_taken_here_is_not_taken_away(source: Workspace, target: Workspace, tmp_path: Path) -> None:
    ExperimentStore(target.database).create("mine")
    done = import_mlflow(export_mlflow(tmp_path / "out", workspace=source).uri, workspace=target)
    assert done.renumbered == {"old": 3}
    assert ExperimentStore(target.database).get("mine").number == 1
    assert import_mlflow(str(tmp_path / "out"), workspace=target).renumbered == {}


def test_a_model_of_the_same_name_stops_before_anything_is_written(
    source: Workspace, target: Workspace, tmp_path: Path
) -> None:
    create_model("churn", workspace=target)
    uri = export_mlflow(tmp_path / "out", workspace=source).uri
    with pytest.raises(ConflictError, match=r'rename_model\("churn", NAME\)'):
        import_mlflow(uri, workspace=target)
    assert RunStore(target.database).get_many(_ids(source)) == {}


@pytest.mark.one_backend("what is refused is refused before the workspace is looked at")
def test_what_is_no_store_is_refused(source: Workspace, tmp_path: Path) -> None:
    uri = export_mlflow(tmp_path / "out", version="3.16", workspace=source).uri
    with pytest.raises(ExistsError, match="empty or not there"):
        export_mlflow(tmp_path / "out", workspace=source)
    with pytest.raises(InvalidError, match=r"one of 3\.16, 3\.17"):
        export_mlflow(tmp_path / "other", version="2.1", workspace=source)
    with sqlite3.connect(tmp_path / "out" / "mlflow.db") as connection:
        connection.execute("UPDATE alembic_version SET version_num = '0123abc'")
    connection.close()
    with pytest.raises(InvalidError, match=r"`0123abc`.*3\.16 .b7e2c1a4d9f3.*mlflow db upgrade"):
        import_mlflow(uri, workspace=source)
    with pytest.raises(InvalidError, match="SQLite database of an MLflow store"):
        import_mlflow("https://user:pass@host", workspace=source)
    (tmp_path / "mlruns" / "0").mkdir(parents=True)
    (tmp_path / "mlruns" / "0" / "meta.yaml").touch()
    with pytest.raises(NotFoundError, match="mlflow migrate-filestore"):
        import_mlflow(str(tmp_path / "mlruns"), workspace=source)
    (tmp_path / "text.db").write_text("no database at all, but long enough to be looked at as one" * 20)
    with pytest.raises(StorageError, match="file is not a database"):
        import_mlflow(str(tmp_path / "text.db"), workspace=source)


@pytest.mark.one_backend("files of the store alone")
def test_links_and_files_that_lie_elsewhere_are_told(source: Workspace, target: Workspace, tmp_path: Path) -> None:
    uri = export_mlflow(tmp_path / "out", workspace=source).uri
    [file] = (tmp_path / "out").rglob("a b.txt")
    file.with_name("link").symlink_to("/etc/passwd")
    connection = sqlite3.connect(tmp_path / "out" / "mlflow.db", isolation_level=None)
    connection.execute("UPDATE runs SET artifact_uri = 's3://bucket/x' WHERE name = 'child'")
    connection.execute("UPDATE runs SET artifact_uri = 'mlflow-artifacts:/1/x' WHERE name = 'gone'")
    connection.close()
    proxied = tmp_path / "proxied"
    (proxied / "1" / "x").mkdir(parents=True)
    (proxied / "1" / "x" / "f").write_bytes(b"f")
    done = import_mlflow(uri, artifacts=proxied, workspace=target)
    told = ["The files of `s3://bucket/x`", f"The link `{file.with_name('link')}`"]
    assert sorted({note.split(" lie ")[0].split(" was ")[0] for note in done.notes}) == told
    gone = [each.id for each in RunStore(target.database).get_many(_ids(target)).values() if each.name == "gone"]
    assert list(RunFiles(target).walk(gone[0])) == ["f"]
