"""The codec of lazy Polars frames, for tables larger than memory: computed once, in order, into a Parquet blob.

Whoever receives it gets a lazy frame over that blob; the plan itself is not kept.
"""

from __future__ import annotations

import polars as pl

from mainspring.artifacts._frames import compare_frames, get_frame, preview_frame, put_frame
from mainspring.artifacts.codec import BlobAccess, Comparison, Encoded, Preview, Tolerance, meaning_digest
from mainspring.artifacts.spool import Spool
from mainspring.artifacts.table import TABLE_RECIPE, TableDigest, sort_rows, table_digest
from mainspring.errors import InvalidError

_PARQUET = b"PAR1"


class LazyFrameCodec:
    """LazyFrame; its digest is that of the rows, under a family of its own, for it is another type than a DataFrame."""

    name, recipe, immutable = "polars.lazy", TABLE_RECIPE, False
    types = ("polars.lazyframe.frame.LazyFrame",)

    def digest(self, value: pl.LazyFrame) -> str:
        """Over the table digest; the rows are computed for it."""
        try:
            with Spool(value) as spool:
                return self._meaning(spool.digest())
        except InvalidError:  # what Parquet can't hold
            return self._meaning(table_digest(value.collect(engine="in-memory")))

    def encode(self, value: pl.LazyFrame, blobs: BlobAccess) -> Encoded:
        """One Parquet blob."""
        return self.save(value, blobs)[1]

    def save(self, value: pl.LazyFrame, blobs: BlobAccess) -> tuple[str, Encoded]:
        """Both, computing the rows once, in bounded memory unless the plan needs them all at a time."""
        try:
            with Spool(value) as spool:
                digest = self._meaning(spool.digest())
                size_bytes = spool.path.stat().st_size
                return digest, Encoded(self.name, blobs.put(spool.path), size_bytes)
        except InvalidError:
            frame = value.collect(engine="in-memory")
            return self._meaning(table_digest(frame)), Encoded(self.name, *put_frame(frame, blobs))

    def decode(self, encoded: Encoded, blobs: BlobAccess) -> pl.LazyFrame:
        """A lazy frame over the stored file."""
        path = blobs.path(encoded.blob)
        with path.open("rb") as file:
            is_parquet = file.read(len(_PARQUET)) == _PARQUET
        if is_parquet:
            return pl.scan_parquet(path, glob=False, hive_partitioning=False)
        return get_frame(encoded.blob, blobs).lazy()

    def preview(self, value: pl.LazyFrame) -> Preview:
        """Schema and first rows; how many there are is known once it is stored."""
        found = preview_frame(value.head(10).collect(engine="in-memory"), "lazy table")
        columns = found.detail["columns"]
        detail = {name: item for name, item in found.detail.items() if name != "rows"}
        return Preview("lazy table", f"lazy × {columns:,} {'column' if columns == 1 else 'columns'}", detail)

    def preview_stored(self, encoded: Encoded, blobs: BlobAccess) -> Preview:
        """Shape, schema and first rows of what was stored."""
        frame = self.decode(encoded, blobs)
        rows = frame.select(pl.len()).collect(engine="in-memory").item()
        found = preview_frame(frame.head(10).collect(engine="in-memory"))
        columns = found.detail["columns"]
        summary = f"{rows:,} {'row' if rows == 1 else 'rows'} × {columns:,} {'column' if columns == 1 else 'columns'}"
        return Preview("table", summary, found.detail | {"rows": rows})

    def compare(self, old: pl.LazyFrame, new: pl.LazyFrame, tolerance: Tolerance) -> Comparison:
        """By schema, then column by column, in memory."""
        return compare_frames(old.collect(engine="in-memory"), new.collect(engine="in-memory"), tolerance)

    def in_canonical_order(self, value: pl.LazyFrame) -> pl.LazyFrame:
        """The rows sorted by every column in turn, in memory."""
        return sort_rows(value.collect(engine="in-memory")).lazy()

    def _meaning(self, table: TableDigest) -> str:
        return meaning_digest(self.name, self.recipe, table.digest)
