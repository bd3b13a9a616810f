"""Blobs: bytes named by their BLAKE3 digest. The local directory is the default backend.

Invariant: a blob that can be opened under a digest was complete when it got its name, and its bytes are verified when they
are read. Blobs are written before the row that names them. Collection never destroys what a late writer still needs: an
unreferenced blob is first condemned, is found there by readers and writers, and is destroyed a grace period later.
"""

from __future__ import annotations

import errno
import os
import tempfile
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Protocol

import msgspec
from blake3 import blake3

from mainspring.errors import (
    CorruptBlobError,
    InvalidError,
    NotFoundError,
    StorageError,
)

_DIGEST_LENGTH = 64
_LARGE_BYTES = 1 << 20  # from here on hashing with several threads pays


class BlobInfo(msgspec.Struct, frozen=True):
    """A stored blob: its digest, its size, and when it was last put (microseconds since 1970)."""

    digest: str
    size_bytes: int
    touched_at_us: int


class BlobStore(Protocol):
    """Bytes by digest.

    `put` is atomic: other processes see the whole blob or none, also after a kill. All methods raise `StorageError` with
    the place when the directory is read-only, the disk full or the server gone.
    """

    place: str

    def put(self, data: bytes | Path) -> str:
        """Keep bytes, or the content of a file, and give their digest; a blob that is there is only touched."""
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
        """The blobs set aside; `touched_at_us` is when."""
        ...

    def restore(self, digest: str) -> None:
        """Take a condemned blob back; a no-op if there is none."""
        ...

    def destroy(self, digest: str) -> None:
        """Remove a condemned blob for good; a no-op if there is none."""
        ...


def blob_digest(data: bytes | Path) -> str:
    """The BLAKE3 digest in hexadecimal, as `b3sum` prints it.

    >>> blob_digest(b"")[:16]
    'af1349b9f5f9a1a6'
    """
    if isinstance(data, Path):
        hasher = blake3(max_threads=blake3.AUTO)
        hasher.update_mmap(data)
        return hasher.hexdigest()
    if len(data) < _LARGE_BYTES:
        return blake3(data).hexdigest()
    return blake3(data, max_threads=blake3.AUTO).hexdigest()


def checked_digest(digest: str) -> str:
    """Refuse what is not a digest before it becomes part of a path."""
    if len(digest) != _DIGEST_LENGTH or not digest.isalnum() or not digest.isascii():
        raise InvalidError("digest", digest, "64 hexadecimal digits")
    return digest


