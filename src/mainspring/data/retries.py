"""What an earlier attempt of the task at work appended to a table: the next one takes it over, so nothing is there twice.

A version counts if the rows, put behind what they were put behind then, have its content, and the table still begins with its
rows, so nothing of it was deleted or replaced since. Each counts once, in their order, until this attempt commits anything
else; runs that an attempt opens itself are parts of it. All of that is read from the ledger, so processes that a step forks
don't take over the same one.
"""

from __future__ import annotations

from collections.abc import Iterator

from mainspring.data._store import DatasetStore, Write
from mainspring.data.draft import Making, Wanted
from mainspring.data.replays import as_recorded
from mainspring.data.version import DatasetVersion
from mainspring.errors import InvalidError, NotFoundError
from mainspring.ledger import Scope, current_scope
from mainspring.store import BlobStore
from mainspring.workspace import Workspace, using


def taken_over(workspace: Workspace, store: DatasetStore, name: str, make: Making) -> list[DatasetVersion] | None:
    """The versions that an append to a table, and what goes with it, came to in an earlier attempt; they are this one's now.

    None if there are none that hold.
    """
    given = store, workspace.blobs, name, make
    with using(workspace):
        while (writes := _made_before(*given) or _set_apart_before(*given)) is not None:
            versions = store.commit(writes)
            if versions is not None:
                return versions  # else another writer was faster, and may have changed what they hold
    return None


def _set_apart_before(store: DatasetStore, blobs: BlobStore, name: str, make: Making) -> list[Write] | None:
    """What takes over the versions that went with an append which changes nothing, as all its rows were set apart."""
    scope, head = current_scope(), store.head(name)
    if scope is None or not scope.earlier or head is None or head.kind != "table" or head.pinned is not None:
        return None
    try:
        others = as_recorded(make, head, head)
    except (InvalidError, NotFoundError, FileNotFoundError):
        return None  # what is wrong with it is told when it is committed
    beside = [_one_made_before(store, blobs, each) for each in others or ()]
    if not beside or None in beside:
        return None
    return [store.confirming(head), *(each for each in beside if each is not None)]


def _made_before(store: DatasetStore, blobs: BlobStore, name: str, make: Making) -> list[Write] | None:
    """What takes over the versions that an append and what goes with it came to."""
    scope, head = current_scope(), store.head(name)
    if scope is None or not scope.earlier or head is None or head.kind != "table" or head.pinned is not None:
        return None
    for version, attempt in _set_aside(store, scope, name):
        base = store.by_id(version.parent) if version.parent else None
        try:
            if not _begins_with(head, version, blobs):
                continue
            others = as_recorded(make, base, version)
        except (InvalidError, NotFoundError, FileNotFoundError):
            continue  # it doesn't fit behind that one, so it was not put there; or what that one names is gone
        if others is not None:
            own = store.taking_over(version, attempt, head)
            beside = [_one_made_before(store, blobs, each) for each in others]
            return None if None in beside else [own, *(each for each in beside if each is not None)]
    return None


def _one_made_before(store: DatasetStore, blobs: BlobStore, wanted: Wanted) -> Write | None:
    found = _made_before(store, blobs, wanted.name, lambda _: [wanted])
    return None if found is None else found[0]


def _set_aside(store: DatasetStore, scope: Scope, name: str) -> Iterator[tuple[DatasetVersion, str]]:
    """The versions that earlier attempts made, behind all that this one made or took over; each with its attempt."""
    makers = store.made_by([scope.task, *scope.earlier])
    numbers = store.numbers(name, makers)
    last = max((number for number, each in numbers.items() if makers[each] == scope.task), default=0)
    for number, each in numbers.items():
        version = store.by_id(each) if number > last else None
        if version is not None and version.removed_at is None:
            yield version, makers[each]


def _begins_with(head: DatasetVersion, version: DatasetVersion, blobs: BlobStore) -> bool:
    if head.id == version.id:
        return True
    from mainspring.data.tables.beginning import begins_with

    return begins_with(head, version, blobs)
