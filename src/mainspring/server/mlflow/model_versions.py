"""Versions of registered models, as MLflow's clients make and read them.

A version keeps files of its own, named by the blobs of the run or logged model that it came from, so that it stays whole when
those are deleted. The model in them is read as that of any folder of MLflow; what MLflow pickled is not opened.
"""

from __future__ import annotations

import re

import msgspec

from mainspring.errors import InvalidError, NotAllowedError, NotFoundError
from mainspring.ledger import is_replay
from mainspring.models import versions
from mainspring.models.exporting.kept import FOLDER, keep_mlflow_folder
from mainspring.models.folder import complete_version, create_version
from mainspring.models.registry import get_model_version
from mainspring.models.version import EXPORTS, ModelVersion, exports_of
from mainspring.runs.files import RunFile
from mainspring.server.mlflow.records import Records, address
from mainspring.server.mlflow.wire import Pair, Route, Told, mapped, ms, pairs

_LOGGED = re.compile(r"models:/(?P<model>m-[0-9a-f]{32})(?:/(?P<path>.*))?")
_OF_RUN = re.compile(r"runs:/(?P<run>[0-9a-f]{32})(?:/(?P<path>.*))?")
_OF_VERSION = re.compile(r"models:/(?P<name>[^/@:]+)/(?P<number>\d{1,9})")
_PROXIED = "mlflow-artifacts:/"


class _Create(msgspec.Struct, frozen=True):
    name: str
    source: str
    run_id: str = ""
    tags: tuple[Pair, ...] = ()
    run_link: str = ""
    description: str = ""
    model_id: str = ""


class _Ref(msgspec.Struct, frozen=True):
    name: str
    version: str


class _Update(_Ref, frozen=True):
    description: str = ""


class Stage(_Ref, frozen=True):
    """A version that is to come into a stage."""

    stage: str
    archive_existing_versions: bool = False


class _Tag(_Ref, frozen=True):
    key: str
    value: str = ""


def find(records: Records, name: str, number: str) -> ModelVersion:
    """A version by name and number.

    Raises:
        NotFoundError: there is none.
        InvalidError: the number is none.
    """
    if not number.isdecimal():
        raise InvalidError("version", number, "a version's number")
    return get_model_version(f"{name}/{number}", records.workspace)


def told(records: Records, version: ModelVersion) -> Told:
    """A version in MLflow's terms."""
    named = [each.alias for each in records.models.aliases(version.name) if each.number == version.number]
    answer: Told = {
        "name": version.name, "version": str(version.number), "creation_timestamp": ms(version.created_at),
        "last_updated_timestamp": ms(version.updated_at or version.created_at), "current_stage": version.stage,
        "source": version.source or _own_address(records, version), "status": "READY", "tags": pairs(version.tags),
        "aliases": named, "description": version.description, "run_id": version.run or "",
    }  # fmt: skip
    model = _LOGGED.fullmatch(version.source)
    return answer | ({"model_id": model["model"]} if model else {})


def _own_address(records: Records, version: ModelVersion) -> str:
    """Where a client finds the files of a version: those that it came as, or the folder that it is exported as."""
    run = records.runs.get_many([version.run]).get(version.run) if version.run else None
    number = records.experiments.get(run.experiment).number if run else 0
    if _came_as_files(version):
        return address(number, version.id)
    return f"{address(number, exports_of(version))}/{FOLDER}"


def _came_as_files(version: ModelVersion) -> bool:
    return version.files is not None or version.encoded is None


def keep_folder(records: Records, owner: str) -> None:
    """Make the folder that a version is exported as, if these are such files and they aren't there yet.

    Raises:
        NotFoundError: the version is not there, or can't be exported as a folder of MLflow.
        StorageError: another process is making it now.
    """
    if owner.endswith(EXPORTS):
        version = records.models.find("v.id = ? AND v.deleted_at IS NULL", (owner.removesuffix(EXPORTS),))
        if version is None:
            raise NotFoundError("model version", owner.removesuffix(EXPORTS))
        keep_mlflow_folder(version, records.workspace)


def _folder_of(records: Records, version: ModelVersion) -> tuple[str, str]:
    """Whose files those of a version are, and the folder there, which is made if it isn't there; raises as `keep_folder`."""
    if _came_as_files(version):
        return version.id, ""
    keep_mlflow_folder(version, records.workspace)
    return exports_of(version), FOLDER


def _create(records: Records, asked: _Create) -> Told:
    if is_replay():
        raise NotAllowedError(f"A replay registers nothing, and `{asked.name}` was asked to have a new version.")
    owner, folder = _owner(records, asked.source)
    model_id = asked.model_id or (owner if owner.startswith("m-") else "")
    logged = records.logged.get(model_id) if model_id else None
    run = asked.run_id or (logged.run if logged else "") or ""
    if run:
        records.run(run)
    files = _files(records, owner, folder)
    records.models.model(asked.name)
    made = create_version(
        asked.name, {each.path: each for each in files}, run=run or None, source=asked.source, tags=mapped(asked.tags),
        description=asked.description, came_from=[owner.removesuffix(EXPORTS)] if owner else [], workspace=records.workspace,
    )  # fmt: skip
    if logged is not None:
        _note_on(records, logged.id, made)
    return {"model_version": told(records, made)}


