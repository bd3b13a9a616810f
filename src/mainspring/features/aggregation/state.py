"""The online state of one entity: its tiles, each addressable alone, so that an event of a hot entity rewrites few bytes."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from mainspring.features.aggregation.aggregation import Aggregation, Feature, Hop
from mainspring.features.aggregation.folds import State
from mainspring.features.aggregation.tiles import GROUP_TILES, Tile, TileId


def tiles_of_event(spec: Aggregation, time_us: int) -> list[TileId]:
    """The tiles that an event at a time changes: one for each hop."""
    return [TileId(hop.hop_us, time_us // hop.hop_us) for hop in spec.hops]


def tiles_of_read(spec: Aggregation, at_us: int) -> list[TileId]:
    """The tiles that an answer at an instant may need, in order of hop and time."""
    return [TileId(hop.hop_us, tile) for hop in spec.hops for tile in _reach(hop, at_us, hop.longest_us)]


def places_of_read(spec: Aggregation) -> dict[str, range]:
    """Where the tiles that a feature needs stand among those of `tiles_of_read`, at any instant.

    >>> from mainspring.features.aggregation import agg, aggregation
    >>> places_of_read(aggregation([agg.count(windows=["1h", "2h"])], {}))
    {'count_1h': range(12, 25), 'count_2h': range(0, 25)}
    """
    found: dict[str, range] = {}
    end = 0
    for hop in spec.hops:
        end += len(_reach(hop, 0, hop.longest_us))
        for feature in hop.features:
            found[feature.name] = range(end - len(_reach(hop, 0, feature.declared.window_us)), end)
    return found


class EntityState:
    """The events and partial states of one entity, for one set of aggregates.

    `tiles` are the stored ones: those of `tiles_of_event` suffice to take an event, those of `tiles_of_read` to answer.
    Each is stored under `TileId.key(entity)`; `changes` says what to write. It does no I/O and isn't safe for threads.

    >>> from mainspring.features.aggregation import agg, aggregation
    >>> spec = aggregation([agg.mean("delay", "1h").named("late")], {"delay": "f64"})
    >>> state = EntityState(spec)
    >>> state.update("a", 60_000_000, {"delay": 4.0}), state.update("b", 30_000_000, {"delay": 1.0})
    (True, True)
    >>> state.update("a", 60_000_000, {"delay": 4.0})
    False
    >>> state.read(59_999_999), state.read(60_000_000), state.read(7_200_000_000)
    ({'late': 1.0}, {'late': 2.5}, {'late': None})
    """

    def __init__(self, spec: Aggregation, tiles: Mapping[TileId, bytes] | None = None) -> None:
        self._spec = spec
        self._stored: dict[TileId, bytes] = dict(tiles or {})
        self._tiles: dict[TileId, Tile] = {}
        self._changed: dict[TileId, None] = {}

    def update(self, event_id: str, time_us: int, values: Mapping[str, object], known_us: int | None = None) -> bool:
        """Take an event, in any order; gives whether it changes anything: repeated ones don't.

        An event is known by its time and id; `known_us` is when it was (None: always). Of two that differ in what else
        they say, the one counts that was known first.

        Raises:
            WrongTypeError: a value is of another type than its column.
            InvalidError: a value is beyond its column's type.
        """
        plain = self._spec.plain(values)
        new = False
        for hop, place in zip(self._spec.hops, tiles_of_event(self._spec, time_us), strict=True):
            tile = self._tile(hop, place) or self._tiles.setdefault(place, Tile(hop))
            if tile.add(time_us % hop.hop_us, event_id, known_us, plain):
                self._changed[place] = None
                new = True
        return new

    def read(self, at_us: int, *, guard: bool = True) -> dict[str, object]:
        """The features at an instant, as Python values; with the guard over the events that were known by then.

        Raises:
            InvalidError: a sum is beyond 64 bits.
        """
        results = {
            feature.name: feature.python(feature.result(state))
            for hop in self._spec.hops
            for feature, state in self._windows(hop, at_us, at_us if guard else None)
        }
        return {name: results[name] for name in self._spec.names}

    def expire(self, watermark_us: int, lateness_us: int = 0) -> int:
        """Drop the tiles that no instant from `watermark − lateness` on reads; gives how many.

        That is a tile which ended more than its longest window and one hop before. Earlier instants can't be read then.
        """
        dropped = 0
        longest = {hop.hop_us: hop for hop in self._spec.hops}
        for place in self.tile_ids():
            hop = longest[place.hop_us]
            if place.tile < _reach(hop, watermark_us - lateness_us, hop.longest_us).start:
                self._tiles.pop(place, None)
                self._stored.pop(place, None)
                self._changed[place] = None
                dropped += 1
        return dropped

    def changes(self) -> dict[TileId, bytes | None]:
        """The tiles that changed since the state was opened or the changes were taken, as bytes; None is a dropped one."""
        changed = {place: tile.encode() if (tile := self._tiles.get(place)) else None for place in self._changed}
        for place, data in changed.items():
            if data is not None:
                self._stored[place] = data
        self._changed = {}
        return changed

    def tile_ids(self) -> list[TileId]:
        """The tiles that hold events, in order of hop and time."""
        return sorted(self._stored.keys() | self._tiles.keys())

    def _tile(self, hop: Hop, place: TileId) -> Tile | None:
        tile = self._tiles.get(place)
        if tile is None and place in self._stored:
            tile = self._tiles[place] = Tile.decode(self._stored[place], hop)
        return tile

    def _windows(self, hop: Hop, at_us: int, known_by_us: int | None) -> Iterable[tuple[Feature, State | None]]:
        """Each feature of a hop with the state of its window, merged from its tiles in time order, by groups."""
        hop_us, reach = hop.hop_us, _reach(hop, at_us, hop.longest_us)
        places = [
            place for place in self._stored.keys() | self._tiles.keys() if place[0] == hop_us and place[1] in reach
        ]
        held = {}
        for place in sorted(places):
            if tile := self._tile(hop, place):
                held[place.tile] = tile.partials_at(at_us - place.tile * hop_us, known_by_us)
        merged: dict[tuple[int, int], State | None] = {}
        for feature in hop.features:
            window = feature.declared.window_us, feature.place
            if window not in merged:
                start = _reach(hop, at_us, window[0]).start
                merged[window] = _merged(feature, {at: held[at] for at in held if at >= start}, at_us // hop_us)
            yield feature, merged[window]


def _reach(hop: Hop, at_us: int, window_us: int) -> range:
    """The tiles of a window at an instant, oldest first."""
    head = at_us // hop.hop_us
    return range(head - window_us // hop.hop_us, head + 1)


def _merged(feature: Feature, partials: Mapping[int, list[State | None]], head: int) -> State | None:
    """The state of tiles by number, in order: those of a group first, but for the head's, then the groups."""
    joined = feature.use.fold.joined
    whole: State | None = None
    group: State | None = None
    current = None
    for number, partial in partials.items():
        later = partial[feature.place]
        if later is None:
            continue
        if number // GROUP_TILES != current or current == head // GROUP_TILES:
            whole, group, current = joined(whole, group), None, number // GROUP_TILES
        group = joined(group, later)
    return joined(whole, group)
