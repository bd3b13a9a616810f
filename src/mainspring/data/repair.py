"""A version made whole when its content is committed again.

Whoever takes content in puts the bytes that it has; those of a corrupt blob are stored anew by that. Where the content is
stored differently now, the newest version gets the new layout. Nothing is looked at unless the store set blobs aside.
"""

from __future__ import annotations

import logging
from collections.abc import Set
from contextlib import suppress

import msgspec

from mainspring.data._store import DatasetStore
from mainspring.data.damage import UNREADABLE, corrupt_blobs, tell_repaired
from mainspring.data.draft import Draft
from mainspring.data.version import DatasetVersion
from mainspring.store import BlobStore

_log = logging.getLogger(__name__)


def repaired(store: DatasetStore, blobs: BlobStore, head: DatasetVersion, draft: Draft) -> DatasetVersion | None:
    """The newest version, whose content a draft has, written anew as far as its blobs are corrupt.

    None if it is not the newest any more, or has another layout by now.
    """
    corrupt = corrupt_blobs(blobs)
    if not corrupt or not _lacks(blobs, head, corrupt):
        return head
    if head.kind == "table":
        _put_parts(blobs, head, draft, corrupt)
    new = draft.version(None, (), "", 0)
    tell_repaired(blobs, corrupt, str(head))
    corrupt = corrupt_blobs(blobs)
    if not _lacks(blobs, head, corrupt) or _lacks(blobs, new, corrupt):
        return head
    with store.database.transaction() as tx:
        if not store.relayout(tx, head, new.manifest, new.parts, new.size_bytes, draft.written, "repaired"):
            return None
    _log.warning("%s: parts of it were found damaged before, its content is now stored anew", head)
    return msgspec.structs.replace(head, manifest=new.manifest, parts=new.parts, size_bytes=new.size_bytes)


def _put_parts(blobs: BlobStore, head: DatasetVersion, draft: Draft, corrupt: Set[str]) -> None:
    """Store the corrupt parts of a table again from rows at hand, for all versions that name them.

    It does nothing for them if other bytes come of the rows, as from another release of Polars.
    """
    from mainspring.data.tables.draft import AppendDraft
    from mainspring.data.tables.manifest import read_listing
    from mainspring.data.tables.parts import write_parts

    frame = next(iter(draft.frames())) if isinstance(draft, AppendDraft) else None
    if frame is None or frame.height != head.rows:
        return
    with suppress(*UNREADABLE):
        at = 0
        for part in read_listing(blobs, head.manifest).parts:
            if part.blob in corrupt and not part.dropped:
                write_parts(frame.slice(at, part.rows), blobs)
            at += part.rows


def _lacks(blobs: BlobStore, version: DatasetVersion, corrupt: Set[str]) -> bool:
    from mainspring.data.reachable import needed_blobs  # of both kinds: only a damaged store pays for it

    try:
        return not corrupt.isdisjoint(needed_blobs(blobs, [version]))
    except UNREADABLE:
        return True
