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

    def __init__(self, path: Path, connection: sqlite3.Connection, queue: int | None, *, full: bool = False) -> None:
        self.path = path
        self.connection = connection
        self.queue = queue
        self.full = full
        self.process, self.thread = os.getpid(), threading.get_ident()
        self.lock = threading.Lock()  # held while the connection is at work, from BEGIN to COMMIT
        self.at_work = self.writing = False
        self.closed = False
        self._closing = threading.RLock()

    def take(self) -> None:
        """Begin to work with it. Only its own thread does."""
        self.at_work = True  # before it is so, and until it is so no more: between the two a signal's handler may fork
        self.lock.acquire()

    def release(self) -> None:
        """End to work with it."""
        self.writing = False
        self.lock.release()
        self.at_work = False

    def close(self) -> None:
        """Close it; whoever comes second waits until that is done. In a forked child it is its parent's, and stays."""
        if self.process != os.getpid():
            return
        with self._closing:
            if self.closed:
                return
            with suppress(sqlite3.Error):
                self.connection.close()
            if self.queue is not None:
                with suppress(OSError):
                    os.close(self.queue)
            self.closed = True
            _process.connections.discard(self)


class _Owned:
    """What a thread has of its connection: it ends with the thread, and closes it."""

    def __init__(self, held: _Held) -> None:
        self.held = held

    def __del__(self) -> None:
        self.held.close()


class _Local(threading.local):
    own: _Owned | None = None


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
        self._connections: weakref.WeakSet[_Held] = weakref.WeakSet()
        self._closed = False

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
        own = self._local.own
        held = None if own is None else own.held
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
                held.release()

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
        for held in list(self._connections):
            held.close()

    def _let_in(self, held: _Held) -> None:
        if not held.closed and held.queue is not None:
            fcntl.flock(held.queue, fcntl.LOCK_UN)
        held.release()

    def _take(self) -> _Held:
        """This thread's connection, locked; a fork may have closed it a moment ago.

        Raises:
            ConflictError: a statement of this thread is under way, which a signal's handler interrupted.
        """
        while True:
            held = self._hold()
            if held.at_work and held.lock.locked():  # to wait for it would be for ever
                raise ConflictError(f"{self.place}: a signal's handler can't use it while its thread does")
            held.take()
            if not held.closed:
                return held
            held.release()

    def _take_writing(self) -> tuple[_Held, int]:
        """This thread's connection, locked, and its place in the queue; what was opened for reading may be writable now.

        Raises:
            StorageError: the directory can't be written, or the disk is still full.
        """
        held = self._take()
        if held.queue is None and held.full and not _is_full(self.path.parent):
            held.close()
            held.release()
            held = self._take()
        if held.queue is None:
            held.release()
            directory = str(self.path.parent)
            raise _full(directory) if held.full else StorageError(directory, "the directory is not writable")
        return held, held.queue

    def _hold(self) -> _Held:
        own = self._local.own
        if own is None or own.held.closed:
            with _process.opening:
                held = self._connect()
                self._connections.add(held)
                _process.connections.add(held)
                self._local.own = own = _Owned(held)
        return own.held

    def _connect(self) -> _Held:
        if self._closed:
            raise StorageError(self.place, "the database was closed")
        if self.path in _process.inherited:
            raise StorageError(self.place, "it was at work when this process was forked", "Fork between statements.")
        try:
            self.path.parent.mkdir(parents=True, exist_ok=True)
            queue = os.open(f"{self.path}.queue", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o644)
        except OSError as error:
            if error.errno not in (*_NOT_WRITABLE, *_NO_SPACE) or not _has_bytes(self.path):
                raise _unwritable(self.path.parent, error) from error
            return self._open_reading(full=error.errno in _NO_SPACE)
        return self._open_writing(queue)

    def _open_writing(self, queue: int) -> _Held:
        try:
            connection = sqlite3.connect(self.path, **_OPTIONS)
        except sqlite3.Error as error:
            os.close(queue)
            raise self._mapped(error) from error
        held = _Held(self.path, connection, queue)
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
        return _Held(self.path, connection, None, full=full)

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


class _Forks(threading.local):
    """What the forks of this thread hold, the last first: a signal's handler may fork while its thread does."""

    def __init__(self) -> None:
        self.locks: list[ExitStack] = []


class _Process:
    """The connections of this process. From before a fork until after it none is opened, nor at work if that ends soon."""

    def __init__(self) -> None:
        self.connections: set[_Held] = set()
        self.inherited: dict[Path, list[_Held]] = {}
        """Those that a fork found at work, by file: they must be neither used nor closed here, and their files not opened."""
        self._renew()

    def _renew(self) -> None:
        self.opening = threading.RLock()
        self._forks = _Forks()

    def before_fork(self) -> None:
        """Close what is at rest; threads at work get a moment to finish, but for this one, which can't meanwhile."""
        until, locks = time.monotonic() + _FORK_PATIENCE_S, ExitStack()
        self._forks.locks.append(locks)
        if self.opening.acquire(timeout=_FORK_PATIENCE_S):
            locks.callback(self.opening.release)
        for held in list(self.connections):
            if held.thread == threading.get_ident() and held.at_work:
                continue
            if held.lock.acquire(timeout=max(until - time.monotonic(), 0.0)):
                locks.callback(held.lock.release)
                held.close()

    def after_in_parent(self) -> None:
        """Let the others go on."""
        self._forks.locks.pop().close()

    def after_in_child(self) -> None:
        """Note what could not be closed."""
        self._renew()
        for held in self.connections:
            if held.queue is not None:
                os.close(held.queue)  # the parent's place in the queue must end with the parent
            held.closed, held.writing = True, False  # and to undo a transaction is the parent's, too
            self.inherited.setdefault(held.path, []).append(held)
        self.connections = set()


_process = _Process()
os.register_at_fork(
    before=_process.before_fork, after_in_parent=_process.after_in_parent, after_in_child=_process.after_in_child
)


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
