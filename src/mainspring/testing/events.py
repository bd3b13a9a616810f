"""The contract of an event log. A log's own test subclasses it and gives a URL.

class TestMine(EventLogContract):
    @pytest.fixture
    def url(self, tmp_path):
        return f"sqlite://{tmp_path}/streams.db"
"""

from __future__ import annotations

import random
import signal
import time
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import pytest

from mainspring.clock import FIRST_US, LAST_US, clock
from mainspring.errors import InvalidError, NotFoundError, WrongTypeError
from mainspring.store import open_database
from mainspring.streams import Event, EventLog, event_of, log_at
from mainspring.streams.event import LARGEST_PAYLOAD_BYTES
from mainspring.testing import _actors
from mainspring.testing._streams import CONSUMER
from mainspring.testing.processes import Child, crowd
from mainspring.testing.threads import at_once

_ROLES = "mainspring.testing._streams"


class FixedClock:
    """A clock that a test sets."""

    def __init__(self, at_us: int) -> None:
        self.at_us = at_us

    def now_us(self) -> int:
        """The time it was set to."""
        return self.at_us


def events(*ids: str) -> list[Event]:
    """Events of these ids, at their places as times."""
    return [Event(each, place, b'{"of":"%s"}' % each.encode()) for place, each in enumerate(ids)]


def ids_after(log: EventLog, stream: str, after: int | None = None, limit: int = 1000) -> list[str]:
    """The ids that a read gives."""
    return [event.id for event in log.read(stream, after, limit)]


