"""From a store of MLflow's client into the workspace.

A record and its mark are one transaction, blobs and points are written before it, so that an import that was killed goes on
where it was. What is marked with the same digest is not written again; where the store has changed since, the store is right.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Literal

import msgspec
from msgspec.structs import replace

from mainspring import clock
from mainspring.errors import ConflictError
from mainspring.ledger import current_actor, new_id
from mainspring.models import _rows
from mainspring.models._rules import check_model_name, check_stage
from mainspring.models.folder import create_version
from mainspring.models.registered import create_model
from mainspring.models.version import ModelVersion
from mainspring.runs import Experiment
from mainspring.runs._rows import blank
from mainspring.runs._schema import DEFAULT
from mainspring.runs.files import RunFile
from mainspring.secrets import redact
from mainspring.server.migration import words
from mainspring.server.migration.marks import Marks
from mainspring.server.migration.places import Place, Places
from mainspring.server.migration.records import (
    StoredExperiment,
    StoredLoggedModel,
    StoredModel,
    StoredRun,
    StoredVersion,
)
from mainspring.server.migration.tracked import TrackedDatabase, opened, path_of
from mainspring.server.mlflow.records import Records
from mainspring.store import Transaction
from mainspring.workspace import Workspace, current_workspace

KIND = "mlflow"
Fate = Literal["new", "changed", "same"]
Progress = Callable[[str, int, int], None]
_NOTE = "imported from MLflow"


class Tally(msgspec.Struct):
    """How many records of a kind were new, had changed since an earlier import, or were here as they are."""

    new: int = 0
    changed: int = 0
    same: int = 0

    def add(self, fate: Fate) -> Fate:
        """Count one."""
        setattr(self, fate, getattr(self, fate) + 1)
        return fate


class Imported(msgspec.Struct):
    """What an import did, or would do. `renumbered` are experiments whose number was taken here; `left_out` counts what has no
    place in a workspace, `notes` tell of files and runs that were left out.
    """

    source: str
    experiments: Tally
    runs: Tally
    logged_models: Tally
    models: Tally
    points: int = 0
    files: int = 0
    renumbered: dict[str, int] = {}
    left_out: dict[str, int] = {}
    notes: list[str] = []


def import_mlflow(
    uri: str, *, artifacts: Path | None = None, dry_run: bool = False, on_progress: Progress | None = None,
    workspace: Workspace | None = None,
) -> Imported:  # fmt: skip
    """Bring everything that is tracked in an MLflow store into the workspace, ids and times kept.

    `uri` names the store's SQLite database (`sqlite:///mlflow.db`, or a path). `artifacts` is the folder of a server that
    stands behind `mlflow-artifacts:/`. Again, it changes nothing; killed, it goes on. `on_progress` is told the kind of
    records, how many are done, and of how many.

    Raises:
        NotFoundError: there is no such database.
        InvalidError: it is of a version of MLflow whose tables aren't known, or a model's name can't be kept.
        ConflictError: a model of the same name was registered here; nothing is written then.
    """
    path = path_of(uri)
    with opened(path) as store:
        found = _Import(workspace or current_workspace(), store, str(path), artifacts, on_progress, dry_run=dry_run)
        return found.go()


class _Import:
    def __init__(
        self, workspace: Workspace, store: TrackedDatabase, source: str, artifacts: Path | None,
        on_progress: Progress | None, *, dry_run: bool,
    ) -> None:  # fmt: skip
        self.workspace = workspace
        self.store = store
        self.records = Records(workspace)
        self.marks = Marks(workspace.database)
        self.places = Places(workspace.blobs, artifacts)
        self.report = Imported(source, Tally(), Tally(), Tally(), Tally())
        self.dry_run = dry_run
        self._tell = on_progress or (lambda *_: None)
        self._now = clock.now_us()
        self._experiments: dict[int | None, Experiment] = {}
        self._theirs: set[int] = set()

    def go(self) -> Imported:
        """Everything, in the order in which records name each other."""
        models = self.store.models()
        self._expect_free(models)
        experiments = self.store.experiments()
        self._theirs = {each.experiment_id for each in experiments}
        for experiment in experiments:
            self._experiments[experiment.experiment_id] = self._experiment(experiment)
        runs, logged = self.store.run_ids(), self.store.logged_models()
        for count, run_id in enumerate(runs, 1):
            self._run(self.store.run(run_id))
            self._tell("runs", count, len(runs))
        for count, each in enumerate(logged, 1):
            self._logged(each)
            self._tell("logged models", count, len(logged))
        for count, model in enumerate(models, 1):
            self._model(model)
            self._tell("models", count, len(models))
        self.report.left_out = self.store.elsewhere()
        self.report.notes += self.places.notes
        return self.report

    def _expect_free(self, models: list[StoredModel]) -> None:
        here = set(self.records.models.names())
        for model in models:
            check_model_name(model.name)
            if model.name in here and self.marks.of(StoredModel, model.name) is None:
                raise ConflictError(
                    f"A model `{model.name}` was registered here and there, and the versions of both have the same numbers."
                    f' Give the one here another name: `mainspring.models.rename_model("{model.name}", NAME)`.'
                )

    def _fate(self, kind: type[StoredRun | StoredLoggedModel | StoredModel], record_id: str, digest: str) -> Fate:
        known = self.marks.of(kind, record_id)
        return "same" if known == digest else "changed" if known else "new"

    def _experiment(self, stored: StoredExperiment) -> Experiment:
        experiments = self.records.experiments
        here = experiments.get(DEFAULT) if stored.experiment_id == 0 else experiments.find(stored.name)
        known = self.marks.of(StoredExperiment, here.id) if here else None
        digest = self.marks.digest(stored)
        if here is not None and known == digest:
            self.report.experiments.add("same")
            return here
        self.report.experiments.add("changed" if known else "new")
        found = self._as_ours(stored, here, is_ours=here is None or known is not None or not here.created_at)
        if found.number != stored.experiment_id:
            self.report.renumbered[stored.name] = found.number
        if not self.dry_run:
            with self.workspace.database.transaction() as tx:
                experiments.put(tx, found)
                self.marks.keep(tx, found.id, stored, digest)
        return found

    def _as_ours(self, stored: StoredExperiment, here: Experiment | None, *, is_ours: bool) -> Experiment:
        """An experiment as it will be here; of one that was made here only tags are added."""
        is_deleted = stored.lifecycle_stage == words.DELETED and stored.experiment_id != 0
        deleted_at = ((here.deleted_at if here else None) or self._now) if is_deleted else None
        number = here.number if here else self._number(stored.experiment_id)
        times = (words.us(stored.creation_time), words.us(stored.last_update_time))
        if here is not None and not is_ours:
            return replace(here, tags=words.texts(stored.tags) | here.tags, deleted_at=here.deleted_at and deleted_at)
        return Experiment(
            here.id if here else new_id(), number, here.name if here else stored.name, words.texts(stored.tags), *times,
            deleted_at,
        )  # fmt: skip

    def _number(self, wanted: int) -> int:
        """The number that an experiment has in the store, or one that is free both here and there."""
        here = {number for (number,) in self.workspace.database.query("SELECT number FROM experiment")}
        here |= {each.number for each in self._experiments.values()}
        return wanted if wanted not in here else max(here | self._theirs) + 1

    def _run(self, stored: StoredRun) -> None:
        places = self.places.files(stored.artifact_uri)
        digest = self.marks.digest(stored, self.store.extent(stored.run_uuid), [_sign(each) for each in places])
        fate = self._fate(StoredRun, stored.run_uuid, digest)
        if fate == "new" and self.records.runs.get_many([stored.run_uuid]):
            self.report.notes.append(f"The run {stored.run_uuid} is here already and was left as it is.")
            fate = "same"
        if self.report.runs.add(fate) == "same":
            return
        points = self.store.points(stored.run_uuid)
        self.report.points += len(points)
        self.report.files += len(places)
        if self.dry_run:
            return
        self.records.metrics.append(stored.run_uuid, map(words.metric_of, points))
        self._put_run(stored, digest, self.places.kept(places))

    def _put_run(self, stored: StoredRun, digest: str, files: list[RunFile]) -> None:
        records, run_id, tags = self.records, stored.run_uuid, words.texts(stored.tags)
        experiment = self._experiments[stored.experiment_id]
        is_deleted = stored.lifecycle_stage == words.DELETED
        run = replace(
            blank(run_id), kind=KIND, name=words.name_of(stored), experiment=experiment.name,
            parent=tags.get(words.PARENT) or None, state=words.state_of(stored.status),
            started_at=words.us(stored.start_time), ended_at=stored.end_time and words.us(stored.end_time),
            actor=stored.user_id or str(current_actor()), note=redact(tags.get(words.NOTE, "")), tags=tags,
            params=stored.params, git_commit=tags.get(words.COMMIT), updated_at=self._now,
            deleted_at=(experiment.deleted_at or self._now) if is_deleted else None,
        )  # fmt: skip
        with self.workspace.database.transaction() as tx:
            records.runs.put(tx, run, source=self.report.source)
            records.files.remove(tx, run_id)
            records.files.name(tx, run_id, files)
            tx.execute("DELETE FROM run_input WHERE run = ?", (run_id,))
            records.inputs.log_inputs(tx, run_id, map(words.input_of, stored.inputs))
            tx.execute("DELETE FROM mlflow_run_model WHERE run = ?", (run_id,))
            tx.executemany(
                "INSERT INTO mlflow_run_model VALUES (?, ?, ?, ?)",
                [(run_id, each.role, each.model_id, each.step) for each in stored.models],
            )
            self.marks.keep(tx, run_id, stored, digest)

    def _logged(self, stored: StoredLoggedModel) -> None:
        is_deleted = stored.lifecycle_stage == words.DELETED
        places = [] if is_deleted else self.places.files(stored.artifact_location)
        digest = self.marks.digest(stored, [_sign(each) for each in places])
        fate = self.report.logged_models.add(self._fate(StoredLoggedModel, stored.model_id, digest))
        if fate == "same":
            return
        self.report.files += len(places)
        if self.dry_run:
            return
        number = self._experiments[stored.experiment_id].number
        model, logged = words.logged_of(stored, number, self._now if is_deleted else None), self.records.logged
        files = self.places.kept(places)
        with self.workspace.database.transaction() as tx:
            tx.execute("DELETE FROM logged_model WHERE id = ?", (model.id,))
            tx.execute("DELETE FROM model_said WHERE owner = ?", (model.id,))
            _rows.insert(tx, "logged_model", model)
            logged.files.remove(tx, model.id)
            logged.files.name(tx, model.id, files)
            logged.ledger.node(tx, "logged_model", model.id, model.name)
            if model.run:
                logged.ledger.edge(tx, model.id, "made_by", model.run)
            logged.ledger.append(tx, "logged_model.imported", model.id, {"from": self.report.source})
        if not is_deleted:
            logged.log_metrics(model.id, [words.measure_of(each) for each in stored.metrics])
        with self.workspace.database.transaction() as tx:
            self.marks.keep(tx, model.id, stored, digest)

    def _model(self, stored: StoredModel) -> None:
        digest = self.marks.digest(stored)
        fate = self.report.models.add(self._fate(StoredModel, stored.name, digest))
        if fate == "same" or self.dry_run:
            return
        store, before = self.records.models, self.marks.said(StoredModel, stored.name)
        if before is None:
            with self.workspace.database.transaction() as tx:
                self.marks.keep(tx, stored.name, replace(stored, versions=(), aliases={}))
        if stored.name not in store.names():
            create_model(stored.name, workspace=self.workspace)
        for version in stored.versions:
            self._version(stored.name, version)
        model = store.model(stored.name)
        versions = {each.number: each for each in store.versions(stored.name)}
        with self.workspace.database.transaction() as tx:
            for alias in set(before.aliases if before else ()) - set(stored.aliases):
                store.remove_alias(tx, stored.name, alias, _NOTE)
            for alias, number in stored.aliases.items():
                store.move(tx, versions[number], alias, by=None, bound_by=None, note=_NOTE)
            said = {"description": stored.description or "", "tags": words.texts(stored.tags)}
            store.change_model(tx, model, "imported", **said)
            _set_times(tx, "model", model.id, stored.creation_time, stored.last_updated_time)
            self.marks.keep(tx, stored.name, stored, digest)

    def _version(self, name: str, stored: StoredVersion) -> None:
        """One version as the store has it, made if there is none of its number."""
        store, is_gone = self.records.models, words.is_gone(stored)
        same = store.select("m.name = ? AND m.deleted_at IS NULL AND v.number = ?", (name, stored.version))
        version = same[0] if same else self._made(name, stored)
        fields = {
            "number": stored.version, "description": stored.description or "", "tags": words.texts(stored.tags),
            "created_at": words.us(stored.creation_time),
        }  # fmt: skip
        gone = {"deleted_at": version.deleted_at or self._now} if is_gone else {}
        stage = check_stage("None" if is_gone else stored.current_stage or "None")
        with self.workspace.database.transaction() as tx:
            version = store.change_stage(tx, version, stage, _NOTE)
            store.change_version(tx, version, "imported", **fields, **gone)
            _set_times(tx, "model_version", version.id, stored.creation_time, stored.last_updated_time)

    def _made(self, name: str, stored: StoredVersion) -> ModelVersion:
        if words.is_gone(stored):
            return create_version(name, {}, workspace=self.workspace)
        location = self.store.location(stored.storage_location or stored.source or "")
        files = {each.path: each for each in self.places.kept(self.places.files(location))} if location else {}
        return create_version(
            name, files, run=stored.run_id or None, source=stored.source or "", workspace=self.workspace
        )


def _sign(place: Place) -> tuple[str, int, int]:
    return place.path, place.size_bytes, place.changed_ns


def _set_times(tx: Transaction, table: str, record_id: str, made: int | None, changed: int | None) -> None:
    """The times that a record has in the store, which its import is no change of."""
    times = words.us(made), words.us(changed or made)
    tx.execute(f"UPDATE {table} SET created_at = ?, updated_at = ? WHERE id = ?", (*times, record_id))
