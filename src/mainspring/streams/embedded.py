"""The embedded log: a database of its own beside the workspace's, so that events never hold up leases.

Write transactions are serial behind the door, so an offset that is visible has everything below it visible, too.
"""

from __future__ import annotations

import time
from collections.abc import Iterable, Iterator, Sequence
from threading import Condition

from mainspring import clock
from mainspring.store import Database, Transaction
from mainspring.streams.event import Appended, Event, Stream, check_events
from mainspring.streams.log import check_not_trimmed

# One B-tree by one number is half the work of one by (stream, offset): a position is both, offset below stream.
_OFFSET_BITS = 40
MIGRATIONS = [
    """
    CREATE TABLE stream (
        number INTEGER PRIMARY KEY, name TEXT NOT NULL UNIQUE, last INTEGER NOT NULL, trimmed INTEGER NOT NULL,
        received_us INTEGER NOT NULL
    );
    CREATE TABLE stream_event (
        position INTEGER PRIMARY KEY, stream INTEGER NOT NULL, id TEXT NOT NULL, time_us INTEGER NOT NULL,
        payload BLOB, type TEXT NOT NULL, received_us INTEGER NOT NULL
    );
    CREATE UNIQUE INDEX stream_event_by_id ON stream_event (stream, id)
    """,
]
_INSERT = "INSERT INTO stream_event VALUES (?, ?, ?, ?, ?, ?, ?)"
_READ = """
    SELECT id, time_us, payload, type, received_us, position - ? FROM stream_event
    WHERE position > ? AND position < ? AND payload IS NOT NULL ORDER BY position LIMIT ?
"""
_PLACEHOLDERS = 400
_TRIMMED_AT_ONCE = 10_000
_FIRST_PAUSE_S, _LONGEST_PAUSE_S = 0.002, 0.05


