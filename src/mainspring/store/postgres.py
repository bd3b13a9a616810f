"""PostgreSQL: the database of a team, by psycopg 3.

Invariant: a write transaction holds one advisory lock for its schema from just after BEGIN to its end. Under READ
COMMITTED each statement then sees all that was committed before, and commits happen in the order of the lock's grants.
"""

from __future__ import annotations

import os
import threading
import weakref
from collections.abc import Iterable, Sequence
from decimal import Decimal
from typing import Any

from mainspring.errors import (
    ConflictError,
    InvalidError,
    MainspringError,
    MissingExtraError,
    StorageError,
    UnavailableError,
)
from mainspring.store._dialect import to_postgres
from mainspring.store.address import Address
from mainspring.store.database import Row, Value

try:
    import psycopg
    from psycopg.adapt import Loader
except ImportError as error:
    raise MissingExtraError("psycopg", "postgres", "A workspace on PostgreSQL") from error

_CONNECT_TIMEOUT_S = 10  # a busy machine has been seen to take 3
_IDLE_TRANSACTION_MS = 10_000  # a stopped client must not hold the queue of writers for ever
_Connection = psycopg.Connection[tuple[Any, ...]]


class _Number(Loader):
    """SUM and AVG of integers are NUMERIC here, integers and floats on SQLite."""

    def load(self, data: Any) -> int | float:
        text = bytes(data).decode()
        number = Decimal(text)
        return int(number) if number.is_finite() and "." not in text else float(number)


class _Local(threading.local):
    """This thread's connection; closed with the thread."""

    connection: _Connection | None = None
    writing = False
    closing: _Closing | None = None


class _Closing:
    """Closes a connection when its thread ends, in the process that opened it."""

    def __init__(self, connection: _Connection) -> None:
        self.connection, self.pid = connection, os.getpid()

    def __del__(self) -> None:
        if self.pid == os.getpid():
            self.connection.close()


