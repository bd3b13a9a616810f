"""Which states make up the answer of each row: where its window lies among the sorted events, and what was known by then.

The state at an event is that of its tile's events up to it. So a tile whose known events are its first ones is a state
that is there already; only where an event was known before an earlier one of its tile are events folded again. Tiles are
merged by groups (`tiles.GROUP_TILES`), which the windows of many rows share.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, NamedTuple

import numpy as np

from mainspring.features.aggregation.chains import Array, Arrays, Runs, chunks, expanded
from mainspring.features.aggregation.tiles import GROUP_TILES
from mainspring.features.aggregation.vector_folds import GroupedRuns, VectorFold

_PAIRS = 1 << 21  # (row, tile) and (row, event) pairs that are held at a time
_WIDEST = 2**62


class Events(NamedTuple):
    """Events sorted by entity, time and id; `known` is when each was known, None if all always were."""

    entity: Array
    time: Array
    known: Array | None

    def taken(self, some: Any) -> Events:
        """Some of them."""
        return Events(self.entity[some], self.time[some], None if self.known is None else self.known[some])


class Rows(NamedTuple):
    """Rows sorted by entity and instant."""

    entity: Array
    at: Array


class Timeline:
    """Finds the first event of an entity at or after an instant. `values` must not fall within an entity."""

    def __init__(self, entity: Array, values: Array) -> None:
        self._low, self._high = (int(values.min()), int(values.max())) if len(values) else (0, 0)
        self._ranks: Array | None = None
        self._behind = int(entity[-1]) + 1 if len(entity) else 0
        span = self._high - self._low + 3
        if span * (self._behind + 1) >= _WIDEST:
            self._ranks = np.unique(values)
            values, span = np.searchsorted(self._ranks, values), len(self._ranks) + 3
            self._low, self._high = 0, len(self._ranks)
        self._span = span
        self._line = entity * span + (values - self._low + 1)

    def first(self, entity: Array, values: Array, *, after: bool = False) -> Array:
        """The index of the first event of each entity whose value is at least the one asked for, or `after` it."""
        if self._ranks is not None:
            values = np.searchsorted(self._ranks, values, "right" if after else "left")
            after = False
        offset = np.clip(values, self._low - 1, self._high + 1) - self._low + 1
        entity = np.minimum(entity, self._behind)
        found: Array = np.searchsorted(self._line, entity * self._span + offset, "right" if after else "left")
        return found


class Tiles:
    """The tiles of one length that hold events, in order."""

    def __init__(self, events: Events, hop_us: int) -> None:
        number = events.time // hop_us
        begins = _changes(number, events.entity)
        self.hop_us, self.events = hop_us, events
        self.of_event = np.cumsum(begins) - 1
        self.first = np.flatnonzero(begins)
        self.number = number[self.first]
        self.group = self.number // GROUP_TILES  # its number among those of the entity
        begins = _changes(self.group, events.entity[self.first])
        self.group_of = np.cumsum(begins) - 1
        self.first_of_group = np.flatnonzero(begins)
        self.runs = Runs(self.first, np.diff(self.first, append=len(number)))
        self.last = self.first + self.runs.length - 1
        self.time = Timeline(events.entity, events.time)
        self.mixed = False
        if events.known is not None and len(number):
            self.latest = _running_max(events.known, self.of_event)
            self.mixed = bool((events.known < self.latest).any())
            self.earliest_behind = -_running_max(-events.known[::-1], -self.of_event[::-1])[::-1]
            self.known = Timeline(events.entity, _running_max(events.known, events.entity))


class Spans(NamedTuple):
    """Rows with their events [low, high) by time; from `unsure` on, at a tile's begin, not all are known and in time.

    `group` is the number of the group of tiles that the instant is in; an `unsure` before it is at a group's begin.
    """

    at: Array
    group: Array
    low: Array
    high: Array
    unsure: Array
    first_unknown: Array

    def taken(self, part: slice) -> Spans:
        """Some of them."""
        return Spans(*(array[part] for array in self))


def spans(tiles: Tiles, rows: Rows, window_us: int) -> Spans:
    """Where the windows of rows lie among the events."""
    head = rows.at // tiles.hop_us
    head_us, group = head * tiles.hop_us, head // GROUP_TILES
    low = tiles.time.first(rows.entity, head_us - window_us)
    high = tiles.time.first(rows.entity, rows.at, after=True)
    unsure, unknown = high.copy(), high
    if len(tiles.first):
        newest = tiles.of_event[np.maximum(high - 1, 0)]
        in_head = (high > low) & (tiles.number[newest] == head)
        unsure[in_head] = tiles.first[newest[in_head]]
    if tiles.events.known is not None and len(tiles.first):
        unknown = np.minimum(tiles.known.first(rows.entity, rows.at, after=True), high)
        inside = unknown < high
        tile = tiles.of_event[unknown[inside]]
        before = tiles.group[tile] < group[inside]
        tile[before] = tiles.first_of_group[tiles.group_of[tile[before]]]
        unsure[inside] = np.clip(tiles.first[tile], low[inside], unsure[inside])
    return Spans(rows.at, group, low, high, unsure, np.maximum(unknown, low))


class _Members(NamedTuple):
    """States of a pool by number: those at events, which come first, and others, found once for all folds."""

    at_event: Array
    elsewhere: Array
    events: Array
    others: Array

    @classmethod
    def of(cls, states: Array, events: int) -> _Members:
        """The states of these numbers, `events` being how many are at events."""
        at_event, elsewhere = np.flatnonzero(states < events), np.flatnonzero(states >= events)
        return cls(at_event, elsewhere, states[at_event], states[elsewhere] - events)

    def gathered(self, running: Arrays, pools: list[Arrays]) -> Arrays:
        """The states, in order."""
        found = []
        for place, state in enumerate(running):
            gathered = np.empty(len(self.events) + len(self.others), state.dtype)
            gathered[self.at_event] = state[self.events]
            gathered[self.elsewhere] = np.concatenate([pool[place] for pool in pools])[self.others]
            found.append(gathered)
        return tuple(found)


class Plan:
    """The states that a slice of rows is merged from: `[at events | of whole runs of tiles | folded again | of groups]`.

    `some` says which rows have any event.
    """

    def __init__(self, tiles: Tiles, rows: Spans) -> None:
        self._tiles = tiles
        has_run = rows.unsure > rows.low
        run_of_row = self._name_runs(rows, has_run)
        pair_row, pair_tile, pair_state, self._refolded = self._name_pairs(rows)
        offset = len(tiles.events.time)
        again = pair_state < 0
        pair_state[again] = offset + len(self._whole.first) + np.arange(int(again.sum()))
        in_group = tiles.group[pair_tile] < rows.group[pair_row]
        pair_row, pair_state = self._name_groups(
            pair_row,
            pair_state,
            in_group,
            tiles.group_of[pair_tile],
            offset + len(self._whole.first) + int(again.sum()),
        )
        per_row = np.bincount(pair_row, minlength=len(rows.at))
        length = per_row + has_run
        start = np.cumsum(length) - length
        parts = np.empty(int(length.sum()), np.int64)
        parts[start[has_run]] = offset + run_of_row
        behind = np.arange(len(pair_row)) - np.repeat(np.cumsum(per_row) - per_row, per_row)
        parts[start[pair_row] + has_run[pair_row] + behind] = pair_state
        self.some = np.flatnonzero(length)
        self._runs, self._parts = Runs(start[self.some], length[self.some]), _Members.of(parts, offset)

    def states(self, fold: VectorFold, running: Arrays, values: Array) -> Arrays:
        """The states of the rows that have any event, in order."""
        pools = [fold.merged_by_groups(tuple(state[self._tiles.last] for state in running), self._whole)]
        for last, events, runs in self._refolded:
            pools.append(fold.resumed(running, last, values[events], runs))
        if len(self._groups.start):
            pools.append(fold.merged(self._grouped.gathered(running, pools), self._groups))
        return fold.merged(self._parts.gathered(running, pools), self._runs)

    def _name_runs(self, rows: Spans, has_run: Array) -> Array:
        """Runs of whole, known tiles, which neighbouring rows share; gives each row's."""
        tiles = self._tiles
        first = tiles.of_event[rows.low[has_run]]
        behind = tiles.of_event[rows.unsure[has_run] - 1] + 1
        is_head = tiles.group[behind - 1] == rows.group[has_run]
        new = _changes(first, behind, is_head)
        first, behind, is_head = first[new], behind[new], is_head[new]
        singles = np.where(is_head, np.maximum(first, tiles.first_of_group[tiles.group_of[behind - 1]]), behind)
        self._whole = GroupedRuns(first, singles, behind, tiles.group_of, tiles.first_of_group)
        return np.cumsum(new) - 1

    def _name_groups(
        self, row: Array, state: Array, in_group: Array, group: Array, number: int
    ) -> tuple[Array, Array]:  # fmt: skip
        """Rows and states of pairs, of which those in one group have become one, numbered from `number` on."""
        begins = _changes(row, group) | ~in_group
        start = np.flatnonzero(begins)
        length = np.diff(start, append=len(row))
        several = length > 1
        self._groups = Runs(np.cumsum(length[several]) - length[several], length[several])
        self._grouped = _Members.of(state[np.repeat(several, length)], len(self._tiles.events.time))
        found = state[start]
        found[several] = number + np.arange(int(several.sum()))
        return row[start], found

    def _name_pairs(self, rows: Spans) -> tuple[Array, Array, Array, list[tuple[Array, Array, Runs]]]:
        """The tiles behind the runs: for each with a known event its row, itself, and its state (negative: folded again)."""
        tiles, known = self._tiles, self._tiles.events.known
        some = np.flatnonzero(rows.unsure < rows.high)
        first = tiles.of_event[rows.unsure[some]]
        at, tile = expanded(first, tiles.of_event[rows.high[some] - 1] + 1 - first)
        row = some[at]
        end = np.minimum(tiles.last[tile] + 1, rows.high[row])
        if known is None:
            return row, tile, end - 1, []
        begin, by = tiles.first[tile], rows.at[row]
        unknown = _first_above(tiles.latest, begin, end, by)
        again = np.flatnonzero(unknown < end)
        again = again[tiles.earliest_behind[unknown[again]] <= by[again]]
        state = np.where(unknown > begin, unknown - 1, -1)
        known_any = unknown > begin
        refolded = []
        folded = np.zeros(len(row), bool)
        for part in chunks(end[again] - unknown[again], _PAIRS):
            pair = again[part]
            of, event = expanded(unknown[pair], end[pair] - unknown[pair])
            seen = known[event] <= by[pair][of]
            length = np.bincount(of[seen], minlength=len(pair))
            more = length > 0
            folded[pair[more]] = True
            kept = np.cumsum(length) - length
            refolded.append((state[pair[more]], event[seen], Runs(kept[more], length[more])))
        state[folded] = -1
        keep = known_any | folded
        return row[keep], tile[keep], state[keep], refolded


