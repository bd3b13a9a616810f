"""The log in Redis Streams, for several machines. The server runs each change alone, as one script.

An entry's id is `offset-0`; the offsets of ids are in a hash beside, and how far the stream goes in another, so that they
outlive what is trimmed. What is acknowledged survives the server if it keeps an append-only file, which is asked for.
"""

from __future__ import annotations

import time
from collections.abc import Sequence

from mainspring import clock
from mainspring.errors import ConfigError
from mainspring.store.redis_server import RedisServer
from mainspring.streams.event import Appended, Event, Stream, check_events
from mainspring.streams.log import check_not_trimmed

# KEYS: events, offsets by id, head, names. ARGV: the stream, the time, then id, time, payload and type of each event.
_APPEND = """
local head = redis.call('HMGET', KEYS[3], 'last', 'received')
local last, received = tonumber(head[1] or 0), math.max(tonumber(head[2] or 0), tonumber(ARGV[2]))
local answer = {}
for at = 3, #ARGV, 4 do
    local known = redis.call('HGET', KEYS[2], ARGV[at])
    if known then
        answer[#answer + 1] = -tonumber(known)
    else
        last = last + 1
        local offset = string.format('%.0f', last)
        redis.call('XADD', KEYS[1], offset .. '-0', 'i', ARGV[at], 't', ARGV[at + 1], 'p', ARGV[at + 2], 'y', ARGV[at + 3],
            'r', string.format('%.0f', received))
        redis.call('HSET', KEYS[2], ARGV[at], offset)
        answer[#answer + 1] = last
    end
end
redis.call('HSET', KEYS[3], 'last', string.format('%.0f', last), 'received', string.format('%.0f', received))
redis.call('SADD', KEYS[4], ARGV[1])
return answer
"""
_READ = """
local entries = redis.call('XRANGE', KEYS[1], '(' .. ARGV[1] .. '-0', '+', 'COUNT', ARGV[2])
return {redis.call('HGET', KEYS[2], 'trimmed') or '0', entries}
"""
# KEYS: events, head. ARGV: the last offset to go, how many at once.
_TRIM = """
local until_ = math.min(tonumber(ARGV[1]), tonumber(redis.call('HGET', KEYS[2], 'last') or 0))
if until_ > tonumber(redis.call('HGET', KEYS[2], 'trimmed') or 0) then
    redis.call('HSET', KEYS[2], 'trimmed', string.format('%.0f', until_))
end
local entries = redis.call('XRANGE', KEYS[1], '-', string.format('%.0f', until_) .. '-0', 'COUNT', ARGV[2])
for _, entry in ipairs(entries) do
    redis.call('XDEL', KEYS[1], entry[1])
end
return #entries
"""
# KEYS: offsets by id, head. ARGV: where the scan stands, the last offset to go, how many at once. What was dropped before has
# no entry that names its id any more, so that all ids are looked at.
_FORGET = """
local until_ = math.min(tonumber(ARGV[2]), tonumber(redis.call('HGET', KEYS[2], 'trimmed') or 0))
local found = redis.call('HSCAN', KEYS[1], ARGV[1], 'COUNT', ARGV[3])
for at = 1, #found[2], 2 do
    if tonumber(found[2][at + 1]) <= until_ then redis.call('HDEL', KEYS[1], found[2][at]) end
end
return found[1]
"""
_TRIMMED_AT_ONCE = 1_000


class RedisLog:
    """Streams below a prefix of one server. Connected when it is first used, and again when the server was away."""

    def __init__(self, url: str) -> None:
        self._server = RedisServer(url, options=("durable",))
        self.place = self._server.place
        self._must_last = self._server.options.get("durable", "yes") != "no"
        self._names = f"{self._server.prefix}/streams"

    def append(self, stream: str, events: Sequence[Event]) -> list[Appended]:
        """One script. If the server goes away in it, it may have been run or not; the same ids again do no harm."""
        check_events(stream, events)
        if not events:
            return []
        self._check_lasting()
        values: list[str | bytes | int] = [stream, clock.now_us()]
        for each in events:
            values += (each.id, each.time_us, each.payload, each.type)
        keys = [*(self._key(stream, part) for part in ("events", "ids", "head")), self._names]
        offsets: list[int] = self._server.run(_APPEND, keys, values)
        return [Appended(each.id, abs(offset), offset > 0) for each, offset in zip(events, offsets, strict=True)]

    def read(self, stream: str, after: int | None = None, limit: int = 1000) -> list[Event]:
        """One script, which reads the events and how far the stream is trimmed at one instant."""
        keys = [self._key(stream, "events"), self._key(stream, "head")]
        trimmed, entries = self._server.run(_READ, keys, [max(after or 0, 0), limit])
        check_not_trimmed(stream, after, int(trimmed))
        return [_event(offset, fields) for offset, fields in entries]

    def wait(self, stream: str, after: int, timeout_s: float) -> bool:
        """The server wakes us."""
        until, longest_s = time.monotonic() + timeout_s, self._server.timeout_s / 2
        while self.end(stream) <= after:
            left_s = until - time.monotonic()
            if left_s <= 0:
                return False
            block_ms = max(1, int(min(left_s, longest_s) * 1000))
            key = self._key(stream, "events")
            self._server.command("XREAD", "COUNT", 1, "BLOCK", block_ms, "STREAMS", key, f"{after}-0")
        return True

    def end(self, stream: str) -> int:
        """One round trip."""
        return self._head(stream).end

    def trim(self, stream: str, before: int, *, forget_ids: bool = False) -> int:
        """In slices, so that nobody waits for long."""
        events, ids, head = (self._key(stream, part) for part in ("events", "ids", "head"))
        count = 0
        while before > 1 and (gone := int(self._server.run(_TRIM, [events, head], [before - 1, _TRIMMED_AT_ONCE]))):
            count += gone
        cursor = b"0" if forget_ids else b""
        while cursor:
            cursor = self._server.run(_FORGET, [ids, head], [cursor, before - 1, _TRIMMED_AT_ONCE])
            cursor = b"" if cursor == b"0" else cursor
        return count

    def streams(self) -> list[Stream]:
        """All of them."""
        names = sorted(name.decode() for name in self._server.command("SMEMBERS", self._names))
        return [self._head(name) for name in names]

    def close(self) -> None:
        """Close the connections."""
        self._server.close()

    def _key(self, stream: str, part: str) -> str:
        return f"{self._names}:{stream}:{part}"

    def _head(self, stream: str) -> Stream:
        found = self._server.command("HMGET", self._key(stream, "head"), "last", "trimmed", "received")
        return Stream(stream, *(int(each or 0) for each in found))

    def _check_lasting(self) -> None:
        """Refuse a server that keeps events in memory alone; looked at once.

        Raises:
            ConfigError: what to set there, or in the URL.
        """
        if not self._must_last:
            return
        if not self._server.command("INFO", "persistence").get("aof_enabled"):
            raise ConfigError(
                f"{self.place} has no append-only file, so that acknowledged events would be lost with the server."
                " Set `appendonly yes` there, or say `durable=no` in the URL."
            )
        self._must_last = False


def _event(offset: bytes, fields: Sequence[bytes]) -> Event:
    given = dict(zip(fields[::2], fields[1::2], strict=True))
    return Event(
        given[b"i"].decode(), int(given[b"t"]), given[b"p"], given[b"y"].decode(), int(given[b"r"]),
        int(offset.partition(b"-")[0]),
    )  # fmt: skip
