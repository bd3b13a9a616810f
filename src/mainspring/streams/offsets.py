"""How far consumers have applied streams, in the database of what they apply them to.

Invariant: an offset moves in the transaction of the effect of the events up to it, from where its consumer began, under
that consumer's lease. So each event's effect is there exactly once, however often the event is delivered.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager

import msgspec

from mainspring import clock
from mainspring.errors import ConflictError
from mainspring.store import Database, Lease, Leases, Transaction
from mainspring.store.heartbeat import kept_alive
from mainspring.streams.event import Event

MIGRATIONS = [
    """
    CREATE TABLE stream_offset (
        stream TEXT NOT NULL, consumer TEXT NOT NULL, applied INTEGER NOT NULL, moved_us INTEGER NOT NULL,
        PRIMARY KEY (stream, consumer)
    )
    """,
]
_LEASE_S = 15.0


class Applied(msgspec.Struct, frozen=True):
    """The offset up to which a consumer has applied a stream, and when that moved."""

    stream: str
    consumer: str
    offset: int
    moved_us: int


class OffsetStore:
    """The offsets of consumers in a database."""

    def __init__(self, database: Database) -> None:
        self.database = database
        self._leases = Leases(database)
        database.migrate("stream_offset", MIGRATIONS)

    def get(self, stream: str, consumer: str) -> int:
        """The offset up to which a consumer has applied a stream; 0 if nothing yet."""
        row = self.database.query_one(
            "SELECT applied FROM stream_offset WHERE stream = ? AND consumer = ?", (stream, consumer)
        )
        return int(row[0]) if row else 0

    def list(self, stream: str = "") -> list[Applied]:
        """The consumers of a stream, or of all."""
        where, params = ("WHERE stream = ?", [stream]) if stream else ("", [])
        rows = self.database.query(
            f"SELECT stream, consumer, applied, moved_us FROM stream_offset {where} ORDER BY stream, consumer", params
        )
        return [Applied(*row) for row in rows]

    def move(self, tx: Transaction, stream: str, consumer: str, *, expect: int, offset: int, lease: Lease) -> None:
        """Move an offset in the transaction of the effect.

        Raises:
            LeaseLostError: another process consumes under this name by now.
            ConflictError: the offset is not the expected one, so these events were applied already.
        """
        self._leases.check(tx, lease)
        row = tx.query_one("SELECT applied FROM stream_offset WHERE stream = ? AND consumer = ?", (stream, consumer))
        found = row[0] if row else 0
        if found != expect:
            raise ConflictError(
                f"`{consumer}` has applied `{stream}` up to {found}, not {expect}; nothing was applied again."
            )
        tx.execute(
            "INSERT INTO stream_offset VALUES (?, ?, ?, ?) ON CONFLICT (stream, consumer) DO UPDATE SET"
            " applied = excluded.applied, moved_us = excluded.moved_us",
            (stream, consumer, offset, clock.now_us()),
        )

    @contextmanager
    def claimed(self, stream: str, consumer: str, owner: str, *, lease_s: float = _LEASE_S) -> Iterator[Lease]:
        """The right to consume under a name, for the block.

        Raises:
            ConflictError: a live process has it.
        """
        lease = self._leases.claim(f"stream/{stream}/{consumer}", owner, lease_s)
        with kept_alive(self._leases, lease, lease_s):
            yield lease


Effect = Callable[[Transaction, Sequence[Event]], None]


class DatabaseSink:
    """A sink whose effect is in the database of its offset: `effect` writes it, in the transaction that moves the offset."""

    def __init__(self, offsets: OffsetStore, stream: str, consumer: str, lease: Lease, effect: Effect) -> None:
        self._offsets, self._lease, self._effect = offsets, lease, effect
        self._stream, self._consumer = stream, consumer

    def offset(self) -> int:
        """The offset up to which events were applied."""
        return self._offsets.get(self._stream, self._consumer)

    def apply(self, events: Sequence[Event], expect: int, offset: int) -> None:
        """Apply events and move the offset, both or neither. Raises as `OffsetStore.move` and the effect do."""
        with self._offsets.database.transaction() as tx:
            self._offsets.move(tx, self._stream, self._consumer, expect=expect, offset=offset, lease=self._lease)
            self._effect(tx, events)
