"""Events through the embedded log, against bare SQLite that inserts and reads the same rows in the same batches.

The floor has no ids to look up and no offsets to give; it has the same table, WAL and `synchronous = NORMAL`. Consuming is
held against bare reading, with an effect that writes nothing, so that the difference is the log, the consumer and the offset's
transaction. `--small` takes a few events.
"""

from __future__ import annotations

import sqlite3
import sys
import tempfile
import time
from collections.abc import Callable, Sequence

from mainspring.store import open_database, process_owner
from mainspring.streams import Consumer, DatabaseSink, Event, EventLog, OffsetStore, event_of, log_at

_BATCH = 1_000
_TABLE = "CREATE TABLE e (n INTEGER PRIMARY KEY, id TEXT UNIQUE, time_us INTEGER, payload BLOB, type TEXT, received_us INTEGER)"


def bare(path: str) -> sqlite3.Connection:
    """A database as the log has it."""
    connection = sqlite3.connect(path, isolation_level=None)
    connection.execute("PRAGMA journal_mode = WAL")
    connection.execute("PRAGMA synchronous = NORMAL")
    connection.execute("PRAGMA wal_autocheckpoint = 4000")
    connection.execute(_TABLE)
    return connection


def insert_bare(connection: sqlite3.Connection, events: Sequence[Event], batch: int) -> None:
    """Insert events in transactions."""
    for start in range(0, len(events), batch):
        rows = [(None, each.id, each.time_us, each.payload, each.type, 0) for each in events[start : start + batch]]
        connection.execute("BEGIN IMMEDIATE")
        connection.executemany("INSERT INTO e VALUES (?, ?, ?, ?, ?, ?)", rows)
        connection.execute("COMMIT")


def read_bare(connection: sqlite3.Connection) -> None:
    """Read events in batches."""
    last = 0
    while rows := connection.execute("SELECT * FROM e WHERE n > ? ORDER BY n LIMIT ?", (last, _BATCH)).fetchall():
        last = rows[-1][0]


def append(log: EventLog, stream: str, events: Sequence[Event], batch: int) -> None:
    """Append events in batches."""
    for start in range(0, len(events), batch):
        log.append(stream, events[start : start + batch])


def consume(log: EventLog, path: str) -> None:
    """Apply a stream to nothing."""
    database = open_database(f"sqlite://{path}")
    offsets = OffsetStore(database)
    with offsets.claimed("many", "bench", process_owner()) as lease:
        sink = DatabaseSink(offsets, "many", "bench", lease, lambda *_: None)
        consumer = Consumer(log, "many", sink, max_events=_BATCH, max_wait_s=0)
        while consumer.step():
            pass
    database.close()


def per_second(count: int, call: Callable[[], object]) -> float:
    """How many of `count` are done in a second."""
    started = time.perf_counter()
    call()
    return count / (time.perf_counter() - started)


def main() -> None:
    """Print the rates."""
    many, few = (4_000, 200) if "--small" in sys.argv else (400_000, 5_000)
    events = [event_of({"airport": "SFO", "delay": number % 97, "carrier": "AA"}) for number in range(many)]
    singles = [event_of({"delay": number}) for number in range(few)]
    with tempfile.TemporaryDirectory() as folder:
        connection, log = bare(f"{folder}/bare.db"), log_at(f"sqlite://{folder}/streams.db")
        rows = (
            ("append, 1,000 at once", many, lambda: insert_bare(connection, events, _BATCH),
             lambda: append(log, "many", events, _BATCH)),
            ("append, one at a time", few, lambda: insert_bare(connection, singles, 1),
             lambda: append(log, "few", singles, 1)),
            ("the same ids again", few, lambda: None, lambda: append(log, "few", singles, _BATCH)),
            ("consume, 1,000 at once", many, lambda: read_bare(connection),
             lambda: consume(log, f"{folder}/effects.db")),
        )  # fmt: skip
        for title, count, floor, ours in rows:
            floor_rate, rate = per_second(count, floor), per_second(count, ours)
            ratio = (
                f"  bare SQLite {floor_rate:10,.0f}  x{floor_rate / rate:.2f}" if title != "the same ids again" else ""
            )
            print(f"{title:<24}{rate:10,.0f} events/s{ratio}")
        connection.close()
        log.close()


if __name__ == "__main__":
    main()
