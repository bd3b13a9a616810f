"""From the workspace into a store of MLflow's client: a folder with `mlflow.db` and the files, which the client opens.

It is built beside its place and moved there whole, so that a killed export leaves no store. A record that was imported is
written in the words it came in where those still say the same.
"""

from __future__ import annotations

import os
import shutil
import sqlite3
from collections.abc import Iterable
from pathlib import Path

import msgspec
from msgspec.structs import replace

from mainspring.errors import ExistsError
from mainspring.models.logged import LoggedModel
from mainspring.models.version import ModelVersion, RegisteredModel
from mainspring.runs import Experiment, Run
from mainspring.runs.files import RunFile
from mainspring.runs.interrupted import as_read
from mainspring.runs.page import Page
from mainspring.server.migration import schema, words
from mainspring.server.migration.importing import Progress
from mainspring.server.migration.marks import Marks
from mainspring.server.migration.records import (
    StoredExperiment,
    StoredInput,
    StoredLink,
    StoredLoggedModel,
    StoredModel,
    StoredRun,
    StoredVersion,
)
from mainspring.server.migration.tracked import TrackedDatabase
from mainspring.server.mlflow.records import Records, address
from mainspring.store.blobs import blob_digest
from mainspring.workspace import Workspace, current_workspace

_PAGE = 500
_NAMED = ("runs:/", "models:/")  # sources that name a record, wherever its files lie
_GONE = StoredVersion(
    version=0, current_stage=words.GONE, source="REDACTED-SOURCE-PATH", run_id="REDACTED-RUN-ID",
    run_link="REDACTED-RUN-LINK",
)  # fmt: skip


class Exported(msgspec.Struct):
    """What an export wrote. `uri` is what MLflow's client is to be told; `without_files` are versions that aren't folders of
    MLflow's, and have no files there.
    """

    uri: str
    schema: str
    experiments: int = 0
    runs: int = 0
    points: int = 0
    files: int = 0
    logged_models: int = 0
    models: int = 0
    versions: int = 0
    without_files: list[str] = []


def export_mlflow(
    folder: Path | str, *, version: str = schema.NEWEST, on_progress: Progress | None = None,
    workspace: Workspace | None = None,
) -> Exported:  # fmt: skip
    """Write everything that is tracked in the workspace as a store of MLflow's client: ids, numbers and times kept.

    `version` is the version of MLflow whose tables are written. Addresses of files are absolute, as MLflow's own are, so the
    folder stays where it is. A point's time is cut to milliseconds and an infinity is the largest number, as MLflow keeps it.

    Raises:
        ExistsError: the folder is there and not empty.
        InvalidError: the tables of that version aren't known.
    """
    target = Path(os.path.abspath(folder))
    if target.exists() and (not target.is_dir() or any(target.iterdir())):
        raise ExistsError("folder", str(target), "Name one that is empty or not there.")
    schema.expect_known(version)
    part = target.with_name(f".{target.name}.part")
    shutil.rmtree(part, ignore_errors=True)
    part.mkdir(parents=True)
    connection = sqlite3.connect(part / "mlflow.db", isolation_level=None)
    try:
        connection.execute("PRAGMA synchronous = OFF")  # it is thrown away if it isn't whole
        connection.execute("BEGIN")
        schema.make(connection, version)
        found = _Export(workspace or current_workspace(), TrackedDatabase(connection), part, target, on_progress)
        report = found.go(version)
        connection.execute("COMMIT")
    finally:
        connection.close()
    if target.exists():
        target.rmdir()
    part.rename(target)
    return report


