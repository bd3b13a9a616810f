"""The tables of ingestion: the state of each source, and the parts of an ingest that isn't committed yet.

A state moves in the transaction of the version that holds the rows before it, and the staged parts go with the same.
"""

from __future__ import annotations

from collections.abc import Callable, Container, Mapping, Sequence
from datetime import timedelta

import msgspec

from mainspring import clock
from mainspring.data.ingestion.places import Below, Place, files_in, is_of_files, may_share, place_of, without
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
        replaced_by TEXT,
        PRIMARY KEY (dataset, source)
    );
    CREATE TABLE dataset_staged (
        dataset TEXT NOT NULL, source TEXT NOT NULL, position INTEGER NOT NULL, settings TEXT NOT NULL,
        state TEXT NOT NULL, parts TEXT NOT NULL, sources TEXT NOT NULL, warnings TEXT NOT NULL, size_bytes INTEGER NOT NULL,
        begun_at INTEGER NOT NULL, staged_at INTEGER NOT NULL, PRIMARY KEY (dataset, source, position)
    )
    """,
]

_STAGED_KEPT = timedelta(days=7)


class Cursor(msgspec.Struct, frozen=True):
    """How far a source was read for a dataset: its state, the version that took its last rows, and when that was.

    `replaced_by` is the version by which somebody has replaced the rows since then, by hand.
    """

    dataset: str
    source: str
    state: State
    version: str | None
    moved_at: int
    replaced_by: str | None = None


class Staged(msgspec.Struct, frozen=True):
    """Rows that were read but not committed: their parts, the state behind them, and when the reading of all of them began."""

    parts: tuple[Part, ...]
    state: State
    sources: tuple[Source, ...]
    size_bytes: int
    begun_us: int
    warnings: tuple[str, ...] = ()


class StagedRows(msgspec.Struct, frozen=True):
    """How much an ingest has read that isn't committed: it runs, or was interrupted, and the next one like it goes on there."""

    dataset: str
    source: str
    rows: int
    size_bytes: int
    staged_at: int