class LocalBlobs:
    """Blobs in a directory: `ab/abcdef…`, read-only files; condemned ones beside them."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.place = str(root)
        self._verified: dict[str, tuple[int, int, int]] = {}

    def put(self, data: bytes | Path) -> str:
        """Write to a temporary name, then rename: the digest of a file is that of the copy, should it change meanwhile."""
        try:
            return self._put_bytes(data) if not isinstance(data, Path) else self._put_file(data)
        except OSError as error:
            raise self._mapped(error) from error

    def read(self, digest: str) -> bytes:
        """The bytes, verified."""
        try:
            data = self._find(digest).read_bytes()
        except OSError as error:
            raise self._mapped(error) from error
        found = blob_digest(data)
        if found != digest:
            raise CorruptBlobError(digest, found, str(self._file(digest)))
        return data

    def path(self, digest: str) -> Path:
        """The stored file itself, verified once for each state of the file."""
        path = self._find(digest)
        try:
            stat = path.stat()
            state = (stat.st_size, stat.st_mtime_ns, stat.st_ino)
            if self._verified.get(digest) != state:
                found = blob_digest(path)
                if found != digest:
                    raise CorruptBlobError(digest, found, str(path))
                self._verified[digest] = state
        except OSError as error:
            raise error if isinstance(error, StorageError) else self._mapped(error) from error
        return path

    def exists(self, digest: str) -> bool:
        """Whether there is such a blob, condemned ones included."""
        return self._file(digest).exists() or self._condemned(digest).exists()

    def list(self) -> Iterator[BlobInfo]:
        """Every blob."""
        if not self.root.is_dir():
            return
        with os.scandir(self.root) as folders:
            names = sorted(entry.name for entry in folders if len(entry.name) == 2)  # two hex digits
        for name in names:
            yield from _infos(self.root / name, by_change=False)

    def condemn(self, digest: str) -> None:
        """Rename it into the folder of the condemned."""
        target = self._condemned(digest)
        try:
            target.parent.mkdir(exist_ok=True)
            with suppress(FileNotFoundError):
                self._file(digest).rename(target)
        except OSError as error:
            raise self._mapped(error) from error

    def list_condemned(self) -> Iterator[BlobInfo]:
        """The condemned, with the time of their renaming (a rename changes the inode's change time)."""
        folder = self.root / "condemned"
        if folder.is_dir():
            yield from _infos(folder, by_change=True)

    def restore(self, digest: str) -> None:
        """Rename it back."""
        try:
            self._file(digest).parent.mkdir(parents=True, exist_ok=True)
            with suppress(FileNotFoundError):
                self._condemned(digest).rename(self._file(digest))
        except OSError as error:
            raise self._mapped(error) from error

    def destroy(self, digest: str) -> None:
        """Unlink it."""
        try:
            self._condemned(digest).unlink(missing_ok=True)
        except OSError as error:
            raise self._mapped(error) from error

    def _put_bytes(self, data: bytes) -> str:
        digest = blob_digest(data)
        if not self._touch(digest, len(data)):
            temporary = self._temporary()
            try:
                temporary.write_bytes(data)
                self._publish(temporary, digest)
            finally:
                temporary.unlink(missing_ok=True)
        return digest

    def _put_file(self, source: Path) -> str:
        import shutil  # imports bz2 and lzma, which no small run needs

        temporary = self._temporary()
        try:
            shutil.copyfile(source, temporary)
            digest = blob_digest(temporary)
            if not self._touch(digest, temporary.stat().st_size):
                self._publish(temporary, digest)
            return digest
        finally:
            temporary.unlink(missing_ok=True)

    def _touch(self, digest: str, size_bytes: int) -> bool:
        """Renew the time of a blob that is there. One of the wrong size is a torn write of a lost machine: replace it."""
        path = self._file(digest)
        try:
            os.utime(path)
            return path.stat().st_size == size_bytes
        except FileNotFoundError:
            return False

    def _temporary(self) -> Path:
        folder = self.root / "tmp"
        folder.mkdir(parents=True, exist_ok=True)
        handle, name = tempfile.mkstemp(dir=folder)
        os.close(handle)
        return Path(name)

    def _publish(self, temporary: Path, digest: str) -> None:
        target = self._file(digest)
        temporary.chmod(0o444)
        try:
            temporary.rename(target)
        except FileNotFoundError:
            target.parent.mkdir(parents=True, exist_ok=True)
            temporary.rename(target)

    def _find(self, digest: str) -> Path:
        path = self._file(digest)
        if not path.exists():
            self.restore(digest)
            if not path.exists():
                raise NotFoundError("blob", digest, hint=f"It is not in {self.place}.")
        return path

    def _file(self, digest: str) -> Path:
        return self.root / checked_digest(digest)[:2] / digest

    def _condemned(self, digest: str) -> Path:
        return self.root / "condemned" / checked_digest(digest)

    def _mapped(self, error: OSError) -> StorageError:
        if isinstance(error, StorageError):
            return error
        if error.errno in (errno.ENOSPC, errno.EDQUOT):
            return StorageError(self.place, "the disk is full", "Free some space; nothing is damaged.")
        if error.errno in (errno.EACCES, errno.EROFS, errno.EPERM):
            return StorageError(self.place, f"the directory is not writable ({os.strerror(error.errno)})")
        if isinstance(error, FileNotFoundError | IsADirectoryError) and error.filename:
            return StorageError(str(error.filename), os.strerror(error.errno or errno.ENOENT))
        return StorageError(self.place, str(error))


def _infos(folder: Path, *, by_change: bool) -> Iterator[BlobInfo]:
    with os.scandir(folder) as entries:
        for entry in entries:
            with suppress(FileNotFoundError):
                stat = entry.stat()
                at_ns = stat.st_ctime_ns if by_change else stat.st_mtime_ns
                yield BlobInfo(entry.name, stat.st_size, at_ns // 1_000)
