"""The one way in which versions come to be: write blobs, then one transaction that a faster writer refuses, and again."""

from __future__ import annotations

from collections.abc import Sequence

from mainspring.data._store import DatasetStore, Extra, Write
from mainspring.data.draft import Draft, Making, Wanted
from mainspring.data.repair import repaired
from mainspring.data.replays import recorded_versions
from mainspring.data.retries import taken_over
from mainspring.data.version import DatasetVersion, Source
from mainspring.errors import ConflictError, InvalidError, NotAllowedError, NotFoundError
from mainspring.ledger import current_replay
from mainspring.secrets import redact
from mainspring.store import BlobStore, Transaction
from mainspring.workspace import Workspace

_ATTEMPTS = 1_000  # each failed one means that another writer committed


def commit_draft(
    workspace: Workspace, name: str, draft: Draft, *, behind: bool, sources: tuple[Source, ...] = (), note: str = "",
    extracted_us: int, extra: Sequence[Extra] = (), about: Sequence[Extra] = (), once: bool = False,
) -> DatasetVersion:  # fmt: skip
    """Make a draft the newest version of a dataset: content of its own, or (`behind`) a change of the newest one.

    If nothing changed, the newest version is given, and it is recorded who found it so, and the sources of content of its
    own; blobs of it that were found corrupt are stored anew. `extra` and `about` are as for `Wanted`. In a replay nothing is
    committed: the version that this made or found then is given. `once` is as for `commit_onto`. A table whose layout is
    scattered by now is compacted behind the caller's back.

    Raises:
        InvalidError: the dataset is of another kind, or the draft doesn't fit behind its newest version.
        ConflictError: a thousand other writers were faster.
        NotAllowedError: this is a replay, and what was recorded has other content; or (`behind`) the newest version
            is pinned to an outside table.
    """
    wanted = Wanted(name, draft, behind, sources, note, extra, about)
    return commit_onto(workspace, name, lambda _: [wanted], extracted_us=extracted_us, once=once)[0]


def commit_drafts(workspace: Workspace, wanted: Sequence[Wanted], *, extracted_us: int) -> list[DatasetVersion]:
    """Make drafts the newest versions of several datasets, all in one transaction or none; else as `commit_draft`."""
    return commit_onto(workspace, wanted[0].name, lambda _: wanted, extracted_us=extracted_us)


def commit_onto(
    workspace: Workspace, name: str, make: Making, *, extracted_us: int, once: bool = False
) -> list[DatasetVersion]:
    """Make what follows from the newest version of a dataset the newest versions, all in one transaction or none.

    `make` is asked again if another writer was faster, so what it decides by the version is true when it is committed. In a
    replay it is asked for the versions behind which something was put then. With `once` the task at work, if it is tried
    again, is given the versions that an earlier attempt made by appending the same, if they still hold (`retries`): what went
    with them was written then. An edit that is repeated comes to the same without. Raises as `commit_draft` and `make` do.
    """
    store = DatasetStore(workspace.database, workspace.ledger)
    replay = current_replay()
    if replay is not None:
        return recorded_versions(store, replay, name, make)
    if once and (taken := taken_over(workspace, store, name, make)) is not None:
        return taken
    for _ in range(_ATTEMPTS):
        heads = {name: store.head(name)}
        try:
            wanted = make(heads[name])
            heads |= {each.name: store.head(each.name) for each in wanted[1:]}
            writes = [_writing(store, workspace.blobs, each, heads[each.name], extracted_us) for each in wanted]
        except (NotFoundError, FileNotFoundError):
            if all(_layout(store.head(each)) == _layout(head) for each, head in heads.items()):
                raise
            continue  # what was read is removed by now, as another writer was faster
        versions = store.commit(writes)
        if versions is not None:
            for version, each in zip(versions, wanted, strict=True):
                _compact(version, each.draft, workspace)
            return versions
    raise ConflictError(f"The dataset `{name}` is being written by too many others; nothing was committed.")


def _writing(
    store: DatasetStore, blobs: BlobStore, wanted: Wanted, head: DatasetVersion | None, extracted_us: int
) -> Write:
    """Put a draft behind the newest version, store its blobs, and give what records it."""
    name, draft, behind, sources, note, extra, about = wanted
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
        if same is None:
            return _outrun
        return store.confirming(same, (), extra) if behind else store.confirming(same, sources, (*extra, *about))
    if head is not None and not behind and draft.kind == "table":
        extra = (*store.replacing(), *extra)  # an ingestion's own, which it takes back, comes after
    version = draft.version(head, sources, redact(note), extracted_us)
    return store.committing(version, draft.written, base=draft.base, extra=(*extra, *about))


def _layout(head: DatasetVersion | None) -> tuple[str, str] | None:
    return None if head is None else (head.id, head.manifest)


def _outrun(_: Transaction) -> None:
    """Records nothing: the newest version is another one by now."""


def _compact(version: DatasetVersion, draft: Draft, workspace: Workspace) -> None:
    if version.kind != "table":
        return
    from mainspring.data.tables.draft import TableDraft

    if isinstance(draft, TableDraft) and draft.is_scattered:
        from mainspring.data.tables.compaction import start_compaction

        start_compaction(version.dataset, workspace)
