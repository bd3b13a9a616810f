"""Killed at any instant, producers, consumers and materializations go on: each event once, values old or new, never none."""

from __future__ import annotations

import random
import subprocess
import sys
import threading
import time
from datetime import timedelta
from pathlib import Path

import polars as pl
import pytest

from mainspring import clock
from mainspring.data import dataset
from mainspring.data.ingestion import EventTable, ingest_stream, list_cursors
from mainspring.errors import StorageError, UnavailableError
from mainspring.features import (
    Entity,
    FeatureReader,
    FeatureService,
    FeatureView,
    Stream,
    agg,
    apply,
    feed,
    get_definition,
    materialize,
    push,
    training_set,
    watermark_of,
)
from mainspring.streams import open_log
from mainspring.testing.plugin import Backend
from mainspring.testing.services import Redis
from mainspring.testing.threads import at_once
from mainspring.workspace import Workspace, using
from tests.features.online import killed

CARRIER = Entity("carrier")
FIELDS = {"carrier": "str", "delay": "f64"}
WINDOWS = [agg.mean("delay", ["10m", "1h"]), agg.std("delay", "2h"), agg.count(windows="1h")]


def declare() -> None:
    arrivals = Stream("arrivals", FIELDS)
    delays = FeatureView("delays", entity=CARRIER, source=arrivals, features=WINDOWS)
    newest = FeatureView("newest", entity=CARRIER, source=arrivals, features=["delay"])
    apply(FeatureService("late", [delays, newest]))


def run(role: str, backend: Backend, root: Path, end_us: int, at: int) -> int | None:
    """How many calls a role took; None if it was killed."""
    where = [str(root), backend.database_url, backend.blob_url, backend.online]
    command = [sys.executable, killed.__file__, role, *where, str(end_us), str(at)]
    ran = subprocess.run(command, capture_output=True, text=True, check=False)
    assert ran.returncode in (0, -9), ran.stderr
    return int(ran.stdout) if ran.returncode == 0 else None


def expect_each_once(workspace: Workspace, sent: list[str]) -> None:
    """The producer's ids are the dataset's and the quarantine's; views give what training sets give."""
    rows, apart = dataset("arrivals").to_polars(), dataset("arrivals-quarantine").to_polars()
    assert sorted([*rows["event_id"], *apart["event_id"]]) == sorted(sent)
    reader = FeatureReader(get_definition("service", "late"), workspace)
    entities = [{"carrier": carrier} for carrier in ("UA", "B6", "AA")]
    for ahead in (timedelta(), timedelta(minutes=7)):
        now = clock.now() + ahead
        asked = pl.DataFrame(entities).with_columns(when=pl.lit(now))
        wanted = training_set(asked, "late", time="when").frame.select(reader.names).rows()
        found = reader.read(entities, at_us=clock.to_us(now))
        assert [repr(tuple(vector.values)) for vector in found] == [repr(row) for row in wanted]


def campaign(backend: Backend, workspace: Workspace, root: Path, seed: int, kills: int) -> None:
    declare()
    chance, end_us = random.Random(seed), clock.now_us()
    was_killed = [run("stream", backend, root, end_us, chance.randrange(1_000, 18_000)) is None for _ in range(kills)]
    assert any(was_killed)
    killed.stream(end_us, workspace)
    expect_each_once(workspace, [event.id for event in killed.events(end_us)])


@pytest.mark.slow
def test_killed_producers_and_consumers_lose_and_repeat_nothing(
    backend: Backend, workspace: Workspace, tmp_path: Path
) -> None:
    ingest_fields(workspace)
    campaign(backend, workspace, tmp_path, seed=1, kills=2)


@pytest.mark.soak
@pytest.mark.parametrize("seed", range(20))
def test_a_campaign_of_kills_loses_and_repeats_nothing(
    backend: Backend, workspace: Workspace, tmp_path: Path, seed: int
) -> None:
    ingest_fields(workspace)
    campaign(backend, workspace, tmp_path, seed=seed, kills=8)


def ingest_fields(workspace: Workspace) -> None:
    """The stream's dataset with its fields, which are known from then on."""
    dataset("arrivals", workspace).commit(pl.DataFrame(schema=EventTable(FIELDS).schema))


