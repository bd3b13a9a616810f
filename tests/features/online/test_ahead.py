"""What lies ahead of the present neither is served nor hides it, and is there at its instant."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from mainspring import clock
from mainspring.data import dataset
from mainspring.data.ingestion import ingest_stream
from mainspring.features import (
    Entity,
    FeatureReader,
    FeatureService,
    FeatureView,
    Stream,
    apply,
    feed,
    get_definition,
    materialize,
    push,
    training_set,
)
from mainspring.features.online.ahead import as_of, due_us, links, merged
from mainspring.features.online.packing import rank
from mainspring.features.parity import VectorLog, verify
from mainspring.streams import event_of, send
from mainspring.workspace import Workspace, current_workspace
from tests.features.conftest import Ticks

SECOND_US = 1_000_000
FIELDS = {"gate": "str", "delay": "f64"}
GATES = FeatureView("gates", entity=Entity("gate"), source=Stream("arrivals", FIELDS), features=["delay"])
TIMES = st.integers(0, 12)


def value(event: int, created: int, number: int) -> bytes:
    return rank(event, created) + bytes(3) + b"\0" + b"%d" % number


@given(st.lists(st.tuples(TIMES, TIMES, TIMES), min_size=1, max_size=12), TIMES)
def test_any_values_are_served_at_their_instants_in_whatever_order_they_come(
    rows: list[tuple[int, int, int]], later: int
) -> None:
    """Rows are event time, created time and the instant at which they are written."""
    stored, now, seen = None, 0, []
    for number, (event, created, written) in enumerate(sorted(rows, key=lambda row: row[2])):
        now = written
        seen.append(value(event, created, number))
        stored = merged(stored, seen[-1:], now)
    assert stored is not None
    at = now + later
    wanted = max(
        ((each[:16], number, each) for number, each in enumerate(seen) if due_us(each) <= at), default=(b"", 0, None)
    )
    found = as_of(stored, at)
    assert (found if found is None or due_us(found) <= at else None) == wanted[2]
    assert len(links(stored)) == 1 or [due_us(each) for each in links(stored) if each] == sorted(
        {due_us(each) for each in links(stored) if each}
    )


def test_no_more_than_some_values_are_kept_ahead(caplog: pytest.LogCaptureFixture) -> None:
    stored = merged(None, [value(time, 0, time) for time in range(1_000)], 0)
    assert stored is not None
    assert [due_us(each) for each in links(stored)] == list(range(64))
    assert "the 936 that are due last are left out" in caplog.text


def served(at_us: int) -> Any:
    reader = FeatureReader(get_definition("service", "gates"), current_workspace())
    (vector,) = reader.read([{"gate": "A"}], at_us=at_us)
    return vector.values[0], vector.statuses[0]


def wanted(at_us: int) -> Any:
    asked = pl.DataFrame({"gate": ["A"], "when": [clock.from_us(at_us)]})
    return training_set(asked, "gates", time="when").frame["delay"][0]


def test_an_event_of_the_future_waits_for_its_time(workspace: Workspace, ticks: Ticks) -> None:
    apply(FeatureService("gates", [GATES]))
    start = ticks.now

    def event(number: int, seconds: int) -> Any:
        return event_of({"gate": "A", "delay": float(number)}, time_us=start + seconds * SECOND_US)

    send("arrivals", [event(1, 100), event(2, 10**6)])
    feed()
    assert served(start) == (None, "NOT_FOUND")
    send("arrivals", [event(3, -5)])
    feed()
    assert served(start) == (3.0, "PRESENT")
    send("arrivals", [event(4, -2), event(5, 100)])
    feed(max_events=1)
    ingest_stream("arrivals", FIELDS)
    for full in (False, True):
        materialize("gates", full=full)
        assert [served(start + after * SECOND_US)[0] for after in (0, 99, 100, 10**6)] == [4.0, 4.0, 5.0, 2.0]
        assert [wanted(start + after * SECOND_US) for after in (0, 99, 100, 10**6)] == [4.0, 4.0, 5.0, 2.0]
    log, reader = VectorLog(workspace, share=1), FeatureReader(get_definition("service", "gates"), workspace)
    for after in (0, 99, 100, 10**6):
        log.read(reader, [{"gate": "A"}], [f"after {after}"], at_us=start + after * SECOND_US)
    report = verify("gates")
    assert (report.verified, report.vectors) == (4, 4)
    ticks.now += 200 * SECOND_US
    send("arrivals", [event(6, 150)])
    feed()
    assert [served(ticks.now)[0], served(start + 10**6 * SECOND_US)[0]] == [6.0, 2.0]


def test_a_pushed_value_of_the_future_hides_nothing(workspace: Workspace, ticks: Ticks) -> None:
    def row(number: int, ahead_s: int) -> pl.DataFrame:
        return pl.DataFrame({"gate": ["A"], "at": [clock.now() + timedelta(seconds=ahead_s)], "delay": [float(number)]})

    dataset("gates").commit(row(0, -9))
    plain = FeatureView("gates", entity=Entity("gate"), source="gates", event_time="at", features=["delay"])
    apply(FeatureService("gates", [plain]))
    materialize("gates")
    assert [push("gates", row(number, ahead)) for number, ahead in ((1, 60), (2, -5), (3, -7), (4, 30))] == [1, 1, 0, 1]
    assert [served(ticks.now + after * SECOND_US)[0] for after in (0, 30, 60)] == [2.0, 4.0, 1.0]
    dataset("gates").append(row(5, 3600))
    ended = materialize("gates", until=clock.now() + timedelta(days=1))
    assert (ended.rows, ended.until_us) == (0, ticks.now)  # nobody knows what comes


@pytest.mark.usefixtures("workspace")
def test_what_is_newer_than_the_instant_is_not_served(ticks: Ticks) -> None:
    dataset("gates").commit(pl.DataFrame({"gate": ["A"], "at": [clock.now()], "delay": [1.0]}))
    plain = FeatureView("gates", entity=Entity("gate"), source="gates", event_time="at", features=["delay"])
    apply(FeatureService("gates", [plain]))
    materialize("gates")
    ticks.now += 60 * SECOND_US
    assert served(ticks.now - 61 * SECOND_US) == (None, "NOT_KEPT")
    ticks.now -= 63 * SECOND_US  # as on a machine whose clock is behind
    assert served(ticks.now) == (1.0, "PRESENT")
    ticks.now -= 60 * SECOND_US
    assert served(ticks.now) == (None, "NOT_KEPT")
