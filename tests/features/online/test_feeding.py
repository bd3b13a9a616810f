"""Views fed from streams give what training sets give of the same events at the same instant, bit for bit."""

from __future__ import annotations

import random
from datetime import timedelta
from itertools import pairwise
from threading import Event as Stop
from typing import Any
from uuid import UUID

import polars as pl
import pytest

from mainspring import clock
from mainspring.data import dataset
from mainspring.data.ingestion import ingest_stream
from mainspring.errors import ConflictError, InvalidError, NotFoundError, StorageError
from mainspring.features import (
    Aggregate,
    Entity,
    FeatureReader,
    FeatureService,
    FeatureView,
    Stream,
    agg,
    apply,
    feed,
    fields_of,
    get_definition,
    materialize,
    push,
    training_set,
    watermark_of,
)
from mainspring.features.online import feeding
from mainspring.features.online.materializing import alone
from mainspring.features.online.places import tiles_prefix, values_prefix
from mainspring.features.online.states import StoredTiles, StoredValues, writes
from mainspring.store import Lease
from mainspring.streams import event_of, open_log, send
from mainspring.testing.threads import at_once
from mainspring.workspace import Workspace
from tests.features.conftest import START_US, Ticks

SECOND_US = 1_000_000
FIELDS = {"carrier": "str", "number": "i64", "delay": "f64", "gate": "str"}
ARRIVALS = Stream("arrivals", FIELDS)
FLIGHT = Entity("flight", {"carrier": "str", "number": "int"})
ENTITIES = [{"carrier": carrier, "number": number} for carrier in ("UA", "B6") for number in (1, 2)]
FLOATS = (0.1, 0.2, 0.3, -0.0, 1e16, 3.7, None)


def delays(*more: Aggregate, **changed: Any) -> FeatureView:
    given: dict[str, Any] = {
        "entity": FLIGHT, "source": ARRIVALS,
        "features": [
            agg.mean("delay", ["1m", "10m"], hop="30s"), agg.std("delay", "5m", hop="1m"), agg.count(windows="2m", hop="1m"),
            agg.last("gate", "5m", hop="1m"), agg.top_k("gate", "5m", k=2, hop="1m"), agg.sum("number", "1m", hop="30s"),
            *more,
        ],
    }  # fmt: skip
    return FeatureView("delays", **given | changed)


def last() -> FeatureView:
    return FeatureView(
        "last", entity=FLIGHT, source=ARRIVALS, features=["delay", (pl.col("delay") > 1).alias("is_late")], ttl="3m"
    )


def random_events(chance: random.Random, now_us: int, count: int) -> list[Any]:
    """Events that happened up to 15 minutes ago, or will, some of them much earlier, of no flight, or of wrong types."""
    found = []
    for _ in range(count):
        ago_us = chance.choice((0, SECOND_US, 60 * SECOND_US, chance.randrange(900 * SECOND_US), 10**6 * SECOND_US))
        ago_us *= chance.choice((1, 1, 1, -1))
        data = chance.choice(ENTITIES) | {"delay": chance.choice(FLOATS), "gate": chance.choice(("A", "B", None))}
        data |= chance.choice(({}, {}, {}, {"delay": "soon"}, {"carrier": None}))
        found.append(event_of(data, id=f"e{chance.randrange(10**6)}", time_us=now_us - ago_us))
    return found


def vectors(service: str, at_us: int, workspace: Workspace) -> list[str]:
    reader = FeatureReader(get_definition("service", service), workspace)
    return [repr(tuple(vector.values)) for vector in reader.read(ENTITIES, at_us=at_us)]


def wanted(service: str, at_us: int) -> list[str]:
    names = [field.name for field in get_definition("service", service).record.fields]
    asked = pl.DataFrame(ENTITIES).with_columns(when=pl.lit(at_us).cast(pl.Datetime("us", "UTC")))
    return [repr(row) for row in training_set(asked, service, time="when").frame.select(names).rows()]


