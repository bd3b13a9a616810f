"""Manifests: which Parquet parts, without which of their rows, and which leaf digests a version has.

A manifest is a delta on the one before it, every sixteenth a snapshot, and so is one that fits into a block of a disk;
snapshots share sealed segments of 256 parts. So an append writes some kilobytes of manifest at most, and a version is read
from 16 blobs and its segments. A deleted row is a position in a deletion vector, a blob that the part names.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Protocol

import msgspec

from mainspring.artifacts import BlobAccess
from mainspring.errors import StorageError

SNAPSHOT_EVERY = 16
SEGMENT_PARTS = 256
BLOCK_DIGESTS = 64  # as many fill 4 KiB; a part has two at most


class _Reads(Protocol):
    def read(self, digest: str) -> bytes: ...


class Part(msgspec.Struct, frozen=True, array_like=True):
    """One Parquet blob of a table; `rows` are those that the table has of it, without the dropped ones.

    `dropped` is the blob of its deletion vector, empty if no row of it was deleted.
    """

    blob: str
    rows: int
    size_bytes: int
    dropped: str = ""
    dropped_rows: int = 0

    @property
    def stored_rows(self) -> int:
        """The rows that stand in the Parquet file."""
        return self.rows + self.dropped_rows


Changes = Mapping[int, Part | None]  # what became of a base's parts, by their place: another deletion vector, or gone


class Manifest(msgspec.Struct, frozen=True, array_like=True):
    """What is stored: a snapshot has no base; a delta names its base, changes some parts of it, keeps `kept_leaves` of its
    leaves, and adds the rest.
    """

    base: str
    depth: int
    segments: tuple[str, ...]
    parts: tuple[Part, ...]
    kept_leaves: int
    leaves: tuple[str, ...]
    changed: dict[int, Part | None] = {}  # a Struct copies its defaults


class Listing(msgspec.Struct, frozen=True):
    """A manifest with its bases resolved: every part and leaf digest, in row order. `blob` is the manifest's own.

    `segments` hold the first parts, 256 each.
    """

    blob: str
    depth: int
    segments: tuple[str, ...]
    parts: tuple[Part, ...]
    leaves: tuple[str, ...]


def read_listing(blobs: _Reads, blob: str) -> Listing:
    """Resolve a manifest; raises as reading a blob does."""
    deltas: list[Manifest] = []
    manifest = _decode(blobs, blob)
    depth = manifest.depth
    while manifest.base:
        deltas.append(manifest)
        manifest = _decode(blobs, manifest.base)
    parts = [part for segment in manifest.segments for part in _SEGMENT.decode(blobs.read(segment))]
    parts += manifest.parts
    leaves, segments = list(manifest.leaves), manifest.segments
    for delta in reversed(deltas):
        if delta.changed:
            parts, segments = _with(parts, delta.changed), _unchanged(segments, delta.changed)
        parts += delta.parts
        leaves[delta.kept_leaves :] = delta.leaves
    return Listing(blob, depth, segments, tuple(parts), tuple(leaves))


def write_listing(
    blobs: BlobAccess, base: Listing | None, added: tuple[Part, ...], leaves: tuple[str, ...], changed: Changes | None = None
) -> tuple[Listing, list[str]]:  # fmt: skip
    """Store the listing of a base with some parts changed and others added.

    Gives it and every blob that was written, for collection.
    """
    changes = dict(changed or {})
    parts = (tuple(_with(list(base.parts), changes) if changes else base.parts) if base else ()) + added
    segments = _unchanged(base.segments, changes) if base else ()
    fits_a_block = 2 * len(parts) + len(leaves) <= BLOCK_DIGESTS
    if base is not None and base.depth + 1 < SNAPSHOT_EVERY and not fits_a_block:
        kept = _shared_leaves(base.leaves, leaves)
        blob = blobs.put(_encode(Manifest(base.blob, base.depth + 1, (), added, kept, leaves[kept:], changes)))
        return Listing(blob, base.depth + 1, segments, parts, leaves), [blob]
    return write_snapshot(blobs, segments, parts, leaves)


def write_snapshot(
    blobs: BlobAccess, segments: tuple[str, ...], parts: tuple[Part, ...], leaves: tuple[str, ...]
) -> tuple[Listing, list[str]]:
    """Store a listing that needs no other; `segments` hold its first parts already, 256 each."""
    sealed, written = list(segments), []
    for start in range(len(sealed) * SEGMENT_PARTS, len(parts) - SEGMENT_PARTS + 1, SEGMENT_PARTS):
        written.append(blobs.put(msgspec.msgpack.encode(parts[start : start + SEGMENT_PARTS])))
        sealed.append(written[-1])
    rest = parts[len(sealed) * SEGMENT_PARTS :]
    blob = blobs.put(_encode(Manifest("", 0, tuple(sealed), rest, 0, leaves)))
    return Listing(blob, 0, tuple(sealed), parts, leaves), [*written, blob]


def unchanged_segments(listing: Listing, first: int) -> tuple[str, ...]:
    """The segments whose parts all stand before the part at `first`."""
    return listing.segments[: first // SEGMENT_PARTS]


def needed_blobs(blobs: BlobAccess, manifests: Iterable[str]) -> set[str]:
    """Every blob that reading tables with these manifests opens: manifests down to their snapshots, segments, parts, vectors.

    What a base names and its deltas have changed is not among them.
    """
    needed: set[str] = set()
    held: set[str] = set()  # segments whose parts are in
    once = _ReadOnce(blobs)
    for manifest in manifests:
        listing = read_listing(once, manifest)
        needed |= once.opened
        once.opened.clear()
        sealed = len(listing.segments) * SEGMENT_PARTS
        first = 0 if not held.issuperset(listing.segments) else sealed
        held.update(listing.segments)
        for part in listing.parts[first:]:
            needed.add(part.blob)
            needed.add(part.dropped)
    return needed - {""}


class _ReadOnce:
    """Small blobs, read once however often they are opened; says which were."""

    def __init__(self, blobs: BlobAccess) -> None:
        self._blobs = blobs
        self._data: dict[str, bytes] = {}
        self.opened: set[str] = set()

    def read(self, digest: str) -> bytes:
        self.opened.add(digest)
        if digest not in self._data:
            self._data[digest] = self._blobs.read(digest)
        return self._data[digest]


def _with(parts: list[Part], changed: Changes) -> list[Part]:
    return [part for place, old in enumerate(parts) if (part := changed.get(place, old)) is not None]


def _unchanged(segments: tuple[str, ...], changed: Changes) -> tuple[str, ...]:
    return segments[: min(changed) // SEGMENT_PARTS] if changed else segments


_MANIFEST = msgspec.msgpack.Decoder(Manifest)
_SEGMENT = msgspec.msgpack.Decoder(tuple[Part, ...])


def _encode(manifest: Manifest) -> bytes:
    return msgspec.msgpack.encode(manifest)


def _decode(blobs: _Reads, blob: str) -> Manifest:
    try:
        return _MANIFEST.decode(blobs.read(blob))
    except msgspec.MsgspecError as error:
        raise StorageError(f"blob {blob[:12]}", f"this is not a manifest of a dataset ({error})") from error


def _shared_leaves(old: tuple[str, ...], new: tuple[str, ...]) -> int:
    """How many leaves are equal from the start: all but the last few, so it is looked for from there."""
    count = min(len(old), len(new))
    while count and old[count - 1] != new[count - 1]:
        count -= 1
    return count
