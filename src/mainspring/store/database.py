"""The door to the database: a few verbs over a small driver, the same on SQLite and PostgreSQL.

Invariant: write transactions are serial on every backend, so what a transaction reads stays true until it commits, and the
order of commits is the order in which transactions began. Readers never wait for writers.
"""

from __future__ import annotations

import math
import threading
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any, Protocol

from mainspring.errors import ConfigError, ConflictError, InvalidError

Value = str | int | float | bytes | None
Row = tuple[Any, ...]

_MIGRATIONS = """
CREATE TABLE IF NOT EXISTS migration (
    room TEXT NOT NULL, number INTEGER NOT NULL, applied_at INTEGER NOT NULL, PRIMARY KEY (room, number)
)"""


class Driver(Protocol):
    """What a database backend provides. Every call works on a connection of the calling thread.

    Errors of the third-party library leave a driver as `StorageError`, `UnavailableError` or `ConflictError`.
    """

    place: str
    """The file or address, for error messages; never holds a password."""

    def begin(self) -> None:
        """Start a write transaction, waiting in a fair queue for the writers before."""
        ...

    def commit(self) -> None:
        """End the transaction; when this returns, other connections see what it wrote."""
        ...

    def rollback(self) -> None:
        """Undo the transaction."""
        ...

    def run(self, sql: str, params: Sequence[Value]) -> tuple[list[Row], int]:
        """One statement with `?` placeholders; gives its rows and the number of rows it touched."""
        ...

    def run_many(self, sql: str, rows: Iterable[Sequence[Value]]) -> None:
        """One statement for each row of parameters."""
        ...

    def tables(self) -> set[str]:
        """The names of the tables that exist."""
        ...

    def now_us(self) -> int:
        """The store's own clock in microseconds since 1970; one clock for everybody who uses this database."""
        ...

    def close(self) -> None:
        """Close the connections of all threads."""
        ...


class Transaction:
    """Statements of one write transaction. Made by `Database.transaction()`."""

    def __init__(self, driver: Driver) -> None:
        self._driver = driver

    def query(self, sql: str, params: Sequence[Value] = ()) -> list[Row]:
        """The rows that a statement returns."""
        return self._driver.run(sql, _checked(params))[0]

    def query_one(self, sql: str, params: Sequence[Value] = ()) -> Row | None:
        """The first row, or None."""
        rows = self.query(sql, params)
        return rows[0] if rows else None

    def execute(self, sql: str, params: Sequence[Value] = ()) -> int:
        """Run a statement; gives the number of rows it touched."""
        return self._driver.run(sql, _checked(params))[1]

    def executemany(self, sql: str, rows: Iterable[Sequence[Value]]) -> None:
        """Run a statement once for each row of parameters."""
        self._driver.run_many(sql, (_checked(row) for row in rows))

    def insert(self, table: str, values: Mapping[str, Value]) -> None:
        """Insert one row, given as column names and values."""
        columns = ", ".join(values)
        marks = ", ".join("?" * len(values))
        self.execute(f"INSERT INTO {table} ({columns}) VALUES ({marks})", tuple(values.values()))

    def now_us(self) -> int:
        """The store's own clock, for leases."""
        return self._driver.now_us()


class Database:
    """A database with numbered migrations per room and serial write transactions.

    >>> from mainspring.store import open_database
    >>> import tempfile
    >>> database = open_database(f"sqlite:///{tempfile.mkdtemp()}/state.db")
    >>> database.migrate("demo", ["CREATE TABLE note (id TEXT PRIMARY KEY, text TEXT)"])
    >>> with database.transaction() as tx:
    ...     tx.insert("note", {"id": "a", "text": "kept"})
    >>> database.query("SELECT text FROM note")
    [('kept',)]
    >>> database.close()
    """

    def __init__(self, driver: Driver) -> None:
        self._driver = driver
        self._local = threading.local()
        self._applied: dict[str, int] | None = None

    @property
    def place(self) -> str:
        """The file or address, without a password."""
        return self._driver.place

    def query(self, sql: str, params: Sequence[Value] = ()) -> list[Row]:
        """The rows of a reading statement, as of the last commit; inside this thread's transaction, as of there."""
        return self._driver.run(sql, _checked(params))[0]

    def query_one(self, sql: str, params: Sequence[Value] = ()) -> Row | None:
        """The first row, or None."""
        rows = self.query(sql, params)
        return rows[0] if rows else None

    @contextmanager
    def transaction(self) -> Iterator[Transaction]:
        """A write transaction: commits at the end of the block, undoes everything if the block raises.

        Transactions don't nest; do no I/O and call no user code inside one, because all writers wait for it.

        Raises:
            ConflictError: a transaction is open in this thread already, or a constraint was violated.
            StorageError: the directory is read-only, the disk is full, or the server is gone.
        """
        if getattr(self._local, "open", False):
            raise ConflictError(f"{self.place}: a transaction is open in this thread already; pass it on instead")
        self._driver.begin()
        self._local.open = True
        try:
            yield Transaction(self._driver)
            self._driver.commit()
        except BaseException:
            self._driver.rollback()
            raise
        finally:
            self._local.open = False

    def migrate(self, room: str, migrations: Sequence[str]) -> None:
        """Bring a room's tables to the newest schema; a no-op when they are there.

        Statement `i` of `migrations` is number `i + 1` and is applied once, all missing ones in one transaction, so two
        processes that open a new workspace at one instant both find it complete.

        Raises:
            ConfigError: the database has a newer schema than this version of Mainspring knows.
        """
        if self._applied is None:
            self._applied = self._read_applied()
        if self._applied.get(room, 0) < len(migrations):
            with self.transaction() as tx:
                tx.execute(_MIGRATIONS)
                done = (tx.query_one("SELECT MAX(number) FROM migration WHERE room = ?", (room,)) or (None,))[0] or 0
                for number, statements in enumerate(migrations[done:], start=done + 1):
                    for statement in statements.split(";\n"):
                        if statement.strip():
                            tx.execute(statement)
                    tx.execute("INSERT INTO migration VALUES (?, ?, ?)", (room, number, tx.now_us()))
            self._applied[room] = max(done, len(migrations))
        if self._applied[room] > len(migrations):
            raise ConfigError(
                f"{self.place} holds schema {self._applied[room]} of `{room}`, this Mainspring knows {len(migrations)}."
                " Upgrade Mainspring to open it."
            )

    def now_us(self) -> int:
        """The store's own clock in microseconds since 1970."""
        return self._driver.now_us()

    def close(self) -> None:
        """Close every connection; the database can't be used afterwards."""
        self._driver.close()

    def _read_applied(self) -> dict[str, int]:
        if "migration" not in self._driver.tables():
            return {}
        return dict(self.query("SELECT room, MAX(number) FROM migration GROUP BY room"))


def _checked(params: Sequence[Value]) -> Sequence[Value]:
    """Refuse what the backends would store differently or not at all."""
    for value in params:
        kind = type(value)
        if kind is str and "\0" in value:  # type: ignore[operator]  # narrowed by `kind`, which is cheaper here
            raise InvalidError("text", value, "text without a NUL character")
        if kind is float and math.isnan(value):  # type: ignore[arg-type]
            # SQLite would keep it as NULL, PostgreSQL as NaN.
            raise InvalidError("number", value, "a number; store NaN in a column of its own")
    return params
