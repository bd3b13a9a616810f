"""Consumers: what a batch is, who may apply it, and what becomes of one that is refused."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from types import SimpleNamespace

import pytest

from mainspring.errors import ConflictError, LeaseLostError, NotFoundError, StorageError, UnavailableError
from mainspring.store import Database, Transaction, open_keyvalue
from mainspring.streams import (
    Consumer,
    DatabaseSink,
    Event,
    EventLog,
    KeyValueSink,
    OffsetStore,
    consumer,
    event_of,
    log_at,
)
from mainspring.testing import _actors
from mainspring.testing._streams import note
from mainspring.testing.plugin import Backend
from mainspring.testing.threads import at_once

Make = Callable[..., Consumer]


class ListSink:
    """A sink in memory; `fail` is asked before each batch."""

    def __init__(self) -> None:
        self.applied: list[Event] = []
        self.batches: list[int] = []
        self.fail: Callable[[], None] = lambda: None

    def offset(self) -> int:
        return self.applied[-1].offset if self.applied else 0

    def apply(self, events: Sequence[Event], expect: int, offset: int) -> None:
        self.fail()
        assert (expect, offset) == (self.offset(), events[-1].offset)
        self.applied += events
        self.batches.append(len(events))


@pytest.fixture
def log(tmp_path: Path) -> Iterator[EventLog]:
    opened = log_at(f"sqlite://{tmp_path}/streams.db")
    opened.append("s", [event_of({}, id=str(number)) for number in range(10)])
    yield opened
    opened.close()


@pytest.fixture
def database(backend: Backend) -> Iterator[Database]:
    opened = _actors.opened(backend.database_url)
    yield opened
    opened.close()


def test_batches_are_as_large_as_they_may_be(log: EventLog) -> None:
    sink = ListSink()
    consumer = Consumer(log, "s", sink, max_events=4, max_wait_s=0)
    assert [consumer.step() for _ in range(4)] == [4, 4, 2, 0]
    assert [event.id for event in sink.applied] == [str(number) for number in range(10)]


def test_batches_grow_while_they_are_quick_and_shrink_when_they_are_slow(
    log: EventLog, monkeypatch: pytest.MonkeyPatch
) -> None:
    log.append("s", [event_of({}) for _ in range(6000)])
    sink, now_s = ListSink(), [0.0]
    monkeypatch.setattr(consumer, "time", SimpleNamespace(monotonic=lambda: now_s[0]))

    def takes_s() -> None:
        now_s[0] += 2.0 if len(sink.batches) in (3, 4, 5) else 0.3 if len(sink.batches) == 6 else 0.1

    sink.fail = takes_s
    paced = Consumer(log, "s", sink, max_events=1500, max_wait_s=0, step_s=1.0)
    for _ in range(9):
        paced.step()
    assert sink.batches == [500, 1000, 1500, 1500, 750, 375, 187, 187, 11]


def test_a_batch_waits_for_more_but_not_for_ever(log: EventLog) -> None:
    sink = ListSink()
    consumer = Consumer(log, "s", sink, max_events=12, max_wait_s=20)
    at_once(consumer.step, lambda: [log.append("s", [event_of({})]) for _ in range(2)])
    assert sink.batches == [12]
    assert Consumer(log, "s", ListSink(), max_events=20, max_wait_s=0.01).step() == 12


def test_a_step_waits_for_an_event(log: EventLog) -> None:
    sink = ListSink()
    consumer = Consumer(log, "t", sink, max_wait_s=0)
    assert consumer.step(timeout_s=0.01) == 0
    at_once(lambda: consumer.step(timeout_s=20), lambda: log.append("t", [event_of({})]))
    assert sink.batches == [1]


def test_what_may_pass_is_tried_again(log: EventLog) -> None:
    sink, stop = ListSink(), threading.Event()
    failures = [
        UnavailableError("there", "away"),
        ConflictError("somebody was faster"),
        UnavailableError("there", "away"),
    ]

    def fail() -> None:
        if failures:
            raise failures.pop()
        stop.set()

    sink.fail = fail
    assert Consumer(log, "s", sink, max_wait_s=0).run(stop) == 10
    assert (failures, sink.batches) == ([], [10])


@pytest.mark.parametrize("error", [StorageError("there", "damaged"), LeaseLostError("s", 1, 2)])
def test_what_will_not_pass_ends_a_run(log: EventLog, error: Exception) -> None:
    sink = ListSink()

    def fail() -> None:
        raise error

    sink.fail = fail
    with pytest.raises(type(error)):
        Consumer(log, "s", sink, max_wait_s=0).run(threading.Event())


def test_patience_ends(log: EventLog) -> None:
    sink = ListSink()

    def fail() -> None:
        raise UnavailableError("there", "away")

    sink.fail = fail
    with pytest.raises(UnavailableError):
        Consumer(log, "s", sink, max_wait_s=0, patience_s=0.03).run(threading.Event())


def test_a_consumer_that_fell_behind_a_trim_is_told(log: EventLog) -> None:
    consumer = Consumer(log, "s", ListSink(), max_events=2, max_wait_s=0)
    consumer.step()
    log.trim("s", 6)
    with pytest.raises(NotFoundError, match="trimmed"):
        consumer.step()


@pytest.mark.parametrize("before", [7, 11])
def test_a_consumer_that_never_read_is_told_of_trimmed_events(log: EventLog, before: int) -> None:
    log.trim("s", before)
    sink = ListSink()
    with pytest.raises(NotFoundError, match=f"read after {before - 1}"):
        Consumer(log, "s", sink, max_wait_s=0).step()
    assert sink.applied == []


def test_a_log_that_is_behind_its_consumer_is_not_taken_for_the_one_it_was(log: EventLog, tmp_path: Path) -> None:
    sink = ListSink()
    Consumer(log, "s", sink).step()
    other = log_at(f"sqlite://{tmp_path}/other.db")
    other.append("s", [event_of({}, id="new")])
    with pytest.raises(StorageError, match="ends at 1, but was applied up to 10"):
        Consumer(other, "s", sink).run(threading.Event())
    other.close()


def test_effect_and_offset_move_together_or_not_at_all(log: EventLog, database: Database) -> None:
    offsets = OffsetStore(database)
    is_broken = True

    def effect(tx: Transaction, events: Sequence[Event]) -> None:
        note(tx, events)
        if is_broken:
            raise KeyError("in the effect")

    with offsets.claimed("s", "c", "here:boot:1:1") as lease:
        consumer = Consumer(log, "s", DatabaseSink(offsets, "s", "c", lease, effect), max_events=7, max_wait_s=0)
        with pytest.raises(KeyError):
            consumer.step()
        assert (database.query("SELECT * FROM note"), offsets.get("s", "c")) == ([], 0)
        is_broken = False
        assert (consumer.step(), offsets.get("s", "c")) == (7, 7)
    assert [(each.consumer, each.offset) for each in offsets.list("s")] == [("c", 7)]
    assert offsets.list("other") == []


def test_a_batch_that_was_applied_is_refused(log: EventLog, database: Database) -> None:
    offsets = OffsetStore(database)
    events = log.read("s", 0, 3)
    with offsets.claimed("s", "c", "here:boot:1:1") as lease:
        sink = DatabaseSink(offsets, "s", "c", lease, note)
        sink.apply(events, 0, 3)
        with pytest.raises(ConflictError, match="up to 3, not 0"):
            sink.apply(events, 0, 3)
    assert len(database.query("SELECT * FROM note")) == 3


def test_one_process_consumes_under_a_name(log: EventLog, database: Database) -> None:
    offsets = OffsetStore(database)
    with offsets.claimed("s", "c", "here:boot:1:1", lease_s=600) as first:
        with pytest.raises(ConflictError, match="stream/s/c"), offsets.claimed("s", "c", "there:boot:1:1"):
            pass
        with offsets.claimed("s", "other", "there:boot:1:1"):
            pass
    with offsets.claimed("s", "c", "there:boot:1:1"), pytest.raises(LeaseLostError):
        DatabaseSink(offsets, "s", "c", first, note).apply(log.read("s"), 0, 10)
    assert database.query("SELECT * FROM note") == []


def test_a_key_value_store_counts_each_event_once(log: EventLog, backend: Backend) -> None:
    """Two consumers of one name take turns; one that is outrun begins again where the store stands."""
    store = open_keyvalue(backend.online)

    def changes(events: Sequence[Event]) -> list[tuple[bytes, bytes | None]]:
        return [(b"count", b"%d" % (int(store.get(b"count") or 0) + len(events)))]

    sinks = [KeyValueSink(store, "s", "c", changes) for _ in range(2)]
    first, second = (Consumer(log, "s", sink, max_events=3, max_wait_s=0) for sink in sinks)
    assert (first.step(), second.step()) == (3, 3)
    with pytest.raises(ConflictError):
        first.step()
    assert (first.step(), first.step(), first.step()) == (3, 1, 0)
    assert (store.get(b"count"), sinks[1].offset()) == (b"10", 10)
    store.close()
