"""A connection to Redis, or to a server that speaks its protocol, for everything that is kept there."""

from __future__ import annotations

import re
import threading
from collections.abc import Callable, Collection, Sequence
from typing import Any

from mainspring.errors import ConfigError, MissingExtraError, StorageError, UnavailableError
from mainspring.store.address import Address

try:
    import redis
    from redis.backoff import NoBackoff
    from redis.retry import Retry
except ImportError as error:
    raise MissingExtraError("redis", "redis", "Redis") from error

_OPTIONS = ("prefix", "timeout_s")
_PREFIX = re.compile(r"[A-Za-z0-9_.-]{1,200}")
_KEYS_AT_ONCE = 1_000
_DENIED = (
    redis.exceptions.AuthenticationError,
    redis.exceptions.AuthorizationError,
    redis.exceptions.AuthenticationWrongNumberOfArgsError,
    redis.exceptions.NoPermissionError,
)
_AWAY = (redis.exceptions.ConnectionError, redis.exceptions.TimeoutError, redis.exceptions.ClusterDownError)


class RedisServer:
    """What the URL `redis://user:password@host:port/number?prefix=name&timeout_s=2` leads to, connected when first used.

    A server that doesn't answer within `timeout_s` is an `UnavailableError`; the next call connects anew.
    `options` of the URL besides these are what is kept there to read.
    """

    def __init__(self, url: str, options: Collection[str] = ()) -> None:
        self._address = Address(url, 6379)
        self.place = self._address.place
        self.options = self._address.options
        known = (*_OPTIONS, *options)
        unknown = [option for option in self.options if option not in known]
        if unknown:
            raise ConfigError(f"{self.place}: no option `{unknown[0]}`; there are {', '.join(known)}")
        prefix = self.options.get("prefix", "mainspring")
        if _PREFIX.fullmatch(prefix) is None:
            raise ConfigError(f"{self.place}: `prefix` takes letters, digits, underscores, dots and dashes")
        self.prefix = prefix
        try:
            self.timeout_s, self._number = float(self.options.get("timeout_s", "2")), int(self._address.path or "0")
        except ValueError as error:
            raise ConfigError(f"{self.place}: the path is a database's number, `timeout_s` seconds") from error
        self._opening = threading.Lock()
        self._client: redis.Redis | None = None
        self._closed = False

    def command(self, *words: bytes | str | int) -> Any:
        """The answer to a command. Nothing is sent twice: what was lost may have been done."""
        return self._call(lambda client: client.execute_command(*words))  # type: ignore[no-untyped-call]  # redis-py leaves it untyped

    def run(self, script: str, keys: Sequence[bytes | str], values: Sequence[bytes | str | int]) -> Any:
        """What a Lua script gives, whose text is sent only if the server lacks it."""
        return self._call(lambda client: client.register_script(script)(keys, values))

    def keys(self, pattern: bytes) -> list[bytes]:
        """The keys that match, in order; the server may tell one twice."""
        return sorted(self._call(lambda client: set(client.scan_iter(match=pattern, count=_KEYS_AT_ONCE))))

    def close(self) -> None:
        """Close the connections."""
        self._closed = True
        client, self._client = self._client, None
        if client is not None:
            client.close()

    def _call(self, act: Callable[[redis.Redis], Any]) -> Any:
        try:
            return act(self._client or self._connect())
        except redis.RedisError as error:
            raise self._mapped(error) from error

    def _connect(self) -> redis.Redis:
        if self._closed:
            raise StorageError(self.place, "the connection was closed")
        address = self._address
        with self._opening:
            if self._client is None:
                self._client = redis.Redis(
                    address.host or "localhost",
                    address.port or 6379,
                    self._number,
                    username=str(address.revealed(address.user)) or None,
                    password=str(address.revealed(address.password)) or None,
                    ssl=address.scheme == "rediss",
                    socket_timeout=self.timeout_s,
                    socket_connect_timeout=self.timeout_s,
                    retry=Retry(NoBackoff(), 0),
                )
            return self._client

    def _mapped(self, error: redis.RedisError) -> StorageError:
        text = " ".join(str(error).split()).rstrip(".") or type(error).__name__
        if isinstance(error, _DENIED):
            return StorageError(self.place, f"access was denied ({text})", "Check user and password.")
        if isinstance(error, _AWAY):
            return UnavailableError(self.place, f"the server can't be reached ({text})")
        return StorageError(self.place, text)
