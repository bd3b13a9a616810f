"""What rows of a view change in the online store: values of their entities, or tiles of aggregates.

Both say what to write and leave the writing to their callers, so that it can go with a watermark in one write.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any, NamedTuple, TypeVar

import numpy as np
import polars as pl

from mainspring import clock
from mainspring.errors import InvalidError, StorageError, counted, shorten
from mainspring.features.aggregation.aggregation import Aggregation, Hop, aggregation
from mainspring.features.aggregation.duration import duration_text
from mainspring.features.aggregation.sources import column
from mainspring.features.aggregation.tiles import ALWAYS_US, Event, Tile, TileId
from mainspring.features.definitions.records import Definition, ViewRecord
from mainspring.features.history.instants import expect_values_shown
from mainspring.features.online.ahead import due_us, is_plain, links, merged
from mainspring.features.online.entities import entities_bytes
from mainspring.features.online.packing import Packing
from mainspring.features.online.places import entity_of_tile, tile_place, tiles_prefix, values_prefix
from mainspring.features.online.rows import CREATED, EVENT, NUMBER, ahead, newest, visible
from mainspring.store import KeyValue
from mainspring.store.keyvalue import LARGEST_VALUE_BYTES, RANK_BYTES

Change = tuple[bytes, bytes | None]
_Item = TypeVar("_Item", bound=tuple[bytes, *tuple[bytes | None, ...]])
_KEY = "__key"
_WRITTEN_AT_ONCE, _WRITTEN_BYTES = 5_000, 4 << 20
_DIGITS = 20  # of a number as text, so that it sorts as the number does


class Changes(NamedTuple):
    """What to write, what must be stored meanwhile, how many entities that is of, and how many events came too late."""

    changes: list[Change]
    expect: dict[bytes, bytes | None]
    entities: int
    late: int = 0


class StoredValues:
    """The values of a view: of each entity its newest row."""

    def __init__(self, definition: Definition) -> None:
        record = definition.record
        assert isinstance(record, ViewRecord)
        self.record, self.prefix = record, values_prefix(definition)
        self._packing = Packing(record.fields, definition.number)

    def packed(self, rows: pl.DataFrame, *, is_pushed: bool = False) -> list[tuple[bytes, bytes]]:
        """The rows with their keys.

        Raises:
            InvalidError: a value is a time that no reader could be shown.
        """
        times = [rows[name].to_numpy().astype(np.int64) for name in (EVENT, CREATED)]
        features = rows.select(field.name for field in self.record.fields)
        for each in features:
            expect_values_shown(each, f"{self.record.name}.{each.name}")
        values = self._packing.pack(features, times[0], times[1], is_pushed=is_pushed)
        keys = map(self.prefix.__add__, entities_bytes(self.record.keys, rows))
        return list(zip(keys, values, strict=True))

    def batches(self, rows: pl.DataFrame, most: int) -> Iterator[list[tuple[bytes, bytes]]]:
        """What rows make as if nothing was stored, `most` keys at a time; of a key that comes twice the last value counts."""
        now_us = clock.now_us()
        later = ahead(rows, now_us)
        # `newest` is in the order of keys, in which each write touches few pages of a tree.
        seen = newest(self.record, visible(rows, now_us) if later.height else rows)
        for part in seen.iter_slices(most):
            yield self.packed(part)
        if later.height:
            keys = [key.name for key in self.record.keys]
            own = pl.concat([seen.join(later, on=keys, how="semi"), later])
            given = ((key, merged(None, values, now_us)) for key, values in self._by_key(own).items())
            yield [(key, value) for key, value in given if value is not None]

    def changes(
        self, rows: pl.DataFrame, store: KeyValue | None, begins_us: int = 0, *, is_pushed: bool = False  # noqa: ARG002  # the signature of states, of which tiles need it
    ) -> Changes:  # fmt: skip
        """What rows change beside what is stored, or as if nothing was (None); a newer event stays, unless it is ahead."""
        now_us = clock.now_us()
        later = ahead(rows, now_us)
        seen = newest(self.record, visible(rows, now_us) if later.height else rows)
        given = self._by_key(pl.concat([seen, later]), is_pushed=is_pushed)
        known = dict(zip(given, store.get_many([*given]) if store is not None else [None] * len(given), strict=True))
        newer: list[Change] = []
        for key, values in given.items():
            old, value = known[key], values[0]
            if len(values) == 1 and (old is None or is_plain(old)) and due_us(value) <= now_us:
                if old is None or old[:RANK_BYTES] <= value[:RANK_BYTES]:
                    newer.append((key, value))
                    continue
                if due_us(old) <= now_us:
                    continue
            new = merged(old, values, now_us)
            if new != old:
                newer.append((key, new))
        return Changes(newer, {key: known[key] for key, _ in newer}, len(newer))

    def replaced(
        self, stored: bytes | None, wanted: bytes | None, now_us: int, *, keeps_pushed: bool
    ) -> bytes | None:  # fmt: skip
        """What comes in place of what is stored where the source gives what is wanted, and nothing else but what was pushed."""
        if not keeps_pushed or stored in (None, wanted):
            return wanted
        return merged(stored, [] if wanted is None else links(wanted), now_us, only_pushed=True)

    def _by_key(self, rows: pl.DataFrame, *, is_pushed: bool = False) -> dict[bytes, list[bytes]]:
        found: dict[bytes, list[bytes]] = {}
        for key, value in self.packed(rows, is_pushed=is_pushed):
            found.setdefault(key, []).append(value)
        return found


class StoredTiles:
    """The tiles of a view of aggregates."""

    def __init__(self, definition: Definition) -> None:
        record = definition.record
        assert isinstance(record, ViewRecord)
        self.definition, self.record, self.prefix = definition, record, tiles_prefix(definition)
        self.spec = spec_of(record)
        self._hops = {hop.hop_us: hop for hop in self.spec.hops}

    def begins(self, hop: Hop, begins_us: int) -> int:
        """The first tile that may be asked for at an instant or later."""
        return begins_us // hop.hop_us - hop.longest_us // hop.hop_us

    def is_expired(self, key: bytes, begins_us: int) -> bool:
        """Whether a stored tile can't be asked for any more."""
        place = TileId.of_key(key)
        return place.tile < self.begins(self._hops[place.hop_us], begins_us)

    def is_sweep_due(self, swept_us: int | None, begins_us: int) -> bool:
        """Whether so many tiles have expired since they were removed that looking for them pays."""
        return swept_us is None or begins_us - swept_us >= min(hop.longest_us for hop in self.spec.hops) // 4

    def replaced(
        self, stored: bytes | None, wanted: bytes | None, now_us: int, *, keeps_pushed: bool  # noqa: ARG002  # as of values
    ) -> bytes | None:  # fmt: skip
        """The tile that is stored, if the source gives it."""
        return None if wanted is None else stored

    def parts(self, rows: pl.DataFrame, most: int) -> Iterator[pl.DataFrame]:
        """The rows in order, cut between entities into parts of `most` rows, or of one entity."""
        ordered = self._ordered(rows)
        ends = ordered.select(pl.col(_KEY) != pl.col(_KEY).shift(-1)).to_series().fill_null(value=True).arg_true() + 1
        start = 0
        while start < ordered.height:
            first, last = (int(ends.search_sorted(at, "right")) for at in (start, start + most))
            end = int(ends[max(first, last - 1)])
            yield ordered[start:end]
            start = end

    def changes(self, rows: pl.DataFrame, store: KeyValue | None, begins_us: int) -> Changes:
        """The tiles that rows change, beside what is stored, or as if nothing was (None).

        Raises:
            StorageError: a tile would be larger than a value of the store can be.
        """
        ordered = rows if _KEY in rows.columns else self._ordered(rows)
        if not ordered.height:
            return Changes([], {}, 0)
        events = _Events(ordered, self.record, self.spec)
        found: list[Change] = []
        kept = np.zeros(ordered.height, bool)
        for hop in self.spec.hops:
            number = events.time // hop.hop_us
            live = np.flatnonzero(number >= self.begins(hop, begins_us))
            kept[live] = True
            found += self._of_hop(hop, events, number, live, store)
        entities = int((ordered[_KEY] != ordered[_KEY].shift(1)).fill_null(value=True).sum())
        return Changes(found, {}, entities, int((~kept).sum()))

    def _of_hop(self, hop: Hop, events: _Events, number: Any, live: Any, store: KeyValue | None) -> list[Change]:
        if not len(live):
            return []
        tiles, keys = number[live], events.entity[live]
        begins = np.flatnonzero(np.append(True, (tiles[1:] != tiles[:-1]) | (keys[1:] != keys[:-1])))
        rows = events.rows(hop, live, tiles)
        places = [
            tile_place(self.prefix, events.keys[live[at]], TileId(hop.hop_us, tile))
            for at, tile in zip(begins.tolist(), tiles[begins].tolist(), strict=True)
        ]
        stored = store.get_many(places) if store is not None else [None] * len(places)
        found: list[Change] = []
        ends = [*begins[1:].tolist(), len(live)]
        for place, data, first, end in zip(places, stored, begins.tolist(), ends, strict=True):
            if data is None:
                found.append((place, self._encoded(place, Tile.of(hop, rows[first:end]))))
                continue
            tile = Tile.decode(data, hop)
            if tile.take_all([Event(row[0], row[1], row[2], row[3:]) for row in rows[first:end]]):
                found.append((place, self._encoded(place, tile)))
        return found

    def _encoded(self, place: bytes, tile: Tile) -> bytes:
        data = tile.encode()
        if len(data) > LARGEST_VALUE_BYTES and tile.count > 1:
            raise self._too_large(place, tile.count, len(data))
        return data

    def _too_large(self, place: bytes, count: int, size_bytes: int) -> StorageError:
        tile = TileId.of_key(place)
        begins = np.datetime64(tile.tile * tile.hop_us, "us")
        hop, entity = duration_text(tile.hop_us), shorten(entity_of_tile(self.prefix, place).decode(errors="replace"))
        names = ", ".join(f"`{feature.name}`" for feature in self._hops[tile.hop_us].features)
        return StorageError(
            str(self.definition),
            f"the tile of `{entity}` from {begins} UTC ({hop} long, {count:,} events) would take {size_bytes:,} bytes, and"
            " a tile has at most 16 MiB",
            f"Declare a `hop` shorter than {hop} for {names}.",
        )

    def _ordered(self, rows: pl.DataFrame) -> pl.DataFrame:
        """The events that have an entity by it, time and id, each once: the one that was known first, then the first one."""
        rows = rows.drop_nulls([key.name for key in self.record.keys])
        keys = pl.Series(_KEY, entities_bytes(self.record.keys, rows), pl.Binary)
        if self.record.event_id:
            if nulls := rows[self.record.event_id].null_count():
                path = f"{self.record.name}.{self.record.event_id}"
                raise InvalidError(path, counted(nulls, "null"), "an id in every row", "Drop these rows.")
            told = pl.col(self.record.event_id).cast(pl.String)
        else:
            told = pl.col(NUMBER).cast(pl.String).str.zfill(_DIGITS)
        ordered = rows.with_columns(keys, told.alias(NUMBER)).sort(_KEY, EVENT, NUMBER, CREATED, maintain_order=True)
        return ordered.unique([_KEY, EVENT, NUMBER], keep="first", maintain_order=True)


