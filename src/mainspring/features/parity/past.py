"""The past of a view as the online store knew it: for each row of its source, from which read on the store reflected it.

A watermark is one number, its level: an instant of a dataset, an offset of a stream. A row needs a level, and a read sees
the rows that need no more than its own. Where later reads have no lower levels, that is the same as a time from which on a
row was known; so the joins and aggregates of training sets answer for all reads at once, each as of its watermark.
"""

from __future__ import annotations

from copy import copy
from typing import Any

import numpy as np
import numpy.typing as npt
import polars as pl

from mainspring.errors import InvalidError
from mainspring.features.definitions.functions import Functions
from mainspring.features.definitions.records import ViewRecord
from mainspring.features.online.rows import CREATED, EVENT, timed_rows
from mainspring.streams.columns import EVENT_ID, EVENT_OFFSET

Whole = npt.NDArray[np.int64]
NEEDS, KNOWN = "__needs", "__known"  # no feature is called so
NOTHING, EVERYTHING = int(np.iinfo(np.int64).min), int(np.iinfo(np.int64).max)
"""The levels at which no row is seen, and each."""


class Past:
    """The rows of a view over one version of its source, with their times and the levels that they need."""

    def __init__(self, record: ViewRecord, source: pl.LazyFrame, functions: Functions) -> None:
        self.record, self.source, self.functions = record, source, functions
        frame = _rows(record, source, functions)
        needs = pl.col(EVENT_OFFSET) if record.stream is not None else pl.max_horizontal(EVENT, CREATED)
        frame = frame.with_columns(needs.alias(NEEDS))
        # Equal times are told apart by the created time and then by place, also once that time is another.
        self.frame = frame if record.aggregates and not record.event_id else frame.sort(CREATED, maintain_order=True)
        self._waiting: tuple[Whole, Whole] | None = None

    @property
    def size_bytes(self) -> int:
        """What the rows take in memory."""
        return int(self.frame.estimated_size())

    def as_of(self, at: Whole, level: Whole) -> pl.DataFrame:
        """The rows with the time from which on they were known, for reads of which none later has a lower level."""
        order = np.lexsort((level, at))
        levels, instants = level[order], at[order]
        first = np.searchsorted(levels, self.frame.get_column(NEEDS).to_numpy())
        seen = first < len(levels)
        frame = self.frame.filter(pl.Series(seen))
        return _known(frame, np.maximum(frame.get_column(CREATED).to_numpy(), instants[first[seen]]))

    def known(self, *, guard: bool = True) -> pl.DataFrame:
        """All rows, known from their created time on; without the guard as soon as they happened."""
        return _known(self.frame, self.frame.get_column(CREATED if guard else EVENT))

    def of(self, frame: pl.DataFrame) -> Past:
        """The same of other rows."""
        past = copy(self)
        past.frame, past._waiting = frame, None
        return past

    def shifted(self, offset_us: int) -> Past:
        """The same if the times that the source says were so much later; when a stream took an event is the log's word."""
        times = [EVENT] if self.record.stream is not None else [EVENT, CREATED, NEEDS]
        return self.of(self.frame.with_columns(pl.col(times) + offset_us))

    def waiting_us(self, at: Whole, level: Whole) -> Whole:
        """For how long a row that was known at each read had been waiting to be seen; 0 if none had."""
        if self._waiting is None:
            ordered = self.frame.select(NEEDS, pl.max_horizontal(EVENT, CREATED)).sort(NEEDS)
            needs, known = (column.to_numpy() for column in ordered)
            # The first of those behind a level to be known.
            self._waiting = needs, np.minimum.accumulate(known[::-1])[::-1]
        needs, known = self._waiting
        place = np.searchsorted(needs, level, "right")
        earliest = np.append(known, np.iinfo(np.int64).max)[place]
        return np.where(earliest <= at, at - np.minimum(earliest, at), 0)


def chains(at: Whole, level: Whole) -> list[Whole]:
    """The places of reads, parted so that in no part a later read has a lower level; as few parts as can be.

    >>> [part.tolist() for part in chains(np.array([1, 2, 3, 3]), np.array([5, 7, 6, 8]))]
    [[0, 1, 3], [2]]
    """
    order = np.lexsort((level, at))
    instants, levels = at[order], level[order]
    same = instants[1:] == instants[:-1]
    if not ((levels[1:] < levels[:-1]) | (same & (levels[1:] != levels[:-1]))).any():
        return [order] if len(order) else []
    parts: list[list[int]] = []
    ends: list[tuple[int, int]] = []
    for place, instant, lowest in zip(order.tolist(), instants.tolist(), levels.tolist(), strict=True):
        fits = [
            number for number, (last, end) in enumerate(ends) if end == lowest or (end < lowest and last != instant)
        ]
        best = max(fits, key=lambda number: ends[number][1], default=len(parts))
        if best == len(parts):
            parts.append([])
            ends.append((0, 0))
        parts[best].append(place)
        ends[best] = instant, lowest
    return [np.array(part, np.int64) for part in parts]


def _rows(record: ViewRecord, source: pl.LazyFrame, functions: Functions) -> pl.DataFrame:
    """The rows of a view; those of a stream with the offsets of their events."""
    frame = timed_rows(record, source, functions)
    if record.stream is None or EVENT_OFFSET in frame.columns:
        return frame
    if record.transform is None:
        return frame.hstack(source.select(EVENT_OFFSET).collect())
    if record.event_id != EVENT_ID:
        raise InvalidError(
            f"{record.name}.event_id", record.event_id, f"`{EVENT_ID}`, by which rows of the transform are found again"
        )
    offsets = source.select(EVENT_ID, EVENT_OFFSET).collect()
    return frame.join(offsets, on=EVENT_ID, how="left", maintain_order="left", validate="m:1")


def _known(frame: pl.DataFrame, known_us: Any) -> pl.DataFrame:
    return frame.with_columns(
        pl.Series(KNOWN, known_us, pl.Int64).cast(pl.Datetime("us")), pl.col(EVENT).cast(pl.Datetime("us"))
    )
