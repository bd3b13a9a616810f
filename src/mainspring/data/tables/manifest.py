"""Manifests: which Parquet parts and which leaf digests a version has.

A manifest is a delta on the one before it, every sixteenth a snapshot; snapshots share sealed segments of 256 parts.
So ten thousand appends write about a kilobyte of manifest each, and a version is read from 16 blobs and its segments.
"""

from __future__ import annotations

import msgspec

from mainspring.artifacts import BlobAccess
from mainspring.errors import StorageError

SNAPSHOT_EVERY = 16
SEGMENT_PARTS = 256


class Part(msgspec.Struct, frozen=True, array_like=True):
    """One Parquet blob of a table."""

    blob: str
    rows: int
    size_bytes: int


class Manifest(msgspec.Struct, frozen=True, array_like=True):
    """What is stored: a delta names its base, keeps `kept_leaves` of it and adds the rest; a snapshot has no base."""

    base: str
    depth: int
    segments: tuple[str, ...]
    parts: tuple[Part, ...]
    kept_leaves: int
    leaves: tuple[str, ...]


class Listing(msgspec.Struct, frozen=True):
    """A manifest with its bases resolved: every part and leaf digest, in row order. `blob` is the manifest's own."""

    blob: str
    depth: int
    segments: tuple[str, ...]
    parts: tuple[Part, ...]
    leaves: tuple[str, ...]


def read_listing(blobs: BlobAccess, blob: str) -> Listing:
    """Resolve a manifest; raises as reading a blob does."""
    deltas: list[Manifest] = []
    manifest = _decode(blobs, blob)
    depth = manifest.depth
    while manifest.base:
        deltas.append(manifest)
        manifest = _decode(blobs, manifest.base)
    parts = [part for segment in manifest.segments for part in _SEGMENT.decode(blobs.read(segment))]
    parts += manifest.parts
    leaves = list(manifest.leaves)
    for delta in reversed(deltas):
        parts += delta.parts
        leaves[delta.kept_leaves :] = delta.leaves
    return Listing(blob, depth, manifest.segments, tuple(parts), tuple(leaves))


def write_listing(
    blobs: BlobAccess, base: Listing | None, added: tuple[Part, ...], leaves: tuple[str, ...]
) -> tuple[Listing, list[str]]:
    """Store the listing of a base with further parts; gives it and every blob that was written, for collection."""
    parts = (base.parts if base else ()) + added
    if base is not None and base.depth + 1 < SNAPSHOT_EVERY:
        kept = _shared_leaves(base.leaves, leaves)
        blob = blobs.put(_encode(Manifest(base.blob, base.depth + 1, (), added, kept, leaves[kept:])))
        return Listing(blob, base.depth + 1, base.segments, parts, leaves), [blob]
    segments = list(base.segments if base else ())
    written = []
    sealed = len(segments) * SEGMENT_PARTS
    while len(parts) - sealed >= SEGMENT_PARTS:
        written.append(blobs.put(msgspec.msgpack.encode(parts[sealed : sealed + SEGMENT_PARTS])))
        segments.append(written[-1])
        sealed += SEGMENT_PARTS
    blob = blobs.put(_encode(Manifest("", 0, tuple(segments), parts[sealed:], 0, leaves)))
    return Listing(blob, 0, tuple(segments), parts, leaves), [*written, blob]


_MANIFEST = msgspec.msgpack.Decoder(Manifest)
_SEGMENT = msgspec.msgpack.Decoder(tuple[Part, ...])


def _encode(manifest: Manifest) -> bytes:
    return msgspec.msgpack.encode(manifest)


def _decode(blobs: BlobAccess, blob: str) -> Manifest:
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
