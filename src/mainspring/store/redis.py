"""Values by key in Redis, or a server that speaks its protocol, for several machines; one prefix for each workspace.

Each change is one script, which the server runs alone. How much of it outlives the server is the server's setting.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence

from mainspring.store.keyvalue import checked_changes, checked_key, newest_of, unexpected
from mainspring.store.redis_server import RedisServer

_AT_ONCE = 1_000  # keys in one script or answer that need not be atomic as a whole
_AT_ONCE_BYTES = 4 << 20
# The first ARGV[1] keys are expected; ARGV[2] says of each key by 1 or 0 whether it has a value.
_EXPECT = """
local expected = tonumber(ARGV[1])
for i = 1, expected do
    local old = redis.call('GET', KEYS[i])
    if old ~= (string.byte(ARGV[2], i) == 49 and ARGV[i + 2]) then return -i end
end
"""
# Byte by byte, as Lua compares texts by the server's locale.
_PUT_NEWEST = f"""{_EXPECT}
local function newer(old, new)
    for i = 1, 16 do
        local was, is = string.byte(old, i), string.byte(new, i)
        if was ~= is then return was == nil or was < is end
    end
    return true
end
local stored = 0
for i = expected + 1, #KEYS do
    if newer(redis.call('GETRANGE', KEYS[i], 0, 15), ARGV[i + 2]) then
        redis.call('SET', KEYS[i], ARGV[i + 2])
        stored = stored + 1
    end
end
return stored
"""
_WRITE = f"""{_EXPECT}
for i = expected + 1, #KEYS do
    if string.byte(ARGV[2], i) == 49 then
        redis.call('SET', KEYS[i], ARGV[i + 2])
    else
        redis.call('UNLINK', KEYS[i])
    end
end
return 0
"""


class RedisKeyValue:
    """The keys below a prefix of one server (no cluster: a script spans keys). Connected when it is first used."""

    def __init__(self, url: str) -> None:
        self._server = RedisServer(url)
        self.place = self._server.place
        self._prefix = f"{self._server.prefix}:".encode()

    def get(self, key: bytes) -> bytes | None:
        """One round trip."""
        found: bytes | None = self._server.command("GET", self._named(key))
        return found

    def get_many(self, keys: Sequence[bytes]) -> list[bytes | None]:
        """One round trip."""
        named = [self._named(key) for key in keys]
        found: list[bytes | None] = self._server.command("MGET", *named) if named else []
        return found

    def put_newest(
        self, items: Iterable[tuple[bytes, bytes]], *, expect: Mapping[bytes, bytes | None] | None = None
    ) -> int:
        """Some thousand items in each script, which looks at what is expected."""
        newest, known = newest_of(items), checked_changes((expect or {}).items())
        pieces = [[(key, newest[key]) for key in keys] for keys in _pieces(newest)]
        return sum(self._changed(_PUT_NEWEST, known, piece) for piece in pieces or [[]] if piece or known)

    def write(
        self, changes: Iterable[tuple[bytes, bytes | None]], *, expect: Mapping[bytes, bytes | None] | None = None
    ) -> None:
        """One script, sent as a whole before it is run. If the connection is lost in it, it may have been run or not."""
        known, wanted = checked_changes((expect or {}).items()), list(checked_changes(changes).items())
        if known or wanted:
            self._changed(_WRITE, known, wanted)

    def _changed(
        self, script: str, known: Mapping[bytes, bytes | None], changes: Sequence[tuple[bytes, bytes | None]]
    ) -> int:
        """What a script gives that changes some keys if others are as expected."""
        pairs = [*known.items(), *changes]
        flags = bytes(48 if value is None else 49 for _, value in pairs)
        values = [b"" if value is None else value for _, value in pairs]
        found: int = self._server.run(script, [self._named(key) for key, _ in pairs], [len(known), flags, *values])
        if found < 0:
            raise unexpected(self.place, pairs[-found - 1][0])
        return found

    def scan(self, prefix: bytes) -> Iterator[tuple[bytes, bytes]]:
        """All keys first, as the server gives them in no order, then their values by the hundred."""
        keys = self._keys(prefix)
        for start in range(0, len(keys), 100):
            named = keys[start : start + 100]
            found = self._server.command("MGET", *named)
            for key, value in zip(named, found, strict=True):
                if value is not None:
                    yield key[len(self._prefix) :], value

    def delete_prefix(self, prefix: bytes) -> int:
        """Some thousand keys in each command."""
        keys = self._keys(prefix)
        deleted = 0
        for start in range(0, len(keys), _AT_ONCE):
            named = keys[start : start + _AT_ONCE]
            deleted += self._server.command("UNLINK", *named)
        return deleted

    def close(self) -> None:
        """Close the connections."""
        self._server.close()

    def _named(self, key: bytes) -> bytes:
        return self._prefix + checked_key(key)

    def _keys(self, prefix: bytes) -> list[bytes]:
        """The full names of the keys that begin so, in order."""
        pattern = re.sub(rb"([*?\[\]\\])", rb"\\\1", self._prefix + prefix) + b"*"
        return self._server.keys(pattern)


def _pieces(values: Mapping[bytes, bytes]) -> Iterator[list[bytes]]:
    """The keys, so many at a time that one script stays short."""
    piece: list[bytes] = []
    size_bytes = 0
    for key, value in values.items():
        if len(piece) == _AT_ONCE or size_bytes > _AT_ONCE_BYTES:
            yield piece
            piece, size_bytes = [], 0
        piece.append(key)
        size_bytes += len(value)
    if piece:
        yield piece
