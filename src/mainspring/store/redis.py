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
# Byte by byte, as Lua compares texts by the server's locale.
_PUT_NEWEST = """
local function newer(old, new)
    for i = 1, 16 do
        local was, is = string.byte(old, i), string.byte(new, i)
        if was ~= is then return was == nil or was < is end
    end
    return true
end
local stored = 0
for i, key in ipairs(KEYS) do
    if newer(redis.call('GETRANGE', key, 0, 15), ARGV[i]) then
        redis.call('SET', key, ARGV[i])
        stored = stored + 1
    end
end
return stored
"""
# The first ARGV[1] keys are expected, the others changed; ARGV[2] says of each by 1 or 0 whether it has a value.
_WRITE = """
for i, key in ipairs(KEYS) do
    local valued = string.byte(ARGV[2], i) == 49
    if i <= tonumber(ARGV[1]) then
        local old = redis.call('GET', key)
        if old ~= (valued and ARGV[i + 2]) then return i end
    elseif valued then
        redis.call('SET', key, ARGV[i + 2])
    else
        redis.call('UNLINK', key)
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

    def put_newest(self, items: Iterable[tuple[bytes, bytes]]) -> int:
        """Some thousand items in each script."""
        newest = newest_of(items)
        stored = 0
        for keys in _pieces(newest):
            stored += self._server.run(_PUT_NEWEST, [self._named(key) for key in keys], [newest[key] for key in keys])
        return stored

    def write(
        self, changes: Iterable[tuple[bytes, bytes | None]], *, expect: Mapping[bytes, bytes | None] | None = None
    ) -> None:
        """One script, sent as a whole before it is run. If the connection is lost in it, it may have been run or not."""
        known = list(checked_changes((expect or {}).items()).items())
        pairs = known + list(checked_changes(changes).items())
        if not pairs:
            return
        flags = bytes(48 if value is None else 49 for _, value in pairs)
        values = [b"" if value is None else value for _, value in pairs]
        refused = self._server.run(_WRITE, [self._named(key) for key, _ in pairs], [len(known), flags, *values])
        if refused:
            raise unexpected(self.place, pairs[refused - 1][0])

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
