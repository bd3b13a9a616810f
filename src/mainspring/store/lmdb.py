"""Values by key in LMDB, the embedded online store: reads inside the process, by many processes beside a writer.

A commit waits for the disk but for its last page, so that after the loss of the machine the newest commits may be gone, but
nothing is damaged. The folder must be on a local disk.
"""

from __future__ import annotations

import errno
import os
import threading
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from functools import partial
from itertools import islice
from pathlib import Path
from typing import TypeVar

import lmdb
from blake3 import blake3

from mainspring.errors import InvalidError, MainspringError, StorageError
from mainspring.store.keyvalue import KEY, RANK_BYTES, checked_changes, checked_key, newest_of, unexpected
from mainspring.store.space import NO_SPACE

_MAP_BYTES = 1 << 30  # of addresses, not of memory or disk; doubled whenever it is full
_READERS = 1_024  # read transactions at one instant, in all processes
_LOCK_FILE_BYTES = 64 * _READERS + 4_096  # what LMDB takes for so many
_LITTLE_BYTES = 1 << 20  # of free space, after a write for which there was too little
_FORK_PATIENCE_S = 1.0
_PAGE_KEYS, _PAGE_BYTES = 1_000, 4 << 20
_DELETED_AT_ONCE = 10_000
# LMDB's keys have 511 bytes at most. A longer one stands there as its first bytes and its digest, and whole in the value.
_LONGEST_BYTES = 510
_HEAD_BYTES = 511 - 32
_BEHIND = b"\xff" * 512  # all stored keys
_SEVERAL = 128  # keys, of which it pays to pass over missing ones
_NOT_WRITABLE = (errno.EACCES, errno.EROFS, errno.EPERM)
_DAMAGED = (lmdb.CorruptedError, lmdb.InvalidError, lmdb.PageNotFoundError, lmdb.VersionMismatchError)
_Given = TypeVar("_Given")
_Found = TypeVar("_Found")


