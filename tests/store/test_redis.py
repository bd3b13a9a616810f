"""What only Redis has: options and secrets in the URL, one prefix for each workspace, a server that goes away and returns."""

from __future__ import annotations

import signal
import time
from collections.abc import Iterator

import pytest
import redis as client

from mainspring.errors import ConfigError, SecretError, StorageError, UnavailableError
from mainspring.store import open_keyvalue
from mainspring.store.redis_server import RedisServer
from mainspring.testing.services import Redis, redis_server


@pytest.fixture
def own() -> Iterator[Redis]:
    """A server that a test may kill."""
    with redis_server() as server:
        yield server


@pytest.mark.parametrize(
    "url", ["redis://h/x", "redis://h/0?bogus=1", "redis://h?prefix=a:b", "redis://h?timeout_s=soon"]
)
def test_options_are_checked(url: str) -> None:
    with pytest.raises(ConfigError, match="redis://h"):
        open_keyvalue(url)


def test_a_url_of_another_kind_is_refused() -> None:
    with pytest.raises(ConfigError, match="memcached"):
        open_keyvalue("memcached://h")


def test_a_place_never_shows_a_password_and_references_are_resolved_when_connecting(redis: Redis) -> None:
    assert open_keyvalue("redis://me:hunter2@h:1/3?prefix=a").place == "redis://me@h:1/3?prefix=a"
    store = open_keyvalue(redis.url().replace("127.", ":secret:env/NO_SUCH_PASSWORD@127."))
    with pytest.raises(SecretError, match="NO_SUCH_PASSWORD"):
        store.get(b"a")


def test_a_wrong_password_is_told_without_it(own: Redis) -> None:
    owner = client.Redis(port=own.port)
    owner.config_set("requirepass", "opensesame")
    with pytest.raises(StorageError, match="access was denied") as found:
        open_keyvalue(own.url().replace("127.", ":hunter2@127.")).get(b"a")
    assert "hunter2" not in str(found.value)
    store = open_keyvalue(own.url().replace("127.", ":opensesame@127."))
    store.write([(b"a", b"1")])
    assert store.get(b"a") == b"1"
    store.close()
    owner.close()


def test_workspaces_share_a_server(redis: Redis) -> None:
    dev, other = open_keyvalue(redis.url("dev.1")), open_keyvalue(redis.url("dev.12"))
    dev.write([(b"a", b"dev")])
    other.write([(b"a", b"other"), (b"2:a", b"")])
    assert list(dev.scan(b"")) == [(b"a", b"dev")]
    assert dev.delete_prefix(b"") == 1
    assert len(list(other.scan(b""))) == 2
    dev.close()
    other.close()


def test_a_server_that_is_killed_and_comes_back_is_used_again(own: Redis) -> None:
    store = open_keyvalue(own.url())
    rank = b"r" * 16
    store.put_newest([(b"a", rank)])
    own.kill()
    for act in (
        lambda: store.get(b"a"), lambda: store.get_many([b"a"]), lambda: store.put_newest([(b"a", rank)]),
        lambda: store.write([(b"a", None)]), lambda: list(store.scan(b"")), lambda: store.delete_prefix(b""),
    ):  # fmt: skip
        started = time.monotonic()
        with pytest.raises(UnavailableError, match=r"127\.0\.0\.1"):
            act()
        assert time.monotonic() - started < 2
    own.start()
    assert store.get(b"a") == rank
    assert store.put_newest([(b"b", rank)]) == 1  # its script is gone with the old server
    store.close()


def test_a_server_that_does_not_answer_is_told_after_the_declared_time(own: Redis) -> None:
    store = open_keyvalue(f"{own.url()}&timeout_s=0.1")
    store.write([(b"a", b"1")])
    own.signal(signal.SIGSTOP)
    started = time.monotonic()
    with pytest.raises(UnavailableError):
        store.get(b"a")
    assert time.monotonic() - started < 2
    own.signal(signal.SIGCONT)
    assert store.get(b"a") == b"1"  # and no late answer to what was asked before
    store.close()


def test_a_server_without_memory_refuses_and_changes_nothing(own: Redis) -> None:
    store = open_keyvalue(own.url())
    store.write([(b"a", b"1")])
    owner = client.Redis(port=own.port)
    owner.config_set("maxmemory", "1")
    with pytest.raises(StorageError, match="maxmemory"):
        store.write([(b"a", b"2"), (b"b", b"x")])
    with pytest.raises(StorageError, match="maxmemory"):
        store.put_newest([(b"b", b"x" * 100)])
    assert list(store.scan(b"")) == [(b"a", b"1")]
    store.close()
    owner.close()


def test_every_error_of_redis_becomes_ours() -> None:
    server = RedisServer("redis://h/0")
    kinds = [
        kind
        for kind in vars(client.exceptions).values()
        if isinstance(kind, type) and issubclass(kind, client.RedisError)
    ]
    assert len(kinds) > 20
    found = {kind: server._mapped(kind.__new__(kind, "told")) for kind in kinds}
    assert all(
        type(error) in (StorageError, UnavailableError) and "redis://h" in str(error) for error in found.values()
    )
    assert type(found[client.TimeoutError]) is type(found[client.BusyLoadingError]) is UnavailableError
    assert type(found[client.AuthenticationError]) is type(found[client.OutOfMemoryError]) is StorageError
