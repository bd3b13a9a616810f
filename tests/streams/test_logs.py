"""The embedded log on both databases, and the one in Redis: every law of a log, and what becomes of Redis when it dies."""

from __future__ import annotations

import threading
import time
from pathlib import Path

import pytest

from mainspring.errors import ConfigError, UnavailableError
from mainspring.store import process_owner
from mainspring.store.redis_server import RedisServer
from mainspring.streams import Consumer, DatabaseSink, OffsetStore, event_of, log_at
from mainspring.testing import _actors
from mainspring.testing._streams import note
from mainspring.testing.events import EventLogContract
from mainspring.testing.services import Postgres, Redis
from mainspring.testing.threads import at_once


class TestSqlite(EventLogContract):
    @pytest.fixture
    def url(self, tmp_path: Path) -> str:
        return f"sqlite://{tmp_path}/streams.db"


class TestPostgres(EventLogContract):
    @pytest.fixture
    def url(self, postgres: Postgres) -> str:
        return postgres.url()


class TestRedis(EventLogContract):
    @pytest.fixture
    def url(self, redis: Redis) -> str:
        return redis.url()


def test_a_server_that_is_killed_and_comes_back_has_what_it_acknowledged(tmp_path: Path) -> None:
    """A consumer and a producer go on, and each event's effect is there once."""
    server, database = Redis(tmp_path), _actors.opened(f"sqlite://{tmp_path}/effects.db")
    log, offsets = log_at(f"{server.url('a')}&timeout_s=0.5"), OffsetStore(database)
    names = [str(number) for number in range(300)]
    stop = threading.Event()

    def produce() -> None:
        for name in names:
            while True:
                try:
                    log.append("s", [event_of({}, id=name)])
                    break
                except UnavailableError:
                    continue

    def consume() -> None:
        with offsets.claimed("s", "c", process_owner()) as lease:
            Consumer(log, "s", DatabaseSink(offsets, "s", "c", lease, note), max_events=7, max_wait_s=0).run(stop)

    def crash() -> None:
        try:
            for at in (60, 140):
                assert _applied(offsets, at)
                server.kill()
                server.start()
            assert _applied(offsets, len(names))
        finally:
            stop.set()

    at_once(produce, consume, crash)
    assert [text for (text,) in database.query("SELECT text FROM note ORDER BY id")] == names
    assert [event.offset for event in log.read("s")] == list(range(1, 301))
    server.kill()
    with pytest.raises(UnavailableError, match=str(server.port)):
        log.append("s", [event_of({})])
    log.close()
    database.close()


def _applied(offsets: OffsetStore, at: int) -> bool:
    until = time.monotonic() + 30
    while offsets.get("s", "c") < at and time.monotonic() < until:
        time.sleep(0.002)
    return offsets.get("s", "c") >= at


def test_a_server_without_an_append_only_file_is_refused_unless_that_is_wanted(tmp_path: Path) -> None:
    server = Redis(tmp_path)
    log = log_at(server.url("a"))
    RedisServer(server.url()).command("CONFIG", "SET", "appendonly", "no")
    with pytest.raises(ConfigError, match="appendonly yes"):
        log.append("s", [event_of({})])
    assert log_at(server.url("a") + "&durable=no").append("s", [event_of({})])[0].offset == 1
    server.kill()


def test_a_url_that_names_no_log_is_refused() -> None:
    for wrong in ("kafka://host", "redis://host?prefx=a", "redis://host?prefix=a/b"):
        with pytest.raises(ConfigError):
            log_at(wrong)