class EmbeddedLog:
    """Streams in tables of a database, SQLite or PostgreSQL."""

    def __init__(self, database: Database) -> None:
        self.place = database.place
        self._database = database
        self._appended = Condition()
        database.migrate("stream", MIGRATIONS)

    def append(self, stream: str, events: Sequence[Event]) -> list[Appended]:
        """One transaction."""
        check_events(stream, events)
        if not events:
            return []
        with self._database.transaction() as tx:
            number, last, received_us = self._begun(tx, stream)
            received_us = max(received_us, clock.now_us())
            appended = self._inserted(tx, number, last, received_us, events)
            newest = max([each.offset for each in appended if each.is_new], default=last)
            tx.execute("UPDATE stream SET last = ?, received_us = ? WHERE number = ?", (newest, received_us, number))
        with self._appended:
            self._appended.notify_all()
        return appended

    def read(self, stream: str, after: int | None = None, limit: int = 1000) -> list[Event]:
        """Two queries: the events, and then whether some were trimmed before they could be read."""
        number = self._find(stream)[0]
        base = number << _OFFSET_BITS
        rows = (
            self._database.query(_READ, (base, base + max(after or 0, 0), base + (1 << _OFFSET_BITS), limit))
            if number
            else []
        )
        check_not_trimmed(stream, after, self._find(stream)[2])
        return [Event(*row) for row in rows]

    def wait(self, stream: str, after: int, timeout_s: float) -> bool:
        """Looks more and more rarely, at once when this process appends."""
        until, pause_s = time.monotonic() + timeout_s, _FIRST_PAUSE_S
        while self.end(stream) <= after:
            left_s = until - time.monotonic()
            if left_s <= 0:
                return False
            with self._appended:
                self._appended.wait(min(left_s, pause_s))
            pause_s = min(pause_s * 1.5, _LONGEST_PAUSE_S)
        return True

    def end(self, stream: str) -> int:
        """One look at the stream's row."""
        return self._find(stream)[1]

    def trim(self, stream: str, before: int, *, forget_ids: bool = False) -> int:
        """In slices, so that nobody waits for long; a trim that is killed is done by the next one."""
        number, end, _ = self._find(stream)
        until = min(before - 1, end)
        if until <= 0:
            return 0
        with self._database.transaction() as tx:
            tx.execute("UPDATE stream SET trimmed = ? WHERE number = ? AND trimmed < ?", (until, number, until))
        verb, base = (
            "DELETE FROM stream_event" if forget_ids else "UPDATE stream_event SET payload = NULL",
            number << _OFFSET_BITS,
        )
        which = "" if forget_ids else " AND payload IS NOT NULL"
        count = 0
        while slice_end := self._database.query_one(
            f"SELECT MAX(position) FROM (SELECT position FROM stream_event WHERE position > ? AND position <= ?{which}"
            " ORDER BY position LIMIT ?) AS slice",
            (base, base + until, _TRIMMED_AT_ONCE),
        ):
            if slice_end[0] is None:
                break
            with self._database.transaction() as tx:
                where, span = "WHERE position > ? AND position <= ?", (base, slice_end[0])
                held = tx.query_one(f"SELECT COUNT(*) FROM stream_event {where} AND payload IS NOT NULL", span)
                tx.execute(f"{verb} {where}{which}", span)
                count += held[0] if held else 0
        return count

    def streams(self) -> list[Stream]:
        """All of them."""
        rows = self._database.query("SELECT name, last, trimmed, received_us FROM stream ORDER BY name")
        return [Stream(*row) for row in rows]

    def close(self) -> None:
        """Close the database."""
        self._database.close()

    def _find(self, stream: str) -> tuple[int, int, int]:
        """Number, last offset and trimmed offset of a stream; zeros if there is none."""
        row = self._database.query_one("SELECT number, last, trimmed FROM stream WHERE name = ?", (stream,))
        return (row[0], row[1], row[2]) if row else (0, 0, 0)

    @staticmethod
    def _begun(tx: Transaction, stream: str) -> tuple[int, int, int]:
        """Number, last offset and time of the last event of a stream, which begins now if there is none."""
        row = tx.query_one("SELECT number, last, received_us FROM stream WHERE name = ?", (stream,))
        if row is None:
            row = tx.query_one(
                "INSERT INTO stream SELECT COALESCE(MAX(number), 0) + 1, ?, 0, 0, 0 FROM stream"
                " RETURNING number, last, received_us",
                (stream,),
            )
        assert row is not None
        return row[0], row[1], row[2]

    def _inserted(
        self, tx: Transaction, number: int, last: int, received_us: int, events: Sequence[Event]
    ) -> list[Appended]:
        """Insert those that are new. That all are is tried first, as it is the rule and saves a look for each."""
        base = number << _OFFSET_BITS
        rows = [
            (base + last + place, number, each.id, each.time_us, each.payload, each.type, received_us)
            for place, each in enumerate(events, 1)
        ]
        tx.executemany(f"{_INSERT} ON CONFLICT (stream, id) DO NOTHING", rows)
        found = tx.query_one(
            "SELECT COUNT(*) FROM stream_event WHERE position > ? AND position <= ?", (base + last, rows[-1][0])
        )
        if found == (len(rows),):
            return [Appended(each.id, last + place, is_new=True) for place, each in enumerate(events, 1)]
        tx.execute("DELETE FROM stream_event WHERE position > ? AND position <= ?", (base + last, rows[-1][0]))
        return self._inserted_new(tx, number, last, received_us, events)

    @staticmethod
    def _inserted_new(
        tx: Transaction, number: int, last: int, received_us: int, events: Sequence[Event]
    ) -> list[Appended]:
        base = number << _OFFSET_BITS
        known: dict[str, int] = {}
        for batch in _batches({each.id for each in events}):
            marks = ", ".join("?" * len(batch))
            sql = f"SELECT id, position FROM stream_event WHERE stream = ? AND id IN ({marks})"
            known.update((event, position - base) for event, position in tx.query(sql, (number, *batch)))
        appended, rows = [], []
        for each in events:
            is_new = each.id not in known
            if is_new:
                known[each.id] = last = last + 1
                rows.append((base + last, number, each.id, each.time_us, each.payload, each.type, received_us))
            appended.append(Appended(each.id, known[each.id], is_new))
        tx.executemany(_INSERT, rows)
        return appended


def _batches(ids: Iterable[str]) -> Iterator[list[str]]:
    everything = list(ids)
    for start in range(0, len(everything), _PLACEHOLDERS):
        yield everything[start : start + _PLACEHOLDERS]
