"""Aggregates that need the events themselves: how many different values, the newest ones, the most frequent ones.

What was known of a window is its first events, up to the first unknown one, and some of those behind.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

import numpy as np

from mainspring.features.aggregation.chains import Array, chunks, expanded
from mainspring.features.aggregation.windows import Events, Spans

_PAIRS = 1 << 21  # (row, event) pairs that are held at a time


class Coded(NamedTuple):
    """Values by rank: `code` is that of each event among `values`, which are sorted and different, NaN last.

    `before` is the event of the same entity with the same value that comes before, or −1.
    """

    code: Array
    values: Array
    before: Array


class Known(NamedTuple):
    """The known events of rows: [low, sure), and `event` of `row` behind, in order."""

    low: Array
    sure: Array
    row: Array
    event: Array

    @property
    def behind(self) -> Array:
        """How many known events each row has behind the sure ones."""
        return np.bincount(self.row, minlength=len(self.low))

    def pairs(self, rows: Array) -> tuple[Array, Array]:
        """Each known event of some rows with the row."""
        row, event = expanded(self.low[rows], (self.sure - self.low)[rows])
        chosen = np.zeros(len(self.low), bool)
        chosen[rows] = True
        more = chosen[self.row]
        return np.concatenate([rows[row], self.row[more]]), np.concatenate([event, self.event[more]])


def coded(events: Events, values: Array) -> Coded:
    """The values of events by rank."""
    unique, code = np.unique(values, return_inverse=True)
    before = np.full(len(code), -1)
    if len(code):
        order = np.lexsort((np.arange(len(code)), code, events.entity))
        same = (code[order[1:]] == code[order[:-1]]) & (events.entity[order[1:]] == events.entity[order[:-1]])
        before[order[1:][same]] = order[:-1][same]
    return Coded(code, unique, before)


def known_events(events: Events, rows: Spans, *, whole: bool) -> Iterator[tuple[slice, Known]]:
    """What was known, for slices of rows with a bounded number of events to look at; `whole` windows, or their ends."""
    cost = rows.high - (rows.low if whole else rows.first_unknown) + 1
    for part in chunks(cost, _PAIRS):
        some = rows.taken(part)
        row, event = expanded(some.first_unknown, some.high - some.first_unknown)
        if events.known is not None:
            seen = events.known[event] <= some.at[row]
            row, event = row[seen], event[seen]
        yield part, Known(some.low, some.first_unknown, row, event)


def count_distinct(events: Events, rows: Spans, values: Coded) -> Array:
    """How many different values each row's known events have."""
    counts = np.zeros(len(rows.at), np.int64)
    for part, known in known_events(events, rows, whole=True):
        # Behind the first unknown event a value may be new or not; before it, an event is the first of its value or isn't.
        mixed = known.behind > 0
        plain = np.flatnonzero(~mixed)
        row, event = expanded(known.low[plain], (known.sure - known.low)[plain])
        row = plain[row]
        found = np.bincount(row[values.before[event] < known.low[row]], minlength=len(known.low))
        row, _, _ = _tally(*known.pairs(np.flatnonzero(mixed)), values)
        counts[part] = found + np.bincount(row, minlength=len(known.low))
    return counts


def newest(events: Events, rows: Spans, n: int) -> tuple[Array, Array]:
    """The newest known events of rows, up to n for each, newest first: which row, which event."""
    found: list[tuple[Array, Array]] = []
    for part, known in known_events(events, rows, whole=False):
        behind = known.behind
        ends = np.cumsum(behind)
        row, place = expanded(np.zeros_like(behind), np.minimum(behind + known.sure - known.low, n))
        late = place < behind[row]
        event = known.sure[row] - 1 - (place - behind[row])
        event[late] = known.event[ends[row[late]] - 1 - place[late]]
        found.append((row + part.start, event))
    return _joined(found)


def most_frequent(events: Events, rows: Spans, values: Coded, k: int) -> tuple[Array, Array]:
    """The k most frequent values of rows, ties by value: which row, which code."""
    found: list[tuple[Array, Array]] = []
    for part, known in known_events(events, rows, whole=True):
        row, code, count = _tally(*known.pairs(np.arange(len(known.low))), values)
        order = np.lexsort((code, -count, row))
        found.append(_heads(row[order], code[order], k, part.start))
    return _joined(found)


def largest(events: Events, rows: Spans, values: Coded, k: int) -> tuple[Array, Array]:
    """The k largest values of rows, repeats counted and NaN left out: which row, which code."""
    found: list[tuple[Array, Array]] = []
    for part, known in known_events(events, rows, whole=True):
        row, event = known.pairs(np.arange(len(known.low)))
        code = values.code[event]
        number = values.values[code] == values.values[code]
        row, code = row[number], code[number]
        order = np.lexsort((-code, row))
        found.append(_heads(row[order], code[order], k, part.start))
    return _joined(found)


def _tally(row: Array, event: Array, values: Coded) -> tuple[Array, Array, Array]:
    """Each different value of each row: row, code, how often."""
    width = max(len(values.values), 1)
    both, count = np.unique(row * width + values.code[event], return_counts=True)
    return both // width, both % width, count


def _heads(row: Array, code: Array, k: int, offset: int) -> tuple[Array, Array]:
    """The first k of each row."""
    place = np.arange(len(row)) - np.searchsorted(row, row)
    return row[place < k] + offset, code[place < k]


def _joined(found: list[tuple[Array, Array]]) -> tuple[Array, Array]:
    nothing = np.zeros(0, np.int64)
    return np.concatenate([nothing, *(row for row, _ in found)]), np.concatenate(
        [nothing, *(item for _, item in found)]
    )
