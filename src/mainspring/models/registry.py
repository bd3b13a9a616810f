"""Finding versions, loading models, moving aliases."""

from __future__ import annotations

from typing import Any

from mainspring.errors import InvalidError, NotFoundError, close_names, depended_on
from mainspring.ledger import current_task, is_replay
from mainspring.models._store import ModelStore
from mainspring.models.version import Alias, AliasMove, ModelVersion
from mainspring.store import Transaction
from mainspring.workspace import Workspace, current_workspace

_SHORTEST_PREFIX = 6
_FORMS = "`name/number`, `name@alias`, `name/latest` or an id"


def _store(workspace: Workspace | None) -> ModelStore:
    workspace = workspace or current_workspace()
    return ModelStore(workspace.database, workspace.ledger)


def list_models(workspace: Workspace | None = None) -> list[ModelVersion]:
    """The newest version of every model, by name."""
    store = _store(workspace)
    return [store.versions(name)[0] for name in store.names()]


def list_model_versions(name: str, workspace: Workspace | None = None) -> list[ModelVersion]:
    """Every version of a model, newest first.

    Raises:
        NotFoundError: no such model; the nearest are named.
    """
    return _store(workspace).versions(name)


def get_model_version(ref: str, workspace: Workspace | None = None) -> ModelVersion:
    """A version by `name/number`, `name@alias`, `name/latest`, `name` (the newest), or an id (or a prefix of one).

    Raises:
        NotFoundError: nothing fits; the nearest names are given.
    """
    store = _store(workspace)
    name, at, alias = ref.partition("@")
    if at:
        return _aliased(store, name, alias)
    name, slash, version = ref.partition("/")
    if not slash and name not in store.names():
        found = store.find("id >= ? AND id < ?", (ref, ref + "g")) if len(ref) >= _SHORTEST_PREFIX else None
        if found is None:
            raise NotFoundError("model", ref, close_names(ref, store.names()))
        return found
    versions = store.versions(name)
    if version in ("", "latest"):
        return versions[0]
    number = version.removeprefix("v")
    if not number.isdecimal():
        raise InvalidError("model version", ref, f"one of {_FORMS}")
    found = next((each for each in versions if each.number == int(number)), None)
    if found is None:
        raise NotFoundError("model version", ref, hint=f"The newest is {versions[0]}.")
    return found


def load_model(ref: str | ModelVersion, workspace: Workspace | None = None) -> Any:
    """The model itself, decoded by its codec.

    Raises:
        NotFoundError: nothing fits the reference.
        CorruptBlobError: the stored bytes no longer match their digest.
        CodecError: the bytes ask for a type that isn't allowed.
    """
    from mainspring.artifacts import load
    from mainspring.artifacts.project import importing_from

    workspace = workspace or current_workspace()
    version = ref if isinstance(ref, ModelVersion) else get_model_version(ref, workspace)
    with importing_from(workspace.project.source_roots), depended_on(f"model version {version}"):
        return load(version.encoded, workspace.blobs)


def list_aliases(name: str, workspace: Workspace | None = None) -> list[Alias]:
    """The aliases of a model, by name."""
    return _store(workspace).aliases(name)


def alias_history(name: str, alias: str, workspace: Workspace | None = None) -> list[AliasMove]:
    """Every move of an alias, newest first."""
    return _store(workspace).history(name, alias)


def set_alias(
    ref: str | ModelVersion, alias: str, *, note: str = "", workspace: Workspace | None = None
) -> ModelVersion:
    """Point an alias at a version, and give the version. In a replay nothing is moved.

    Raises:
        NotAllowedError: an endpoint serves the alias; the text says what moves it.
        InvalidError: the alias is no name.
        NotFoundError: no such version.
    """
    store = _store(workspace)
    check_alias(alias)
    version = ref if isinstance(ref, ModelVersion) else get_model_version(ref, workspace)
    if not is_replay():
        with store.database.transaction() as tx:
            store.move(tx, version, alias, by=None, bound_by=None, note=note)
    return version


def move_bound_alias(
    tx: Transaction,
    store: ModelStore,
    version: ModelVersion,
    alias: str,
    *,
    endpoint: str,
    endpoint_id: str,
    note: str = "",
) -> None:
    """The one call that moves what an endpoint serves: binds the alias to it at first, moves it afterwards.

    It writes the alias row, the edge from the endpoint's node and the event; the caller writes its routing row in the same
    transaction. Edges of earlier versions stay as history.

    Raises:
        NotAllowedError: another endpoint serves this alias.
    """
    store.move(tx, version, alias, by=endpoint, bound_by=endpoint, note=note)
    store.ledger.edge(tx, endpoint_id, "binds", version.id, current_task())


def check_alias(alias: str) -> None:
    """Refuse an alias that could not be told from a version.

    Raises:
        InvalidError: it is empty, a number, `latest`, or has characters other than letters, digits, `_`, `-` and `.`.
    """
    plain = alias.replace("_", "a").replace("-", "a").replace(".", "a")
    if not (plain.isascii() and plain.isalnum()) or alias.removeprefix("v").isdecimal() or alias == "latest":
        raise InvalidError("alias", alias, "a name of letters, digits, `_`, `-` and `.`, and not a version")


def _aliased(store: ModelStore, name: str, alias: str) -> ModelVersion:
    found = store.alias(name, alias)
    if found is None:
        store.versions(name)
        known = [each.alias for each in store.aliases(name)]
        raise NotFoundError("alias", f"{name}@{alias}", [f"{name}@{near}" for near in close_names(alias, known)])
    version = store.find("id = ?", (found.version,))
    if version is None:
        raise NotFoundError("model version", found.version)
    return version
