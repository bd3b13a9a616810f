"""What the processes of the contract of event logs do; each function is one role. Imports no test library."""

from __future__ import annotations

import sys
import time
from collections.abc import Sequence

from mainspring.errors import ConflictError
from mainspring.store import Transaction, process_owner
from mainspring.streams import Consumer, DatabaseSink, Event, OffsetStore, event_of, log_at
from mainspring.testing import _actors

CONSUMER = "counter"
_BATCH = 20
_LEASE_S = 5.0


def append_own(index: int, url: str, stream: str, count: int) -> None:
    """Append events of one's own and, in between, those that everybody appends."""
    log = log_at(url)
    for number in range(count):
        log.append(stream, [event_of({}, id=f"{index}/{number}"), event_of({}, id=f"all/{number}")])
    log.close()


def produce(url: str, stream: str, count: int) -> None:
    """Append the events 0, 1, … in small batches, from the first one on whatever is there; says what is acknowledged."""
    log = log_at(url)
    for start in range(0, count, _BATCH):
        numbers = range(start, min(start + _BATCH, count))
        log.append(stream, [event_of({"number": number}, id=str(number)) for number in numbers])
        print(numbers.stop, flush=True)  # noqa: T201  # what the test waits for
    print("done", flush=True)  # noqa: T201  # what the test waits for
    sys.stdin.readline()


def note(tx: Transaction, events: Sequence[Event]) -> None:
    """An effect that shows when it is there twice."""
    tx.executemany("INSERT INTO note (text) VALUES (?)", [(event.id,) for event in events])


def consume(url: str, database_url: str, stream: str, count: int) -> None:
    """Note each event until so many are applied; says how far it is."""
    log, offsets = log_at(url), OffsetStore(_actors.opened(database_url))
    with offsets.claimed(stream, CONSUMER, process_owner()) as lease:
        sink = DatabaseSink(offsets, stream, CONSUMER, lease, note)
        consumer = Consumer(log, stream, sink, max_events=_BATCH - 3, max_wait_s=0)
        while sink.offset() < count:
            if consumer.step(timeout_s=1.0):
                print(sink.offset(), flush=True)  # noqa: T201  # what the test waits for
    print("done", flush=True)  # noqa: T201  # what the test waits for
    sys.stdin.readline()


def consume_together(_index: int, url: str, database_url: str, stream: str, count: int) -> None:
    """Consume a few events at a time under one name, in turns with the others."""
    log, offsets = log_at(url), OffsetStore(_actors.opened(database_url))
    while offsets.get(stream, CONSUMER) < count:
        try:
            with offsets.claimed(stream, CONSUMER, process_owner(), lease_s=_LEASE_S) as lease:
                sink = DatabaseSink(offsets, stream, CONSUMER, lease, note)
                Consumer(log, stream, sink, max_events=7, max_wait_s=0).step()
        except ConflictError:
            time.sleep(0.001)
    log.close()
