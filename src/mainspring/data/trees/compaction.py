"""Compaction: small files move out of packs that hold bytes of other files too; what the tree says stays.

Files are read verified, and read back from their new packs before those are named. The manifest becomes a snapshot, so that it
leads to no file that was removed, nor to its name. Older versions keep the packs that they had.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from itertools import groupby

import msgspec

from mainspring.data._store import DatasetStore
from mainspring.data.relayout import Layout, compacting, lay_out
from mainspring.data.trees.archiver import Archiver
from mainspring.data.trees.entries import PACKED, WHOLE, Entries, Entry, tree_digest
from mainspring.data.trees.manifest import count_parts, read_listing, write_listing
from mainspring.data.trees.reading import TreeReader
from mainspring.data.version import DatasetVersion
from mainspring.errors import StorageError
from mainspring.store import BlobStore
from mainspring.workspace import Workspace


def compact(name: str, workspace: Workspace) -> DatasetVersion:
    """Give the newest version of a tree packs that hold its files alone; gives that version, whose content is the same.

    Raises:
        NotFoundError: there is no such dataset.
        InvalidError: it is a table.
        ConflictError: somebody else is compacting it, or writers were faster a hundred times.
        CorruptBlobError: a file's stored bytes don't match its digest; nothing was changed.
    """
    store = DatasetStore(workspace.database, workspace.ledger)
    head = store.head(name)
    if head is None:
        raise store.not_found(name)
    head.expect("tree")
    with compacting(name, workspace) as lease:
        return lay_out(name, "tree", workspace, lease, _Repacking(workspace.blobs).layout_of)


class _Repacking:
    """Files on their way into new packs; those that were moved for one head are not read again for the next, if all stay."""

    def __init__(self, blobs: BlobStore) -> None:
        self._blobs = blobs
        self._archiver = Archiver(blobs, {}, blobs)

    def layout_of(self, head: DatasetVersion) -> Layout | None:
        """The layout of a version in packs of its own; None if it has that already."""
        listing = read_listing(self._blobs, head.manifest)
        packs = _packs_of_others_too(self._blobs, listing.entries)
        if not packs and not listing.depth:
            return None
        moving = [entry for entry in listing.entries.values() if entry.form == PACKED and entry.home in packs]
        had = bool(self._archiver.known)
        entries = listing.entries | self._moved(head, moving)
        if had and _packs_of_others_too(
            self._blobs, entries
        ):  # a faster writer removed what was moved for an earlier head
            self._archiver = Archiver(self._blobs, {}, self._blobs)
            entries = listing.entries | self._moved(head, moving)
        if tree_digest(entries) != head.content_digest:
            raise StorageError(
                self._blobs.place, "the compacted files differ from those before, so nothing was changed"
            )
        manifest, written = write_listing(self._blobs, None, entries)
        with TreeReader(self._blobs, manifest, str(head)) as reader:
            for entry in _by_pack((entries[each.path] for each in moving), reader):
                reader.read_bytes(entry.path)
        return Layout(manifest, count_parts(entries), head.size_bytes, [*self._archiver.written, *written])

    def _moved(self, head: DatasetVersion, moving: list[Entry]) -> dict[str, Entry]:
        with TreeReader(self._blobs, head.manifest, str(head)) as reader:
            for entry in _by_pack(moving, reader):
                if not self._archiver.add_known(entry.path, entry.digest, entry.executable, entry.media):
                    alone = msgspec.structs.replace(entry, form=WHOLE, home=b"", offset=0)
                    self._archiver.keep(alone, reader.read_packed(entry))
        moved = self._archiver.finish()
        return {entry.path: moved[entry.path] for entry in moving}


def _packs_of_others_too(blobs: BlobStore, entries: Entries) -> set[bytes]:
    """The packs that have more bytes than these files take in them, and those that the store doesn't list."""
    used: dict[bytes, set[tuple[int, int]]] = {}
    for entry in entries.values():
        if entry.form == PACKED:
            used.setdefault(entry.home, set()).add((entry.offset, entry.size_bytes))
    whole: set[bytes] = set()
    for info in blobs.list() if used else ():
        files = used.get(bytes.fromhex(info.digest))
        if files is not None and sum(size_bytes for _, size_bytes in files) == info.size_bytes:
            whole.add(bytes.fromhex(info.digest))
    return used.keys() - whole


def _by_pack(entries: Iterable[Entry], reader: TreeReader) -> Iterator[Entry]:
    """Entries in the order of their bytes; the reader has no more than one pack open."""
    ordered = sorted(entries, key=lambda entry: (entry.home, entry.offset, entry.path))
    for _, files in groupby(ordered, key=lambda entry: entry.home):
        yield from files
        reader.close()