class PostgresDriver:
    """A schema of a PostgreSQL database, one connection for each thread; the schema is made when missing."""

    def __init__(self, url: str) -> None:
        self.address = Address(url, default_port=5432)
        self.schema = self.address.identifier("schema", "public")
        self.place = self.address.place
        self._lock_key = _key(f"mainspring:{self.schema}")
        self._local = _Local()
        self._all: weakref.WeakSet[_Connection] = weakref.WeakSet()
        self._inherited: list[object] = []
        self._closed = False
        _drivers.add(self)

    def begin(self) -> None:
        """Start a transaction and wait for the writers before; one round trip."""
        self._again(lambda connection: connection.execute(_begin(self._lock_key)))
        self._local.writing = True

    def commit(self) -> None:
        """Commit; the lock goes after what was written became visible."""
        connection = self._local.connection
        try:
            if connection is None or connection.closed:
                raise UnavailableError(self.place, "the connection was lost before the commit; nothing was written")
            # COMMIT of a failed transaction is a silent ROLLBACK on PostgreSQL.
            if connection.info.transaction_status == psycopg.pq.TransactionStatus.INERROR:
                raise ConflictError(f"{self.place}: a statement of this transaction failed; nothing was committed")
            connection.execute("COMMIT")
        except psycopg.Error as error:
            raise self._mapped(error) from error
        self._local.writing = False

    def rollback(self) -> None:
        """Undo; a no-op when nothing was begun. A connection that is lost has undone it already."""
        connection, self._local.writing = self._local.connection, False
        if connection is None or connection.closed:
            return
        try:
            if connection.info.transaction_status != psycopg.pq.TransactionStatus.IDLE:
                connection.execute("ROLLBACK")
        except psycopg.Error as error:
            connection.close()
            raise self._mapped(error) from error

    def run(self, sql: str, params: Sequence[Value]) -> tuple[list[Row], int]:
        """One statement."""
        translated = to_postgres(sql)
        cursor = self._again(lambda connection: connection.execute(translated, params))
        return (cursor.fetchall() if cursor.description else []), cursor.rowcount

    def run_many(self, sql: str, rows: Iterable[Sequence[Value]]) -> None:
        """One statement for each row, in one pipeline."""
        translated = to_postgres(sql)
        self._again(lambda connection: connection.cursor().executemany(translated, rows))

    def tables(self) -> set[str]:
        """Names of the tables."""
        # Of the view `pg_tables` the server would look at four tables, and plan that for each connection anew.
        sql = (
            "SELECT relname FROM pg_catalog.pg_class WHERE relkind IN ('r', 'p') AND relnamespace ="
            " (SELECT oid FROM pg_catalog.pg_namespace WHERE nspname = ?)"
        )
        return {row[0] for row in self.run(sql, (self.schema,))[0]}

    def now_us(self) -> int:
        """The server's clock, not the transaction's start."""
        return int(self.run("SELECT CAST(extract(epoch FROM clock_timestamp()) * 1000000 AS BIGINT)", ())[0][0][0])

    def close(self) -> None:
        """Close the connections of all threads."""
        self._closed = True
        for connection in list(self._all):
            connection.close()

    def after_fork(self) -> None:
        """In the child: forget the parent's connections without a word to the server."""
        self._inherited += [self._local.closing, *self._all]
        self._all.clear()
        self._local = _Local()

    def _again(self, act: Any) -> Any:
        """Act on this thread's connection; outside a transaction, once more if the server had gone away meanwhile."""
        again = not self._local.writing
        while True:
            connection = self._connection()
            try:
                return act(connection)
            except (psycopg.Error, UnicodeEncodeError) as error:
                gone = isinstance(error, psycopg.OperationalError) and connection.closed
                if not (gone and again):
                    raise self._mapped(error, gone=gone) from error
                again = False

    def _connection(self) -> _Connection:
        connection = self._local.connection
        if connection is not None and (self._local.writing or not connection.closed):
            return connection
        if self._closed:
            raise StorageError(self.place, "the database was closed")
        try:
            connection = self._connected()
        except psycopg.OperationalError as error:
            raise UnavailableError(self.place, f"can't connect ({_line(error)})") from error
        except psycopg.Error as error:
            raise self._mapped(error) from error
        self._local.connection, self._local.closing = connection, _Closing(connection)
        self._all.add(connection)
        return connection

    def _connected(self) -> _Connection:
        settings: dict[str, Any] = {"connect_timeout": _CONNECT_TIMEOUT_S, "application_name": "mainspring"}
        settings |= self.address.connection_settings(drop=("schema",))
        settings["client_encoding"] = "UTF8"  # else text of a database in SQL_ASCII comes as bytes
        connection: _Connection = psycopg.connect(autocommit=True, **settings)
        connection.adapters.register_loader("numeric", _Number)
        try:
            connection.execute(
                f'SET search_path TO "{self.schema}"; SET client_min_messages TO warning;'
                f" SET idle_in_transaction_session_timeout TO {_IDLE_TRANSACTION_MS}"
            )
            there = connection.execute("SELECT 1 FROM pg_catalog.pg_namespace WHERE nspname = %s", (self.schema,))
            if there.fetchone() is None:
                # IF NOT EXISTS alone fails when two processes make the schema at one instant.
                connection.execute(f'{_begin(self._lock_key)}; CREATE SCHEMA IF NOT EXISTS "{self.schema}"; COMMIT')
        except BaseException:
            connection.close()
            raise
        return connection

    def _mapped(self, error: Exception, *, gone: bool = False) -> MainspringError:
        if isinstance(error, UnicodeEncodeError):
            return InvalidError("text", repr(error.object), "text that UTF-8 can encode")
        text = _line(error)
        state = getattr(error, "sqlstate", None) or ""
        if gone or state.startswith(_GONE_CLASS) or isinstance(error, _GONE):
            return UnavailableError(self.place, f"the connection was lost ({text})")
        if isinstance(error, psycopg.errors.DiskFull | psycopg.errors.OutOfMemory):
            return StorageError(self.place, f"the server is out of space ({text})")
        if isinstance(error, psycopg.errors.ReadOnlySqlTransaction):
            return StorageError(self.place, f"the server is read-only ({text})")
        if isinstance(error, psycopg.IntegrityError) or state.startswith(_ROLLBACK_CLASS):
            return ConflictError(f"{self.place}: {text}")
        if isinstance(error, psycopg.DataError):
            return InvalidError("parameter", text, "a value that the column takes")
        return StorageError(self.place, text)


# Classes of SQLSTATE, whose members psycopg doesn't derive from one another.
_GONE_CLASS = "08"
_ROLLBACK_CLASS = "40"
_GONE = (
    psycopg.errors.AdminShutdown,
    psycopg.errors.CrashShutdown,
    psycopg.errors.CannotConnectNow,
    psycopg.errors.ConnectionTimeout,
    psycopg.errors.IdleInTransactionSessionTimeout,
    psycopg.errors.TooManyConnections,
)
_drivers: weakref.WeakSet[PostgresDriver] = weakref.WeakSet()


def _in_child() -> None:
    for driver in list(_drivers):
        driver.after_fork()


os.register_at_fork(after_in_child=_in_child)


def _begin(key: int) -> str:
    return f"BEGIN ISOLATION LEVEL READ COMMITTED; SELECT pg_advisory_xact_lock({key})"


def _key(text: str) -> int:
    """A signed 64-bit number, the same in every process."""
    from blake3 import blake3

    return int.from_bytes(blake3(text.encode()).digest(8), "big", signed=True)


def _line(error: Exception) -> str:
    return " ".join(str(error).split()).rstrip(".") or type(error).__name__
