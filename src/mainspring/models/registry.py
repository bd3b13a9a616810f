"""Finding versions and loading models."""

from __future__ import annotations

from typing import Any

from mainspring.errors import InvalidError, NotFoundError, WrongTypeError, close_names, depended_on
from mainspring.ledger import note_moving, note_search
from mainspring.models._store import ModelStore, there
from mainspring.models.version import STAGES, ModelVersion
from mainspring.workspace import Workspace, current_workspace

_SHORTEST_PREFIX = 6
_FORMS = "`name/number`, `name@alias`, `name/latest`, `name/Production` or an id"


def model_store(workspace: Workspace | None = None) -> ModelStore:
    """The store of a workspace, by default of the present one."""
    workspace = workspace or current_workspace()
    return ModelStore(workspace.database, workspace.ledger)


def list_models(workspace: Workspace | None = None) -> list[ModelVersion]:
    """The newest version of every model that has one, by name."""
    store = model_store(workspace)
    note_search("models")
    newest = {version.name: version for version in store.select("v.deleted_at IS NULL ORDER BY v.number")}
    return [newest[name] for name in store.names() if name in newest]


def list_model_versions(name: str, workspace: Workspace | None = None) -> list[ModelVersion]:
    """Every version of a model, newest first.

    Raises:
        NotFoundError: no such model; the nearest are named.
    """
    note_search(f"versions of {name}")
    return model_store(workspace).versions(name)


def get_model_version(ref: str | ModelVersion, workspace: Workspace | None = None) -> ModelVersion:
    """A version by `name/number`, `name@alias`, `name/latest`, `name` (the newest), `name/stage`, or an id or its beginning.

    A version that is given is read anew. By what moves (all but a number or an id) a task's result can't be reused.

    Raises:
        WrongTypeError, InvalidError: it is no reference, or an empty one.
        NotFoundError: nothing fits; the nearest names are given.
        RemovedError: it was deleted.
    """
    version = named_version(ref, workspace)
    if isinstance(ref, str) and not version.id.startswith(ref) and not _names_a_number(ref):
        note_moving("model", ref)
    return version


def named_version(ref: str | ModelVersion, workspace: Workspace | None = None) -> ModelVersion:
    """`get_model_version` for what changes a version or says something of it: that reads nothing for a task's result.

    Raises:
        WrongTypeError, InvalidError: it is no reference, or an empty one.
        NotFoundError: nothing fits; the nearest names are given.
        RemovedError: it was deleted.
    """
    store = model_store(workspace)
    if isinstance(ref, ModelVersion):
        return store.version(ref.id)
    if not isinstance(ref, str):
        raise WrongTypeError("model version", ref, f"a version, or {_FORMS}")
    if not ref.strip():
        raise InvalidError("model version", ref, f"one of {_FORMS}")
    name, at, alias = ref.partition("@")
    if at:
        return _aliased(store, name, alias)
    name, slash, version = ref.partition("/")
    if not slash and name not in store.names():
        found = store.find("v.id >= ? AND v.id < ?", (ref, ref + "g")) if len(ref) >= _SHORTEST_PREFIX else None
        if found is None:
            raise NotFoundError("registered model", ref, close_names(ref, store.names()))
        return there(found)
    return _of_model(store, ref, name, version)


def _names_a_number(ref: str) -> bool:
    return ref.partition("/")[2].removeprefix("v").isdecimal()


def _of_model(store: ModelStore, ref: str, name: str, version: str) -> ModelVersion:
    model = store.model(name)
    stage = next((stage for stage in STAGES if stage.lower() == version.lower()), None)
    number = version.removeprefix("v")
    if version in ("", "latest"):
        found = store.find("v.model = ? AND v.deleted_at IS NULL", (model.id,))
    elif stage is not None:
        found = store.find("v.model = ? AND v.stage = ? AND v.deleted_at IS NULL", (model.id, stage))
    elif number.isdecimal():
        # Larger than a number of a database can be none of a version.
        found = store.find("v.model = ? AND v.number = ?", (model.id, min(int(number), 2**63 - 1)))
    else:
        raise InvalidError("model version", ref, f"one of {_FORMS}")
    if found is None:
        newest = store.find("v.model = ? AND v.deleted_at IS NULL", (model.id,))
        hint = f"The newest is {newest}." if newest else "The model has no version."
        raise NotFoundError("model version", ref, hint=hint)
    return there(found)


def load_model(ref: str | ModelVersion, workspace: Workspace | None = None) -> Any:
    """The model itself, decoded by its codec.

    Raises:
        NotFoundError: nothing fits the reference.
        CorruptBlobError: the stored bytes no longer match their digest.
        CodecError: the bytes ask for a type that isn't allowed.
        NotAllowedError: the version is files that aren't loaded here, or a pickle that nobody allowed; the text says what
            to do.
    """
    from mainspring.artifacts.project import importing_from
    from mainspring.models.pickled import load_version

    workspace = workspace or current_workspace()
    version = ref if isinstance(ref, ModelVersion) else get_model_version(ref, workspace)
    with importing_from(workspace.project.source_roots), depended_on(f"model version {version}"):
        return load_version(version, workspace)


def _aliased(store: ModelStore, name: str, alias: str) -> ModelVersion:
    found = store.alias(name, alias)
    if found is None:
        store.model(name)
        known = [each.alias for each in store.aliases(name)]
        raise NotFoundError("alias", f"{name}@{alias}", [f"{name}@{near}" for near in close_names(alias, known)])
    return store.version(found.version)
