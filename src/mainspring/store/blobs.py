"""Blobs: bytes named by their BLAKE3 digest.

Invariant: a blob that can be opened under a digest was complete when it got its name, and its bytes are verified when
they are read. Blobs are written before the row that names them. Collection never destroys what a late writer still
needs: an unreferenced blob is first condemned, is found there by readers and writers, and is destroyed after a grace.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path
from typing import Protocol

import msgspec
from blake3 import blake3

from mainspring.errors import InvalidError

_DIGEST_LENGTH = 64
_HEXADECIMAL = frozenset("0123456789abcdef")
_LARGE_BYTES = 1 << 20  # from here on hashing with several threads pays
CHUNK_BYTES = 8 << 20


class BlobInfo(msgspec.Struct, frozen=True):
    """A stored blob: its digest, its size, and when it was last put (microseconds since 1970)."""

    digest: str
    size_bytes: int
    touched_at_us: int


class Salvage(Protocol):
    """What a store has of blobs that were found corrupt and set aside, until their bytes are put again."""

    def list_corrupt(self) -> Iterator[BlobInfo]:
        """Those that were not put again since; `touched_at_us` and the size are those of what is left."""
        ...

    def remains(self, digest: str) -> bytes:
        """What is left of one. Nothing of it is verified.

        Raises:
            NotFoundError: no blob of this digest was set aside.
        """
        ...


class BlobStore(Salvage, Protocol):
    """Bytes by digest.

    `put` is atomic: other processes see the whole blob or none, also after a kill. All methods raise `StorageError`
    with the place when the directory is read-only, the disk full or the server gone.
    """

    place: str

    def put(self, data: bytes | Path) -> str:
        """Keep bytes, or the content of a file, and give their digest; a blob that is there is only touched.

        One that was set aside as corrupt is written anew. A store whose disk may lose bytes silently looks whether those
        that are there are right, once for each state of the file.
        """
        ...

    def read(self, digest: str) -> bytes:
        """The bytes, verified.

        Raises:
            NotFoundError: no such blob.
            CorruptBlobError: the stored bytes don't match.
        """
        ...

    def path(self, digest: str) -> Path:
        """A local file with these bytes, verified, never to be written to; raises as `read` does."""
        ...

    def exists(self, digest: str) -> bool:
        """Whether the blob can be read (its bytes are not checked)."""
        ...

    def list(self) -> Iterator[BlobInfo]:
        """Every blob that is not condemned, in no particular order."""
        ...

    def condemn(self, digest: str) -> None:
        """Set a blob aside for collection; readers and writers still find it."""
        ...

    def list_condemned(self) -> Iterator[BlobInfo]:
        """The blobs set aside; `touched_at_us` is when. One that was read or put since may be kept as well."""
        ...

    def restore(self, digest: str) -> None:
        """Take a condemned blob back; a no-op if there is none. Only the collector calls this, one at a time."""
        ...

    def destroy(self, digest: str) -> None:
        """Remove a condemned blob for good; a no-op if there is none."""
        ...

    def sweep_temporary(self, older_than_s: float) -> int:
        """Remove what killed writers left behind, if it is older than that; gives how much was removed."""
        ...


def blob_digest(data: bytes | Path) -> str:
    """The BLAKE3 digest in hexadecimal, as `b3sum` prints it.

    >>> blob_digest(b"")[:16]
    'af1349b9f5f9a1a6'
    """
    if isinstance(data, Path):
        return digest_file(data)
    if len(data) < _LARGE_BYTES:
        return blake3(data).hexdigest()
    return blake3(data, max_threads=blake3.AUTO).hexdigest()


def digest_file(source: Path, copy_to: int = -1) -> str:
    """The digest of a file's bytes, and, if asked, a copy of exactly those bytes in an open file.

    Read, not mapped: a file that somebody truncates meanwhile would kill a process that has it mapped.
    """
    hasher = blake3(max_threads=blake3.AUTO)
    handle = os.open(source, os.O_RDONLY | os.O_CLOEXEC)
    try:
        buffer = memoryview(bytearray(min(CHUNK_BYTES, os.fstat(handle).st_size + 1)))
        while count := os.readv(handle, [buffer]):
            hasher.update(buffer[:count])
            if copy_to >= 0:
                write_all(copy_to, buffer[:count])
    finally:
        os.close(handle)
    return hasher.hexdigest()


def write_all(handle: int, data: bytes | memoryview) -> None:
    """Write to the end, however little the kernel takes at a time."""
    written = os.write(handle, data)
    while written < len(data):
        written += os.write(handle, memoryview(data)[written:])


def checked_digest(digest: str) -> str:
    """Refuse what is not a digest before it becomes part of a path."""
    if len(digest) != _DIGEST_LENGTH or not _HEXADECIMAL.issuperset(digest):
        raise InvalidError("digest", digest, "64 hexadecimal digits")
    return digest
