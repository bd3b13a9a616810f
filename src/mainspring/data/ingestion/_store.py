"""The tables of ingestion: the state of each source, and the parts of an ingest that isn't committed yet.

A state moves in the transaction of the version that holds the rows before it, and the staged parts go with the same.
"""

from __future__ import annotations

import msgspec

from mainspring import clock
from mainspring.data.ingestion.source import State
from mainspring.data.tables.manifest import Part
from mainspring.data.version import DatasetVersion, Source
from mainspring.errors import NotFoundError, close_names
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
        PRIMARY KEY (dataset, source, position)
    )
    """,
]


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

    def staged(self) -> list[tuple[str, Staged]]:
        """What an earlier ingest left, in order, each with the settings that it was read with."""
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
                "INSERT INTO dataset_staged VALUES (?, ?, ?, ?, ?, ?, ?, ?)",
                (self.dataset, self.source, position, settings, state, parts, sources, staged.size_bytes),
            )

    def discard(self, lease: Lease) -> None:
        """Let go of everything staged."""
        with self.database.transaction() as tx:
            self._leases.check(tx, lease)
            self._unstage(tx)

    def move(self, lease: Lease, state: State) -> None:
        """Move the state without a version: nothing new was found behind it."""
        with self.database.transaction() as tx:
            self.settle(tx, lease, state, None)

    def settle(self, tx: Transaction, lease: Lease, state: State, version: DatasetVersion | None) -> None:
        """Move the state in the transaction of its version, and let go of what was staged."""
        self._leases.check(tx, lease)
        self._unstage(tx)
        tx.execute(
            "INSERT INTO dataset_cursor VALUES (?, ?, ?, ?, ?) ON CONFLICT (dataset, source) DO UPDATE SET"
            " state = excluded.state, version = COALESCE(excluded.version, dataset_cursor.version),"
            " moved_at = excluded.moved_at",
            (self.dataset, self.source, _text(state), version.id if version else None, clock.now_us()),
        )

    def forget(self) -> None:
        """Forget state and staged parts, so that the next ingest reads from the beginning; raises `NotFoundError`."""
        with self.database.transaction() as tx:
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


def list_stored(database: Database, dataset: str) -> list[Cursor]:
    """The states of every source that a dataset was read from, by name."""
    database.migrate("ingestion", MIGRATIONS)
    rows = database.query(
        "SELECT dataset, source, state, version, moved_at FROM dataset_cursor WHERE dataset = ?", (dataset,)
    )
    return sorted((Cursor(a, b, msgspec.json.decode(c), d, e) for a, b, c, d, e in rows), key=lambda each: each.source)


def gc_roots(database: Database) -> list[str]:
    """The blobs of staged parts."""
    database.migrate("ingestion", MIGRATIONS)
    rows = database.query("SELECT parts FROM dataset_staged")
    return [part.blob for (parts,) in rows for part in msgspec.json.decode(parts, type=tuple[Part, ...])]


def _text(value: object) -> str:
    return msgspec.json.encode(value).decode()