@pytest.mark.parametrize("seed", range(2))
def test_any_history_is_served_as_the_training_set_gives_it(workspace: Workspace, ticks: Ticks, seed: int) -> None:
    """Events come late, repeated, wrong; they are read in any batches; the view gets another version on the way, which
    begins with the dataset, as the log was trimmed.
    """
    chance, log = random.Random(seed), open_log(workspace)
    apply(FeatureService("late", [delays(), last()]))
    sent: list[Any] = []
    for step in range(6):
        ticks.now += chance.choice((1, 40, 200)) * SECOND_US
        new = random_events(chance, ticks.now, 25)
        log.append("arrivals", [*new, *chance.sample(sent, min(len(sent), 5))])
        sent += new
        if step == 3:
            ingest_stream("arrivals")
            log.trim("arrivals", log.end("arrivals") // 2)
            apply(FeatureService("late", [delays(agg.min("delay", "5m", hop="30s")), last()]))
        feed(max_events=chance.choice((3, 100)))
        ingest_stream("arrivals", fields_of("arrivals"), max_events=chance.choice((7, 1000)))
        later_us = ticks.now + chance.choice((0, SECOND_US, 100 * SECOND_US))
        assert vectors("late", later_us, workspace) == wanted("late", later_us)
    mark = watermark_of("delays")
    assert mark is not None
    assert (mark.offset, mark.source, mark.running) == (log.end("arrivals"), "arrivals", None)


def test_a_batch_that_was_applied_changes_nothing(workspace: Workspace, ticks: Ticks) -> None:
    apply(FeatureService("late", [delays(), last()]))
    send("arrivals", [{**ENTITIES[0], "delay": 4.0, "gate": "A"}] * 3)
    (first, _) = feed()
    assert (first.events, first.offset, first.late, first.apart) == (3, 3, 0, 0)
    before = vectors("late", ticks.now, workspace)
    assert [done.events for done in feed()] == [0, 0]
    assert vectors("late", ticks.now, workspace) == before


def test_what_comes_too_late_is_counted_and_old_tiles_go(workspace: Workspace, ticks: Ticks) -> None:
    apply(FeatureService("late", [delays()]))
    prefix = tiles_prefix(get_definition("view", "delays"))
    send("arrivals", [{**ENTITIES[0], "delay": 4.0}])
    feed()
    held = {key for key, _ in workspace.online.scan(prefix)}
    ticks.now += int(timedelta(days=3) / timedelta(microseconds=1))
    log = open_log(workspace)
    log.append("arrivals", [event_of({**ENTITIES[1], "delay": 1.0}, time_us=ticks.now)])
    log.append("arrivals", [event_of({**ENTITIES[1], "delay": 1.0}, time_us=START_US)])
    (done,) = feed()
    assert (done.events, done.late) == (2, 1)
    assert held
    assert held.isdisjoint(key for key, _ in workspace.online.scan(prefix))
    ingest_stream("arrivals", FIELDS)
    assert vectors("late", ticks.now, workspace) == wanted("late", ticks.now)


def test_materialize_brings_what_the_dataset_holds_and_feed_goes_on(workspace: Workspace, ticks: Ticks) -> None:
    apply(FeatureService("late", [delays(), last()]))
    send("arrivals", [{**ENTITIES[0], "delay": 4.0}, {**ENTITIES[0], "delay": "soon"}, {**ENTITIES[1], "delay": 1.0}])
    ingest_stream("arrivals", fields_of("arrivals"))
    done = materialize("delays")
    assert (done.stored, done.source) == (2, "arrivals/1")
    send("arrivals", [{**ENTITIES[0], "delay": 5.0}])
    assert [(each.events, each.offset) for each in feed()] == [(1, 4), (1, 4)]
    ahead, mark = materialize("delays"), watermark_of("delays")  # the store is
    assert mark is not None
    assert (ahead.stored, ahead.until_us) == (0, mark.known_us)
    ingest_stream("arrivals")
    assert vectors("late", ticks.now, workspace) == wanted("late", ticks.now)
    materialize("delays", full=True)
    assert vectors("late", ticks.now, workspace) == wanted("late", ticks.now)


def test_following_takes_up_what_comes(workspace: Workspace) -> None:
    apply(FeatureService("late", [last()]))
    stop, pause = Stop(), Stop()

    def follow() -> None:
        feed(follow=stop, max_wait_s=0, workspace=workspace)

    def look() -> None:
        try:
            for number in range(2):
                send("arrivals", [{**ENTITIES[0], "delay": float(number)}], workspace=workspace)
                while (mark := watermark_of("last", workspace)) is None or mark.offset <= number:
                    pause.wait(0.01)
            with pytest.raises(ConflictError, match="is being fed or materialized by another process"):
                feed("last", workspace=workspace)
        finally:
            stop.set()

    at_once(follow, look)
    assert feed()[0].events == 0


def test_a_follower_says_once_that_another_process_feeds(
    workspace: Workspace, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    apply(FeatureService("late", [last()]))
    stop, tries = Stop(), []

    def counted(*given: Any, **named: Any) -> Any:
        tries.append(given)
        if len(tries) == 3:
            stop.set()
        return alone(*given, **named)

    monkeypatch.setattr(feeding, "_LOOK_AGAIN_S", 0.001)
    with alone(get_definition("view", "last"), workspace, patience_s=0.0):
        monkeypatch.setattr(feeding, "alone", counted)
        feed(follow=stop)
    assert [each.getMessage() for each in caplog.records] == ["another process feeds last/1, waiting"]


def test_events_that_nobody_has_any_more_are_missed_aloud(workspace: Workspace) -> None:
    apply(FeatureService("late", [last()]))
    send("arrivals", [{**ENTITIES[0], "delay": 1.0}] * 3)
    open_log(workspace).trim("arrivals", 3)
    with pytest.raises(NotFoundError, match=r'Events up to 2 were trimmed, .*: `ingest_stream\("arrivals", after=2\)`'):
        feed()
    ingest_stream("arrivals", fields_of("arrivals"), after=2)
    assert [(each.events, each.offset) for each in feed()] == [(0, 3)]


def test_a_view_behind_trimmed_events_goes_on_with_what_its_dataset_has(workspace: Workspace, ticks: Ticks) -> None:
    apply(FeatureService("late", [delays(), last()]))

    def sent_and_trimmed(delay: Any) -> int:
        send("arrivals", [{**ENTITIES[0], "delay": delay}] * 2)
        log = open_log(workspace)
        log.trim("arrivals", log.end("arrivals") + 1)
        return log.end("arrivals")

    assert sent_and_trimmed(1.0) == 2
    with pytest.raises(NotFoundError, match="leaves them out"):
        feed()
    ingest_stream("arrivals", fields_of("arrivals"), after=2)
    assert {(each.events, each.offset) for each in feed()} == {(0, 2)}
    send("arrivals", [{**ENTITIES[0], "delay": 3.0}])
    assert {(each.events, each.offset) for each in feed()} == {(1, 3)}
    ingest_stream("arrivals", fields_of("arrivals"))
    assert sent_and_trimmed(5.0) == 5
    with pytest.raises(NotFoundError, match=r"doesn't have them: .*after=5.* then `materialize\(\"delays\"\)`"):
        feed("delays")
    ingest_stream("arrivals", fields_of("arrivals"), after=5)
    send("arrivals", [{**ENTITIES[0], "delay": 7.0}, {**ENTITIES[0], "delay": "soon"}])
    ingest_stream("arrivals", fields_of("arrivals"))
    open_log(workspace).trim("arrivals", 8)
    with pytest.raises(NotFoundError, match=r"Events up to 7 were trimmed: `materialize\(\"last\"\)` brings"):
        feed("last")
    for view in ("delays", "last"):
        materialize(view)
    assert {(each.events, each.offset) for each in feed()} == {(0, 7)}
    assert vectors("late", ticks.now, workspace) == wanted("late", ticks.now)


def test_a_view_drops_the_events_that_its_dataset_went_on_without(workspace: Workspace, ticks: Ticks) -> None:
    apply(FeatureService("late", [delays(), last()]))
    send("arrivals", [{**ENTITIES[0], "delay": 1.0}])
    ingest_stream("arrivals", fields_of("arrivals"))
    send("arrivals", [{**ENTITIES[0], "delay": 3.0}, {**ENTITIES[0], "delay": 4.0}])
    feed()
    log = open_log(workspace)
    log.trim("arrivals", 4)
    ingest_stream("arrivals", after=3)
    materialized = materialize("delays")
    assert (materialized.rows, materialize("delays").rows) == (1, 0)
    assert {(each.events, each.offset) for each in feed()} == {(0, 3)}
    assert vectors("late", ticks.now, workspace) == wanted("late", ticks.now)
    send("arrivals", [{**ENTITIES[0], "delay": 7.0}])
    ingest_stream("arrivals")
    assert {(each.events, each.offset) for each in feed()} == {(1, 4)}
    assert vectors("late", ticks.now, workspace) == wanted("late", ticks.now)


def test_what_is_not_fed_says_so(workspace: Workspace) -> None:
    dataset("weather").commit(
        pl.DataFrame({"carrier": ["UA"], "at": [START_US], "wind": [1]}).cast({"at": pl.Datetime})
    )
    weather = FeatureView("weather", entity=Entity("carrier"), source="weather", event_time="at", features=["wind"])
    apply(FeatureService("late", [weather]), last())
    with pytest.raises(InvalidError, match="a view over a stream"):
        feed("weather")
    with alone(get_definition("view", "last"), workspace, patience_s=0), pytest.raises(ConflictError):
        feed("last")


def test_an_event_that_cannot_be_stored_stops_nothing(workspace: Workspace, ticks: Ticks) -> None:
    """A key that is too long, or no UUID."""
    by_gate = FeatureView("by_gate", entity=Entity("gate"), source=ARRIVALS, features=[agg.count(windows="1h")])
    by_tail = FeatureView("by_tail", entity=Entity("tail", {"gate": "uuid"}), source=ARRIVALS, features=["delay"])
    apply(by_gate, by_tail)
    tail = "12345678-1234-5678-1234-567812345678"
    send("arrivals", [{"gate": gate, "delay": 1.0} for gate in (tail, "x" * 2_000, tail, "no uuid")])
    assert [(done.view, done.offset, done.apart) for done in feed()] == [("by_gate/1", 4, 1), ("by_tail/1", 4, 2)]
    (key, _), *_ = workspace.online.scan(values_prefix(get_definition("view", "by_tail")))
    assert key.endswith(UUID(tail).bytes)


def test_the_version_that_a_service_stands_on_is_fed(workspace: Workspace) -> None:
    apply(FeatureService("late", [last()]))
    changed = last()
    changed.ttl_us = 1
    apply(changed)
    assert [done.view for done in feed()] == ["last/2", "last/1"]


@pytest.mark.parametrize(("view", "state", "method"), [(delays, StoredTiles, "parts"), (last, StoredValues, "packed")])
def test_a_materialization_that_was_taken_over_writes_nothing_more(
    workspace: Workspace, ticks: Ticks, monkeypatch: pytest.MonkeyPatch, view: Any, state: Any, method: str
) -> None:
    """It stops before it writes, for longer than its lease; meanwhile a feeder brings newer events."""
    apply(FeatureService("late", [view()]))
    send("arrivals", [{**each, "delay": 4.0, "gate": "A"} for each in ENTITIES])
    ingest_stream("arrivals", FIELDS)
    definition, whole = get_definition("view", view().name), getattr(state, method)
    fed: list[Any] = []

    def stopped(self: Any, *given: Any, **named: Any) -> Any:
        if not fed:
            fed.append(None)
            lease = Lease(f"features/{definition.id}", workspace.owner, 1)
            workspace.leases.release(lease)
            send("arrivals", [{**each, "delay": 5.0, "gate": "B"} for each in ENTITIES])
            fed[0] = feed()
        return whole(self, *given, **named)

    monkeypatch.setattr(state, method, stopped)
    with pytest.raises(ConflictError, match="was taken over by another process"):
        materialize(definition, full=True)
    assert fed[0][0].offset == 8
    ingest_stream("arrivals")
    assert vectors("late", ticks.now, workspace) == wanted("late", ticks.now)


def test_a_push_beside_a_feeder_stops_nothing(
    workspace: Workspace, ticks: Ticks, monkeypatch: pytest.MonkeyPatch
) -> None:
    apply(FeatureService("late", [last()]))
    send("arrivals", [{**ENTITIES[0], "delay": 1.0}])
    before = {**ENTITIES[0], "event_time": clock.now() - timedelta(hours=1), "event_id": "x", "event_offset": 0}
    row = pl.DataFrame([{**before, "received_at": before["event_time"], "delay": -1.0, "gate": None}])
    whole = StoredValues.changes
    pushed: list[int] = []

    def beside(self: StoredValues, *given: Any, **named: Any) -> Any:
        found = whole(self, *given, **named)
        if not pushed:
            pushed.append(0)
            pushed[0] = push("last", row)
        return found

    monkeypatch.setattr(StoredValues, "changes", beside)
    assert [(done.events, done.offset) for done in feed()] == [(1, 1)]
    ingest_stream("arrivals", FIELDS)
    assert vectors("late", ticks.now, workspace) == wanted("late", ticks.now)


@pytest.mark.one_backend("it is refused before anything is stored")
def test_a_tile_that_grows_too_large_names_itself_and_holds_up_no_other_view(workspace: Workspace) -> None:
    large = FeatureView(
        "aaa", entity=Entity("carrier"), source=ARRIVALS, features=[agg.last("gate", "30d"), agg.count(windows="1h")]
    )
    apply(large, last())
    send("arrivals", [{**ENTITIES[0], "delay": 1.0, "gate": "x" * 900_000}] * 19)
    with pytest.raises(
        StorageError, match=r"aaa/1: the tile of `UA` .*1d long, 19 events.* 16 MiB.*shorter than 1d for `gate_"
    ):
        feed()
    mark = watermark_of("last")
    assert mark is not None
    assert mark.offset == 19
    ingest_stream("arrivals", FIELDS)
    with pytest.raises(StorageError, match="the tile of `UA`"):
        materialize("aaa")


@pytest.mark.one_backend("what fails is the view's code, whatever store is behind it")
def test_a_view_whose_code_fails_is_told_once_and_holds_up_no_other(
    workspace: Workspace, monkeypatch: pytest.MonkeyPatch
) -> None:
    apply(delays(), last())
    stop, whole, calls = Stop(), StoredTiles.changes, []

    def failing(self: StoredTiles, *given: Any) -> Any:
        calls.append(whole(self, *given))
        return 1 / 0

    def look() -> None:
        pause = Stop()
        try:
            for number in range(3):
                send("arrivals", [{**ENTITIES[0], "delay": float(number)}], workspace=workspace)
                while (mark := watermark_of("last", workspace)) is None or mark.offset <= number:
                    pause.wait(0.01)
            while not calls:
                pause.wait(0.01)
        finally:
            stop.set()

    def follow() -> None:
        with pytest.raises(ZeroDivisionError):
            feed(follow=stop, max_wait_s=0, workspace=workspace)

    monkeypatch.setattr(StoredTiles, "changes", failing)
    monkeypatch.setattr(feeding, "_LOOK_AGAIN_S", 0.02)
    at_once(follow, look)
    assert len(calls) == 1
    with pytest.raises(ZeroDivisionError):
        feed("delays", follow=Stop())  # nothing is left to feed


def test_writes_are_short_and_keep_an_entity_together() -> None:
    items = [(b"%05d%s" % (entity, tile), b"x" * 100) for entity in range(7_000) for tile in (b"a", b"b", b"c")]
    pieces = list(writes(items, 1))
    assert [item for piece in pieces for item in piece] == items
    assert max(map(len, pieces)) < 5_003
    assert all(one[-1][0][:-1] != other[0][0][:-1] for one, other in pairwise(pieces))
    large = list(writes([(b"entity" + bytes([tile]), b"x" * (1 << 20)) for tile in range(20)], 1))
    assert [len(piece) for piece in large] == [8, 8, 4]
