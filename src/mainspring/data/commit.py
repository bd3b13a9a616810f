"""The one way in which versions come to be: write blobs, then one transaction that a faster writer refuses, and again."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import suppress
from typing import NamedTuple

from mainspring.data._store import DatasetStore, Write
from mainspring.data._store import Extra as Extra  # noqa: PLC0414  # whoever commits finds it here
from mainspring.data.draft import Draft
from mainspring.data.repair import repaired
from mainspring.data.version import DatasetVersion, Source
from mainspring.errors import ConflictError, InvalidError, NotAllowedError, NotFoundError
from mainspring.ledger import is_replay
from mainspring.secrets import redact
from mainspring.store import BlobStore, Transaction
from mainspring.workspace import Workspace

_ATTEMPTS = 1_000  # each failed one means that another writer committed


class Wanted(NamedTuple):
    """A draft that is to become the newest version of a dataset."""

    name: str
    draft: Draft
    note: str = ""


def commit_draft(
    workspace: Workspace, name: str, draft: Draft, *, behind: bool, sources: tuple[Source, ...] = (), note: str = "",
    extracted_us: int, extra: Sequence[Extra] = (),
) -> DatasetVersion:  # fmt: skip
    """Make a draft the newest version of a dataset: content of its own, or (`behind`) a change of the newest one.

    If nothing changed, the newest version is given, and the lineage gets the sources and who found it so; blobs of it that
    were found corrupt are stored anew. `extra` is run in the transaction of the version. In a replay nothing is committed:
    the version that this made then is given. A table whose layout is scattered by now is compacted behind the caller's back.

    Raises:
        InvalidError: the dataset is of another kind, or the draft doesn't fit behind its newest version.
        ConflictError: a thousand other writers were faster.
        NotAllowedError: this is a replay, and no version was recorded with this content; or (`behind`) the newest version
            is pinned to an outside table.
    """
    (version,) = commit_drafts(
        workspace, [Wanted(name, draft, note)], behind=behind, sources=sources, extracted_us=extracted_us, extra=extra
    )
    return version


def commit_drafts(
    workspace: Workspace, wanted: Sequence[Wanted], *, behind: bool, sources: tuple[Source, ...] = (), extracted_us: int,
    extra: Sequence[Extra] = (),
) -> list[DatasetVersion]:  # fmt: skip
    """Make drafts the newest versions of several datasets, all in one transaction or none; else as `commit_draft`."""
    store = DatasetStore(workspace.database, workspace.ledger)
    if is_replay():
        return [_recorded(store, each.name, each.draft, behind=behind) for each in wanted]
    for _ in range(_ATTEMPTS):
        heads = [store.head(each.name) for each in wanted]
        try:
            writes = [
                _writing(store, workspace.blobs, each, head, sources, extracted_us, extra, behind=behind)
                for each, head in zip(wanted, heads, strict=True)
            ]
        except (NotFoundError, FileNotFoundError):
            if heads == [store.head(each.name) for each in wanted]:
                raise
            continue  # what was read is removed by now, as another writer was faster
        versions = store.commit(writes)
        if versions is not None:
            for version, each in zip(versions, wanted, strict=True):
                _compact(version, each.draft, workspace)
            return versions
    names = ", ".join(f"`{each.name}`" for each in wanted)
    raise ConflictError(f"The dataset {names} is being written by too many others; nothing was committed.")


def _writing(
    store: DatasetStore, blobs: BlobStore, wanted: Wanted, head: DatasetVersion | None, sources: tuple[Source, ...],
    extracted_us: int, extra: Sequence[Extra], *, behind: bool,
) -> Write:  # fmt: skip
    """Put a draft behind the newest version, store its blobs, and give what records it."""
    name, draft, note = wanted
    if head is not None and head.kind != draft.kind:
        raise InvalidError("dataset", name, f"a {draft.kind}", f"It is a {head.kind}; choose another name.")
    if behind and head is not None and head.pinned is not None:
        raise NotAllowedError(
            f"{head} is pinned to {head.pinned.uri}, so it can't be changed here. Change that table and pin its new "
            "version, or import it: then the rows are stored here."
        )
    draft.put_behind(head if behind else None)
    if head is not None and draft.content_digest == head.content_digest:
        same = repaired(store, blobs, head, draft)
        return store.confirming(same, sources, extra) if same is not None else _outrun
    version = draft.version(head, sources, redact(note), extracted_us)
    return store.committing(version, draft.written, base=draft.base, extra=extra)


def _outrun(_: Transaction) -> None:
    """Records nothing: the newest version is another one by now."""


def _compact(version: DatasetVersion, draft: Draft, workspace: Workspace) -> None:
    if version.kind != "table":
        return
    from mainspring.data.tables.draft import TableDraft

    if isinstance(draft, TableDraft) and draft.is_scattered:
        from mainspring.data.tables.compaction import start_compaction

        start_compaction(version.dataset, workspace)


def _recorded(store: DatasetStore, name: str, draft: Draft, *, behind: bool) -> DatasetVersion:
    versions = store.versions(name)
    by_id = {version.id: version for version in versions}
    for version in versions:
        with suppress(InvalidError):  # what doesn't fit behind a version was not put behind it
            draft.put_behind(by_id.get(version.parent or "") if behind else None)
            if draft.content_digest == version.content_digest:
                return version
    raise NotAllowedError(
        f"A replay commits nothing, and no version of `{name}` was recorded with this content: it differs."
    )
