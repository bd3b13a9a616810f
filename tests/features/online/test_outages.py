"""A store that goes away: what is answered is what was declared, always marked, and it is as before when the store returns."""

from __future__ import annotations

import signal
import time
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import polars as pl
import pytest

from mainspring.data import dataset
from mainspring.errors import ConfigError, InvalidError, NotFoundError, UnavailableError, WrongTypeError
from mainspring.features import (
    Entity,
    FeatureReader,
    FeatureService,
    FeatureView,
    OnDemandView,
    agg,
    apply,
    get_definition,
    materialize,
)
from mainspring.features.online.outages import _Memory
from mainspring.features.parity import VectorLog
from mainspring.store import list_segments
from mainspring.testing.services import Redis, redis_server
from mainspring.workspace import Workspace, using

START = datetime(2013, 1, 1, tzinfo=UTC)
ROWS = pl.DataFrame({"origin": ["EWR", "JFK"], "at": [START] * 2, "wind": [5, None], "gust": [1.5, 2.5]})


def us(hours: float) -> int:
    return int((START + timedelta(hours=hours)).timestamp() * 1_000_000)


def service(outage: str, defaults: dict[str, Any] | None = None) -> FeatureService:
    view = FeatureView(
        "weather", entity=Entity("origin"), source="weather", event_time="at", ttl="2h",
        features=["wind", "gust", pl.col("at").alias("since")],
    )  # fmt: skip
    counts = FeatureView(
        "counts", entity=Entity("origin"), source="weather", event_time="at",
        features=[agg.count(windows="1h"), agg.sum("gust", "6h")],
    )  # fmt: skip
    own = OnDemandView("own", request={"n": "i64"}, features={"twice": pl.col("n") * 2})
    mixed = OnDemandView(
        "mixed", request={"n": "i64"}, inputs=[view["gust"]], features={"much": pl.col("gust") * pl.col("n")}
    )
    return FeatureService("late", [view, counts, own, mixed], outage=outage, defaults=defaults)


@pytest.fixture(scope="module")
def server() -> Iterator[Redis]:
    with redis_server() as started:
        yield started


@pytest.fixture
def workspace(server: Redis, tmp_path: Path) -> Iterator[Workspace]:
    with Workspace.open(tmp_path, overrides={"online": f"{server.url()}&timeout_s=0.2"}) as opened, using(opened):
        dataset("weather").commit(ROWS)
        yield opened


def filled(declared: FeatureService) -> FeatureReader:
    apply(declared)
    for view in ("weather", "counts"):
        materialize(view, until=START)
    from mainspring.workspace import current_workspace

    return FeatureReader(get_definition("service", "late"), current_workspace())


def told(reader: FeatureReader, origin: str, hours: float = 0, n: int = 1) -> dict[str, tuple[Any, str]]:
    (vector,) = reader.read([{"origin": origin, "n": n}], at_us=us(hours))
    return dict(zip(reader.names, zip(vector.values, vector.statuses, strict=True), strict=True))


def test_without_a_word_a_read_fails_until_the_store_is_back(workspace: Workspace, server: Redis) -> None:
    reader = filled(service(""))
    before = told(reader, "EWR")
    server.kill()
    for _ in range(2):
        with pytest.raises(UnavailableError):
            told(reader, "EWR")
    server.start()
    assert told(reader, "EWR") == before


def test_defaults_are_given_and_marked(workspace: Workspace, server: Redis) -> None:
    reader = filled(service("defaults", {"wind": -1, "since": "2013-01-01T05:00:00Z", "much": None}))
    before = told(reader, "EWR")
    assert {status for _, status in before.values()} == {"PRESENT"}
    server.kill()
    assert told(reader, "EWR", n=4) == {
        "wind": (-1, "DEFAULT"), "gust": (None, "UNAVAILABLE"), "since": (START + timedelta(hours=5), "DEFAULT"),
        "count_1h": (None, "UNAVAILABLE"), "gust_sum_6h": (None, "UNAVAILABLE"), "twice": (8, "PRESENT"),
        "much": (None, "DEFAULT"),
    }  # fmt: skip
    reading = reader.reading([{"origin": "EWR", "n": 1}])
    assert [(each.is_live, each.read_us) for each in reading.vectors] == [(False, None)]
    assert set(reading.watermarks) == {None}
    server.start()
    assert told(reader, "EWR") == before


