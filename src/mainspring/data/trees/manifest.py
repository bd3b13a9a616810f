"""Manifests of trees: which files a version has, and where their bytes are.

A manifest is a delta on the one before it; every sixteenth, or when the deltas outgrow the tree, a snapshot. A snapshot
lists segments of about 1,024 entries cut where a path's checksum says so, so that snapshots share those that are equal.
"""

from __future__ import annotations

import zlib
from collections.abc import Iterator
from functools import lru_cache
from typing import Any

import msgspec

from mainspring.artifacts import BlobAccess
from mainspring.data.trees.entries import CHUNKED, LINK, PACKED, Entries, Entry, check_stored
from mainspring.errors import StorageError

SNAPSHOT_EVERY = 16
_SEGMENT_MASK = 0x3FF
_MOST_CHANGES = 0.5  # of the tree: deltas that hold more cost more to read than a snapshot


class Manifest(msgspec.Struct, frozen=True, array_like=True):
    """What is stored. A delta names its base, what it sets and what it removes; a snapshot its segments.

    `changes` count the entries of the deltas down to the snapshot.
    """

    base: str
    depth: int
    changes: int
    segments: tuple[str, ...] = ()
    entries: tuple[Entry, ...] = ()
    removed: tuple[str, ...] = ()


class Chunk(msgspec.Struct, frozen=True, array_like=True, gc=False):
    """A piece of a large file: a blob of this digest."""

    digest: bytes
    size_bytes: int


class Listing(msgspec.Struct, frozen=True, eq=False):
    """A manifest with its bases resolved: every entry by path. `blob` is the manifest's own."""

    blob: str
    depth: int
    changes: int
    entries: dict[str, Entry]


def read_listing(blobs: BlobAccess, blob: str) -> Listing:
    """Resolve a manifest; the last few are remembered, so what is given is shared and must not be changed.

    Raises:
        StorageError: it is no manifest, or names what must not be in a tree; else as reading a blob does.
    """
    found: Listing = _remembered(blobs, blob)
    return found


def _resolved(blobs: BlobAccess, blob: str) -> Listing:
    deltas: list[Manifest] = []
    first = manifest = _decode(blobs, blob)
    while manifest.base:
        deltas.append(manifest)
        manifest = _decode(blobs, manifest.base)
    entries: dict[str, Entry] = {}
    for segment in manifest.segments:
        entries.update((entry.path, entry) for entry in _decode_segment(blobs, segment))
    for delta in reversed(deltas):
        for path in delta.removed:
            entries.pop(path, None)
        entries.update((entry.path, entry) for entry in delta.entries)
    check_stored(entries, f"blob {blob[:12]}")
    return Listing(blob, first.depth, first.changes, entries)


def write_listing(blobs: BlobAccess, base: Listing | None, entries: Entries) -> tuple[str, list[str]]:
    """Store a listing, as a delta on a base where that is smaller; gives its blob, and every blob that was written."""
    if base is not None and base.depth + 1 < SNAPSHOT_EVERY:
        changed = [entry for path, entry in entries.items() if base.entries.get(path) != entry]
        removed = [path for path in base.entries if path not in entries]
        changes = base.changes + len(changed) + len(removed)
        if changes <= _MOST_CHANGES * len(entries) + 16:
            manifest = Manifest(base.blob, base.depth + 1, changes, (), tuple(changed), tuple(removed))
            blob = blobs.put(msgspec.msgpack.encode(manifest))
            return blob, [blob]
    segments = [blobs.put(msgspec.msgpack.encode(segment)) for segment in _cut(entries)]
    blob = blobs.put(msgspec.msgpack.encode(Manifest("", 0, 0, tuple(segments))))
    return blob, [*segments, blob]


def reachable_blobs(blobs: BlobAccess, manifest: str) -> set[str]:
    """Every blob that a version with this manifest needs: manifests, segments, packs, files, chunks and their lists."""
    found = set()
    blob = manifest
    while blob:
        found.add(blob)
        part = _decode(blobs, blob)
        found.update(part.segments)
        blob = part.base
    for entry in read_listing(blobs, manifest).entries.values():
        found.update(blobs_of(blobs, entry))
    return found


def blobs_of(blobs: BlobAccess, entry: Entry) -> list[str]:
    """The blobs that hold a file's bytes."""
    if entry.form == LINK:
        return []
    if entry.form == PACKED:
        return [entry.home.hex()]
    if entry.form == CHUNKED:
        return [entry.home.hex(), *(chunk.digest.hex() for chunk in read_chunks(blobs, entry.home))]
    return [entry.digest.hex()]


def count_parts(entries: Entries) -> int:
    """In how many places the bytes of these files lie."""
    return len({entry.home or entry.digest for entry in entries.values()})


def write_chunks(blobs: BlobAccess, chunks: list[Chunk]) -> bytes:
    """Store the list of a large file's chunks, in order."""
    return bytes.fromhex(blobs.put(msgspec.msgpack.encode(chunks)))


def read_chunks(blobs: BlobAccess, home: bytes) -> list[Chunk]:
    """The chunks of a large file, in order; raises as reading a blob does."""
    try:
        return _CHUNKS.decode(blobs.read(home.hex()))
    except msgspec.MsgspecError as error:
        raise StorageError(f"blob {home.hex()[:12]}", f"this is not a list of chunks ({error})") from error


def read_chunk(blobs: BlobAccess, chunk: Chunk) -> bytes:
    """The bytes of a chunk, verified; raises as reading a blob does."""
    data = blobs.read(chunk.digest.hex())
    if len(data) != chunk.size_bytes:
        raise StorageError(f"blob {chunk.digest.hex()[:12]}", f"it has {len(data)} bytes, not {chunk.size_bytes}")
    return data


_remembered: Any = lru_cache(maxsize=3)(_resolved)
_MANIFEST = msgspec.msgpack.Decoder(Manifest)
_SEGMENT = msgspec.msgpack.Decoder(list[Entry])
_CHUNKS = msgspec.msgpack.Decoder(list[Chunk])


def _cut(entries: Entries) -> Iterator[list[Entry]]:
    segment: list[Entry] = []
    for path in sorted(entries):
        if segment and not zlib.crc32(path.encode()) & _SEGMENT_MASK:
            yield segment
            segment = []
        segment.append(entries[path])
    if segment:
        yield segment


def _decode(blobs: BlobAccess, blob: str) -> Manifest:
    try:
        return _MANIFEST.decode(blobs.read(blob))
    except msgspec.MsgspecError as error:
        raise StorageError(f"blob {blob[:12]}", f"this is not a manifest of a tree ({error})") from error


def _decode_segment(blobs: BlobAccess, blob: str) -> list[Entry]:
    try:
        return _SEGMENT.decode(blobs.read(blob))
    except msgspec.MsgspecError as error:
        raise StorageError(f"blob {blob[:12]}", f"this is not a part of a manifest of a tree ({error})") from error