class _Events:
    """Ordered rows as arrays and lists."""

    def __init__(self, ordered: pl.DataFrame, record: ViewRecord, spec: Aggregation) -> None:
        self.keys: list[bytes] = ordered[_KEY].to_list()
        self.entity = (ordered[_KEY] != ordered[_KEY].shift(1)).fill_null(value=True).cum_sum().to_numpy()
        self.time = ordered[EVENT].to_numpy()
        self.ids = ordered[NUMBER].to_numpy()
        self.known = ordered[CREATED].to_numpy() if record.created_time else np.full(ordered.height, ALWAYS_US)
        order = np.arange(ordered.height)
        self.columns = {name: _plain(column(ordered, name, kind, order)) for name, kind in spec.types.items()}

    def rows(self, hop: Hop, live: Any, tiles: Any) -> list[tuple[Any, ...]]:
        """Events as the tiles of a hop keep them."""
        values = [self.columns[name][live].tolist() for name in hop.columns]
        inside = (self.time[live] - tiles * hop.hop_us).tolist()
        return list(zip(inside, self.ids[live].tolist(), self.known[live].tolist(), *values, strict=True))


def _plain(found: Any) -> Any:
    """A column's values as folds take them, None for nulls."""
    if found.lookup is not None:
        texts = np.array([*found.lookup.to_list(), None], object)
        return texts[found.data if found.null is None else np.where(found.null, -1, found.data)]
    data = found.data.astype(bool) if found.type.family in ("bool", "any") else found.data
    if found.null is None:
        return data
    values = data.astype(object)
    values[found.null] = None
    return values


def spec_of(record: ViewRecord) -> Aggregation:
    """The aggregates of a view, held to the types of their columns."""
    return aggregation(record.aggregates, record.columns)


def state_of(definition: Definition) -> StoredValues | StoredTiles:
    """How the online state of a version of a view is kept."""
    record = definition.record
    assert isinstance(record, ViewRecord)
    return StoredTiles(definition) if record.aggregates else StoredValues(definition)


def writes(items: Iterable[_Item], tail_bytes: int = 0) -> Iterator[list[_Item]]:
    """Changes in writes of some thousand keys and some MiB, so that none holds up a server for long.

    Keys that differ in nothing but their last `tail_bytes` come in one write, unless they are larger than one.
    """
    piece: list[_Item] = []
    size_bytes, entity = 0, b""
    for item in items:
        new = item[0][: len(item[0]) - tail_bytes]
        times = 2 if new == entity else 1
        if len(piece) >= times * _WRITTEN_AT_ONCE or size_bytes >= times * _WRITTEN_BYTES:
            yield piece
            piece, size_bytes = [], 0
        piece.append(item)
        size_bytes += sum(map(len, filter(None, item)))
        entity = new
    if piece:
        yield piece