class IngestStore:
    """States and staged parts of one dataset and source, changed under a lease.

    `forgotten` are the other sources that the last `settle` forgot, `replaced_by` what the cursor had said before it.
    """

    def __init__(self, database: Database, ledger: Ledger, dataset: str, source: str) -> None:
        self.database, self.ledger = database, ledger
        self.dataset, self.source = dataset, source
        self.forgotten: tuple[str, ...] = ()
        self.replaced_by: str | None = None
        self._leases = Leases(database)
        database.migrate("ingestion", MIGRATIONS)

    def cursor(self, otherwise: str = "") -> Cursor | None:
        """The committed state, or None if the source was never read to its end.

        One that is kept under what the source was called `otherwise` becomes this one's.
        """
        found = {each.source: each for each in list_stored(self.database, self.dataset)}
        if self.source not in found and otherwise in found and not is_of_files(self.source):
            with self.database.transaction() as tx:
                named = "UPDATE dataset_cursor SET source = ? WHERE dataset = ? AND source = ?"
                tx.execute(named, (self.source, self.dataset, otherwise))
            return msgspec.structs.replace(found[otherwise], source=self.source)
        return found.get(self.source)

    def others(self) -> dict[str, State]:
        """The states of the dataset's other sources."""
        return {
            each.source: each.state for each in list_stored(self.database, self.dataset) if each.source != self.source
        }

    def staged(self, lease: Lease) -> list[tuple[str, Staged]]:
        """What an earlier ingest left, in order, each with the settings that it was read with; it is kept for longer now."""
        with self.database.transaction() as tx:
            self._leases.check(tx, lease)
            tx.execute(
                "UPDATE dataset_staged SET staged_at = ? WHERE dataset = ? AND source = ?",
                (clock.now_us(), self.dataset, self.source),
            )
        rows = self.database.query(
            "SELECT settings, parts, state, sources, size_bytes, begun_at, warnings FROM dataset_staged"
            " WHERE dataset = ? AND source = ? ORDER BY position",
            (self.dataset, self.source),
        )
        return [
            (
                settings,
                Staged(
                    msgspec.json.decode(parts, type=tuple[Part, ...]), msgspec.json.decode(state),
                    msgspec.json.decode(sources, type=tuple[Source, ...]), size_bytes, begun_us,
                    msgspec.json.decode(warnings, type=tuple[str, ...]),
                ),
            )
            for settings, parts, state, sources, size_bytes, begun_us, warnings in rows
        ]  # fmt: skip

    def stage(self, lease: Lease, settings: str, position: int, staged: Staged) -> None:
        """Keep rows that were read; refused if the lease was taken over."""
        kept = (staged.state, staged.parts, staged.sources, staged.warnings)
        with self.database.transaction() as tx:
            self._leases.check(tx, lease)
            tx.execute(
                f"INSERT INTO dataset_staged VALUES ({', '.join('?' * 11)})",
                (
                    self.dataset, self.source, position, settings, *map(_text, kept), staged.size_bytes, staged.begun_us,
                    clock.now_us(),
                ),
            )  # fmt: skip

    def discard(self, lease: Lease) -> None:
        """Let go of everything staged."""
        with self.database.transaction() as tx:
            self._leases.check(tx, lease)
            self._unstage(tx)

    def move(self, lease: Lease, before: State | None, state: State, others: Mapping[str, State] | None = None) -> None:
        """Move the state without a version: nothing new was found behind it."""
        with self.database.transaction() as tx:
            self.settle(tx, lease, before, state, others=others)

    def settle(
        self, tx: Transaction, lease: Lease, before: State | None, state: State, *,
        others: Mapping[str, State] | None = None, replaces: bool = False,
    ) -> None:  # fmt: skip
        """Move the state in the transaction of its version, if there is one, and let go of what was staged.

        `others` are the states of the other sources by which it was known what is new; files that were read now go over from
        them to this one. With a version that `replaces` all rows they are forgotten, as their rows are gone.

        Raises:
            ConflictError: the state before, or what another source knew of files that were read, is another one by now.
        """
        self._leases.check(tx, lease)
        where = "SELECT state, replaced_by FROM dataset_cursor WHERE dataset = ? AND source = ?"
        row = tx.query_one(where, (self.dataset, self.source))
        if before is not None and (row is None or msgspec.json.decode(row[0]) != before):
            told = "was removed or replaced" if row is None else f"got rows of {self.source} by another ingest"
            raise ConflictError(f"`{self.dataset}` {told} while new rows were read for it; ingest again.")
        self._unstage(tx)
        if replaces:
            self.forgotten = self._forget(tx, [each for each in self._sources(tx) if each != self.source])
        else:
            self._take_over(tx, before or {}, state, others or {})
        self.replaced_by = row[1] if row is not None and not replaces else None
        tx.execute(
            "INSERT INTO dataset_cursor VALUES (?, ?, ?, NULL, ?, NULL) ON CONFLICT (dataset, source) DO UPDATE SET"
            " state = excluded.state, moved_at = excluded.moved_at",
            (self.dataset, self.source, _text(state), clock.now_us()),
        )

    def note_version(self, tx: Transaction, version: DatasetVersion) -> None:
        """Say which version took the rows, behind `settle`."""
        tx.execute(
            "UPDATE dataset_cursor SET version = ?, replaced_by = NULL WHERE dataset = ? AND source = ?",
            (version.id, self.dataset, self.source),
        )

    def forget(self, lease: Lease) -> None:
        """Forget state and staged parts, and what other sources know of files in the same folder or below it, so that the
        next ingest reads from the beginning; raises `NotFoundError`.
        """
        with self.database.transaction() as tx:
            self._leases.check(tx, lease)
            known = self._sources(tx)
            handed = self._hand_over(tx, Below(self.source)) if is_of_files(self.source) else False
            if self.source in known or handed:
                self._forget(tx, [self.source])
            self._unstage(tx)
        if not (self.source in known or handed):
            raise NotFoundError("source", self.source, close_names(self.source, known) or known[:3], owner=self.dataset)

    def _sources(self, tx: Transaction) -> list[str]:
        rows = tx.query("SELECT source FROM dataset_cursor WHERE dataset = ?", (self.dataset,))
        return sorted(source for (source,) in rows)

    def _forget(self, tx: Transaction, sources: Sequence[str]) -> tuple[str, ...]:
        for source in sources:
            tx.execute("DELETE FROM dataset_cursor WHERE dataset = ? AND source = ?", (self.dataset, source))
            told = {"dataset": self.dataset, "source": source}
            self.ledger.append(tx, "dataset.cursor_forgotten", self.dataset, told)
        return tuple(sources)

    def _take_over(self, tx: Transaction, before: State, state: State, others: Mapping[str, State]) -> None:
        """Files that were read now are known by this source alone."""
        known = files_in(self.source, before)
        read = {
            place_of(self.source, name)
            for name, parts in files_in(self.source, state).items()
            if known.get(name) != parts
        }
        if read:
            self._hand_over(tx, read, others)

    def _hand_over(self, tx: Transaction, places: Container[Place], seen: Mapping[str, State] | None = None) -> bool:
        """Take files at some places out of the other cursors, which are gone if they know no others; False if none had one.

        Raises:
            ConflictError: one knows of such a file what was not `seen`, if that is given.
        """
        found = False
        where = "WHERE dataset = ? AND source = ?"
        for source in self._sources(tx):
            row = tx.query_one(f"SELECT state FROM dataset_cursor {where}", (self.dataset, source))
            if source == self.source or row is None or not may_share(self.source, source):
                continue
            state: State = msgspec.json.decode(row[0])
            files, rest = files_in(source, state), without(source, state, places)
            gone = files.keys() - rest["files"].keys()
            then = files_in(source, seen.get(source, {})) if seen is not None else files
            if any(files[name] != then.get(name) for name in gone):
                told = f"`{self.dataset}` got rows of the same files by {source} while they were read for it"
                raise ConflictError(f"{told}; ingest again.")
            if gone and rest["files"]:
                tx.execute(f"UPDATE dataset_cursor SET state = ? {where}", (_text(rest), self.dataset, source))
            elif gone:
                tx.execute(f"DELETE FROM dataset_cursor {where}", (self.dataset, source))
            found = found or bool(gone)
        return found

    def _unstage(self, tx: Transaction) -> None:
        tx.execute("DELETE FROM dataset_staged WHERE dataset = ? AND source = ?", (self.dataset, self.source))


