"""SQLite: the embedded database. WAL, one connection per thread, writers in a fair queue in front of it.

SQLite's own busy handler is unfair: of 100 writers with a timeout of 5 s, 26 in 3,000 transactions fail. Here a writer
waits for an advisory file lock, which the kernel hands on and frees when its holder dies.
"""

from __future__ import annotations

import errno
import fcntl
import os
import re
import sqlite3
import threading
import time
import weakref
from collections.abc import Iterable, Sequence
from contextlib import ExitStack, suppress
from pathlib import Path
from typing import Any

from mainspring.errors import ConflictError, InvalidError, MainspringError, StorageError, UnavailableError
from mainspring.store.database import Row, Value

_BUSY_TIMEOUT_S = 60.0  # only for outsiders that hold the file without queueing, such as a sqlite3 shell
_FORK_PATIENCE_S = 1.0
_NOT_WRITABLE = (errno.EACCES, errno.EROFS, errno.EPERM)
_NO_SPACE = (errno.ENOSPC, errno.EDQUOT)
_TABLE = re.compile(r"\s*CREATE\s+TABLE(\s+IF\s+NOT\s+EXISTS)?\b", re.IGNORECASE)
_INDEX = re.compile(r"\s*CREATE\s+(UNIQUE\s+)?INDEX\b", re.IGNORECASE)
_OPTIONS: dict[str, Any] = {
    "timeout": _BUSY_TIMEOUT_S, "isolation_level": None, "check_same_thread": False, "cached_statements": 256,
}  # fmt: skip


class _Held:
    """A thread's connection and its place in the queue, None where nothing can be written; closed with the thread.

    `full` says that there was no space for it.
    """

    def __init__(self, connection: sqlite3.Connection, queue: int | None, *, full: bool = False) -> None:
        self.connection = connection
        self.queue = queue
        self.full = full
        self.lock = threading.Lock()  # held while the connection is at work, from BEGIN to COMMIT
        self.writing = False
        self.closed = False

    def close(self) -> None:
        if not self.closed:
            self.closed = True
            with suppress(sqlite3.Error):
                self.connection.close()
            if self.queue is not None:
                with suppress(OSError):
                    os.close(self.queue)

    __del__ = close


class _Local(threading.local):
    held: _Held | None = None


