"""The newest version of a dataset in another layout: the same content, in other blobs.

What a compaction has written takes effect in one transaction, under a lease, which a writer with another head or layout
refuses. Then the layout is made again for what that writer left.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import NamedTuple

import msgspec

from mainspring.data._store import DatasetStore
from mainspring.data.version import DatasetVersion, Kind
from mainspring.errors import ConflictError
from mainspring.store import Lease
from mainspring.store.heartbeat import kept_alive
from mainspring.workspace import Workspace

_LEASE_S = 60.0
_ATTEMPTS = 100  # each failed one means that a writer was faster


class Layout(NamedTuple):
    """Where the bytes of a version are to be: its manifest, and every blob that was written for it."""

    manifest: str
    parts: int
    size_bytes: int
    written: list[str]


@contextmanager
def compacting(name: str, workspace: Workspace) -> Iterator[Lease]:
    """Hold the lease of the one who compacts a dataset; raises `ConflictError` if somebody else does."""
    lease = workspace.leases.claim(f"compact:{name}", workspace.owner, _LEASE_S)
    with kept_alive(workspace.leases, lease, _LEASE_S):
        yield lease


def lay_out(
    name: str, kind: Kind, workspace: Workspace, lease: Lease, layout_of: Callable[[DatasetVersion], Layout | None]
) -> DatasetVersion:
    """Give the newest version the layout that `layout_of` makes for it, or leave it where that gives None.

    Raises:
        ConflictError: the dataset was removed, or writers were faster a hundred times.
    """
    store = DatasetStore(workspace.database, workspace.ledger)
    for _ in range(_ATTEMPTS):
        head = store.head(name)
        if head is None or head.kind != kind:
            raise ConflictError(f"The dataset `{name}` was removed while it was compacted.")
        new = layout_of(head)
        if new is None:
            return head
        with workspace.database.transaction() as tx:
            workspace.leases.check(tx, lease)
            done = store.relayout(tx, head, new.manifest, new.parts, new.size_bytes, new.written)
        if done:
            return msgspec.structs.replace(head, manifest=new.manifest, parts=new.parts, size_bytes=new.size_bytes)
    raise ConflictError(f"The dataset `{name}` is being written by too many others; its layout stays.")
