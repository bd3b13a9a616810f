"""A lazy frame's version in the making: rows are computed once, in order, to a file, then digested and cut into parts."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from tempfile import TemporaryDirectory

import polars as pl

from mainspring.artifacts.spool import Spool, batches_of
from mainspring.data.tables.draft import AppendDraft
from mainspring.data.tables.manifest import Part
from mainspring.data.tables.parts import PART_ROWS, write_parts
from mainspring.data.version import DatasetVersion
from mainspring.store import BlobStore
from mainspring.store.space import naming_full_disk


class LazyDraft(AppendDraft):
    """Rows that don't fit into memory, on their way to become a version. Close it when it is committed."""

    def __init__(self, name: str, frame: pl.LazyFrame | Spool, blobs: BlobStore) -> None:
        super().__init__(name, blobs)
        self._spool = frame if isinstance(frame, Spool) else Spool(frame)
        self._rows = self._spool.scan()

    def frames(self) -> Iterator[pl.DataFrame]:
        """The rows as they fit into 64 MiB."""
        return batches_of(self._rows, self._spool.rows)

    def own_parts(self) -> tuple[Part, ...]:
        """Parts of at most 4,194,304 rows."""
        return tuple(self._cut())

    @property
    def size(self) -> tuple[int, int]:
        """Rows, and bytes as they are stored."""
        return self._spool.rows, self._spool.path.stat().st_size

    def fit(self, head: DatasetVersion | None) -> None:
        """Order the columns as the version's, and give one of nulls alone its type."""
        empty = self._rows.head(0).collect(engine="in-memory")
        wanted = pl.DataFrame(schema=self._spool.schema)
        if head is not None:
            wanted = self._aligned(wanted, head)
        if wanted.schema != empty.schema or wanted.columns != empty.columns:
            self._rows = self._spool.scan().select(pl.col(name).cast(kind) for name, kind in wanted.schema.items())
            self._parts = None

    def _cut(self) -> Iterator[Part]:
        if not self._spool.rows:
            yield from write_parts(self._rows.collect(engine="in-memory"), self.blobs)
        with TemporaryDirectory(prefix="mainspring-parts-") as folder:
            path = Path(folder) / "part.parquet"
            for at in range(0, self._spool.rows, PART_ROWS):
                count = min(PART_ROWS, self._spool.rows - at)
                with naming_full_disk(path):
                    self._rows.slice(at, count).sink_parquet(
                        path, compression="zstd", compression_level=1, maintain_order=True, engine="streaming",
                        row_group_size=self._spool.group_rows,
                    )  # fmt: skip
                size_bytes = path.stat().st_size
                yield Part(self.blobs.put(path), count, size_bytes)

    def close(self) -> None:
        """Remove what was computed; the version has its own copy."""
        self._spool.close()
