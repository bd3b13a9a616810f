"""Bytes of files on their way into the store: small ones together in packs, middle ones as blobs, large ones in chunks.

Invariant: a file's bytes and its stamp belong together; a file that changes while it is read is read again, then refused.
"""

from __future__ import annotations

import os
import stat
from collections.abc import Callable, Mapping
from typing import NamedTuple

from blake3 import blake3

from mainspring.artifacts import BlobAccess
from mainspring.data.trees.entries import CHUNKED, LINK, PACKED, WHOLE, Entry
from mainspring.data.trees.manifest import blobs_of, read_chunks, write_chunks
from mainspring.data.trees.media import sniffed
from mainspring.data.trees.scan import Stamp, stamp_of, unreadable
from mainspring.errors import InvalidError, StorageError
from mainspring.store.stamps import real_time_ns

SMALL_BYTES = 256 << 10
LARGE_BYTES = 16 << 20
PACK_BYTES = 32 << 20
_ATTEMPTS = 3
_FLAGS = os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW | os.O_NONBLOCK  # a pipe put in a file's place must not hang
Moved = Callable[[int], None]


class Reading(NamedTuple):
    """A file as it was read: where its bytes are kept may be known only when the pack is full."""

    path: str
    stamp: Stamp
    digest: bytes
    media: str
    read_at_ns: int


class Archiver:
    """Takes files, and gives their entries when `finish` is called.

    `before` are the entries of the version that is built on, by path: what has a digest of theirs is not stored again.
    With `blobs=None` nothing is stored, and files are only digested.
    """

    def __init__(self, blobs: BlobAccess | None, before: Mapping[str, Entry], reading: BlobAccess) -> None:
        self.entries: dict[str, Entry] = {}
        self.written: list[str] = []
        self._blobs, self._before, self._reading = blobs, before, reading
        self.known = {entry.digest: entry for entry in before.values() if entry.form != LINK}
        self._pack: list[bytes] = []
        self._pack_bytes = 0
        self._offsets: dict[bytes, int] = {}
        self._waiting: list[Entry] = []

    def add_known(self, path: str, digest: bytes, executable: bool, media: str) -> bool:
        """Take a file whose digest is known without reading; False if its bytes are not in the store."""
        known = self.known.get(digest)
        if known is None:
            return False
        self.entries[path] = Entry(
            path, digest, known.size_bytes, executable, known.form, known.home, known.offset, media
        )
        return True

    def add_link(self, path: str, target: bytes) -> bytes:
        """Take a symbolic link; gives its digest."""
        digest = blake3(target).digest()
        self.entries[path] = Entry(path, digest, len(target), False, LINK, target)
        return digest

    def add_file(self, path: str, file: str, moved: Moved) -> Reading:
        """Read a file and take it.

        Raises:
            StorageError: it can't be read, or changes whenever it is read.
            InvalidError: it is no file any more.
        """
        try:
            for _ in range(_ATTEMPTS):
                read_at_ns = real_time_ns()
                handle = os.open(file, _FLAGS)
                try:
                    found = self._add_open(path, file, handle, moved)
                finally:
                    os.close(handle)
                if found is not None:
                    return Reading(path, found[0], found[1], found[2], read_at_ns)
        except OSError as error:
            raise unreadable(file, error) from error
        raise StorageError(file, "it changes while it is read", "Add it when nothing writes it; nothing was committed.")

    def keep(self, entry: Entry, data: bytes) -> None:
        """Take the bytes of a file of the form `WHOLE` that is not known; they may be put into a pack."""
        if self._blobs is None:
            self.entries[entry.path] = entry
        elif len(data) < SMALL_BYTES:
            if entry.digest not in self._offsets:
                self._offsets[entry.digest] = self._pack_bytes
                self._pack.append(data)
                self._pack_bytes += len(data)
            self._waiting.append(entry)
            if self._pack_bytes >= PACK_BYTES - SMALL_BYTES:
                self._seal()
        else:
            self._settle(entry, self._blobs.put(data))

    def finish(self) -> dict[str, Entry]:
        """Store what is waiting, and give the entries by path."""
        self._seal()
        return self.entries

    def _add_open(self, path: str, file: str, handle: int, moved: Moved) -> tuple[Stamp, bytes, str] | None:
        """Read an open file; None if it changed meanwhile."""
        found = os.fstat(handle)
        if not stat.S_ISREG(found.st_mode):
            raise InvalidError(
                file, "what is there now", "a file", "It was replaced by something else while the folder was read."
            )
        before = stamp_of(found)
        if before.size_bytes > LARGE_BYTES:
            digest, media = self._chunk(path, before, handle, moved)
            return (before, digest, media) if stamp_of(os.fstat(handle)) == before else None
        data = os.read(handle, before.size_bytes + 1)
        while 0 < len(data) < before.size_bytes and (more := os.read(handle, before.size_bytes + 1 - len(data))):
            data += more
        if len(data) != before.size_bytes or stamp_of(os.fstat(handle)) != before:
            return None
        digest, media = blake3(data).digest(), sniffed(path, data[:16])
        if not self.add_known(path, digest, before.executable, media):
            self.keep(Entry(path, digest, len(data), before.executable, WHOLE, media=media), data)
        moved(len(data))
        return before, digest, media

    def _chunk(self, path: str, stamp: Stamp, handle: int, moved: Moved) -> tuple[bytes, str]:
        from mainspring.data.trees.chunks import Chunked  # only a large file pays for it

        media = sniffed(path, os.pread(handle, 16, 0))
        old = self._before.get(path)
        before = read_chunks(self._reading, old.home) if old is not None and old.form == CHUNKED else []
        chunked = Chunked(handle, before, self._blobs, moved)
        digest = chunked.read()
        self.written += chunked.written
        if not self.add_known(path, digest, stamp.executable, media):
            home = b""
            if self._blobs is not None:
                home = write_chunks(self._blobs, chunked.chunks)
                self.written.append(home.hex())
            size = chunked.size_bytes
            entry = self.known[digest] = Entry(path, digest, size, stamp.executable, CHUNKED, home, media=media)
            self.entries[path] = entry
        return digest, media

    def _settle(self, entry: Entry, blob: str) -> None:
        self.written.append(blob)
        self.known[entry.digest] = self.entries[entry.path] = entry

    def _seal(self) -> None:
        """Store the pack; one file alone is a blob of its own."""
        if not self._waiting or self._blobs is None:
            return
        blob = self._blobs.put(b"".join(self._pack) if len(self._pack) > 1 else self._pack[0])
        self.written.append(blob)
        home = bytes.fromhex(blob)
        for entry in self._waiting:
            if len(self._pack) > 1:
                entry = Entry(
                    entry.path, entry.digest, entry.size_bytes, entry.executable, PACKED, home,
                    self._offsets[entry.digest], entry.media,
                )  # fmt: skip
            self.known[entry.digest] = self.entries[entry.path] = entry
        self._pack, self._pack_bytes, self._offsets, self._waiting = [], 0, {}, []


def borrowed_blobs(blobs: BlobAccess, entries: Mapping[str, Entry], base: Mapping[str, Entry]) -> list[str]:
    """The blobs that entries need and those of a base don't, apart from what was written for them."""
    had = {(entry.form, entry.home or entry.digest) for entry in base.values()}
    others = {(e.form, e.home or e.digest): e for e in entries.values() if (e.form, e.home or e.digest) not in had}
    return [blob for entry in others.values() for blob in blobs_of(blobs, entry)]
