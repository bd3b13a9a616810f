"""Pickles, the last resort: signed by this workspace, allowed for one version by a person, or never opened.

Invariant: nothing is unpickled unless somebody allowed this very version's bytes, and the workspace's signature over them
holds. A step can't allow anything.
"""

from __future__ import annotations

from collections.abc import Iterator
from io import BytesIO
from pickle import PicklingError, Unpickler, dumps  # noqa: TID251  # the one place that opens one, behind both checks
from pickletools import genops
from typing import Any

from mainspring.artifacts import Encoded, load, meaning_digest
from mainspring.artifacts.project import find_modules, missing_import, module_file
from mainspring.artifacts.script import expect_elsewhere, is_here_alone
from mainspring.errors import CodecError, NotAllowedError, shorten
from mainspring.ledger import current_task, is_replay, note_moving
from mainspring.models._store import ModelStore
from mainspring.models.version import ModelVersion, expect_model
from mainspring.secrets import redact
from mainspring.store import Database, Transaction
from mainspring.workspace import Workspace
from mainspring.workspace.signing import sign, verified

CODEC = "pickle"
_PURPOSE = "model pickle"
_PROTOCOL = 5


def save_pickled(model: Any, workspace: Workspace) -> tuple[str, Encoded]:
    """A model as a pickle that this workspace signed, and the digest of its bytes.

    Raises:
        CodecError: pickle can't store it, or would look for a definition where no other process finds it.
    """
    try:
        data = dumps(model, protocol=_PROTOCOL)
    except (PicklingError, TypeError, AttributeError, RecursionError) as error:
        raise CodecError(f"pickle can't store `{shorten(model)}`: {shorten(str(error), 200)}") from error
    expect_elsewhere(model, [f"{module}.{name}" for module, name in _named(data) if is_here_alone(module)])
    return meaning_digest(CODEC, 1, data), signed(data, workspace)


def _named(data: bytes) -> Iterator[tuple[str, str]]:
    """The modules and names that a pickle of protocol 5 asks for, which are texts, at first or remembered ones."""
    remembered: list[str] = []
    before, last = "", ""
    for operation, argument, _ in genops(data):
        if operation.name == "MEMOIZE":
            remembered.append(last)
        elif operation.name == "STACK_GLOBAL":
            yield before, last
            before, last = "", ""
        elif operation.name != "FRAME":
            text = argument if isinstance(argument, str) else ""
            if operation.name in ("BINGET", "LONG_BINGET") and isinstance(argument, int):
                text = remembered[argument]
            before, last = last, text


def signed(data: bytes, workspace: Workspace) -> Encoded:
    """A pickle, signed by the workspace, as a blob."""
    sealed = sign(workspace.database, _PURPOSE, data)
    return Encoded(CODEC, workspace.blobs.put(sealed), len(sealed))


def unpickled(data: bytes) -> Any:
    """What a pickle holds, by the project's modules too. It runs whatever code it names: somebody wants that, says the caller.

    Raises:
        CodecError: it can't be opened here; the text says why.
    """
    find_modules()
    try:
        # Every caller checked signature and permission, or acts on a person's word.
        return _Unpickler(BytesIO(data)).load()
    except MemoryError:
        raise
    except Exception as error:
        text = shorten(f"{type(error).__name__}: {error}", 200)
        told = missing_import(error.name or "") if isinstance(error, ModuleNotFoundError) else ""
        raise CodecError(f"The pickle can't be opened here: {text}{told and f'. {told}'}") from error


class _Unpickler(Unpickler):
    """Notes what of the project a pickle names: the task at work uses it."""

    def find_class(self, module: str, name: str) -> Any:
        """As `pickle` finds it."""
        if module_file(module) is not None:
            note_moving("code", f"{module}.{name}")
        return super().find_class(module, name)


def load_version(version: ModelVersion, workspace: Workspace) -> Any:
    """The model of a version, by its codec, or out of its pickle if that is allowed.

    Raises:
        NotAllowedError: it has no model that is loaded here, or its pickle isn't allowed or not signed by this workspace.
        CodecError: the bytes are not what the codec writes.
        CorruptBlobError: the stored bytes no longer match their digest.
    """
    encoded, _ = expect_loadable(version, workspace.database)
    if encoded.codec != CODEC:
        return load(encoded, workspace.blobs)
    return unpickled(allowed_bytes(version, workspace))


def allowed_bytes(version: ModelVersion, workspace: Workspace) -> bytes:
    """The pickle of a version that is one, if it is allowed and signed by this workspace; raises `NotAllowedError`."""
    encoded, _ = expect_loadable(version, workspace.database)
    return verified(workspace.database, _PURPOSE, workspace.blobs.read(encoded.blob))


def expect_loadable(version: ModelVersion, database: Database) -> tuple[Encoded, Any]:
    """Where a version's model is, and its signature.

    Raises:
        NotAllowedError: it has none that is loaded here, or it is a pickle that nobody allowed; the text says what to do.
    """
    encoded, signature = expect_model(version)
    if encoded.codec == CODEC:
        ModelStore(database)
        row = database.query_one("SELECT blob FROM model_permission WHERE version = ?", (version.id,))
        if row is None or row[0] != encoded.blob:
            raise NotAllowedError(
                f"The model version `{version}` is a pickle, which runs whatever code it holds when it is opened, and "
                f"nobody allowed it. Whoever trusts it says so: mainspring models allow-pickle {version} --note WHY"
            )
    return encoded, signature


def permit(tx: Transaction, store: ModelStore, version: ModelVersion, blob: str | None, note: str) -> None:
    """Write who allows the pickle of a version, as an event; with no blob, that it is allowed no longer."""
    tx.execute("DELETE FROM model_permission WHERE version = ?", (version.id,))
    if blob is not None:
        tx.insert("model_permission", {"version": version.id, "blob": blob})
    kind = "model_version.pickle_allowed" if blob else "model_version.pickle_revoked"
    store.ledger.append(tx, kind, version.id, {"version": str(version), "note": redact(note), "blob": blob})


def expect_person(action: str) -> None:
    """Refuse what only a person may do.

    Raises:
        NotAllowedError: a step or a replay asks.
    """
    if current_task() is not None or is_replay():
        raise NotAllowedError(f"A step can't {action}: a person does, by `mainspring models`.")
