"""The door to the database: a few verbs over a small driver, the same on SQLite and PostgreSQL.

Invariant: write transactions are serial on every backend, so what a transaction reads stays true until it commits, and
the order of commits is the order in which transactions began. Readers never wait for writers.

Portable SQL: types in capitals (TEXT, INTEGER of 64 bits, REAL, BLOB), `?` for values, NULLS FIRST or LAST written out
wherever NULL can be sorted, ESCAPE written out in LIKE (whose case counts), no JSON operators, flags as 0 and 1.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from contextvars import ContextVar
from threading import get_ident
from types import TracebackType
from typing import Any, Protocol, runtime_checkable

from mainspring.errors import ConfigError, ConflictError, InvalidError, MainspringError, WrongTypeError

Value = str | int | float | bytes | None
Row = tuple[Any, ...]
BATCH = 400  # placeholders in one statement
_PLAIN = (str, int, float, bytes, type(None))
_INT64 = 1 << 63
_READING = ("SELECT", "WITH", "VALUES", "PRAGMA", "EXPLAI")

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


@runtime_checkable
class StandsIn(Protocol):
    """A driver that can do without tables which are not there and can't be made."""

    def stand_in(self, statements: Iterable[str]) -> bool:
        """If nothing can be written, make these tables empty, for this connection alone; False if they can be made."""
        ...


class Transaction:
    """Statements of one write transaction. Made by `Database.transaction()`, used by the thread that made it."""

    def __init__(self, driver: Driver, open_here: _OpenHere) -> None:
        self._driver = driver
        self._open_here = open_here
        self._thread = 0
        self._failed = False

    def query(self, sql: str, params: Sequence[Value] = ()) -> list[Row]:
        """The rows that a statement returns."""
        return self._run(sql, params)[0]

    def query_one(self, sql: str, params: Sequence[Value] = ()) -> Row | None:
        """The first row, or None."""
        rows = self._run(sql, params)[0]
        return rows[0] if rows else None

    def execute(self, sql: str, params: Sequence[Value] = ()) -> int:
        """Run a statement; gives the number of rows it touched."""
        return self._run(sql, params)[1]

    def executemany(self, sql: str, rows: Iterable[Sequence[Value]]) -> None:
        """Run a statement once for each row of parameters."""
        driver = self._ours()
        self._failed = True
        driver.run_many(sql, [checked(row) for row in rows])
        self._failed = False

    def insert(self, table: str, values: Mapping[str, Value]) -> None:
        """Insert one row, given as column names and values."""
        columns = ", ".join(values)
        marks = ", ".join("?" * len(values))
        self.execute(f"INSERT INTO {table} ({columns}) VALUES ({marks})", tuple(values.values()))

    def now_us(self) -> int:
        """The store's own clock, for leases."""
        return self._ours().now_us()

    def __enter__(self) -> Transaction:
        place = self._driver.place
        if self._open_here.open:
            raise ConflictError(f"{place}: a transaction is open in this thread already; pass it on instead")
        self._open_here.open = True
        try:
            self._driver.begin()
            self._thread = get_ident()
            for fenced, check in _fences.get():
                if fenced == place:
                    check(self)
        except BaseException:
            self._undo()
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if kind is not None:
            self._undo()
            return
        try:
            if self._failed:
                raise self._half_done()
            self._driver.commit()
        except BaseException:
            self._undo()
            raise
        self._open_here.open = False
        self._thread = 0

    def _half_done(self) -> ConflictError:
        # PostgreSQL ends a transaction with its first error, SQLite would go on and commit the rest.
        return ConflictError(f"{self._driver.place}: a statement of this transaction failed; nothing of it is kept")

    def _undo(self) -> None:
        """Roll back. What went wrong before is the error to show, so that one of the rollback is not raised."""
        self._thread = 0
        self._open_here.open = False
        with suppress(MainspringError):
            self._driver.rollback()

    def _run(self, sql: str, params: Sequence[Value]) -> tuple[list[Row], int]:
        driver = self._ours()
        self._failed = True
        result = driver.run(sql, checked(params))
        self._failed = False
        return result

    def _ours(self) -> Driver:
        if self._thread != get_ident():  # it would run outside any transaction, or in another thread's
            state = "belongs to another thread" if self._thread else "has ended"
            raise ConflictError(f"{self._driver.place}: this transaction {state}; open one with `transaction()`")
        if self._failed:
            raise self._half_done()
        return self._driver


class Reader(Protocol):
    """What a check reads by: a transaction, or the database as of its last commit."""

    def query_one(self, sql: str, params: Sequence[Value] = ()) -> Row | None:
        """The first row, or None."""
        ...


Check = Callable[[Reader], None]
Fences = tuple[tuple[str, Check], ...]
_fences: ContextVar[Fences] = ContextVar("fences", default=())
current_fences = _fences.get
"""The checks of the blocks around here (`Database.fenced`), each with the place of its database; for `Database.hold_to`."""


