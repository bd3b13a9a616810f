"""Rows at hand on their way to become a version: parts are written once, digest and manifest for each head."""

from __future__ import annotations

import polars as pl

from mainspring.artifacts import LEAF_ROWS, TableDigest, TableHasher
from mainspring.data.tables.draft import TableDraft
from mainspring.data.tables.manifest import Listing, Part, read_listing, write_listing
from mainspring.data.tables.parts import aligned, read_tail, write_parts
from mainspring.data.version import DatasetVersion
from mainspring.store import BlobStore


class FrameDraft(TableDraft):
    """Rows on their way to become a version.

    `before` is the draft that the same handle committed last: it knows the parts and the last leaf's rows of the head,
    which otherwise are read back. Nothing is written before the digest shows that something changed.
    """

    def __init__(self, name: str, frame: pl.DataFrame, blobs: BlobStore, before: FrameDraft | None = None) -> None:
        super().__init__(name, blobs)
        self.frame = frame
        self.tail: pl.DataFrame | None = None
        self._before = before
        self._parts: tuple[Part, ...] | None = None

    def put_behind(self, head: DatasetVersion | None) -> None:
        """Digest the rows as those behind a version's, or as a table of their own."""
        if head is None:
            if self._digest is None or self._base is not None:
                self._base = None
                hasher = TableHasher()
                hasher.update(self.frame)
                self._digest = hasher.finish()
                self.tail = self.frame.tail(self._digest.tail_rows)
            return
        known = self._before
        if known is not None and (known.listing is None or known.listing.blob != head.manifest):
            known = None  # another writer was faster, or the head was compacted
        self._base = (known.listing if known else None) or read_listing(self.blobs, head.manifest)
        parts = self._base.parts
        frame = aligned(self.frame, head.schema, self.blobs, parts[0] if parts else None, self.name)
        if list(frame.schema.items()) != list(self.frame.schema.items()):
            self.frame, self._parts = frame, None
        previous = TableDigest(head.content_digest, head.rows, self._base.leaves, head.schema)
        tail = known.tail if known else read_tail(self.blobs, parts, previous.tail_rows)
        if tail is None and previous.tail_rows:  # a table without columns
            tail = pl.DataFrame(height=previous.tail_rows)
        if known and tail is not None:  # the draft before digested these rows; read back they are held to the digest
            full = head.rows - previous.tail_rows
            hasher = TableHasher.resume(TableDigest("", full, previous.leaves[: full // LEAF_ROWS], head.schema))
            hasher.update(tail)
        else:
            hasher = TableHasher.resume(previous, tail)
        hasher.update(self.frame)
        self._digest = hasher.finish()
        whole = self.frame if tail is None else pl.concat([tail, self.frame]) if tail.columns else None
        self.tail = None if whole is None else whole.tail(self._digest.rows % LEAF_ROWS)

    def write(self) -> tuple[Listing, list[str]]:
        """The parts of these rows, unless they are written, and a manifest that names them."""
        if self._parts is None:
            self._parts = write_parts(self.frame, self.blobs)
        listing, written = write_listing(self.blobs, self._base, self._parts, self.digest.leaves)
        return listing, [*written, *(part.blob for part in self._parts)]

    def settled(self, version: DatasetVersion) -> FrameDraft:
        """What the next append can build on; the rows themselves are let go but for the last leaf's."""
        kept = FrameDraft(self.name, self.frame.clear(), self.blobs)
        kept.listing = self.listing if self.listing and self.listing.blob == version.manifest else None
        kept.tail = self.tail
        if self.tail is not None and self.frame.height > LEAF_ROWS:
            kept.tail = self.tail[list(range(self.tail.height))]  # a copy: a slice would keep the whole frame alive
        return kept