class SqliteDriver:
    """A database file; its directory is made when missing.

    A connection never crosses a fork: SQLite counts its file locks per process, so that a child that went on with its
    parent's would take locks for granted that it doesn't have. Connections at rest are closed just before a fork, and
    both sides open new ones when they need them.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self.place = str(path)
        self._local = _Local()
        self._all: weakref.WeakSet[_Held] = weakref.WeakSet()
        self._opening = threading.RLock()
        self._closed = False
        self._inherited: list[_Held] = []
        _drivers.add(self)

    def begin(self) -> None:
        """Wait for the queue, then take the write lock."""
        held, queue = self._take_writing()
        held.writing = True
        fcntl.flock(queue, fcntl.LOCK_EX)
        try:
            held.connection.execute("BEGIN IMMEDIATE")
        except sqlite3.Error as error:
            raise self._mapped(error) from error

    def commit(self) -> None:
        """Commit, then let the next writer in."""
        held = self._hold()
        try:
            held.connection.execute("COMMIT")
        except sqlite3.Error as error:
            raise self._mapped(error) from error
        self._let_in(held)

    def rollback(self) -> None:
        """Undo, then let the next writer in; a no-op when nothing was begun."""
        held = self._local.held
        if held is None or not held.writing:
            return
        try:
            if held.connection.in_transaction:
                held.connection.execute("ROLLBACK")
        except sqlite3.Error as error:
            held.close()  # which undoes it, too
            raise self._mapped(error) from error
        finally:
            self._let_in(held)

    def run(self, sql: str, params: Sequence[Value]) -> tuple[list[Row], int]:
        """One statement."""
        held = self._hold()
        if not held.writing:
            held = self._take()
        try:
            cursor = held.connection.execute(sql, params)
            return cursor.fetchall(), cursor.rowcount
        except (sqlite3.Error, OverflowError, UnicodeEncodeError) as error:
            raise self._mapped(error) from error
        finally:
            if not held.writing:
                held.lock.release()

    def run_many(self, sql: str, rows: Iterable[Sequence[Value]]) -> None:
        """One statement for each row."""
        try:
            self._hold().connection.executemany(sql, rows)
        except (sqlite3.Error, OverflowError, UnicodeEncodeError) as error:
            raise self._mapped(error) from error

    def tables(self) -> set[str]:
        """Names of the tables."""
        return {row[0] for row in self.run("SELECT name FROM sqlite_master WHERE type = 'table'", ())[0]}

    def stand_in(self, statements: Iterable[str]) -> bool:
        """Temporary tables where the file can't be written; they go with the connection."""
        if self._hold().queue is not None:
            return False
        for statement in statements:
            if not _INDEX.match(statement):
                self.run(_TABLE.sub("CREATE TEMP TABLE IF NOT EXISTS", statement, count=1), ())
        return True

    def now_us(self) -> int:
        """The machine's clock, which every user of a local file shares."""
        return time.time_ns() // 1_000

    def close(self) -> None:
        """Close the connections of all threads."""
        self._closed = True
        for held in list(self._all):
            held.close()

    def prepare_fork(self, locks: ExitStack) -> None:
        """Close what is at rest, and keep it so until `locks` are let go; a thread at work gets a moment to finish."""
        if self._opening.acquire(timeout=_FORK_PATIENCE_S):
            locks.callback(self._opening.release)
        for held in list(self._all):
            mine = held is self._local.held and held.writing
            if not mine and held.lock.acquire(timeout=_FORK_PATIENCE_S):
                locks.callback(held.lock.release)
                held.close()

    def after_fork(self) -> None:
        """In the child: what could not be closed must be neither used nor closed here."""
        left = [held for held in self._all if not held.closed]
        self._inherited += left
        for held in left:
            if held.queue is not None:
                os.close(held.queue)  # the parent's place in the queue must end with the parent
            held.closed = True
        self._all.clear()
        self._local = _Local()
        self._opening = threading.RLock()

    def _let_in(self, held: _Held) -> None:
        if not held.closed and held.queue is not None:
            fcntl.flock(held.queue, fcntl.LOCK_UN)
        held.writing = False
        held.lock.release()

    def _take(self) -> _Held:
        """This thread's connection, locked; a fork may have closed it a moment ago."""
        while True:
            held = self._hold()
            held.lock.acquire()
            if not held.closed:
                return held
            held.lock.release()

    def _take_writing(self) -> tuple[_Held, int]:
        """This thread's connection, locked, and its place in the queue; what was opened for reading may be writable now.

        Raises:
            StorageError: the directory can't be written, or the disk is still full.
        """
        held = self._take()
        if held.queue is None and held.full and not _is_full(self.path.parent):
            held.close()
            held.lock.release()
            held = self._take()
        if held.queue is None:
            held.lock.release()
            directory = str(self.path.parent)
            raise _full(directory) if held.full else StorageError(directory, "the directory is not writable")
        return held, held.queue

    def _hold(self) -> _Held:
        held = self._local.held
        if held is None or held.closed:
            with self._opening:
                held = self._connect()
        return held

    def _connect(self) -> _Held:
        if self._closed:
            raise StorageError(self.place, "the database was closed")
        if self._inherited:
            raise StorageError(
                self.place, "a transaction was open when this process was forked", "Fork between transactions."
            )
        try:
            self.path.parent.mkdir(parents=True, exist_ok=True)
            queue = os.open(f"{self.path}.queue", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o644)
        except OSError as error:
            if error.errno not in (*_NOT_WRITABLE, *_NO_SPACE) or not _has_bytes(self.path):
                raise _unwritable(self.path.parent, error) from error
            held = self._open_reading(full=error.errno in _NO_SPACE)
        else:
            held = self._open_writing(queue)
        self._local.held = held
        self._all.add(held)
        return held

    def _open_writing(self, queue: int) -> _Held:
        try:
            connection = sqlite3.connect(self.path, **_OPTIONS)
        except sqlite3.Error as error:
            os.close(queue)
            raise self._mapped(error) from error
        held = _Held(connection, queue)
        try:
            self._configure(connection, queue)
        except sqlite3.Error as error:
            held.close()
            if not (_is_full(self.path.parent) and _has_bytes(self.path)):
                raise self._mapped(error) from error
            return self._open_reading(full=True)
        return held

    def _open_reading(self, *, full: bool) -> _Held:
        """A connection to a file that can only be read, so that what was recorded can be looked at.

        Readers of a write-ahead log share its index, a file beside it. Where no log is and none can be made, the file
        is taken as one that doesn't change.
        """
        from urllib.parse import quote

        is_at_rest = not _has_bytes(Path(f"{self.path}-wal"))
        address = f"file:{quote(str(self.path))}?mode=ro{'&immutable=1' if is_at_rest else ''}"
        try:
            connection = sqlite3.connect(address, uri=True, **_OPTIONS)
            connection.execute("PRAGMA case_sensitive_like = ON")
            connection.execute("PRAGMA temp_store = MEMORY")
            connection.execute("SELECT 1 FROM sqlite_master")
        except sqlite3.Error as error:
            raise self._mapped(error) from error
        return _Held(connection, None, full=full)

    @staticmethod
    def _configure(connection: sqlite3.Connection, queue: int) -> None:
        connection.execute("PRAGMA synchronous = NORMAL")
        connection.execute("PRAGMA wal_autocheckpoint = 4000")
        connection.execute("PRAGMA case_sensitive_like = ON")
        if connection.execute("PRAGMA journal_mode").fetchone()[0] != "wal":
            # Switching the mode needs the file alone and ignores the busy timeout: two first openers would race.
            fcntl.flock(queue, fcntl.LOCK_EX)
            try:
                connection.execute("PRAGMA journal_mode = WAL")
            finally:
                fcntl.flock(queue, fcntl.LOCK_UN)

    def _mapped(self, error: Exception) -> MainspringError:
        directory = str(self.path.parent)
        name = str(getattr(error, "sqlite_errorname", ""))
        if isinstance(error, OverflowError):
            return InvalidError("number", str(error), "a 64-bit integer")
        if isinstance(error, UnicodeEncodeError):
            return InvalidError("text", repr(error.object), "text that UTF-8 can encode")
        if isinstance(error, sqlite3.IntegrityError):
            return ConflictError(f"{self.place}: {error}")
        if name.startswith(("SQLITE_BUSY", "SQLITE_LOCKED")):
            return UnavailableError(self.place, f"another program holds the database ({error})")
        if name == "SQLITE_FULL" or (name.startswith("SQLITE_IOERR") and _is_full(self.path.parent)):
            return _full(directory)
        if name.startswith(("SQLITE_READONLY", "SQLITE_CANTOPEN", "SQLITE_PERM", "SQLITE_AUTH")):
            return StorageError(directory, f"the directory is not writable ({error})")
        if name.startswith(("SQLITE_CORRUPT", "SQLITE_NOTADB")):
            return StorageError(self.place, f"the database is damaged ({error})", "Restore it from a backup.")
        return StorageError(self.place, str(error))