class _OpenHere(threading.local):
    """Whether this thread has a transaction open."""

    open = False


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
        self._open_here = _OpenHere()
        self._applied: dict[str, int] | None = None

    @property
    def place(self) -> str:
        """The file or address, without a password."""
        return self._driver.place

    def query(self, sql: str, params: Sequence[Value] = ()) -> list[Row]:
        """The rows of a reading statement, as of the last commit; inside this thread's transaction, as of there."""
        if not sql.lstrip()[:6].upper().startswith(_READING) and not self._open_here.open:
            raise ConflictError(f"{self.place}: only a transaction may write; `{sql.split(None, 1)[0]}` is not a query")
        return self._driver.run(sql, checked(params))[0]

    def query_one(self, sql: str, params: Sequence[Value] = ()) -> Row | None:
        """The first row, or None."""
        rows = self.query(sql, params)
        return rows[0] if rows else None

    def transaction(self) -> Transaction:
        """A write transaction, for `with`: commits at the end of the block, undoes everything if the block raises.

        Transactions don't nest; do no I/O and call no user code inside one, because all writers wait for it.

        Raises:
            ConflictError: a transaction is open in this thread already, or a constraint was violated.
            StorageError: the directory is read-only, the disk is full, or the server is gone.
        """
        return Transaction(self._driver, self._open_here)

    @contextmanager
    def fenced(self, check: Check) -> Iterator[None]:
        """Call `check` first in every transaction on this database that the block begins, whichever object it is begun by.

        What it raises undoes the transaction. It holds in contexts copied from the block's, also once that has ended, and
        with the checks of blocks around it; not in threads that begin without a context, nor on other databases.
        """
        token = _fences.set((*_fences.get(), (self.place, check)))
        try:
            yield
        finally:
            _fences.reset(token)

    def hold_to(self, fences: Fences) -> None:
        """Call the checks of other blocks that are on this database, as a transaction that they began would, but as of now.

        What is written somewhere else than here can so be refused, except for what is on its way meanwhile.
        """
        for fenced, check in fences:
            if fenced == self.place:
                check(self)

    def migrate(self, room: str, migrations: Sequence[str], *, within: Transaction | None = None) -> None:
        """Bring a room's tables to the newest schema; a no-op when they are there.

        Statement `i` of `migrations` is number `i + 1` and is applied once, all missing ones in one transaction, so two
        processes that open a new workspace at one instant both find it complete. Where nothing can be written, a room
        that was never used is read as empty. `within` is the transaction that is open in this thread, if one is.

        Raises:
            ConfigError: the database has a newer schema than this version of Mainspring knows.
        """
        if self._applied is None:
            self._applied = self._read_applied()
        if not self._applied.get(room) and self._stands_in(migrations):
            self._applied[room] = len(migrations)
        if self._applied.get(room, 0) < len(migrations):
            if within is not None:
                self._apply(within, room, migrations)  # not noted, as it may yet be undone
                return
            with self.transaction() as tx:
                done = self._apply(tx, room, migrations)
            self._applied[room] = max(done, len(migrations))
        if self._applied.get(room, 0) > len(migrations):
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

    def _apply(self, tx: Transaction, room: str, migrations: Sequence[str]) -> int:
        """Apply the missing ones; gives how many were there."""
        if not self._applied:
            tx.execute(_MIGRATIONS)
        done = int((tx.query_one("SELECT MAX(number) FROM migration WHERE room = ?", (room,)) or (None,))[0] or 0)
        for migration in migrations[done:]:
            for statement in _statements(migration):
                tx.execute(statement)
        now_us = tx.now_us()
        numbers = range(done + 1, len(migrations) + 1)
        tx.executemany("INSERT INTO migration VALUES (?, ?, ?)", [(room, number, now_us) for number in numbers])
        return done

    def _stands_in(self, migrations: Sequence[str]) -> bool:
        driver = self._driver
        return isinstance(driver, StandsIn) and driver.stand_in(
            statement for migration in migrations for statement in _statements(migration)
        )

    def _read_applied(self) -> dict[str, int]:
        if "migration" not in self._driver.tables():
            return {}
        return dict(self.query("SELECT room, MAX(number) FROM migration GROUP BY room"))


def batches(ids: Iterable[str]) -> Iterator[tuple[list[str], str]]:
    """Ids in parts that fit a statement, each with its placeholders."""
    everything = sorted(set(ids))
    for start in range(0, len(everything), BATCH):
        batch = everything[start : start + BATCH]
        yield batch, ", ".join("?" * len(batch))


def _statements(migration: str) -> list[str]:
    return [part for part in migration.rstrip().rstrip(";").split(";\n") if part.strip()]


def checked(params: Sequence[Value]) -> Sequence[Value]:
    """Refuse what the backends would store differently or not at all; subclasses of the plain types become plain."""
    for value in params:
        kind = type(value)
        if kind is str:
            if "\0" in value:  # type: ignore[operator]  # narrowed by `kind`, which is cheaper here
                raise InvalidError("text", value, "text without a NUL character")
        elif kind is int:
            if not -_INT64 <= value < _INT64:  # type: ignore[operator]  # narrowed by `kind`
                raise InvalidError("number", value, "a 64-bit integer")
        elif kind is float:
            if value != value:  # NaN: SQLite would keep it as NULL, PostgreSQL as NaN
                raise InvalidError("number", value, "a number; store NaN in a column of its own")
        elif value is not None and kind is not bytes:
            return checked([value if type(value) in _PLAIN else _plain(value) for value in params])
    return params


def _plain(value: object) -> Value:
    kinds: tuple[Any, ...] = (str, int, float, bytes)
    for kind in kinds:  # an enum's member, a bool, a NumPy float
        if isinstance(value, kind):
            plain: Value = kind.__add__(value, kind())  # whatever the subclass says about `str()` and `int()`
            return plain
    if isinstance(value, bytearray | memoryview):
        return bytes(value)
    if value is None:
        return None
    raise WrongTypeError("parameter", value, "text, a number, bytes or None")