def list_stored(database: Database, dataset: str = "") -> list[Cursor]:
    """The states of every source that a dataset, or any, was read from, by name."""
    database.migrate("ingestion", MIGRATIONS)
    where, params = ("WHERE dataset = ?", (dataset,)) if dataset else ("", ())
    rows = database.query(
        f"SELECT dataset, source, state, version, moved_at, replaced_by FROM dataset_cursor {where}", params
    )
    found = (Cursor(a, b, msgspec.json.decode(c), *rest) for a, b, c, *rest in rows)
    return sorted(found, key=lambda each: (each.dataset, each.source))


def list_staged(database: Database, dataset: str = "") -> list[StagedRows]:
    """What ingests into a dataset, or any, have read but not committed, by name."""
    database.migrate("ingestion", MIGRATIONS)
    where, params = ("WHERE dataset = ?", (dataset,)) if dataset else ("", ())
    found: dict[tuple[str, str], StagedRows] = {}
    for name, source, parts, size_bytes, at in database.query(
        f"SELECT dataset, source, parts, size_bytes, staged_at FROM dataset_staged {where} ORDER BY dataset, source",
        params,
    ):
        before = found.get((name, source), StagedRows(name, source, 0, 0, at))
        rows = before.rows + sum(part.rows for part in msgspec.json.decode(parts, type=tuple[Part, ...]))
        found[name, source] = StagedRows(name, source, rows, before.size_bytes + size_bytes, max(before.staged_at, at))
    return list(found.values())


def forgetting(database: Database) -> Callable[[Transaction, str], None]:
    """What forgets, with a removed dataset, how far its sources were read and what is staged for it."""
    database.migrate("ingestion", MIGRATIONS)

    def forget(tx: Transaction, dataset: str) -> None:
        tx.execute("DELETE FROM dataset_cursor WHERE dataset = ?", (dataset,))
        tx.execute("DELETE FROM dataset_staged WHERE dataset = ?", (dataset,))

    return forget


def replacing(database: Database) -> Callable[[Transaction, DatasetVersion], None]:
    """What notes, with a version that replaces a dataset's rows, that they are no longer what its sources gave."""
    database.migrate("ingestion", MIGRATIONS)

    def note(tx: Transaction, version: DatasetVersion) -> None:
        tx.execute("UPDATE dataset_cursor SET replaced_by = ? WHERE dataset = ?", (str(version), version.dataset))

    return note


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