def test_what_was_read_last_is_given_with_its_age_and_todays_rules(workspace: Workspace, server: Redis) -> None:
    reader = filled(service("last_known", {"wind": -1}))
    before = told(reader, "EWR")
    (live,) = reader.read([{"origin": "EWR", "n": 1}], at_us=us(0))
    assert (live.is_live, live.read_us) == (True, None)
    server.kill()
    known = told(reader, "EWR", n=4)
    assert [value for value, _ in known.values()] == [5, 1.5, START, 1, 1.5, 8, 6.0]
    assert {status for name, (_, status) in known.items() if name != "twice"} == {"LAST_KNOWN"}
    (vector,) = reader.read([{"origin": "EWR", "n": 1}], at_us=us(0))
    assert not vector.is_live
    assert vector.read_us is not None
    later = told(reader, "EWR", hours=3)
    assert (later["wind"], later["gust_sum_6h"], later["count_1h"]) == (
        (None, "OUTSIDE_MAX_AGE"), (1.5, "LAST_KNOWN"), (None, "UNAVAILABLE"),
    ), "of the last hour nothing was ever read"  # fmt: skip
    log = VectorLog(workspace, share=1.0)
    assert log.read(reader, [{"origin": "EWR", "n": 1}], ["a"], at_us=us(0))[0].statuses[0] == "LAST_KNOWN"
    assert list_segments(log.folder) == []
    other = told(reader, "JFK")
    assert (other["wind"], other["gust"]) == ((-1, "DEFAULT"), (None, "UNAVAILABLE"))
    server.start()
    until = time.monotonic() + 20  # a store that was slow to fail is given a rest
    while (back := told(reader, "EWR")) != before and time.monotonic() < until:
        time.sleep(0.02)
    assert back == before


def test_a_store_that_does_not_answer_is_away_until_it_does(workspace: Workspace, server: Redis) -> None:
    reader = filled(service("last_known"))
    before = told(reader, "EWR")
    server.signal(signal.SIGSTOP)
    try:
        assert [told(reader, "EWR")["wind"] for _ in range(20)] == [(5, "LAST_KNOWN")] * 20
    finally:
        server.signal(signal.SIGCONT)
    while (now := told(reader, "EWR"))["wind"][1] != "PRESENT":
        pass
    assert now == before


def test_the_workspace_says_what_services_do_not(server: Redis, tmp_path: Path) -> None:
    urls = {"online": server.url(), "online_outage": "defaults"}
    with Workspace.open(tmp_path, overrides=urls) as workspace, using(workspace):
        dataset("weather").commit(ROWS)
        reader = filled(service(""))
        server.kill()
        assert told(reader, "EWR")["wind"] == (None, "UNAVAILABLE")
        server.start()
        apply(service("fail"))
        strict = FeatureReader(get_definition("service", "late"), workspace)
        server.kill()
        with pytest.raises(UnavailableError):
            told(strict, "EWR")
        server.start()
    with (
        Workspace.open(tmp_path, overrides={**urls, "online_outage": "never"}) as workspace,
        pytest.raises(ConfigError, match="command line: online_outage: `never` is not one of fail"),
    ):
        FeatureReader(get_definition("service", "late/1", workspace), workspace)


def test_what_cannot_be_declared_is_refused(workspace: Workspace) -> None:
    with pytest.raises(InvalidError, match="`retry` is not one of fail, defaults, last_known"):
        service("retry")
    with pytest.raises(NotFoundError, match="late has no feature `wimd`"):
        service("defaults", {"wimd": 1})
    with pytest.raises(WrongTypeError, match="wind"):
        apply(service("defaults", {"wind": "fast"}))


def test_the_oldest_readings_are_forgotten_first() -> None:
    memory = _Memory(limit_bytes=1_100)
    keys = [bytes([number]) for number in range(10)]
    memory.keep(keys[:3], [bytes(100)] * 3, 1)
    memory.keep(keys[:1], [bytes(100)], 2)
    memory.keep(keys[3:5], [None, bytes(50)], 3)
    assert [each and each.read_us for each in memory.recall(keys[:6])] == [2, None, 1, 3, 3, None]