class EventLogContract:
    """Every law that a log of events obeys."""

    producers = 8
    """How many processes append at once."""

    @pytest.fixture
    def url(self) -> str:
        """A log that nobody uses, and whose place need not exist yet."""
        pytest.fail("a subclass gives this")

    @pytest.fixture
    def log(self, url: str) -> Iterator[EventLog]:
        """That log."""
        opened = log_at(url)
        yield opened
        opened.close()

    # ------------------------------------------------------------ append and read

    def test_events_come_back_as_they_were_in_the_order_of_their_offsets(self, log: EventLog) -> None:
        first = Event("b", FIRST_US, b'{"x":[1,null,"\xc3\xa4"]}', "delay")
        second = event_of({"big": "x" * (LARGEST_PAYLOAD_BYTES - 10)}, id="a😀", time_us=LAST_US)
        assert [(each.offset, each.is_new) for each in log.append("s", [first, second])] == [(1, True), (2, True)]
        assert [each.offset for each in log.append("s", events("c"))] == [3]
        found = log.read("s")
        assert [(each.id, each.time_us, each.payload, each.type) for each in found[:2]] == [
            (each.id, each.time_us, each.payload, each.type) for each in (first, second)
        ]
        assert [each.offset for each in found] == [1, 2, 3]
        assert found[0].data == {"x": [1, None, "ä"]}

    def test_pages_give_each_event_once(self, log: EventLog) -> None:
        names = [str(number) for number in range(50)]
        log.append("s", events(*names))
        seen: list[str] = []
        after = 0
        while page := log.read("s", after, 7):
            seen += [event.id for event in page]
            after = page[-1].offset
        assert (seen, after, log.end("s")) == (names, 50, 50)

    def test_streams_do_not_mix(self, log: EventLog) -> None:
        log.append("s", events("a"))
        log.append("s.2", events("a", "b"))
        assert (ids_after(log, "s"), ids_after(log, "s.2"), ids_after(log, "other")) == (["a"], ["a", "b"], [])
        assert [(each.name, each.end, each.trimmed) for each in log.streams()] == [("s", 1, 0), ("s.2", 2, 0)]
        assert log.end("other") == 0

    def test_nothing_is_appended_by_nothing(self, log: EventLog) -> None:
        assert log.append("s", []) == []
        assert log.streams() == []

    def test_an_id_that_is_there_has_no_effect_whatever_else_it_says(self, log: EventLog) -> None:
        log.append("s", events("a", "b"))
        again = log.append("s", [event_of({"other": 1}, id="b"), *events("c"), event_of({"other": 2}, id="c")])
        assert [(each.id, each.offset, each.is_new) for each in again] == [
            ("b", 2, False),
            ("c", 3, True),
            ("c", 3, False),
        ]
        assert not any(each.is_new for each in log.append("s", events("a", "b", "c")))
        assert [(event.id, event.offset, event.data) for event in log.read("s")] == [
            (name, place, {"of": name}) for place, name in enumerate("abc", 1)
        ]

    @pytest.mark.parametrize(
        ("path", "wrong"),
        [
            (".id", Event("", 0, b"{}")),
            (".id", Event("a\nb", 0, b"{}")),
            (".id", Event("x" * 257, 0, b"{}")),
            (".type", Event("x", 0, b"{}", "a\0")),
            (".time", Event("x", LAST_US + 1, b"{}")),
            (".time", Event("x", FIRST_US - 1, b"{}")),
            (".data", Event("x", 0, b"x" * (LARGEST_PAYLOAD_BYTES + 1))),
        ],
    )
    def test_one_event_that_cant_be_kept_keeps_all_of_them_out(self, log: EventLog, path: str, wrong: Event) -> None:
        with pytest.raises(InvalidError) as refused:
            log.append("s", [*events("a"), wrong])
        assert (refused.value.path, log.streams()) == (f"[1]{path}", [])

    @pytest.mark.parametrize("name", ["", "a b", "-a", "a/b", "x" * 129, "ä"])
    def test_a_stream_has_a_plain_name(self, log: EventLog, name: str) -> None:
        with pytest.raises(InvalidError, match="stream"):
            log.append(name, events("a"))

    def test_what_is_no_object_of_json_is_no_event(self) -> None:
        for wrong in ([1], "x", {"x": object()}):
            with pytest.raises(WrongTypeError, match="data"):
                event_of(wrong)

    def test_the_time_of_receipt_never_falls(self, log: EventLog) -> None:
        set_clock = FixedClock(1_000)
        token = clock.set(set_clock)
        try:
            for set_clock.at_us, name in ((1_000, "a"), (500, "b"), (2_000, "c")):
                log.append("s", events(name))
        finally:
            clock.reset(token)
        assert [event.received_us for event in log.read("s")] == [1_000, 1_000, 2_000]

    # ------------------------------------------------------------ wait

    def test_a_wait_ends_with_an_event_or_the_time(self, log: EventLog, url: str) -> None:
        other = log_at(url)
        assert not log.wait("s", 0, 0.01)
        other.append("s", events("a"))
        assert log.wait("s", 0, 0.0)
        assert not log.wait("s", 1, 0.0)
        at_once(lambda: _expect(log.wait("s", 1, 10.0)), lambda: other.append("s", events("b")))
        assert not log.wait("s", 2, 0.01)
        other.close()

    # ------------------------------------------------------------ trim

    def test_trimmed_events_are_gone_and_their_ids_remembered(self, log: EventLog) -> None:
        log.append("s", events("a", "b", "c"))
        assert (log.trim("s", 3), log.trim("s", 3), log.trim("other", 3), log.trim("s", 0)) == (2, 0, 0, 0)
        assert (ids_after(log, "s"), ids_after(log, "s", 2), log.end("s")) == (["c"], ["c"], 3)
        assert [(each.offset, each.is_new) for each in log.append("s", events("a", "d"))] == [(1, False), (4, True)]
        for after in (0, 1):
            with pytest.raises(NotFoundError, match="trimmed; read after 2"):
                log.read("s", after)
        assert [(each.end, each.trimmed) for each in log.streams()] == [(4, 2)]

    def test_a_stream_that_is_trimmed_whole_goes_on_where_it_was(self, log: EventLog) -> None:
        log.append("s", events("a", "b"))
        assert log.trim("s", 100) == 2
        assert (ids_after(log, "s"), ids_after(log, "s", 2)) == ([], [])
        assert log.append("s", events("c"))[0].offset == 3
        assert ids_after(log, "s", 2) == ["c"]

    def test_ids_can_be_forgotten(self, log: EventLog) -> None:
        log.append("s", events("a", "b"))
        assert log.trim("s", 2, forget_ids=True) == 1
        assert [(each.offset, each.is_new) for each in log.append("s", events("a", "b"))] == [(3, True), (2, False)]

    def test_ids_of_events_that_were_dropped_before_can_be_forgotten(self, log: EventLog) -> None:
        log.append("s", events("a", "b", "c"))
        assert (log.trim("s", 3), log.trim("s", 2, forget_ids=True)) == (2, 0)
        told = [(each.offset, each.is_new) for each in log.append("s", events("a", "b", "c"))]
        assert (told, ids_after(log, "s")) == ([(4, True), (2, False), (3, False)], ["c", "a"])

    # ------------------------------------------------------------ many processes

    def test_a_reader_beside_many_producers_sees_each_event_once_without_gaps(self, log: EventLog, url: str) -> None:
        each, own = 25, self.producers
        wanted = {f"{index}/{number}" for index in (*range(own), "all") for number in range(each)}
        seen: list[Event] = []

        def read() -> None:
            until = time.monotonic() + 60
            while len(seen) < len(wanted) and time.monotonic() < until:
                log.wait("s", len(seen), 1.0)
                seen.extend(log.read("s", seen[-1].offset if seen else 0, 10))

        at_once(read, lambda: crowd(own, f"{_ROLES}:append_own", url, "s", each))
        assert [event.offset for event in seen] == list(range(1, len(wanted) + 1))
        assert {event.id for event in seen} == wanted
        times = [event.received_us for event in seen]
        assert times == sorted(times)

    def test_killed_producers_and_consumers_lose_and_repeat_nothing(self, url: str, tmp_path: Path) -> None:
        self._kill_and_deliver_again(url, tmp_path, seed=1, kills=2)

    @pytest.mark.soak
    @pytest.mark.parametrize("seed", range(2, 22))
    def test_a_campaign_of_kills_loses_and_repeats_nothing(self, url: str, tmp_path: Path, seed: int) -> None:
        self._kill_and_deliver_again(url, tmp_path, seed=seed, kills=8)

    @staticmethod
    def _kill_and_deliver_again(url: str, tmp_path: Path, *, seed: int, kills: int) -> None:
        """Kill both in turns, each life of the producer sending everything from the first event on."""
        count, draw = 200 * kills, random.Random(seed)
        database_url = f"sqlite://{tmp_path}/effects.db"
        _actors.opened(database_url).close()
        producing = (f"{_ROLES}:produce", url, "s", count)
        consuming = (f"{_ROLES}:consume", url, database_url, "s", count)
        for consumer_first in [bool(kill % 2) for kill in range(kills)]:
            with Child(*producing) as producer, Child(*consuming) as consumer:
                if consumer_first:
                    _until_killed(consumer, draw.randrange(1, 5))
                _until_killed(producer, draw.randrange(1, 10))
                _until_killed(consumer, 0)
        with Child(*producing) as producer, Child(*consuming) as consumer:
            _until_done(producer)
            _until_done(consumer)
        log, database = log_at(url), open_database(database_url)
        wanted = [str(number) for number in range(count)]
        assert ids_after(log, "s", limit=count + 1) == wanted
        assert Counter(text for (text,) in database.query("SELECT text FROM note")) == Counter(wanted)
        log.close()
        database.close()

    def test_consumers_of_one_name_apply_each_event_once(self, log: EventLog, url: str, tmp_path: Path) -> None:
        database_url = f"sqlite://{tmp_path}/effects.db"
        database = _actors.opened(database_url)
        names = [str(number) for number in range(60)]
        log.append("s", events(*names))
        crowd(3, f"{_ROLES}:consume_together", url, database_url, "s", len(names))
        assert [text for (text,) in database.query("SELECT text FROM note ORDER BY id")] == names
        assert database.query("SELECT applied FROM stream_offset WHERE consumer = ?", (CONSUMER,)) == [(60,)]
        database.close()


def _expect(came: bool) -> None:
    assert came


def _until_killed(child: Child, lines: int) -> None:
    for _ in range(lines):
        if child.read() == "done":
            break
    child.signal(signal.SIGKILL)


def _until_done(child: Child) -> None:
    while (line := child.read()) != "done":
        assert line, "the process ended before it was done"