class LmdbKeyValue:
    """A folder with LMDB's two files; made by the first write."""

    def __init__(self, path: Path, *, map_size_bytes: int = _MAP_BYTES) -> None:
        self.path = path
        self.place = str(path)
        self._data_file = str(path / "data.mdb")
        self._map_size_bytes = map_size_bytes
        self._shared: _Shared | None = None
        self._closed = False

    def get(self, key: bytes) -> bytes | None:
        """One read transaction of its own, so the newest commit is seen."""
        if len(key) > _LONGEST_BYTES:
            return self.get_many((key,))[0]
        found = self._read(_get, key)
        if found is None:
            checked_key(key)
        return found

    def get_many(self, keys: Sequence[bytes]) -> list[bytes | None]:
        """One read transaction."""
        if not keys:
            return []
        if max(map(len, keys)) <= _LONGEST_BYTES:
            shared = self._shared
            if shared is not None:  # without the calls of `_read`: each prediction with features is here
                try:
                    with shared.gate, (shared.environment or shared.open()).begin() as transaction:
                        return _get_many(transaction, keys)
                except (lmdb.Error, OSError):
                    pass  # `_read` mends it, or says what is wrong
            found = self._read(_get_many, keys)
        else:
            found = self._read(_get_long, [checked_key(key) for key in keys])
        return [None for key in keys if checked_key(key)] if found is None else found

    def put_newest(
        self, items: Iterable[tuple[bytes, bytes]], *, expect: Mapping[bytes, bytes | None] | None = None
    ) -> int:
        """One transaction."""
        newest, known = newest_of(items), checked_changes((expect or {}).items())

        def change(transaction: lmdb.Transaction[bytes]) -> int:
            self._check(transaction, known)
            return _put_newest(newest, transaction) if newest else 0

        return self._write(change) if newest or known else 0

    def write(
        self, changes: Iterable[tuple[bytes, bytes | None]], *, expect: Mapping[bytes, bytes | None] | None = None
    ) -> None:
        """One transaction."""
        wanted, known = checked_changes(changes), checked_changes((expect or {}).items())

        def change(transaction: lmdb.Transaction[bytes]) -> None:
            self._check(transaction, known)
            for key, value in sorted(wanted.items()):
                if value is None:
                    transaction.delete(_stored(key))
                else:
                    transaction.put(_stored(key), _wrapped(key, value))

        if wanted or known:
            self._write(change)

    def scan(self, prefix: bytes) -> Iterator[tuple[bytes, bytes]]:
        """Page by page, each one read transaction: a long one would keep the file from reusing what is deleted."""
        long: list[tuple[bytes, bytes]] = []  # keys with the same head, whose order their digests hide
        for key, value in self._scan_stored(prefix[:_HEAD_BYTES]):
            if long and key[:_HEAD_BYTES] != long[0][0][:_HEAD_BYTES]:
                yield from _beginning(prefix, long)
                long = []
            if len(key) < _HEAD_BYTES:
                yield key, value
            else:
                long.append(_unwrapped(key, value))
        yield from _beginning(prefix, long)

    def delete_prefix(self, prefix: bytes) -> int:
        """Some thousand keys in each transaction."""
        deleted, keys = 0, (_stored(key) for key, _ in self.scan(prefix))
        while some := list(islice(keys, _DELETED_AT_ONCE)):
            deleted += self._write(partial(_delete, some))
        return deleted

    def close(self) -> None:
        """Close the files, unless another store of this process has them open."""
        self._closed = True
        shared, self._shared = self._shared, None
        if shared is not None:
            shared.leave()

    def __del__(self) -> None:
        with suppress(lmdb.Error):
            self.close()

    def _check(self, transaction: lmdb.Transaction[bytes], known: Mapping[bytes, bytes | None]) -> None:
        """Refuse to change anything where something else is stored than what was known."""
        for key, value in known.items():
            if _get_long(transaction, (key,))[0] != value:
                raise unexpected(self.place, key)

    def _scan_stored(self, prefix: bytes) -> Iterator[tuple[bytes, bytes]]:
        after: bytes | None = None
        while page := self._read(_page, (prefix, after)):
            yield from page
            after = page[-1][0]

    def _read(self, act: Callable[[lmdb.Transaction[bytes], _Given], _Found], given: _Given) -> _Found | None:
        """What a function finds in a read transaction; None where there is no store yet."""
        while True:
            shared = self._shared or self._join(make=False)
            if shared is None:
                return None
            try:
                with shared.gate:
                    transaction = (shared.environment or shared.open()).begin()
                    try:
                        return act(transaction, given)
                    finally:
                        transaction.abort()
            except lmdb.BadValsizeError as error:
                raise InvalidError("key", b"", KEY) from error
            except (lmdb.Error, OSError) as error:
                if isinstance(error, MainspringError) or not shared.recovers(error):
                    raise self._mapped(error) from error

    def _write(self, act: Callable[[lmdb.Transaction[bytes]], _Found]) -> _Found:
        """What a function gives in a write transaction, which is committed; begun anew in a larger map when it is full."""
        shared = self._shared or self._join(make=True)
        assert shared is not None  # as it was made
        with shared.writing:
            while True:
                try:
                    with shared.gate:
                        environment = shared.environment or shared.open()
                    with environment.begin(write=True) as transaction:
                        return act(transaction)
                except (lmdb.Error, OSError) as error:
                    if isinstance(error, MainspringError) or not shared.recovers_writing(error):
                        raise self._mapped(error) from error

    def _join(self, *, make: bool) -> _Shared | None:
        if self._closed:
            raise StorageError(self.place, "the store was closed")
        if not make and not os.path.exists(self._data_file):
            return None
        try:
            if make:
                self.path.mkdir(parents=True, exist_ok=True)
            with _process.lock:  # one user, however many threads begin at one instant
                self._shared = self._shared or _Shared.join(self.path, self._map_size_bytes)
        except OSError as error:
            raise self._mapped(error) from error
        return self._shared

    def _mapped(self, error: lmdb.Error | OSError) -> MainspringError:
        if isinstance(error, MainspringError):
            return error
        number = _number(error)
        if number in NO_SPACE or self._is_cut_short(error):
            return StorageError(self.place, "the disk is full", "Free some space; nothing is damaged.")
        if number in _NOT_WRITABLE:
            return StorageError(self.place, "the directory is not writable")
        if isinstance(error, lmdb.ReadersFullError):
            return StorageError(self.place, f"more than {_READERS:,} read transactions are open")
        if isinstance(error, _DAMAGED):
            hint = "Stop the servers that read it, remove the folder, materialize again, and start them."
            return StorageError(self.place, f"the store is damaged ({error})", hint)
        if "already open" in str(error):
            return StorageError(self.place, "this process was forked during a write", "Start it by spawn instead.")
        return StorageError(self.place, str(error))

    def _is_cut_short(self, error: lmdb.Error | OSError) -> bool:
        """Whether a write of LMDB found room for a part of it, which LMDB calls an input/output error."""
        if not str(error).endswith(os.strerror(errno.EIO)):
            return False
        with suppress(OSError):
            status = os.statvfs(self.path)
            return status.f_bavail * status.f_frsize < _LITTLE_BYTES
        return False


