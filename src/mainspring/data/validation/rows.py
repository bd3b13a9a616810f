"""The rows that are validated, whole or one batch after the other in a fixed order, so that memory stays bounded."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import polars as pl

from mainspring.data.tables.frames import as_polars
from mainspring.data.tables.memory import StoredRows, in_memory_bytes
from mainspring.data.version import DatasetVersion

BATCH_ROWS = 500_000
_WHOLE_BYTES = 64 << 20  # of memory; checks of unique texts take six times as much beside it
_BATCH_BYTES = 128 << 20  # of memory: wide rows come fewer at a time


class Rows:
    """A table to walk over, any number of times. `is_whole` says that it comes as one batch."""

    def __init__(self, table: Any, batch_rows: int = BATCH_ROWS) -> None:
        self._stored: StoredRows | None = None
        if isinstance(table, StoredRows):
            size_bytes = in_memory_bytes(table)
            self._stored = table if size_bytes > _WHOLE_BYTES else None
            batch_rows = min(batch_rows, max(_BATCH_BYTES * table.rows // max(size_bytes, 1), 1))
            if isinstance(table, DatasetVersion) and self._stored is None:
                table = table.to_polars()
            else:
                table = table.scan() if self._stored else table.scan().collect(engine="in-memory")
        self.table: pl.DataFrame | pl.LazyFrame = table if isinstance(table, pl.LazyFrame) else as_polars(table)
        self.is_whole = isinstance(self.table, pl.DataFrame)
        self.schema: pl.Schema = self.table.collect_schema()
        self._batch_rows = batch_rows

    def batches(self, columns: list[str] | None = None) -> Iterator[pl.DataFrame]:
        """The rows in order, at least one batch, with these columns alone if any are named."""
        wanted = self.table if columns is None else self.table.select(columns)
        if isinstance(wanted, pl.DataFrame):
            yield wanted
            return
        if self._stored is not None:  # half of the memory that Polars' own batches take, which read ahead
            for batch in self._stored.batches(self._batch_rows):
                yield batch if columns is None else batch.select(columns)
            return
        is_empty = True
        if hasattr(wanted, "collect_batches"):
            for batch in wanted.collect_batches(chunk_size=self._batch_rows, maintain_order=True):
                is_empty = False
                yield batch
        if is_empty:  # or a Polars that can't give batches
            yield wanted.collect()
