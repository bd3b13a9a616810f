"""A table's version in the making whose parts are written already: nothing is held in memory but one part at a time."""

from __future__ import annotations

import polars as pl

from mainspring.artifacts import TableDigest, TableHasher
from mainspring.artifacts.table import schema_of
from mainspring.data.ingestion.staging import Staging
from mainspring.data.tables.manifest import Listing, Part, read_listing, write_listing
from mainspring.data.tables.parts import read_tail, write_parts
from mainspring.data.version import DatasetVersion, Kind, Source
from mainspring.errors import InvalidError


class StagedDraft:
    """Staged rows on their way to become a version, or the last rows of one."""

    kind: Kind = "table"

    def __init__(self, name: str, staging: Staging) -> None:
        self.name, self.staging, self.blobs = name, staging, staging.blobs
        self.written: list[str] = []
        self._types = dict(staging.alignment.types or {})
        self._parts: tuple[Part, ...] | None = None
        self._base: Listing | None = None
        self._digest: TableDigest | None = None

    @property
    def base(self) -> str | None:
        """The manifest that its own builds on."""
        return self._base.blob if self._base else None

    @property
    def content_digest(self) -> str:
        """The content digest of the whole version."""
        return self._whole.digest

    @property
    def _whole(self) -> TableDigest:
        assert self._digest is not None
        return self._digest

    def put_behind(self, head: DatasetVersion | None) -> None:
        """Digest the rows as those behind a version's, or as a table of their own.

        Raises:
            InvalidError: the version has other columns by now.
        """
        empty = pl.DataFrame(schema=self._types)
        hasher = TableHasher()
        self._base = None
        if head is not None:
            if head.schema != schema_of(empty):
                raise InvalidError(
                    self.name, ", ".join(self._types), f"a table with the columns of {head}",
                    "It was replaced while its rows were read; ingest again.",
                )  # fmt: skip
            self._base = read_listing(self.blobs, head.manifest)
            previous = TableDigest(head.content_digest, head.rows, self._base.leaves, head.schema)
            hasher = TableHasher.resume(previous, read_tail(self.blobs, self._base.parts, previous.tail_rows))
        hasher.update(empty)
        parts: list[Part] = []
        for part, frame in self.staging.frames():
            hasher.update(frame)
            if self._parts is None:
                parts += self._settled(part, frame)
        if self._parts is None:
            self._parts = tuple(parts)
        self._digest = hasher.finish()

    def version(
        self, head: DatasetVersion | None, sources: tuple[Source, ...], note: str, extracted_us: int
    ) -> DatasetVersion:
        """Write the manifest, and give the record; the store sets id, number, time and actor."""
        parts = self._parts or ()
        if not parts and self._base is None and self._types:
            parts = write_parts(pl.DataFrame(schema=self._types), self.blobs)
        listing, written = write_listing(self.blobs, self._base, parts, self._whole.leaves)
        self.written = [*written, *(part.blob for part in parts)]
        return DatasetVersion(
            id="", dataset=self.name, kind="table", number=0, content_digest=self.content_digest, rows=self._whole.rows,
            files=0, size_bytes=sum(part.size_bytes for part in listing.parts), parts=len(listing.parts),
            manifest=listing.blob, schema=self._whole.schema, created_at=0, extracted_at=extracted_us,
            source=sources, parent=head.id if head else None, actor="", note=note,
        )  # fmt: skip

    def _settled(self, part: Part, frame: pl.DataFrame) -> tuple[Part, ...]:
        """A part as it is, or written anew if a column came or widened after it."""
        stored = pl.read_parquet_schema(self.blobs.path(part.blob))
        is_same = list(stored.items()) == list(frame.schema.items())
        return (part,) if is_same else write_parts(frame, self.blobs)