_drivers: weakref.WeakSet[SqliteDriver] = weakref.WeakSet()


class _Forks:
    """Forks of this process, one at a time: from before one until after it no thread opens a connection."""

    def __init__(self) -> None:
        self._renew()

    def before(self) -> None:
        self._one.acquire()
        for driver in list(_drivers):
            driver.prepare_fork(self._locks)

    def in_parent(self) -> None:
        self._locks.close()
        self._one.release()

    def in_child(self) -> None:
        self._renew()
        for driver in list(_drivers):
            driver.after_fork()

    def _renew(self) -> None:
        self._one = threading.RLock()
        self._locks = ExitStack()


_forks = _Forks()
os.register_at_fork(before=_forks.before, after_in_parent=_forks.in_parent, after_in_child=_forks.in_child)


def _is_full(directory: Path) -> bool:
    try:
        return os.statvfs(directory).f_bavail == 0
    except OSError:
        return False


def _has_bytes(path: Path) -> bool:
    try:
        return path.stat().st_size > 0
    except OSError:
        return False


def _full(directory: str) -> StorageError:
    return StorageError(directory, "the disk is full", "Free some space; nothing is damaged.")


def _unwritable(directory: Path, error: OSError) -> StorageError:
    if error.errno in _NO_SPACE:
        return _full(str(directory))
    reason = os.strerror(error.errno) if error.errno else str(error)
    return StorageError(str(directory), f"the directory is not writable ({reason})")