class _Shared:
    """A folder's environment, of which LMDB allows a process only one, for all stores of this process that use it.

    `gate` is held while somebody reads, and while the environment is opened, closed or gets a larger map; `writing`, taken
    before it, for a whole write. At a fork it is closed, and both sides open it again when they need it.
    """

    def __init__(self, path: Path, identity: tuple[int, int], map_size_bytes: int) -> None:
        self.path = path
        self.identity = identity
        self.map_size_bytes = map_size_bytes
        self.users = 0
        self.environment: lmdb.Environment | None = None
        self.renew_locks()

    def renew_locks(self) -> None:
        """Locks that nobody holds."""
        self.gate = threading.Lock()
        self.writing = threading.Lock()

    @staticmethod
    def join(path: Path, map_size_bytes: int) -> _Shared:
        """The environment of a folder that exists, with one user more."""
        status = path.stat()
        identity = (status.st_dev, status.st_ino)
        with _process.lock:
            shared = _process.shared.get(identity)
            if shared is None:
                shared = _process.shared[identity] = _Shared(path, identity, map_size_bytes)
            shared.users += 1
            return shared

    def leave(self) -> None:
        """One user less; the last one closes the files."""
        with _process.lock:
            self.users -= 1
            if self.users:
                return
            _process.shared.pop(self.identity, None)
            with self.writing, self.gate:
                self.shut()

    def open(self) -> lmdb.Environment:
        """Open the files; the gate is held. On a disk that can't be written, for reading only."""
        try:
            _reserve(self.path / "lock.mdb")
            self.environment = self._opened(readonly=False)
        except (lmdb.Error, OSError) as error:
            if _number(error) != errno.EROFS:
                raise
            self.environment = self._opened(readonly=True)
        self.environment.reader_check()  # frees the places of killed processes
        return self.environment

    def _opened(self, *, readonly: bool) -> lmdb.Environment:
        return lmdb.open(
            str(self.path), map_size=self.map_size_bytes, max_readers=_READERS, max_spare_txns=1, metasync=False,
            readonly=readonly,
        )  # fmt: skip

    def shut(self) -> None:
        """Close the files; both locks are held."""
        if self.environment is not None:
            self.environment.close()
            self.environment = None

    def recovers(self, error: lmdb.Error | OSError) -> bool:
        """Whether a read may succeed now; nothing is held."""
        if isinstance(error, lmdb.MapResizedError | lmdb.PanicError):
            with self.writing:
                return self.recovers_writing(error)
        if isinstance(error, lmdb.ReadersFullError):
            with self.gate:
                return bool(self.environment and self.environment.reader_check())
        return False

    def recovers_writing(self, error: lmdb.Error | OSError) -> bool:
        """Whether a transaction may succeed now; `writing` is held, and no transaction of this process is open."""
        with self.gate:
            if isinstance(error, lmdb.PanicError) and self.environment is not None:
                self.shut()  # a commit failed half-way; the files are as before it
            elif isinstance(error, lmdb.MapResizedError) and self.environment is not None:
                self.environment.set_mapsize(0)  # what another process made it
            elif isinstance(error, lmdb.MapFullError) and self.environment is not None:
                self.environment.reader_check()  # dead readers keep pages from being used again
                self.map_size_bytes = 2 * self.environment.info()["map_size"]
                self.environment.set_mapsize(self.map_size_bytes)
            else:
                return False
            return True


class _Process:
    """What this process has open."""

    def __init__(self) -> None:
        self.lock = threading.RLock()  # the garbage collector may close a store at any place
        self.shared: dict[tuple[int, int], _Shared] = {}
        self.inherited: list[lmdb.Environment] = []

    def before_fork(self) -> None:
        """Close what is at rest; a write under way gets a moment to finish."""
        for shared in list(self.shared.values()):
            if shared.writing.acquire(timeout=_FORK_PATIENCE_S):
                if shared.gate.acquire(timeout=_FORK_PATIENCE_S):
                    shared.shut()
                    shared.gate.release()
                shared.writing.release()

    def after_fork(self) -> None:
        """In the child, where other threads are gone with what they held: what was not closed is never touched."""
        self.lock = threading.RLock()
        for shared in self.shared.values():
            shared.renew_locks()
            if shared.environment is not None:
                self.inherited.append(shared.environment)
                shared.environment = None


_process = _Process()
os.register_at_fork(before=_process.before_fork, after_in_child=_process.after_fork)


def _reserve(lock_file: Path) -> None:
    """Give the lock file its space: LMDB maps it, and touching a mapped page for which the disk has none kills the process."""
    if not hasattr(os, "posix_fallocate"):  # macOS
        return
    handle = os.open(lock_file, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o644)
    try:
        status = os.fstat(handle)
        if status.st_blocks * 512 < status.st_size or not status.st_size:
            os.posix_fallocate(handle, 0, status.st_size or _LOCK_FILE_BYTES)
    finally:
        os.close(handle)


