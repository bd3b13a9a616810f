"""One tile of an entity: its events in the order (time, id), and the partial states of all of them.

An event that is the newest of its tile costs one update; those out of order that come together fold the tile again, once,
so that the order of arrival leaves no trace. Events are decoded only where they are needed.
"""

from __future__ import annotations

import struct
from bisect import bisect_right
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import msgspec

from mainspring.errors import CodecError
from mainspring.features.aggregation.aggregation import Hop
from mainspring.features.aggregation.folds import State
from mainspring.features.aggregation.values import Plain

VERSION = 1
GROUP_TILES = 16
"""Tiles are merged in groups of so many neighbouring numbers, then the groups; those of the instant's own group follow one by
one. So windows share what their groups are, and long ones take few merges."""
ALWAYS_US = -(2**63)
_ENCODER = msgspec.msgpack.Encoder()
_KEY = struct.Struct(">QQ")
_SHIFT = 2**63  # signed numbers sort as bytes


class TileId(NamedTuple):
    """A tile [tile × hop, (tile + 1) × hop) of an entity."""

    hop_us: int
    tile: int

    def key(self, entity: bytes) -> bytes:
        """The key under which a tile is stored: entity, hop, tile, so that a scan of entity and hop is in time order.

        `entity` must be encoded so that none is a prefix of another.
        """
        return entity + _KEY.pack(self.hop_us, self.tile + _SHIFT)

    @classmethod
    def of_key(cls, key: bytes) -> TileId:
        """The tile of a key, whatever its entity."""
        hop_us, shifted = _KEY.unpack(key[-_KEY.size :])
        return cls(hop_us, shifted - _SHIFT)


class Event(NamedTuple):
    """An event as its tile keeps it: microseconds into the tile, id, when it was known, and the tile's columns."""

    time: int
    id: str
    known_us: int
    values: tuple[Plain, ...]


class Tile:
    """The events of one tile, for the folds of its hop."""

    __slots__ = ("_blob", "_events", "_hop", "count", "known_us", "last", "partials")

    def __init__(self, hop: Hop) -> None:
        self._hop = hop
        self.count = 0
        self.last: tuple[int, str] = (-1, "")
        self.known_us = ALWAYS_US
        self.partials: list[State | None] = [None] * len(hop.uses)
        self._blob = bytearray()
        self._events: list[Event] | None = None

    @classmethod
    def decode(cls, data: bytes, hop: Hop) -> Tile:
        """The tile that `encode` wrote for the same folds.

        Raises:
            CodecError: the bytes are of another format, or of other folds.
        """
        try:
            version, count, time, event_id, known_us, partials, blob = msgspec.msgpack.decode(data)
        except (msgspec.DecodeError, ValueError, TypeError) as error:
            raise CodecError("A tile of aggregates can't be read: build it again from its events.") from error
        if version != VERSION or len(partials) != len(hop.uses):
            raise CodecError(
                f"A tile of aggregates is of version `{version}` with {len(partials)} states, expected version {VERSION}"
                f" with {len(hop.uses)}: build it again from its events."
            )
        tile = cls(hop)
        tile.count, tile.last, tile.known_us, tile.partials = count, (time, event_id), known_us, partials
        tile._blob = bytearray(blob)
        return tile

    @classmethod
    def of(cls, hop: Hop, rows: Sequence[tuple[Any, ...]]) -> Tile:
        """The tile of events in order, each once, at least one: time into the tile, id, when known, then the values."""
        tile = cls(hop)
        tile._hold(rows)
        return tile

    def encode(self) -> bytes:
        """The tile as bytes, which depend on its events alone."""
        time, event_id = self.last
        return msgspec.msgpack.encode(
            (VERSION, self.count, time, event_id, self.known_us, self.partials, bytes(self._blob))
        )

    def add(self, time: int, event_id: str, known_us: int | None, values: Mapping[str, Plain]) -> bool:
        """Take an event at `time` microseconds into the tile; gives whether it changes anything.

        Of events with the same time and id the one counts that was known first, of these the first one taken.
        """
        known_us = ALWAYS_US if known_us is None else known_us
        return self.take(Event(time, event_id, known_us, tuple(values.get(column) for column in self._hop.columns)))

    def take(self, event: Event) -> bool:
        """`add` of an event as tiles keep it."""
        return self.take_all([event])

    def take_all(self, events: Sequence[Event]) -> bool:
        """`take` of events in the order (time, id), each of these once; gives whether one of them changes anything."""
        late = bisect_right(events, self.last, key=lambda event: event[:2])
        is_new = self._insert(events[:late]) if late else False
        for event in events[late:]:
            self._append(event)
        return is_new or late < len(events)

    def partials_at(self, time: int, known_by_us: int | None) -> list[State | None]:
        """The states of the events up to a time in the tile which were known by an instant; None is known whenever."""
        by_us = known_by_us if known_by_us is not None else 2**63
        if self.last[0] <= time and self.known_us <= by_us:
            return self.partials
        seen = [event.values for event in self.events() if event.time <= time and event.known_us <= by_us]
        return self._states(seen)

    def events(self) -> list[Event]:
        """The events in order."""
        if self._events is None:
            listed = msgspec.msgpack.decode(b"\xdd" + self.count.to_bytes(4, "big") + self._blob)
            self._events = [Event(time, id_, known_us, tuple(values)) for time, id_, known_us, *values in listed]
        return self._events

    def _append(self, event: Event) -> None:
        self._blob += _packed(event)
        if self._events is not None:
            self._events.append(event)
        self.count += 1
        self.last = event.time, event.id
        self.known_us = max(self.known_us, event.known_us)
        self._fold(self.partials, event)

    def _insert(self, late: Sequence[Event]) -> bool:
        """Put events between others and fold all again; gives whether that changes anything."""
        held = {event[:2]: event for event in self.events()}
        known = len(held)
        changed = [each for each in late if each[:2] in held and each.known_us < held[each[:2]].known_us]
        for event in late:
            held.setdefault(event[:2], event)
        held.update((event[:2], event) for event in changed)
        if len(held) == known and not changed:
            return False
        self._events = [held[place] for place in sorted(held)]
        self._hold([(*event[:3], *event.values) for event in self._events])
        return True

    def _hold(self, rows: Sequence[tuple[Any, ...]]) -> None:
        """Be the tile of events in order: time into the tile, id, when known, then the values."""
        self.count, self.last = len(rows), (rows[-1][0], rows[-1][1])
        self.known_us = max(row[2] for row in rows)
        header = 1 if len(rows) < 1 << 4 else 3 if len(rows) < 1 << 16 else 5
        self._blob = bytearray(_ENCODER.encode(rows)[header:])
        self.partials = self._states([row[3:] for row in rows])

    def _states(self, values: Sequence[tuple[Plain, ...]]) -> list[State | None]:
        everything = [True] * len(values)
        columns = [[row[place] for row in values] for place in range(len(self._hop.columns))]
        return [
            use.state(everything if place < 0 else columns[place])
            for use, place in zip(self._hop.uses, self._hop.places, strict=True)
        ]

    def _fold(self, partials: list[Any], event: Event) -> None:
        values = event.values
        for place, (use, column) in enumerate(zip(self._hop.uses, self._hop.places, strict=True)):
            partials[place] = use.folded(partials[place], True if column < 0 else values[column])


def _packed(event: Event) -> bytes:
    return _ENCODER.encode((event.time, event.id, event.known_us, *event.values))