@pytest.mark.slow
def test_a_killed_materialization_leaves_old_values_or_new_ones(
    backend: Backend, workspace: Workspace, tmp_path: Path
) -> None:
    chance, end_us = random.Random(7), clock.now_us()
    old = weather(end_us, 1.0, 300)
    declare_weather(old)
    materialize("weather")
    materialize("winds")
    dataset("weather").commit(weather(end_us, 2.0, 300))
    assert run("fill", backend, tmp_path, end_us, chance.randrange(200, 3_000)) is None
    reader = FeatureReader(get_definition("service", "windy"), workspace)
    entities = [{"carrier": f"n{number}"} for number in range(300)]
    for vector in reader.read(entities, at_us=end_us):
        assert vector.values[0] in (1.0, 2.0, 7.0)
        assert vector.values[1:] in ([1.0, 1], [2.0, 1])
    killed.fill(end_us, workspace)
    assert [vector.values for vector in reader.read(entities, at_us=end_us)] == [
        [7.0 if number == 7 else 2.0, 2.0, 1] for number in range(300)
    ]
    for name in ("weather", "winds"):
        mark = watermark_of(name)
        assert mark is not None
        assert (mark.version, mark.running) == ("weather/2", None)


def weather(end_us: int, wind: float, count: int) -> pl.DataFrame:
    moment = clock.from_us(end_us - killed.MINUTE_US)
    return pl.DataFrame({"carrier": [f"n{number}" for number in range(count)], "at": moment, "wind": wind})


def declare_weather(rows: pl.DataFrame) -> None:
    dataset("weather").commit(rows)
    newest = FeatureView("weather", entity=CARRIER, source="weather", event_time="at", features=["wind"])
    windows = [agg.mean("wind", "1h"), agg.count(windows="1h")]
    winds = FeatureView("winds", entity=CARRIER, source="weather", event_time="at", features=windows)
    apply(FeatureService("windy", [newest, winds]))


@pytest.mark.one_backend("a file system that is full is a local one")
def test_a_full_disk_leaves_values_and_the_next_run_makes_it_whole(tmp_path: Path, small_disk: Path) -> None:
    (small_disk / "online").mkdir()
    with Workspace.open(tmp_path, overrides={"online": f"lmdb://{small_disk}/online"}) as workspace, using(workspace):
        end_us = clock.now_us()
        declare_weather(weather(end_us, 1.0, 300))
        materialize("weather")
        dataset("weather").commit(weather(end_us, 2.0, 9_000))
        with pytest.raises(StorageError, match="full"):
            materialize("weather")
        with pytest.raises(StorageError, match="full"):
            push("weather", weather(end_us, 3.0, 9_000))
        reader = FeatureReader(get_definition("service", "windy"), workspace)
        entities = [{"carrier": f"n{number}"} for number in range(300)]
        assert {vector.values[0] for vector in reader.read(entities, at_us=end_us)} <= {1.0, 2.0}
        dataset("weather").commit(weather(end_us, 2.0, 300))
        materialize("weather")
        assert {vector.values[0] for vector in reader.read(entities, at_us=end_us)} == {2.0}


@pytest.mark.one_backend("the server that dies is the broker and the online store")
def test_a_redis_that_dies_and_returns_loses_and_repeats_nothing(tmp_path: Path) -> None:
    """It is the broker and the online store; producer, dataset and feed go on when it is back."""
    server = Redis(tmp_path)
    where = {"streams": f"{server.url('s')}&timeout_s=0.5", "online": f"{server.url('o')}&timeout_s=0.5"}
    with Workspace.open(tmp_path, overrides=where) as workspace, using(workspace):
        ingest_fields(workspace)
        declare()
        given, log, stop = killed.events(clock.now_us()), open_log(workspace), threading.Event()
        server.kill()

        def produce() -> None:
            for start in range(0, len(given), 4):
                while True:
                    try:
                        log.append("arrivals", given[start : start + 4])
                        break
                    except UnavailableError:
                        continue

        def keep() -> None:
            ingest_stream("arrivals", follow=stop, max_events=9, max_wait_s=0, workspace=workspace)

        def serve() -> None:
            feed(follow=stop, max_events=7, max_wait_s=0, workspace=workspace)

        def crash() -> None:
            try:
                while not any(each.name.startswith("feed ") for each in threading.enumerate()):
                    time.sleep(0.005)
                server.start()  # it was away when feeding began
                for at in (20, 70):
                    assert reached(workspace, at)
                    server.kill()
                    server.start()
                assert reached(workspace, len(given))
            finally:
                stop.set()

        at_once(produce, keep, serve, crash)
        expect_each_once(workspace, [event.id for event in given])
    server.kill()


def reached(workspace: Workspace, offset: int) -> bool:
    until = time.monotonic() + 30
    while time.monotonic() < until:
        try:
            marks = [watermark_of(name, workspace) for name in ("delays", "newest")]
            if all(mark is not None and mark.offset >= offset for mark in marks):
                cursors = list_cursors("arrivals", workspace)
                if cursors and cursors[0].state["offset"] >= offset:
                    return True
        except UnavailableError:
            pass
        time.sleep(0.005)
    return False