def _number(error: lmdb.Error | OSError) -> int | None:
    """The operating system's number of an error, which LMDB's own hide in their kind or text."""
    if isinstance(error, OSError):
        return error.errno
    known = {lmdb.DiskError: errno.ENOSPC, lmdb.ReadonlyError: errno.EACCES}
    told = (number for number in (*NO_SPACE, *_NOT_WRITABLE) if str(error).endswith(os.strerror(number)))
    return known.get(type(error)) or next(told, None)


def _get(transaction: lmdb.Transaction[bytes], key: bytes) -> bytes | None:
    return transaction.get(key)


def _get_many(transaction: lmdb.Transaction[bytes], keys: Sequence[bytes]) -> list[bytes | None]:
    return list(map(transaction.get, keys)) if len(keys) <= _SEVERAL else _get_sparse(transaction, keys)


def _get_sparse(transaction: lmdb.Transaction[bytes], keys: Sequence[bytes]) -> list[bytes | None]:
    """`_get_many` that looks for no key between a missing one and the next stored one, where keys rise.

    So do the tiles of an entity, which may have few events. Where keys are there, more and more are taken in one go.
    """
    found: list[bytes | None] = []
    many = 1
    with transaction.cursor() as cursor:
        while (start := len(found)) < len(keys):
            found += map(transaction.get, keys[start : start + many])
            many = min(2 * many, _SEVERAL)
            if found[-1] is None:
                looked = passed = len(found)
                begin = keys[looked - 1]
                end = cursor.key() if cursor.set_range(begin) else _BEHIND
                while passed < len(keys) and begin < keys[passed] < end:
                    passed += 1
                if passed > looked:
                    found += [None] * (passed - looked)
                    many = 1
    return found


def _get_long(transaction: lmdb.Transaction[bytes], keys: Sequence[bytes]) -> list[bytes | None]:
    """`_get_many` where keys may be long."""
    found = ((_stored(key), transaction.get(_stored(key))) for key in keys)
    return [None if value is None else _unwrapped(key, value)[1] for key, value in found]


def _put_newest(newest: Mapping[bytes, bytes], transaction: lmdb.Transaction[bytes]) -> int:
    long: dict[bytes, bytes] = {}
    if max(map(len, newest)) > _LONGEST_BYTES:
        long = {key: value for key, value in newest.items() if len(key) > _LONGEST_BYTES}
    stored = 0
    for key, value in long.items():
        (old,) = _get_long(transaction, (key,))
        if old is None or old[:RANK_BYTES] <= value[:RANK_BYTES]:
            transaction.put(_stored(key), _wrapped(key, value))
            stored += 1
    # By the thousand in one call, in the order of the keys: a third of the time of a call for each.
    plain = sorted(newest.items() if not long else ((key, newest[key]) for key in newest if key not in long))
    with transaction.cursor() as cursor:
        olds = dict(cursor.getmulti([key for key, _ in plain]))
        if olds:
            none = b""
            plain = [pair for pair in plain if olds.get(pair[0], none)[:RANK_BYTES] <= pair[1][:RANK_BYTES]]
        cursor.putmulti(plain)
    return stored + len(plain)


def _delete(keys: Sequence[bytes], transaction: lmdb.Transaction[bytes]) -> int:
    return sum(map(transaction.delete, keys))


def _page(transaction: lmdb.Transaction[bytes], given: tuple[bytes, bytes | None]) -> list[tuple[bytes, bytes]]:
    """Some pairs, as they are stored, whose keys begin so and stand behind the last one."""
    prefix, after = given
    page: list[tuple[bytes, bytes]] = []
    size_bytes = 0
    cursor = transaction.cursor()
    if not cursor.set_range(prefix if after is None else after):
        return page
    for key, value in cursor:
        if not key.startswith(prefix) or len(page) == _PAGE_KEYS or size_bytes > _PAGE_BYTES:
            break
        if key != after:
            page.append((key, value))
            size_bytes += len(value)
    return page


def _stored(key: bytes) -> bytes:
    """The key as LMDB has it."""
    return key if len(key) <= _LONGEST_BYTES else key[:_HEAD_BYTES] + blake3(key).digest()


def _wrapped(key: bytes, value: bytes) -> bytes:
    """The value as LMDB has it: behind what its key lacks, and the length of that."""
    return value if len(key) <= _LONGEST_BYTES else len(key[_HEAD_BYTES:]).to_bytes(2) + key[_HEAD_BYTES:] + value


def _unwrapped(key: bytes, value: bytes) -> tuple[bytes, bytes]:
    """Key and value as they were given."""
    if len(key) <= _LONGEST_BYTES:
        return key, value
    end = 2 + int.from_bytes(value[:2])
    return key[:_HEAD_BYTES] + value[2:end], value[end:]


def _beginning(prefix: bytes, pairs: list[tuple[bytes, bytes]]) -> list[tuple[bytes, bytes]]:
    return sorted(pair for pair in pairs if pair[0].startswith(prefix))
