"""Whether the pickle of a version may be opened: a person says so, as an event, and may take it back."""

from __future__ import annotations

from typing import Any

import msgspec

from mainspring.artifacts.project import importing_from
from mainspring.errors import InvalidError
from mainspring.models.flavours import described, pickle_of
from mainspring.models.folder import read_said
from mainspring.models.needs import measure_needs
from mainspring.models.pickled import CODEC, expect_person, permit, signed, unpickled
from mainspring.models.registry import model_store, named_version
from mainspring.models.version import ModelVersion
from mainspring.runs.files import RunFiles
from mainspring.workspace import Workspace, current_workspace


def allow_pickle(ref: str | ModelVersion, *, note: str, workspace: Workspace | None = None) -> ModelVersion:
    """Allow the pickle of a version to be opened from now on, in this workspace, by whoever loads or serves it.

    A pickle that MLflow stored is opened at once, to see what it takes, and signed by this workspace. The permission is
    for these bytes only; the event says who gave it, when and why.

    Raises:
        NotFoundError: no such version.
        NotAllowedError: a step asks, which can't allow anything.
        InvalidError: there is no pickle in it, or no reason is given.
        CodecError: it can't be opened here.
    """
    expect_person("allow a pickle")
    if not note.strip():
        raise InvalidError("note", note, "why it is trusted")
    workspace = workspace or current_workspace()
    store, version = model_store(workspace), named_version(ref, workspace)
    found = None if version.encoded is not None else _opened(version, workspace)
    encoded = version.encoded if found is None else found["encoded"]
    if encoded is None or encoded.codec != CODEC:
        raise InvalidError(
            "model version", str(version), "one that is stored as a pickle", "It loads without permission."
        )
    with store.database.transaction() as tx:
        if found is not None:
            version = store.change_version(tx, store.version(version.id), "opened", **found)
        permit(tx, store, version, encoded.blob, note)
    return version


def revoke_pickle(ref: str | ModelVersion, *, note: str = "", workspace: Workspace | None = None) -> ModelVersion:
    """Allow the pickle of a version no longer. What has loaded it keeps it until it ends.

    Raises:
        NotFoundError: no such version.
        NotAllowedError: a step asks.
    """
    expect_person("take a permission back")
    store, version = model_store(workspace), named_version(ref, workspace)
    with store.database.transaction() as tx:
        if tx.query_one("SELECT 1 FROM model_permission WHERE version = ?", (version.id,)):
            permit(tx, store, version, None, note)
    return version


def _opened(version: ModelVersion, workspace: Workspace) -> dict[str, Any]:
    """What changes of a version once the pickle among its files is opened."""
    files = RunFiles(workspace).walk(version.id)
    said, reason = read_said(files, workspace.blobs)
    if said is None:
        raise InvalidError("model version", str(version), "one with a model in it", reason)
    file = pickle_of(said, files)
    data = workspace.blobs.read(file.digest or "")
    with importing_from(workspace.project.source_roots):
        found = described(unpickled(data), signed(data, workspace), said, files, workspace.blobs)
    needs = measure_needs(found.encoded, workspace, lambda: unpickled(data))
    example = workspace.blobs.put(msgspec.json.encode(found.example)) if found.example else None
    return {
        "encoded": found.encoded, "signature": found.signature, "input_kind": found.input_kind, "refusal": "",
        "input_example": example, "needs": needs,
    }  # fmt: skip
