"""A lazy frame's version in the making: rows are computed once, in order, to a file, then digested and cut into parts."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from tempfile import TemporaryDirectory

import polars as pl

from mainspring.artifacts import TableDigest, TableHasher
from mainspring.artifacts.spool import Spool, batches_of
from mainspring.data.tables.draft import TableDraft
from mainspring.data.tables.manifest import Listing, Part, read_listing, write_listing
from mainspring.data.tables.parts import PART_ROWS, aligned, read_tail, write_parts
from mainspring.data.version import DatasetVersion
from mainspring.store import BlobStore


class LazyDraft(TableDraft):
    """Rows that don't fit into memory, on their way to become a version. Close it when it is committed."""

    def __init__(self, name: str, frame: pl.LazyFrame | Spool, blobs: BlobStore) -> None:
        super().__init__(name, blobs)
        self._spool = frame if isinstance(frame, Spool) else Spool(frame)
        self._rows = self._spool.scan()
        self._parts: tuple[Part, ...] | None = None

    def put_behind(self, head: DatasetVersion | None) -> None:
        """Digest the rows as those behind a version's, or as a table of their own."""
        if head is None:
            self._base, self._digest = None, self._spool.digest()
            return
        self._base = read_listing(self.blobs, head.manifest)
        parts = self._base.parts
        empty = self._spool.scan().head(0).collect(engine="in-memory")
        fitting = aligned(empty, head.schema, self.blobs, parts[0] if parts else None, self.name)
        if fitting.schema != empty.schema or fitting.columns != empty.columns:
            self._rows = self._spool.scan().select(pl.col(name).cast(kind) for name, kind in fitting.schema.items())
            self._parts = None
        previous = TableDigest(head.content_digest, head.rows, self._base.leaves, head.schema)
        tail = read_tail(self.blobs, parts, previous.tail_rows)
        if tail is None and previous.tail_rows:  # a table without columns
            tail = pl.DataFrame(height=previous.tail_rows)
        hasher = TableHasher.resume(previous, tail)
        for batch in batches_of(self._rows, self._spool.rows):
            hasher.update(batch)
        self._digest = hasher.finish()

    def write(self) -> tuple[Listing, list[str]]:
        """The parts of the rows, unless they are written, and a manifest that names them."""
        if self._parts is None:
            self._parts = tuple(self._cut())
        listing, written = write_listing(self.blobs, self._base, self._parts, self.digest.leaves)
        return listing, [*written, *(part.blob for part in self._parts)]

    def _cut(self) -> Iterator[Part]:
        if not self._spool.rows:
            yield from write_parts(self._rows.collect(engine="in-memory"), self.blobs)
        with TemporaryDirectory(prefix="mainspring-parts-") as folder:
            path = Path(folder) / "part.parquet"
            for at in range(0, self._spool.rows, PART_ROWS):
                count = min(PART_ROWS, self._spool.rows - at)
                self._rows.slice(at, count).sink_parquet(
                    path, compression="zstd", compression_level=1, maintain_order=True, engine="streaming",
                    row_group_size=self._spool.group_rows,
                )  # fmt: skip
                size_bytes = path.stat().st_size
                yield Part(self.blobs.put(path), count, size_bytes)

    def close(self) -> None:
        """Remove what was computed; the version has its own copy."""
        self._spool.close()
