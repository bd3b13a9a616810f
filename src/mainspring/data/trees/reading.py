"""Files of a version, read straight from the store and verified.

A file in a pack is verified with its pack, and again by its own digest; of a corrupt pack, those files are read whose own
bytes are right.
"""

from __future__ import annotations

import bisect
import io
import os
import tempfile
from itertools import accumulate
from typing import TYPE_CHECKING, BinaryIO, NamedTuple

from blake3 import blake3

from mainspring.data.files import TreeFile
from mainspring.data.trees.archiver import PACK_BYTES
from mainspring.data.trees.draft import matching
from mainspring.data.trees.entries import CHUNKED, LINK, PACKED, Entries, Entry, not_in_tree
from mainspring.data.trees.manifest import Chunk, read_chunk, read_chunks, read_listing
from mainspring.data.trees.media import media_type
from mainspring.errors import CorruptBlobError, InvalidError, NotFoundError, StorageError
from mainspring.store import BlobStore
from mainspring.store.blobs import write_all

if TYPE_CHECKING:
    from _typeshed import WriteableBuffer


class _Pack(NamedTuple):
    """An open pack, or a copy of what is left of one that is corrupt."""

    handle: int
    place: str
    damage: CorruptBlobError | None = None


class TreeReader:
    """Reads the files of one version. Not for several threads at once."""

    def __init__(self, blobs: BlobStore, manifest: str, subject: str) -> None:
        self.blobs, self.subject = blobs, subject
        self.entries: Entries = read_listing(blobs, manifest).entries
        self._packs: dict[bytes, _Pack] = {}

    def files(self, pattern: str = "") -> list[TreeFile]:
        """The files, sorted by path; with a pattern those that it names."""
        paths = matching(self.entries, pattern) if pattern else self.entries
        return [tree_file(self.entries[path]) for path in sorted(paths)]

    def entry(self, path: str) -> Entry:
        """The file at a path, links followed.

        Raises:
            InvalidError: there is none; the nearest are given.
        """
        wanted = path
        for _ in range(40):
            entry = self.entries.get(wanted)
            if entry is None:
                raise not_in_tree(path, self.entries, f"`{self.subject}`")
            if entry.form != LINK:
                return entry
            wanted = os.path.normpath(os.path.join(os.path.dirname(wanted), entry.target))
        raise InvalidError("path", path, "a file", "Its links lead in a circle.")

    def open(self, path: str) -> BinaryIO:
        """A file's bytes, read-only and seekable; a large one is read and verified chunk by chunk."""
        entry = self.entry(path)
        if entry.form == CHUNKED:
            return io.BufferedReader(_Chunks(self.blobs, read_chunks(self.blobs, entry.home)), 1 << 16)
        if entry.form == PACKED:
            return io.BufferedReader(io.BytesIO(self.read_packed(entry)))
        return self.blobs.path(entry.digest.hex()).open("rb")

    def read_bytes(self, path: str) -> bytes:
        """All bytes of a file."""
        entry = self.entry(path)
        if entry.form == PACKED:
            return self.read_packed(entry)
        if entry.form == CHUNKED:
            return b"".join(read_chunk(self.blobs, chunk) for chunk in read_chunks(self.blobs, entry.home))
        return self.blobs.read(entry.digest.hex())

    def read_packed(self, entry: Entry) -> bytes:
        """The bytes of a file in a pack."""
        pack = self._packs.get(entry.home)
        if pack is None:
            pack = self._packs[entry.home] = self._opened(entry.home)
        if entry.offset < 0 or not 0 <= entry.size_bytes <= PACK_BYTES:
            raise StorageError(self.subject, f"the place of `{entry.path}` in its pack can't be ({entry.offset})")
        data = os.pread(pack.handle, entry.size_bytes, entry.offset)
        found = blake3(data).digest()
        if found != entry.digest:
            place = f"{self.subject}, file `{entry.path}` in the pack {pack.place}"
            if pack.damage is not None:
                raise CorruptBlobError(pack.damage.digest, pack.damage.found, place) from pack.damage
            raise CorruptBlobError(entry.digest.hex(), found.hex(), place)
        return data

    def close(self) -> None:
        """Close the packs."""
        for pack in self._packs.values():
            os.close(pack.handle)
        self._packs.clear()

    def __enter__(self) -> TreeReader:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _opened(self, home: bytes) -> _Pack:
        digest = home.hex()
        try:
            path = str(self.blobs.path(digest))
            return _Pack(os.open(path, os.O_RDONLY | os.O_CLOEXEC), path)
        except CorruptBlobError as error:
            return _Pack(self._left(digest, error), error.place, error)
        except OSError as error:
            if isinstance(error, StorageError):
                raise
            raise StorageError(self.blobs.place, str(error)) from error

    def _left(self, digest: str, error: CorruptBlobError) -> int:
        """An open file with what is left of a pack; raises the error if that can't be had."""
        try:
            data = self.blobs.remains(digest)
        except NotFoundError:
            raise error from None
        with tempfile.TemporaryFile(prefix="mainspring-", buffering=0) as file:
            write_all(file.fileno(), data)
            return os.dup(file.fileno())


def tree_file(entry: Entry) -> TreeFile:
    """An entry as it is shown."""
    media = entry.media or media_type(entry.path)
    target = entry.target if entry.form == LINK else ""
    return TreeFile(entry.path, entry.digest.hex(), entry.size_bytes, media, entry.executable, target)


class _Chunks(io.RawIOBase):
    """A large file, one verified chunk in memory at a time."""

    def __init__(self, blobs: BlobStore, chunks: list[Chunk]) -> None:
        super().__init__()
        self._blobs, self._chunks = blobs, chunks
        self._starts = [0, *accumulate(chunk.size_bytes for chunk in chunks)]
        self._at, self._held, self._data = 0, -1, b""

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def tell(self) -> int:
        return self._at

    def seek(self, offset: int, whence: int = os.SEEK_SET) -> int:
        at = offset + (0, self._at, self._starts[-1])[whence]
        if at < 0:
            raise OSError(22, "a file has no place before its start")
        self._at = at
        return at

    def readinto(self, buffer: WriteableBuffer) -> int:
        view = memoryview(buffer).cast("B")
        if self._at >= self._starts[-1]:
            return 0
        number = bisect.bisect_right(self._starts, self._at) - 1
        if number != self._held:
            self._data, self._held = read_chunk(self._blobs, self._chunks[number]), number
        part = self._data[self._at - self._starts[number] :][: len(view)]
        view[: len(part)] = part
        self._at += len(part)
        return len(part)
