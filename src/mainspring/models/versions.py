"""What may change of a version: what people say of it, its tags, its licence, and that it is there. In a replay nothing is."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from mainspring import clock
from mainspring.ledger import is_replay
from mainspring.models._rules import check_tags, check_text, without
from mainspring.models._store import ModelStore, expect_free
from mainspring.models.registry import model_store, named_version
from mainspring.models.version import ModelVersion, exports_of
from mainspring.runs.files import RunFiles
from mainspring.store import Transaction
from mainspring.workspace import Workspace, current_workspace

Ref = str | ModelVersion
Change = Callable[[ModelStore, ModelVersion], dict[str, Any]]


def update_version(
    ref: Ref, *, description: str | None = None, licence: str | None = None, workspace: Workspace | None = None
) -> ModelVersion:
    """Say what a version is, or under which licence it may be used (an SPDX expression, say); None leaves it.

    Raises:
        NotFoundError: no such version, or it was deleted.
        InvalidError: a text is too long.
    """
    given = {"description": description, "licence": licence}
    said = {name: check_text(name, text) for name, text in given.items() if text is not None}
    return changed(ref, "updated", lambda *_: said, workspace)


def set_version_tags(ref: Ref, tags: Mapping[str, str], *, workspace: Workspace | None = None) -> ModelVersion:
    """Set tags of a version, others stay.

    Raises:
        NotFoundError: no such version, or it was deleted.
        InvalidError: a key or a value is too long.
    """
    kept = check_tags(tags)
    return changed(ref, "tagged", lambda _, version: {"tags": version.tags | kept}, workspace)


def delete_version_tag(ref: Ref, key: str, *, workspace: Workspace | None = None) -> ModelVersion:
    """Remove a tag of a version; one that isn't there is left so. Raises `NotFoundError`."""
    return changed(ref, "tagged", lambda _, version: {"tags": without(version.tags, key)}, workspace)


def delete_version(ref: Ref, *, note: str = "", workspace: Workspace | None = None) -> None:
    """Delete a version and the aliases that point at it; its number is not given again.

    What the lineage says of it stays, its blobs may be collected. In a replay nothing is deleted.

    Raises:
        NotFoundError: no such version, or it was deleted before.
        NotAllowedError: an endpoint serves it, which is named.
    """
    store = model_store(workspace)
    found = named_version(ref, workspace)
    if is_replay():
        return
    files = RunFiles(workspace or current_workspace())
    with store.database.transaction() as tx:
        version = store.version(found.id)
        pointing = [alias for alias in store.aliases(version.name) if alias.version == version.id]
        for alias in pointing:
            expect_free(alias, None)
        for alias in pointing:
            store.remove_alias(tx, version.name, alias.alias, note or f"{version} was deleted")
        remove_version(tx, store, version, files)


def remove_version(tx: Transaction, store: ModelStore, version: ModelVersion, files: RunFiles) -> None:
    """Mark a version as deleted and let its files go, and what was made of it."""
    store.change_version(tx, version, "deleted", deleted_at=clock.now_us())
    files.remove(tx, version.id)
    files.remove(tx, exports_of(version))


def changed(ref: Ref, event: str, change: Change, workspace: Workspace | None) -> ModelVersion:
    """A version after a change of what may change of it, worked out of what it is in the same transaction."""
    store, found = model_store(workspace), named_version(ref, workspace)
    if is_replay():
        return found
    with store.database.transaction() as tx:
        version = store.version(found.id)
        return store.change_version(tx, version, event, **change(store, version))