def _owner(records: Records, source: str) -> tuple[str, str]:
    """Whose files a source names, and the folder there; nobody's if they lie elsewhere."""
    if found := _LOGGED.fullmatch(source):
        return records.logged.get(found["model"]).id, found["path"] or ""
    if found := _OF_RUN.fullmatch(source):
        return records.run(found["run"]).id, found["path"] or ""
    if found := _OF_VERSION.fullmatch(source):
        return _folder_of(records, find(records, found["name"], found["number"]))
    if source.startswith(_PROXIED):
        return records.place(source.removeprefix(_PROXIED))
    if source.startswith(("/", "file:", ".")):
        raise InvalidError(
            "source", source, "files of a run or a logged model", "Local paths are not read by a server."
        )
    return "", ""


def _files(records: Records, owner: str, folder: str) -> list[RunFile]:
    """The files of a source, by their paths in it. A model that a run only names is that of its logged model."""
    if not owner:
        return []
    folder = folder.strip("/")
    found = records.files.walk(owner, folder)
    if not found and not owner.startswith("m-"):
        for model in records.logged.search(f"source_run_id = '{owner}'", limit=100):
            if model.name == folder:
                return list(records.files.walk(model.id).values())
    skip = len(folder) + 1 if folder else 0
    return [msgspec.structs.replace(each, path=path[skip:]) for path, each in found.items()]


def complete(records: Records, model_id: str) -> None:
    """Read the versions again that were made of a logged model before it was whole."""
    model = records.logged.get(model_id)
    for version in _unread(records, f"models:/{model_id}", *([f"runs:/{model.run}/{model.name}"] if model.run else [])):
        files = _files(records, *_owner(records, version.source))
        complete_version(version, {each.path: each for each in files}, records.workspace)


def add_files(records: Records, owner: str) -> None:
    """Give versions of a run's folder what came into it since, while no model of theirs is loaded here.

    MLflow looks into the folder at each download. What a version has stays as it was.
    """
    for version in _unread(records, f"runs:/{owner}", f"{_PROXIED}%/{owner}/artifacts"):
        known = records.files.walk(version.id)
        files = {each.path: each for each in _files(records, *_owner(records, version.source))} | dict(known)
        if len(files) > len(known):
            complete_version(version, files, records.workspace)


def _unread(records: Records, *sources: str) -> list[ModelVersion]:
    """Versions without a loaded model whose sources begin so."""
    where = " OR ".join(["v.source LIKE ?"] * len(sources))
    found = records.models.select(f"({where}) AND v.deleted_at IS NULL", tuple(f"{each}%" for each in sources))
    return [version for version in found if version.encoded is None]


def _note_on(records: Records, model_id: str, version: ModelVersion) -> None:
    """Tell a logged model which versions were made of it, where MLflow's clients look for that."""
    key = "mlflow.modelVersions"
    known = msgspec.json.decode(records.logged.get(model_id).tags.get(key) or "[]")
    entry = {"name": version.name, "version": version.number}
    records.logged.set_tags(model_id, {key: msgspec.json.encode([*known, entry]).decode()})


def _get(records: Records, asked: _Ref) -> Told:
    return {"model_version": told(records, find(records, asked.name, asked.version))}


def _update(records: Records, asked: _Update) -> Told:
    version = find(records, asked.name, asked.version)
    after = versions.update_version(version, description=asked.description, workspace=records.workspace)
    return {"model_version": told(records, after)}


def _delete(records: Records, asked: _Ref) -> Told:
    versions.delete_version(find(records, asked.name, asked.version), workspace=records.workspace)
    return {}


def _uri(records: Records, asked: _Ref) -> Told:
    version = find(records, asked.name, asked.version)
    owner, _ = _folder_of(records, version)
    uri = _own_address(records, version) if records.files.list(owner) else version.source
    if not uri:
        raise NotFoundError("folder", str(version), hint="It was registered without files.")
    return {"artifact_uri": uri}


def _set_tag(records: Records, asked: _Tag) -> Told:
    version = find(records, asked.name, asked.version)
    versions.set_version_tags(version, {asked.key: asked.value}, workspace=records.workspace)
    return {}


def _delete_tag(records: Records, asked: _Tag) -> Told:
    version = find(records, asked.name, asked.version)
    versions.delete_version_tag(version, asked.key, workspace=records.workspace)
    return {}


ROUTES = (
    Route("POST", "/mlflow/model-versions/create", _Create, _create),
    Route("GET", "/mlflow/model-versions/get", _Ref, _get),
    Route("PATCH", "/mlflow/model-versions/update", _Update, _update),
    Route("DELETE", "/mlflow/model-versions/delete", _Ref, _delete),
    Route("GET", "/mlflow/model-versions/get-download-uri", _Ref, _uri),
    Route("POST", "/mlflow/model-versions/set-tag", _Tag, _set_tag),
    Route("DELETE", "/mlflow/model-versions/delete-tag", _Tag, _delete_tag),
)
