"""Blobs in a directory, the default: `ab/abcdef…`, read-only files; condemned, corrupt and unfinished ones beside them.

A file that is found corrupt, by a reader or by a writer of the same bytes, is set aside under `corrupt/`, so that the next
put of its bytes writes it anew.
"""

from __future__ import annotations

import errno
import itertools
import os
import stat
import time
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

from mainspring.errors import CorruptBlobError, InvalidError, NotFoundError, StorageError
from mainspring.store.blobs import BlobInfo, blob_digest, checked_digest, digest_file, write_all

_NOT_WRITABLE = (errno.EACCES, errno.EROFS, errno.EPERM)
_FULL = (errno.ENOSPC, errno.EDQUOT)
_LOOKS = 2  # before bytes count as corrupt: what was read once may have been damaged on its way
_ATTEMPTS = 5  # a blob may move once or twice between condemned and kept while it is looked up
_names = itertools.count()


class LocalBlobs:
    """A directory of blobs. A blob gets its name by a rename, so that nobody sees it before it is whole."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.place = str(root)
        self._folder = str(root)  # string paths: `Path` costs more than the system calls of a small put
        self._verified: dict[str, tuple[int, int, int]] = {}

    def put(self, data: bytes | Path) -> str:
        """Write to a temporary name, then rename: a file that changes meanwhile is kept as it was copied."""
        try:
            return self._put_file(data) if isinstance(data, Path) else self._put_bytes(data)
        except OSError as error:
            raise self._mapped(error) from error

    def read(self, digest: str) -> bytes:
        """The bytes, verified."""
        for _ in range(_LOOKS):
            try:
                handle = self._open(digest)
                try:
                    with open(handle, "rb", buffering=0, closefd=False) as file:
                        data = file.read()
                finally:
                    os.close(handle)
            except OSError as error:
                raise self._mapped(error) from error
            found = blob_digest(data)
            if found == digest:
                return data
        raise self._set_aside(digest, found)

    def path(self, digest: str) -> Path:
        """The stored file itself, verified once for each state of the file."""
        path = self._file(digest)
        try:
            handle = self._open(digest)
            try:
                state = _state(os.fstat(handle))
            finally:
                os.close(handle)
            self._verify(digest, state)
        except OSError as error:
            raise self._mapped(error) from error
        return Path(path)

    def exists(self, digest: str) -> bool:
        """Whether there is such a blob, condemned ones included."""
        kept, condemned = self._file(digest), self._condemned(digest)
        return any(os.path.exists(path) for path in (kept, condemned, kept))  # it may move back in between

    def list(self) -> Iterator[BlobInfo]:
        """Every blob that is not condemned."""
        if not self.root.is_dir():
            return
        with os.scandir(self._folder) as folders:
            names = sorted(entry.name for entry in folders if len(entry.name) == 2)  # two hexadecimal digits
        for name in names:
            yield from _infos(f"{self._folder}/{name}")

    def condemn(self, digest: str) -> None:
        """Rename it into the folder of the condemned; a no-op if it is not there."""
        path, target = self._file(digest), self._condemned(digest)
        try:
            # In this order: one killed in between leaves a blob that is kept longer, never shorter.
            os.utime(path)
            _rename(path, target)
        except FileNotFoundError:
            return
        except OSError as error:
            raise self._mapped(error) from error

    def list_condemned(self) -> Iterator[BlobInfo]:
        """The condemned, with the time at which they were set aside."""
        yield from _infos(f"{self._folder}/condemned")

    def restore(self, digest: str) -> None:
        """Rename it back; a no-op if it is not condemned."""
        try:
            _rename(self._condemned(digest), self._file(digest))
        except FileNotFoundError:
            return
        except OSError as error:
            raise self._mapped(error) from error

    def list_corrupt(self) -> Iterator[BlobInfo]:
        """Those set aside whose bytes were not put again."""
        return (info for info in _infos(f"{self._folder}/corrupt") if not self.exists(info.digest))

    def remains(self, digest: str) -> bytes:
        """The bytes of the file that was set aside."""
        try:
            return Path(self._corrupt(digest)).read_bytes()
        except FileNotFoundError as error:
            raise NotFoundError("corrupt blob", digest) from error
        except OSError as error:
            raise self._mapped(error) from error

    def destroy(self, digest: str) -> None:
        """Unlink it."""
        try:
            with suppress(FileNotFoundError):
                os.unlink(self._condemned(digest))
        except OSError as error:
            raise self._mapped(error) from error

    def sweep_temporary(self, older_than_s: float) -> int:
        """Remove unfinished files of writers that were killed, and corrupt ones that were put again since."""
        removed = 0
        for info in _infos(f"{self._folder}/corrupt"):
            if os.path.exists(self._file(info.digest)):
                with suppress(FileNotFoundError):
                    os.unlink(self._corrupt(info.digest))
        before_us = time.time_ns() // 1_000 - int(older_than_s * 1e6)
        for info in _infos(f"{self._folder}/tmp"):
            if info.touched_at_us <= before_us:
                with suppress(FileNotFoundError):
                    os.unlink(f"{self._folder}/tmp/{info.digest}")
                    removed += 1
        return removed

    def _put_bytes(self, data: bytes) -> str:
        digest = blob_digest(data)
        if not self._touch(digest, len(data)):
            handle, temporary = self._temporary()
            try:
                try:
                    write_all(handle, data)
                    state = os.fstat(handle)
                finally:
                    os.close(handle)
                self._publish(temporary, digest, state)
            except BaseException:
                _discard(temporary)
                raise
        return digest

    def _put_file(self, source: Path) -> str:
        size_bytes, digest = _digest_source(source)
        if self._touch(digest, size_bytes):
            return digest
        handle, temporary = self._temporary()
        try:
            try:
                digest = digest_file(source, copy_to=handle)
                state = os.fstat(handle)
            finally:
                os.close(handle)
            if self._touch(digest, state.st_size):
                _discard(temporary)
            else:
                self._publish(temporary, digest, state)
        except BaseException:
            _discard(temporary)
            raise
        return digest

    def _touch(self, digest: str, size_bytes: int) -> bool:
        """Renew the time of a blob that is there and right. One of the wrong size was torn by a power cut: replace it."""
        path = self._file(digest)
        try:
            before = os.stat(path)
            if before.st_size != size_bytes:
                return False
            self._verify(digest, _state(before))
            os.utime(path)
            self._verified[digest] = _state(os.stat(path))
        except (FileNotFoundError, CorruptBlobError):  # never there, condemned just now, or set aside
            return False
        return True

    def _verify(self, digest: str, state: tuple[int, int, int]) -> None:
        """Read a blob once for each state of its file; set it aside if it is corrupt."""
        if self._verified.get(digest) == state:
            return
        path = Path(self._file(digest))
        if not any(digest_file(path) == digest for _ in range(_LOOKS)):
            raise self._set_aside(digest, digest_file(path))
        self._verified[digest] = state

    def _temporary(self) -> tuple[int, str]:
        # The process and a count make the name unique here; the time, among machines that share the directory.
        flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC
        name = f"{self._folder}/tmp/{os.getpid()}-{next(_names)}-{time.monotonic_ns()}"
        try:
            return os.open(name, flags, 0o444), name
        except FileNotFoundError:
            os.makedirs(f"{self._folder}/tmp", exist_ok=True)
            return os.open(name, flags, 0o444), name

    def _publish(self, temporary: str, digest: str, state: os.stat_result) -> None:
        _rename(temporary, self._file(digest))
        self._verified[digest] = _state(state)

    def _open(self, digest: str) -> int:
        path = self._file(digest)
        for _ in range(_ATTEMPTS):
            try:
                return os.open(path, os.O_RDONLY | os.O_CLOEXEC)
            except FileNotFoundError:
                self.restore(digest)
        if os.path.exists(self._corrupt(digest)):
            raise CorruptBlobError(digest, digest_file(Path(self._corrupt(digest))), self._corrupt(digest))
        raise NotFoundError("blob", digest, hint=f"It is not in {self.place}.")

    def _file(self, digest: str) -> str:
        return f"{self._folder}/{checked_digest(digest)[:2]}/{digest}"

    def _condemned(self, digest: str) -> str:
        return f"{self._folder}/condemned/{checked_digest(digest)}"

    def _corrupt(self, digest: str) -> str:
        return f"{self._folder}/corrupt/{checked_digest(digest)}"

    def _set_aside(self, digest: str, found: str) -> CorruptBlobError:
        """Take a corrupt file out of the way, where that is allowed; gives what is to be raised."""
        self._verified.pop(digest, None)
        with suppress(OSError):
            _rename(self._file(digest), self._corrupt(digest))
            if digest_file(Path(self._corrupt(digest))) == digest:  # somebody else has just written it anew
                _rename(self._corrupt(digest), self._file(digest))
        return CorruptBlobError(digest, found, self._file(digest))

    def _mapped(self, error: OSError) -> StorageError:
        if isinstance(error, StorageError):
            return error
        if error.errno in _FULL:
            return StorageError(self.place, "the disk is full", "Free some space; nothing is damaged.")
        if error.errno in _NOT_WRITABLE:
            return StorageError(self.place, f"the directory is not writable ({os.strerror(error.errno or 0)})")
        return StorageError(self.place, str(error))


def _digest_source(source: Path) -> tuple[int, str]:
    """Size and digest of a file that is to be put; what goes wrong here is the file's fault, not the store's."""
    try:
        state = source.stat()
        if not stat.S_ISREG(state.st_mode):
            raise InvalidError("file", str(source), "a regular file")
        return state.st_size, digest_file(source)
    except FileNotFoundError as error:
        raise NotFoundError("file", str(source)) from error
    except OSError as error:
        raise StorageError(str(source), f"the file can't be read ({os.strerror(error.errno or 0)})") from error


def _state(found: os.stat_result) -> tuple[int, int, int]:
    return found.st_size, found.st_mtime_ns, found.st_ino


def _rename(source: str, target: str) -> None:
    try:
        os.rename(source, target)
    except FileNotFoundError:
        os.makedirs(os.path.dirname(target), exist_ok=True)
        os.rename(source, target)


def _discard(temporary: str) -> None:
    with suppress(OSError):
        os.unlink(temporary)


def _infos(folder: str) -> Iterator[BlobInfo]:
    with suppress(FileNotFoundError), os.scandir(folder) as entries:
        for entry in entries:
            with suppress(FileNotFoundError):
                found = entry.stat()
                yield BlobInfo(entry.name, found.st_size, found.st_mtime_ns // 1_000)
