"""Rows at hand on their way to become a version."""

from __future__ import annotations

from collections.abc import Iterator

import polars as pl

from mainspring.artifacts import LEAF_ROWS, TableDigest, TableHasher
from mainspring.data.tables.draft import AppendDraft
from mainspring.data.tables.manifest import Part
from mainspring.data.tables.parts import write_parts
from mainspring.data.version import DatasetVersion
from mainspring.store import BlobStore

_MOST_CHUNKS = 16


class FrameDraft(AppendDraft):
    """Rows in memory on their way to become a version.

    `before` is the draft that the same handle committed last: it knows the parts and the last leaf's rows of the head,
    which otherwise are read back. Nothing is written before the digest shows that something changed.
    """

    def __init__(self, name: str, frame: pl.DataFrame, blobs: BlobStore, before: FrameDraft | None = None) -> None:
        super().__init__(name, blobs)
        self.frame = self._given = frame
        self.tail: pl.DataFrame | None = None
        self._before = before

    def frames(self) -> Iterator[pl.DataFrame]:
        """All rows in one frame."""
        yield self.frame

    def own_parts(self) -> tuple[Part, ...]:
        """Parts of at most 4,194,304 rows."""
        return write_parts(self.frame, self.blobs)

    @property
    def size(self) -> tuple[int, int]:
        """Rows, and bytes in memory."""
        return self.frame.height, int(self.frame.estimated_size())

    def fit(self, head: DatasetVersion | None) -> None:
        """Order the columns as the version's, and give one of nulls alone its type."""
        frame = self._given if head is None else self._aligned(self._given, head)
        if list(frame.schema.items()) != list(self.frame.schema.items()):
            self.frame, self._parts = frame, None

    def put_behind(self, head: DatasetVersion | None) -> None:
        """Digest the rows as those behind a version's, or as a table of their own."""
        super().put_behind(head)
        rows = self.digest.tail_rows
        tail = self.frame.tail(rows)
        if self._behind is not None and tail.height < rows:
            tail = pl.concat([self._behind.tail(rows - tail.height), tail]) if tail.columns else self.frame.clear(rows)
        # A chunk for each append would make every later one slower.
        self.tail = tail.rechunk() if tail.columns and tail.n_chunks() > _MOST_CHUNKS else tail

    def _resumed(self, head: DatasetVersion) -> TableHasher:
        known = self._before
        if known is None or known.listing is None or known.listing.blob != head.manifest:
            return super()._resumed(head)  # another writer was faster, or the head was compacted
        self._base = base = known.listing
        self.fit(head)
        self._behind = tail = known.tail
        # The draft before digested these rows; read back they would be held to the digest.
        full = head.rows // LEAF_ROWS * LEAF_ROWS
        hasher = TableHasher.resume(TableDigest("", full, base.leaves[: full // LEAF_ROWS], head.schema))
        if tail is not None:
            hasher.update(tail)
        return hasher

    def settled(self, version: DatasetVersion) -> FrameDraft:
        """What the next append can build on; the rows themselves are let go but for the last leaf's."""
        kept = FrameDraft(self.name, self.frame.clear(), self.blobs)
        kept.listing = self.listing if self.listing and self.listing.blob == version.manifest else None
        kept.tail = self.tail
        if self.tail is not None and self.frame.height > LEAF_ROWS:
            kept.tail = self.tail[list(range(self.tail.height))]  # a copy: a slice would keep the whole frame alive
        return kept
