"""The one way in which versions come to be: write blobs, then one transaction that a faster writer refuses, and again."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import suppress

from mainspring.data._store import DatasetStore
from mainspring.data.draft import Draft
from mainspring.data.repair import repaired
from mainspring.data.version import DatasetVersion, Source
from mainspring.errors import ConflictError, InvalidError, NotAllowedError
from mainspring.ledger import is_replay
from mainspring.secrets import redact
from mainspring.store import Transaction
from mainspring.workspace import Workspace

_ATTEMPTS = 1_000  # each failed one means that another writer committed
Extra = Callable[[Transaction, DatasetVersion], None]


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
    store = DatasetStore(workspace.database, workspace.ledger)
    if is_replay():
        return _recorded(store, name, draft, behind=behind)
    for _ in range(_ATTEMPTS):
        head = store.head(name)
        if head is not None and head.kind != draft.kind:
            raise InvalidError("dataset", name, f"a {draft.kind}", f"It is a {head.kind}; choose another name.")
        if behind and head is not None and head.pinned is not None:
            raise NotAllowedError(
                f"{head} is pinned to {head.pinned.uri}, so it can't be changed here. Change that table and pin its new "
                "version, or import it: then the rows are stored here."
            )
        draft.put_behind(head if behind else None)
        if head is not None and draft.content_digest == head.content_digest:
            same = repaired(store, workspace.blobs, head, draft)
            if same is not None and store.confirm(same, sources, extra):
                return same
            continue
        wanted = draft.version(head, sources, redact(note), extracted_us)
        version = store.commit(wanted, draft.written, base=draft.base, extra=extra)
        if version is not None:
            _compact(version, draft, workspace)
            return version
    raise ConflictError(f"The dataset `{name}` is being written by too many others; nothing was committed.")


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
