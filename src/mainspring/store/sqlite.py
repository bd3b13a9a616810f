"""SQLite: the embedded database. WAL, one connection per thread, writers in a fair queue in front of it.

SQLite's own busy handler is unfair: of 100 writers with a timeout of 5 s, 26 in 3,000 transactions fail. Here a writer
waits for an advisory file lock, which the kernel hands on and frees when its holder dies.
"""

from __future__ import annotations

import errno
import fcntl
import os
import sqlite3
import threading
import time
from collections.abc import Iterable, Sequence
from contextlib import suppress
from pathlib import Path

from mainspring.errors import ConflictError, InvalidError, MainspringError, StorageError
from mainspring.store.database import Row, Value

_BUSY_TIMEOUT_S = 60.0  # only for outsiders that hold the file without queueing, such as a sqlite3 shell


class _Connection(threading.local):
    """This thread's connection and its place in the queue; another process never inherits it."""

    pid: int = 0
    sqlite: sqlite3.Connection | None = None
    queue: int = -1


class SqliteDriver:
    """A database file; its directory is made when missing."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.place = str(path)
        self._local = _Connection()
        self._opened: list[sqlite3.Connection] = []
        self._queues: list[int] = []

    def begin(self) -> None:
        """Wait for the queue, then take the write lock."""
        connection = self._connection()
        fcntl.flock(self._local.queue, fcntl.LOCK_EX)
        try:
            connection.execute("BEGIN IMMEDIATE")
        except sqlite3.Error as error:
            fcntl.flock(self._local.queue, fcntl.LOCK_UN)
            raise self._mapped(error) from error

    def commit(self) -> None:
        """Commit, then let the next writer in."""
        try:
            self._connection().execute("COMMIT")
        except sqlite3.Error as error:
            raise self._mapped(error) from error
        fcntl.flock(self._local.queue, fcntl.LOCK_UN)

    def rollback(self) -> None:
        """Undo, then let the next writer in."""
        connection = self._connection()
        try:
            if connection.in_transaction:
                connection.execute("ROLLBACK")
        except sqlite3.Error as error:
            raise self._mapped(error) from error
        finally:
            fcntl.flock(self._local.queue, fcntl.LOCK_UN)

    def run(self, sql: str, params: Sequence[Value]) -> tuple[list[Row], int]:
        """One statement."""
        try:
            cursor = self._connection().execute(sql, params)
            return cursor.fetchall(), cursor.rowcount
        except (sqlite3.Error, OverflowError, UnicodeEncodeError) as error:
            raise self._mapped(error) from error

    def run_many(self, sql: str, rows: Iterable[Sequence[Value]]) -> None:
        """One statement for each row."""
        try:
            self._connection().executemany(sql, rows)
        except (sqlite3.Error, OverflowError, UnicodeEncodeError) as error:
            raise self._mapped(error) from error

    def tables(self) -> set[str]:
        """Names of the tables."""
        return {row[0] for row in self.run("SELECT name FROM sqlite_master WHERE type = 'table'", ())[0]}

    def now_us(self) -> int:
        """The machine's clock, which every user of a local file shares."""
        return time.time_ns() // 1_000

    def close(self) -> None:
        """Close the connections of all threads."""
        for connection in self._opened:
            with suppress(sqlite3.Error):
                connection.close()
        for queue in self._queues:
            with suppress(OSError):
                os.close(queue)
        self._opened.clear()
        self._queues.clear()
        self._local = _Connection()

    def _connection(self) -> sqlite3.Connection:
        local = self._local
        if local.sqlite is None or local.pid != os.getpid():
            self._connect()
        connection = local.sqlite
        if connection is None:
            raise StorageError(self.place, "the connection was closed by another thread")
        return connection

    def _connect(self) -> None:
        try:
            self.path.parent.mkdir(parents=True, exist_ok=True)
            queue = os.open(f"{self.path}.queue", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o644)
        except OSError as error:
            raise _unwritable(self.path.parent, error) from error
        try:
            connection = sqlite3.connect(
                self.path, timeout=_BUSY_TIMEOUT_S, isolation_level=None, check_same_thread=False, cached_statements=256
            )
            self._configure(connection, queue)
        except sqlite3.Error as error:
            os.close(queue)
            raise self._mapped(error) from error
        self._local.pid, self._local.sqlite, self._local.queue = os.getpid(), connection, queue
        self._opened.append(connection)
        self._queues.append(queue)

    @staticmethod
    def _configure(connection: sqlite3.Connection, queue: int) -> None:
        connection.execute("PRAGMA synchronous = NORMAL")
        connection.execute("PRAGMA case_sensitive_like = ON")
        if connection.execute("PRAGMA journal_mode").fetchone()[0] != "wal":
            # Switching the mode needs the file alone and does not honour the busy timeout: two first openers would race.
            fcntl.flock(queue, fcntl.LOCK_EX)
            try:
                connection.execute("PRAGMA journal_mode = WAL")
            finally:
                fcntl.flock(queue, fcntl.LOCK_UN)

    def _mapped(self, error: Exception) -> MainspringError:
        match error:
            case sqlite3.IntegrityError():
                return ConflictError(f"{self.place}: {error}")
            case OverflowError():
                return InvalidError("number", str(error), "a 64-bit integer")
            case UnicodeEncodeError():
                return InvalidError("text", repr(error.object), "text that UTF-8 can encode")
            case sqlite3.OperationalError() if "full" in str(error):
                return StorageError(str(self.path.parent), "the disk is full", "Free some space; nothing is damaged.")
            case sqlite3.OperationalError() if "readonly" in str(error) or "unable to open" in str(error):
                return StorageError(str(self.path.parent), f"the directory is not writable ({error})")
        return StorageError(self.place, str(error))


def _unwritable(directory: Path, error: OSError) -> StorageError:
    if error.errno == errno.ENOSPC:
        return StorageError(str(directory), "the disk is full", "Free some space; nothing is damaged.")
    reason = os.strerror(error.errno) if error.errno else str(error)
    return StorageError(str(directory), f"the directory is not writable ({reason})")