class _Export:
    def __init__(
        self, workspace: Workspace, store: TrackedDatabase, part: Path, target: Path, on_progress: Progress | None
    ) -> None:
        self.workspace = workspace
        self.store = store
        self.records = Records(workspace)
        self.marks = Marks(workspace.database)
        self._part, self._target = part, target
        self._tell = on_progress or (lambda *_: None)
        self._moved: dict[str, str] = {}  # where files were, and where they are now
        self.report = Exported("", "")

    def go(self, version: str) -> Exported:
        """Everything, in the order in which records name each other."""
        self.report = Exported(f"sqlite:///{self._target}/mlflow.db", version)
        numbers = {}
        for experiment in self._experiments():
            self._experiment(experiment)
            numbers[experiment.name] = experiment.number
        ids = [run for (run,) in self.workspace.database.query("SELECT id FROM run ORDER BY id")]
        for start in range(0, len(ids), _PAGE):
            runs = list(self.records.runs.get_many(ids[start : start + _PAGE]).values())
            for run in as_read(self.workspace.database, self.workspace.leases, runs):
                self._run(run, numbers[run.experiment])
            self._tell("runs", min(start + _PAGE, len(ids)), len(ids))
        self._logged_models()
        models = self.records.models.models()
        for count, model in enumerate(models, 1):
            self._model(model)
            self._tell("models", count, len(models))
        return self.report

    def _experiments(self) -> Iterable[Experiment]:
        cursor = None
        while True:
            page: Page[Experiment] = self.records.experiments.search(limit=_PAGE, cursor=cursor, view="all")
            yield from page
            cursor = page.cursor
            if cursor is None:
                return

    def _experiment(self, experiment: Experiment) -> None:
        was = self.marks.said(StoredExperiment, experiment.id)
        known = was or StoredExperiment(experiment_id=experiment.number, name=experiment.name)
        stored = StoredExperiment(
            experiment_id=experiment.number, artifact_location=str(self._target / "mlruns" / str(experiment.number)),
            creation_time=_time(known.creation_time, experiment.created_at),
            last_update_time=_time(known.last_update_time, experiment.updated_at), name=experiment.name,
            lifecycle_stage="active" if experiment.deleted_at is None else words.DELETED,
        )  # fmt: skip
        if was and experiment.number == 0:  # the one here is always active and called Default
            stored = replace(stored, name=was.name, lifecycle_stage=was.lifecycle_stage)
        self.store.add(stored)
        tags = words.same_texts(known.tags, experiment.tags)
        self.store.say("experiment_tags", tags, experiment_id=experiment.number)
        self.report.experiments += 1

    def _run(self, run: Run, number: int) -> None:
        was = self.marks.said(StoredRun, run.id)
        location = self._copied(run.id, f"{number}/{run.id}/artifacts", was.artifact_uri if was else None, number)
        stored = words.stored_run(run, was, number, location)
        self.store.add(stored)
        self.store.say("params", stored.params, run_uuid=run.id)
        self.store.say("tags", stored.tags, run_uuid=run.id)
        points = [
            words.point_of(point)
            for key in self.records.metrics.latest(run.series)
            for point in self.records.metrics.history(run.series, key)
        ]
        self.store.add_points(run.id, points)
        came = {(each.name, each.digest): each for each in (was.inputs if was else ())}
        for each in map(words.stored_input, self.records.inputs.inputs(run.id)):
            first = came.get((each.name, each.digest))
            self._input(run.id, number, first if first and words.input_of(first) == words.input_of(each) else each)
        statement = "SELECT role, model, step FROM mlflow_run_model WHERE run = ?"
        for role, model, step in self.workspace.database.query(statement, (run.id,)):
            self._link(run.id, StoredLink(role=role, model_id=model, step=step))
        self.report.runs += 1
        self.report.points += len(points)

    def _input(self, run_id: str, number: int, given: StoredInput) -> None:
        uuid = _id("dataset", number, given.name, given.digest)
        self.store.add(given, dataset_uuid=uuid, experiment_id=number)
        own = _id("input", uuid, run_id)
        self.store.insert("inputs", {
            "input_uuid": own, "source_type": "DATASET", "source_id": uuid, "destination_type": "RUN",
            "destination_id": run_id,
        })  # fmt: skip
        for name, value in given.tags.items():
            self.store.insert("input_tags", {"input_uuid": own, "name": name, "value": value})

    def _link(self, run_id: str, link: StoredLink) -> None:
        word = link.role.upper()
        self.store.insert("inputs", {
            "input_uuid": _id("model", link.role, run_id, link.model_id), "source_type": f"RUN_{word}", "source_id": run_id,
            "destination_type": f"MODEL_{word}", "destination_id": link.model_id, "step": link.step,
        })  # fmt: skip

    def _logged_models(self) -> None:
        logged, cursor = self.records.logged, None
        while True:
            page: Page[LoggedModel] = logged.search(limit=_PAGE, cursor=cursor)
            measured = logged.metrics([each.id for each in page])
            for model in page:
                was = self.marks.said(StoredLoggedModel, model.id)
                folder = f"{model.experiment}/models/{model.id}/artifacts"
                location = self._copied(model.id, folder, was.artifact_location if was else None, model.experiment)
                metrics = tuple(words.stored_measure(each) for each in measured[model.id])
                self._logged(replace(words.stored_logged(model, was, location), metrics=metrics))
            cursor = page.cursor
            if cursor is None:
                return

    def _logged(self, stored: StoredLoggedModel) -> None:
        self.store.add(stored)
        place = {"model_id": stored.model_id, "experiment_id": stored.experiment_id}
        for table, said in (("tag", stored.tags), ("param", stored.params)):
            for key, value in said.items():
                row = {f"{table}_key": key, f"{table}_value": value}
                self.store.insert(f"logged_model_{table}s", row | place)
        for each in stored.metrics:
            uuid = _id("dataset", stored.experiment_id, each.dataset_name, each.dataset_digest)
            self.store.add(each, dataset_uuid=uuid if each.dataset_name else None, **place)
        self.report.logged_models += 1

    def _model(self, model: RegisteredModel) -> None:
        was = self.marks.said(StoredModel, model.name)
        known = was or StoredModel(name=model.name)
        self.store.add(
            StoredModel(
                name=model.name, description=_text(known.description, model.description),
                creation_time=_time(known.creation_time, model.created_at),
                last_updated_time=_time(known.last_updated_time, model.updated_at, known.creation_time),
            )
        )  # fmt: skip
        self.store.say("registered_model_tags", words.same_texts(known.tags, model.tags), name=model.name)
        came = {each.version: each for each in known.versions}
        for version in self.records.models.select("v.model = ? ORDER BY v.number", (model.id,)):
            self._version(version, came.get(version.number))
        for alias in self.records.models.aliases(model.name):
            row = {"name": model.name, "alias": alias.alias, "version": alias.number}
            self.store.insert("registered_model_aliases", row)
        self.report.models += 1

    def _version(self, version: ModelVersion, was: StoredVersion | None) -> None:
        known = was or StoredVersion(version=version.number, user_id=version.actor)
        times = {
            "creation_time": _time(known.creation_time, version.created_at),
            "last_updated_time": _time(known.last_updated_time, version.updated_at, known.creation_time),
        }
        if version.deleted_at is not None:
            gone = known if words.is_gone(known) else _GONE
            self.store.add(replace(gone, version=version.number, **times), name=version.name)
            return
        source, location = self._source(version, was)
        stored = replace(
            known, description=_text(known.description, version.description), current_stage=version.stage,
            run_id=version.run if version.run or not was else was.run_id, source=source, storage_location=location, **times,
        )  # fmt: skip
        self.store.add(stored, name=version.name)
        tags = words.same_texts(known.tags, version.tags)
        self.store.say("model_version_tags", tags, name=version.name, version=version.number)
        self.report.versions += 1

    def _source(self, version: ModelVersion, was: StoredVersion | None) -> tuple[str | None, str | None]:
        """What a version came from, and where its files lie: those of its run or logged model, or copies of its own."""
        source = was.source if was else version.source or None
        lies = was.storage_location if was else source
        is_named = (source or "").startswith(_NAMED)
        if was and (lies or source or "").startswith(_NAMED):
            return source, lies
        found = self._now_at(lies or source)
        if found is None and self.records.files.list(version.id):
            folder = f"0/versions/{_id(version.name)}/{version.number}/artifacts"
            found = self._copied(version.id, folder, lies or source, 0)
        if found is None:
            self.report.without_files.append(str(version))
        moved = source if is_named else self._now_at(source) or source or found
        return moved, found or lies if was is None or lies else None

    def _now_at(self, address: str | None) -> str | None:
        """Where files lie now that had an address in another store; None if they did not come along."""
        parts = (address or "").rstrip("/").split("/")
        for count in range(len(parts), 0, -1):
            moved = self._moved.get("/".join(parts[:count]))
            if moved is not None:
                return "/".join([moved, *parts[count:]])
        return None

    def _copied(self, owner: str, folder: str, before: str | None, number: int) -> str:
        """Write the files of a record; gives where they will lie."""
        for path, file in self.records.files.walk(owner).items():
            self._copy(file, self._part / "mlruns" / folder / path)
        location = str(self._target / "mlruns" / folder)
        named = f"models:/{owner}" if owner.startswith("m-") else f"runs:/{owner}"
        self._moved |= {(before or address(number, owner)).rstrip("/"): location, named: location}
        return location

    def _copy(self, file: RunFile, place: Path) -> None:
        place.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(self.workspace.blobs.path(file.digest or ""), place)
        self.report.files += 1


def _time(was: int | None, now: int, otherwise: int | None = None) -> int | None:
    """A time in milliseconds, as it came if it is still the same."""
    return was if words.us(was or otherwise) == now else now // 1000


def _text(was: str | None, now: str) -> str | None:
    """A text as it came if it is still the same, where none and an empty one are two."""
    return was if (was or "") == now else now


def _id(*parts: object) -> str:
    """The id of a row that has none here."""
    return blob_digest("\0".join(map(str, parts)).encode())[:32]
