"""The tables of ingestion: the state of each source, and the parts of an ingest that isn't committed yet.

A state moves in the transaction of the version that holds the rows before it, and the staged parts go with the same.
"""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta

import msgspec

from mainspring import clock
from mainspring.data.ingestion.source import State
from mainspring.data.tables.manifest import Part
from mainspring.data.version import DatasetVersion, Source
from mainspring.errors import ConflictError, NotFoundError, close_names
from mainspring.ledger import Ledger
from mainspring.store import Database, Lease, Leases, Transaction

MIGRATIONS = [
    """
    CREATE TABLE dataset_cursor (
        dataset TEXT NOT NULL, source TEXT NOT NULL, state TEXT NOT NULL, version TEXT, moved_at INTEGER NOT NULL,
        PRIMARY KEY (dataset, source)
    );
    CREATE TABLE dataset_staged (
        dataset TEXT NOT NULL, source TEXT NOT NULL, position INTEGER NOT NULL, settings TEXT NOT NULL,
        state TEXT NOT NULL, parts TEXT NOT NULL, sources TEXT NOT NULL, size_bytes INTEGER NOT NULL,
        staged_at INTEGER NOT NULL, PRIMARY KEY (dataset, source, position)
    )
    """,
]

_STAGED_KEPT = timedelta(days=7)


class Cursor(msgspec.Struct, frozen=True):
    """How far a source was read for a dataset: its state, the version that took its last rows, and when that was."""

    dataset: str
    source: str
    state: State
    version: str | None
    moved_at: int


class Staged(msgspec.Struct, frozen=True):
    """Rows that were read but not committed: their parts, and the state behind them."""

    parts: tuple[Part, ...]
    state: State
    sources: tuple[Source, ...]
    size_bytes: int


class IngestStore:
    """States and staged parts of one dataset and source, changed under a lease."""

    def __init__(self, database: Database, ledger: Ledger, dataset: str, source: str) -> None:
        self.database, self.ledger = database, ledger
        self.dataset, self.source = dataset, source
        self._leases = Leases(database)
        database.migrate("ingestion", MIGRATIONS)

    def cursor(self) -> Cursor | None:
        """The committed state, or None if the source was never read to its end."""
        found = [each for each in list_stored(self.database, self.dataset) if each.source == self.source]
        return found[0] if found else None

    def staged(self, lease: Lease) -> list[tuple[str, Staged]]:
        """What an earlier ingest left, in order, each with the settings that it was read with; it is kept for longer now."""
        with self.database.transaction() as tx:
            self._leases.check(tx, lease)
            tx.execute(
                "UPDATE dataset_staged SET staged_at = ? WHERE dataset = ? AND source = ?",
                (clock.now_us(), self.dataset, self.source),
            )
        rows = self.database.query(
            "SELECT settings, parts, state, sources, size_bytes FROM dataset_staged WHERE dataset = ? AND source = ?"
            " ORDER BY position",
            (self.dataset, self.source),
        )
        return [
            (
                settings,
                Staged(
                    msgspec.json.decode(parts, type=tuple[Part, ...]), msgspec.json.decode(state),
                    msgspec.json.decode(sources, type=tuple[Source, ...]), size_bytes,
                ),
            )
            for settings, parts, state, sources, size_bytes in rows
        ]  # fmt: skip

    def stage(self, lease: Lease, settings: str, position: int, staged: Staged) -> None:
        """Keep rows that were read; refused if the lease was taken over."""
        parts, state, sources = (_text(value) for value in (staged.parts, staged.state, staged.sources))
        with self.database.transaction() as tx:
            self._leases.check(tx, lease)
            tx.execute(
                "INSERT INTO dataset_staged VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)",
                (
                    self.dataset,
                    self.source,
                    position,
                    settings,
                    state,
                    parts,
                    sources,
                    staged.size_bytes,
                    clock.now_us(),
                ),
            )

    def discard(self, lease: Lease) -> None:
        """Let go of everything staged."""
        with self.database.transaction() as tx:
            self._leases.check(tx, lease)
            self._unstage(tx)

    def move(self, lease: Lease, before: State | None, state: State) -> None:
        """Move the state without a version: nothing new was found behind it."""
        with self.database.transaction() as tx:
            self.settle(tx, lease, before, state, None)

    def settle(
        self, tx: Transaction, lease: Lease, before: State | None, state: State, version: DatasetVersion | None
    ) -> None:
        """Move the state in the transaction of its version, and let go of what was staged.

        Raises:
            ConflictError: the state before, behind which rows were read, is gone: the dataset was removed meanwhile.
        """
        self._leases.check(tx, lease)
        where = "SELECT state FROM dataset_cursor WHERE dataset = ? AND source = ?"
        if before is not None and tx.query_one(where, (self.dataset, self.source)) is None:
            raise ConflictError(f"`{self.dataset}` was removed while new rows were read for it; ingest again.")
        self._unstage(tx)
        tx.execute(
            "INSERT INTO dataset_cursor VALUES (?, ?, ?, ?, ?) ON CONFLICT (dataset, source) DO UPDATE SET"
            " state = excluded.state, version = COALESCE(excluded.version, dataset_cursor.version),"
            " moved_at = excluded.moved_at",
            (self.dataset, self.source, _text(state), version.id if version else None, clock.now_us()),
        )

    def forget(self, lease: Lease) -> None:
        """Forget state and staged parts, so that the next ingest reads from the beginning; raises `NotFoundError`."""
        with self.database.transaction() as tx:
            self._leases.check(tx, lease)
            where = "WHERE dataset = ? AND source = ?"
            count = tx.execute(f"DELETE FROM dataset_cursor {where}", (self.dataset, self.source))
            self._unstage(tx)
            if count:
                told = {"dataset": self.dataset, "source": self.source}
                self.ledger.append(tx, "dataset.cursor_forgotten", self.dataset, told)
        if not count:
            known = [each.source for each in list_stored(self.database, self.dataset)]
            raise NotFoundError("source", self.source, close_names(self.source, known) or known[:3], owner=self.dataset)

    def _unstage(self, tx: Transaction) -> None:
        tx.execute("DELETE FROM dataset_staged WHERE dataset = ? AND source = ?", (self.dataset, self.source))


