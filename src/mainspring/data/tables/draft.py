"""A table's version in the making: what drafts of rows at hand, of lazy rows and of edits have in common.

Parts are written once, digest and manifest for each head that the draft is put behind.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterator

import polars as pl

from mainspring.artifacts import TableDigest, TableHasher
from mainspring.data.tables.layout import first_folded, is_scattered
from mainspring.data.tables.manifest import Changes, Listing, Part, read_listing, write_listing
from mainspring.data.tables.parts import aligned, read_parts, read_tail, write_parts
from mainspring.data.version import DatasetVersion, Kind, Source
from mainspring.store import BlobStore


class TableDraft(ABC):
    """A draft of a table; a kind of its own says how it is put behind a version, and what it writes."""

    kind: Kind = "table"

    def __init__(self, name: str, blobs: BlobStore) -> None:
        self.name, self.blobs = name, blobs
        self.written: list[str] = []
        self.listing: Listing | None = None
        self._base: Listing | None = None
        self._digest: TableDigest | None = None

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

    @property
    def rows(self) -> int:
        """The rows of the whole version."""
        return self.digest.rows

    @property
    def is_scattered(self) -> bool:
        """Whether the layout that was written is one to compact."""
        return self.listing is not None and is_scattered(self.listing.parts)

    @abstractmethod
    def put_behind(self, head: DatasetVersion | None) -> None:
        """Make it a change of this version, or a table of its own, with its digest."""

    @abstractmethod
    def write(self) -> tuple[Listing, list[str]]:
        """Write what isn't written; gives the listing of the whole version, and every blob that was written."""

    def _aligned(self, frame: pl.DataFrame, head: DatasetVersion) -> pl.DataFrame:
        """A frame with the columns of the version that this is put behind; raises as `aligned` does."""
        first = self._base.parts[0] if self._base and self._base.parts else None
        return aligned(frame, head.schema, self.blobs, first, self.name)

    def version(
        self, head: DatasetVersion | None, sources: tuple[Source, ...], note: str, extracted_us: int
    ) -> DatasetVersion:
        """Write what isn't written, and give the record; the store sets id, number, time and actor."""
        digest = self.digest
        self.listing, self.written = self.write()
        return DatasetVersion(
            id="", dataset=self.name, kind="table", number=0, content_digest=digest.digest, rows=digest.rows, files=0,
            size_bytes=sum(part.size_bytes for part in self.listing.parts), parts=len(self.listing.parts),
            manifest=self.listing.blob, schema=digest.schema, created_at=0, extracted_at=extracted_us,
            source=sources, parent=head.id if head else None, actor="", note=note,
        )  # fmt: skip


class AppendDraft(TableDraft):
    """Rows that stand behind those of a version, or are a table of their own.

    A kind of its own says which rows, a piece at a time, and which parts hold them alone. Small parts at the end of the
    version are folded: written anew in one part with the rows.
    """

    def __init__(self, name: str, blobs: BlobStore) -> None:
        super().__init__(name, blobs)
        self._parts: tuple[Part, ...] | None = None  # written
        self._folded: tuple[Part, ...] = ()  # by which time they held the rows of these, too
        self._behind: pl.DataFrame | None = None  # the version's last, partial leaf

    @abstractmethod
    def frames(self) -> Iterator[pl.DataFrame]:
        """The rows in order, as they are to be stored; one frame at least."""

    @abstractmethod
    def own_parts(self) -> tuple[Part, ...]:
        """Write the rows as parts, if they aren't."""

    @property
    @abstractmethod
    def size(self) -> tuple[int, int]:
        """How many rows, and about how many bytes they take."""

    @abstractmethod
    def fit(self, head: DatasetVersion | None) -> None:
        """Give the rows the columns and types of a version, or those that they came with.

        Raises:
            InvalidError: they can't have those; the column is named.
        """

    def put_behind(self, head: DatasetVersion | None) -> None:
        """Digest the rows as those behind a version's, or as a table of their own."""
        if head is None:
            if self._digest is not None and self._base is None:
                return
            self._base = self._behind = None
            self.fit(None)
            hasher = TableHasher()
        else:
            hasher = self._resumed(head)
        for frame in self.frames():
            hasher.update(frame)
        self._digest = hasher.finish()

    def _resumed(self, head: DatasetVersion) -> TableHasher:
        self._base = base = read_listing(self.blobs, head.manifest)
        self.fit(head)
        previous = TableDigest(head.content_digest, head.rows, base.leaves, head.schema)
        self._behind = read_tail(self.blobs, base.parts, previous.tail_rows)
        if self._behind is None and previous.tail_rows:  # a table without columns
            self._behind = pl.DataFrame(height=previous.tail_rows)
        return TableHasher.resume(previous, self._behind)

    def write(self) -> tuple[Listing, list[str]]:
        """The parts of the rows, with those that are folded, unless they are written, and a manifest that names them."""
        before = self._base.parts if self._base else ()
        start = first_folded(before, *self.size)
        folded = before[start:]
        if self._parts is None or folded != self._folded:
            self._folded = folded
            self._parts = self._together(folded) if folded else self.own_parts()
        gone: Changes = dict.fromkeys(range(start, len(before)))
        listing, written = write_listing(self.blobs, self._base, self._parts, self.digest.leaves, gone)
        return listing, [*written, *(part.blob for part in self._parts)]

    def _together(self, folded: tuple[Part, ...]) -> tuple[Part, ...]:
        rows = sum(part.rows for part in folded)
        tail = self._behind
        before = tail.tail(rows) if tail is not None and tail.height >= rows else read_parts(self.blobs, folded)
        return write_parts(pl.concat([before, *self.frames()]), self.blobs)
