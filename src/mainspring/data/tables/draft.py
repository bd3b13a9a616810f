"""A table's version in the making: parts are written once, digest and manifest for each head that it is put behind."""

from __future__ import annotations

import polars as pl

from mainspring.artifacts import LEAF_ROWS, TableDigest, TableHasher
from mainspring.data.tables.manifest import Listing, Part, read_listing, write_listing
from mainspring.data.tables.parts import aligned, read_tail, write_parts
from mainspring.data.version import DatasetVersion, Kind, Source
from mainspring.store import BlobStore


class TableDraft:
    """Rows on their way to become a version.

    `before` is the draft that the same handle committed last: it knows the parts and the last leaf's rows of the head,
    which otherwise are read back. Nothing is written before the digest shows that something changed.
    """

    kind: Kind = "table"

    def __init__(self, name: str, frame: pl.DataFrame, blobs: BlobStore, before: TableDraft | None = None) -> None:
        self.name, self.frame, self.blobs = name, frame, blobs
        self.tail: pl.DataFrame | None = None
        self.listing: Listing | None = None
        self.written: list[str] = []
        self._before = before
        self._base: Listing | None = None
        self._parts: tuple[Part, ...] | None = None
        self._digest: TableDigest | None = None

    @property
    def rows(self) -> int:
        """The rows of the whole version."""
        return self.digest.rows

    @property
    def base(self) -> str | None:
        """The manifest that its own builds on."""
        return self._base.blob if self._base else None

    @property
    def digest(self) -> TableDigest:
        """What the rows of the whole version digest to."""
        if self._digest is None:
            self.put_behind(None)
        assert self._digest is not None
        return self._digest

    @property
    def content_digest(self) -> str:
        """The content digest of the whole version."""
        return self.digest.digest

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
        if (
            known and tail is not None
        ):  # these rows were digested by the draft before; read back they are held to the digest
            full = head.rows - previous.tail_rows
            hasher = TableHasher.resume(TableDigest("", full, previous.leaves[: full // LEAF_ROWS], head.schema))
            hasher.update(tail)
        else:
            hasher = TableHasher.resume(previous, tail)
        hasher.update(self.frame)
        self._digest = hasher.finish()
        whole = self.frame if tail is None else pl.concat([tail, self.frame]) if tail.columns else None
        self.tail = None if whole is None else whole.tail(self._digest.rows % LEAF_ROWS)

    def version(
        self, head: DatasetVersion | None, sources: tuple[Source, ...], note: str, extracted_us: int
    ) -> DatasetVersion:
        """Write what isn't written, and give the record; the store sets id, number, time and actor."""
        if self._parts is None:
            self._parts = write_parts(self.frame, self.blobs)
        self.listing, written = write_listing(self.blobs, self._base, self._parts, self.digest.leaves)
        self.written = [*written, *(part.blob for part in self._parts)]
        return DatasetVersion(
            id="", dataset=self.name, kind="table", number=0, content_digest=self.content_digest, rows=self.rows, files=0,
            size_bytes=sum(part.size_bytes for part in self.listing.parts), parts=len(self.listing.parts),
            manifest=self.listing.blob, schema=self.digest.schema, created_at=0, extracted_at=extracted_us,
            source=sources, parent=head.id if head else None, actor="", note=note,
        )  # fmt: skip

    def settled(self, version: DatasetVersion) -> TableDraft:
        """What the next append can build on; the rows themselves are let go but for the last leaf's."""
        kept = TableDraft(self.name, self.frame.clear(), self.blobs)
        kept.listing = self.listing if self.listing and self.listing.blob == version.manifest else None
        kept.tail = self.tail
        if self.tail is not None and self.frame.height > LEAF_ROWS:
            kept.tail = self.tail[list(range(self.tail.height))]  # a copy: a slice would keep the whole frame alive
        return kept