def list_stored(database: Database, dataset: str = "") -> list[Cursor]:
    """The states of every source that a dataset, or any, was read from, by name."""
    database.migrate("ingestion", MIGRATIONS)
    where, params = ("WHERE dataset = ?", (dataset,)) if dataset else ("", ())
    rows = database.query(f"SELECT dataset, source, state, version, moved_at FROM dataset_cursor {where}", params)
    found = (Cursor(a, b, msgspec.json.decode(c), d, e) for a, b, c, d, e in rows)
    return sorted(found, key=lambda each: (each.dataset, each.source))


def forgetting(database: Database) -> Callable[[Transaction, str], None]:
    """What forgets, with a removed dataset, how far its sources were read and what is staged for it."""
    database.migrate("ingestion", MIGRATIONS)

    def forget(tx: Transaction, dataset: str) -> None:
        tx.execute("DELETE FROM dataset_cursor WHERE dataset = ?", (dataset,))
        tx.execute("DELETE FROM dataset_staged WHERE dataset = ?", (dataset,))

    return forget


def gc_roots(database: Database) -> list[str]:
    """The blobs of staged parts, until nobody has gone on with them for seven days."""
    database.migrate("ingestion", MIGRATIONS)
    rows = database.query(
        "SELECT parts FROM dataset_staged AS staged WHERE ? <= (SELECT MAX(staged_at) FROM dataset_staged AS other"
        " WHERE other.dataset = staged.dataset AND other.source = staged.source)",
        (clock.now_us() - _STAGED_KEPT // timedelta(microseconds=1),),
    )
    return [part.blob for (parts,) in rows for part in msgspec.json.decode(parts, type=tuple[Part, ...])]


def _text(value: object) -> str:
    return msgspec.json.encode(value).decode()
