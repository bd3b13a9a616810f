"""Upserts and deletes: a draft that drops rows of a version's parts and puts rows behind them.

A changed row is dropped where it stood and stands behind the others afterwards, so rows keep their order but for those
that were changed. Parts are not rewritten, but for small ones at the end, which are folded into what is added. Rows behind
the first dropped one move up, so leaves are digested from there.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import polars as pl
from msgspec.structs import replace

from mainspring.artifacts import LEAF_ROWS, TableDigest, TableHasher
from mainspring.data.tables.draft import TableDraft
from mainspring.data.tables.keys import Find, Hits
from mainspring.data.tables.layout import first_folded
from mainspring.data.tables.manifest import Listing, Part, read_listing, write_listing
from mainspring.data.tables.parts import read_parts, stored_chunks, types_of, without, write_parts
from mainspring.data.tables.positions import (
    NONE,
    Positions,
    all_dropped,
    between,
    position_of,
    row_at,
    starts_of,
    united,
    write_dropped,
)  # fmt: skip
from mainspring.data.version import DatasetVersion
from mainspring.errors import NotFoundError
from mainspring.store import BlobStore


class EditDraft(TableDraft):
    """An edit on its way to become a version: `find` says which rows of a version it is about, `given` replaces those.

    `given` has a row for each key; those equal to the row that stands there change nothing. None deletes.
    """

    def __init__(self, name: str, blobs: BlobStore, find: Find, given: pl.DataFrame | None) -> None:
        super().__init__(name, blobs)
        self.find, self.given = find, given
        self._dropped: Positions = NONE
        self._added = pl.DataFrame()
        self._parts: tuple[pl.DataFrame, tuple[Part, ...]] | None = None

    def put_behind(self, head: DatasetVersion | None) -> None:
        """Find the rows of this version that change, and digest what it is then.

        Raises:
            NotFoundError: there is no version to delete from.
            InvalidError: the keys or columns don't fit; which, is named.
        """
        if head is None:
            if self.given is None:
                raise NotFoundError("dataset", self.name, hint="Nothing was deleted.")
            self.find(self.blobs, (), self.given, ())
            self._base, self._dropped, self._added = None, NONE, self.given
            hasher = TableHasher()
            hasher.update(self.given)
            self._digest = hasher.finish()
            return
        self._base = read_listing(self.blobs, head.manifest)
        parts = self._base.parts
        given = None if self.given is None else self._aligned(self.given, head)
        hits = self.find(self.blobs, parts, given, head.schema)
        self._digest = self._digested(head, self._base, hits, given)

    def _digested(self, head: DatasetVersion, base: Listing, hits: Hits, given: pl.DataFrame | None) -> TableDigest:
        """What the table is without the rows that change and with the new ones, from the first leaf on that may differ."""
        if not base.parts:  # without columns, so that nothing was found
            return TableDigest(head.content_digest, head.rows, base.leaves, head.schema)
        before = all_dropped(self.blobs, base.parts)
        first = row_at(int(hits.positions[0]), before) if len(hits.positions) else head.rows
        leaf = first // LEAF_ROWS
        hasher = TableHasher.resume(TableDigest("", leaf * LEAF_ROWS, base.leaves[:leaf], head.schema))
        dropped, same = [NONE], [NONE]
        for at, frame in stored_chunks(self.blobs, base.parts, position_of(leaf * LEAF_ROWS, before)):
            here = between(hits.positions, at, at + frame.height)
            places, rows = hits.positions[here], hits.rows[here]
            if given is not None and len(places):
                equal = _equal_rows(frame[places - at], given[rows])
                same.append(rows[equal])
                places = places[~equal]
            dropped.append(places)
            gone = united(before[between(before, at, at + frame.height)], places)
            hasher.update(without(frame, gone - at))
        self._dropped = np.concatenate(dropped)
        self._added = without(given, np.concatenate(same)) if given is not None else pl.DataFrame()
        if given is not None:
            hasher.update(self._added)
        return hasher.finish()

    def write(self) -> tuple[Listing, list[str]]:
        """Deletion vectors of the rows that are dropped, parts of those that are added, a manifest that names both."""
        parts = self._base.parts if self._base else ()
        gone = self._gone(parts)
        left = [(place, _left_of(part, gone.get(place))) for place, part in enumerate(parts)]
        left = [(place, part) for place, part in left if part.rows or place not in gone]
        start = first_folded(tuple(part for _, part in left), self._added.height, int(self._added.estimated_size()))
        folded = [place for place, _ in left[start:]]
        added = self._written([self._rows_left(parts[place], gone.get(place)) for place in folded], kept=start > 0)
        changed: dict[int, Part | None] = dict.fromkeys([*gone, *folded])
        for place, part in left[:start]:
            if place in gone:
                vector = write_dropped(self.blobs, gone[place], part.stored_rows)
                changed[place] = replace(part, dropped=vector)
        listing, written = write_listing(self.blobs, self._base, added, self.digest.leaves, changed)
        vectors = [part.dropped for part in changed.values() if part is not None]
        return listing, [*vectors, *written, *(part.blob for part in added)]

    def _written(self, folded: list[pl.DataFrame], *, kept: bool) -> tuple[Part, ...]:
        """The parts of the rows that are added; one without rows where no other would say the columns' types."""
        frame = pl.concat([*folded, self._added]) if folded else self._added
        if not frame.height and self._base is not None:
            if kept:
                return ()
            frame = types_of(self.blobs, self._base.parts)
        if self._parts is None or not self._parts[0].equals(frame):
            self._parts = frame, write_parts(frame, self.blobs)
        return self._parts[1]

    def _gone(self, parts: tuple[Part, ...]) -> dict[int, Positions]:
        """The positions of all rows that a part has lost by now, for each that loses some, by its place."""
        if not len(self._dropped):
            return {}
        starts, before = starts_of(parts), all_dropped(self.blobs, parts)
        gone = {}
        for place in sorted(set((starts.searchsorted(self._dropped, side="right") - 1).tolist())):
            start, end = int(starts[place]), int(starts[place + 1])
            here = self._dropped[between(self._dropped, start, end)]
            gone[place] = united(before[between(before, start, end)], here) - start
        return gone

    def _rows_left(self, part: Part, gone: Positions | None) -> pl.DataFrame:
        if gone is None:
            return read_parts(self.blobs, (part,))
        return without(
            read_parts(self.blobs, (replace(part, rows=part.stored_rows, dropped="", dropped_rows=0),)), gone
        )


def _left_of(part: Part, gone: Positions | None) -> Part:
    """What is left of a part; its deletion vector is still to be written."""
    if gone is None:
        return part
    return replace(part, rows=part.stored_rows - len(gone), dropped="", dropped_rows=len(gone))


def _equal_rows(stored: pl.DataFrame, given: pl.DataFrame) -> np.ndarray[Any, np.dtype[np.bool_]]:
    """Which rows hold the same values in every column; every NaN is the same, and −0.0 is 0.0."""
    equal = np.ones(stored.height, np.bool_)
    for old, new in zip(_as_text(stored), _as_text(given), strict=True):
        equal &= ~old.ne_missing(new).to_numpy()
    return equal


def _as_text(frame: pl.DataFrame) -> Sequence[pl.Series]:
    """The columns, those of categories as text."""
    return frame.with_columns(pl.col(pl.Categorical).cast(pl.String)).get_columns()