def plans(tiles: Tiles, rows: Spans) -> Iterator[tuple[slice, Plan]]:
    """Plans for slices of rows, each of a bounded number of (row, tile) pairs."""
    if not len(tiles.first):
        return
    inside = rows.unsure < rows.high
    pairs = np.ones(len(rows.at), np.int64)
    pairs[inside] += tiles.of_event[rows.high[inside] - 1] - tiles.of_event[rows.unsure[inside]]
    if tiles.mixed:
        pairs += rows.high - rows.first_unknown  # what may have to be folded again
    for part in chunks(pairs, _PAIRS):
        yield part, Plan(tiles, rows.taken(part))


def _changes(*columns: Array) -> Array:
    """Where a row differs from the one before; the first does."""
    found = np.ones(len(columns[0]), bool)
    found[1:] = columns[0][1:] != columns[0][:-1]
    for column in columns[1:]:
        found[1:] |= column[1:] != column[:-1]
    return found


def _running_max(values: Array, group: Array) -> Array:
    """The greatest value so far within each group; groups are numbers that don't fall."""
    low, span = int(values.min()), int(values.max()) - int(values.min()) + 1
    if span * (int(group[-1]) - int(group[0]) + 1) < _WIDEST:
        lift = (group - group[0]) * span - low  # each group above the one before
        lifted: Array = np.maximum.accumulate(values + lift) - lift
        return lifted
    begins = _changes(group)
    out = np.array(values)
    place = np.arange(len(values)) - np.flatnonzero(begins)[np.cumsum(begins) - 1]
    reach, longest = 1, int(place.max(initial=0))
    while reach <= longest:
        inside = np.flatnonzero(place >= reach)
        out[inside] = np.maximum(out[inside], out[inside - reach])
        reach *= 2
    return out


def _first_above(values: Array, begin: Array, end: Array, limit: Array) -> Array:
    """The first index in [begin, end) whose value is above the limit, else `end`; values don't fall within it."""
    # Most tiles are known to their end.
    low, high = np.where(values[end - 1] > limit, begin, end), end.copy()
    while len(open_ := np.flatnonzero(low < high)):
        middle = (low[open_] + high[open_]) // 2
        above = values[middle] > limit[open_]
        high[open_[above]] = middle[above]
        low[open_[~above]] = middle[~above] + 1
    return low
