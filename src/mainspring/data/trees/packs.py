"""Packs that lost bytes, made whole from what is left of them and from files at hand.

Invariant: a pack is stored again only if all of its bytes have its digest, so every version that names it can be read.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Iterator, Mapping

from blake3 import blake3

from mainspring.data._store import DatasetStore
from mainspring.data.damage import UNREADABLE, corrupt_blobs
from mainspring.data.trees.archiver import PACK_BYTES, SMALL_BYTES
from mainspring.data.trees.entries import LINK, PACKED, Entry
from mainspring.data.trees.index import Seen
from mainspring.data.trees.manifest import Listing, blobs_of, read_listing
from mainspring.data.trees.scan import Place, Stamp
from mainspring.data.version import DatasetVersion
from mainspring.store import BlobStore
from mainspring.workspace import Workspace

Find = Callable[[Entry], bytes | None]


def mend_packs(workspace: Workspace, corrupt: Iterable[str], find: Find) -> None:
    """Store the corrupt packs of any dataset again that become whole by files at hand; `find` gives a file's bytes."""
    store = DatasetStore(workspace.database, workspace.ledger)
    for digest in corrupt:
        files = list(_packed(store, workspace.blobs, digest))
        if files:
            data = _mended(workspace.blobs.remains(digest), files, find)
            if blake3(data).hexdigest() == digest:
                workspace.blobs.put(bytes(data))


def usable_listing(blobs: BlobStore, head: DatasetVersion | None) -> Listing | None:
    """The listing of the newest version, without files whose stored bytes are corrupt: those are to be read and stored.

    None if there is no version, or if its listing is itself damaged: then all files are.
    """
    try:
        listing = read_listing(blobs, head.manifest) if head else None
    except UNREADABLE:
        return None
    corrupt = corrupt_blobs(blobs) if listing is not None else frozenset()
    if listing is None or not corrupt:
        return listing
    entries = {path: entry for path, entry in listing.entries.items() if not _is_hit(blobs, entry, corrupt)}
    return Listing(listing.blob, listing.depth, listing.changes, entries)


class FilesAtHand:
    """The files of a working copy, by their bytes; those that the index knows to be others are not read."""

    def __init__(self, place: Place, found: Mapping[str, Stamp], known: Mapping[str, Seen]) -> None:
        self._place, self._known = place, known
        self._by_size: dict[int, list[str]] = {}
        for path, stamp in found.items():
            if not stamp.is_link and stamp.size_bytes < SMALL_BYTES:
                self._by_size.setdefault(stamp.size_bytes, []).append(path)
        self._found = found

    def find(self, entry: Entry) -> bytes | None:
        """The bytes of a file as it was stored, if one here has them."""
        for path in self._by_size.get(entry.size_bytes, ()):
            if not self._is_other(path, self._found[path], entry.digest):
                try:
                    with open(os.path.join(self._place.folder, path), "rb") as file:
                        data = file.read(SMALL_BYTES)
                except OSError:
                    continue  # who adds it says so
                if blake3(data).digest() == entry.digest:
                    return data
        return None

    def _is_other(self, path: str, stamp: Stamp, digest: bytes) -> bool:
        seen = self._known.get(path)
        return seen is not None and seen.is_now(stamp) and seen.digest != digest


def _packed(store: DatasetStore, blobs: BlobStore, digest: str) -> Iterator[Entry]:
    """The files that lie in a pack, as the versions tell that keep it."""
    for version in store.holders(digest):
        if version.kind == "tree" and version.removed_at is None:
            try:
                entries = read_listing(blobs, version.manifest).entries
            except UNREADABLE:
                continue
            yield from (each for each in entries.values() if each.form == PACKED and each.home.hex() == digest)


def _mended(left: bytes, files: Iterable[Entry], find: Find) -> bytearray:
    """What is left of a pack, with the bytes of files in their places where it has others."""
    data = bytearray(left)
    for entry in {entry.offset: entry for entry in files}.values():
        end = entry.offset + entry.size_bytes
        if entry.offset >= 0 and end <= PACK_BYTES and blake3(data[entry.offset : end]).digest() != entry.digest:
            data.extend(bytes(max(0, end - len(data))))
            data[entry.offset : end] = find(entry) or data[entry.offset : end]
    return data


def _is_hit(blobs: BlobStore, entry: Entry, corrupt: frozenset[str]) -> bool:
    if entry.form == LINK:
        return False
    try:
        return not corrupt.isdisjoint(blobs_of(blobs, entry))
    except UNREADABLE:
        return True
