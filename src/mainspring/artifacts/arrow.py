"""The codec of PyArrow tables. The digest is that of the table's values; dictionaries and string widths are only layout."""

from __future__ import annotations

import io
from typing import Any

import polars as pl
import pyarrow as pa
import pyarrow.parquet as pq

from mainspring.artifacts._frames import compare_frames, preview_frame
from mainspring.artifacts.codec import BlobAccess, Comparison, Encoded, Preview, Tolerance, meaning_digest
from mainspring.artifacts.table import sort_order, table_digest
from mainspring.errors import CodecError, shorten


class TableCodec:
    """Takes tables of every type that Polars can read."""

    name, recipe, immutable = "arrow.table", 1, True
    types = ("pyarrow.lib.Table",)

    def digest(self, value: Any) -> str:
        """Over the table digest of its values."""
        return meaning_digest(self.name, self.recipe, table_digest(_frame(value)).digest)

    def encode(self, value: Any, blobs: BlobAccess) -> Encoded:
        """One Parquet blob by PyArrow, which keeps the Arrow schema."""
        buffer = io.BytesIO()
        try:
            pq.write_table(value, buffer, compression="zstd", write_statistics=False)
        except (pa.ArrowException, OSError) as error:
            raise CodecError(f"PyArrow can't write the table as Parquet: {shorten(str(error), 200)}") from error
        data = buffer.getvalue()
        return Encoded(self.name, blobs.put(data), len(data))

    def decode(self, encoded: Encoded, blobs: BlobAccess) -> Any:
        """A table with the schema that was saved."""
        try:
            return pq.ParquetFile(pa.BufferReader(blobs.read(encoded.blob))).read()
        except (pa.ArrowException, OSError) as error:
            raise CodecError(f"The blob `{encoded.blob[:12]}` is not a stored table: {shorten(str(error))}") from error

    def preview(self, value: Any) -> Preview:
        """Shape, schema, first rows."""
        return preview_frame(_frame(value))

    def compare(self, old: Any, new: Any, tolerance: Tolerance) -> Comparison:
        """By schema, then column by column."""
        return compare_frames(_frame(old), _frame(new), tolerance)

    def in_canonical_order(self, value: Any) -> Any:
        """The rows sorted by every column in turn."""
        return value.take(sort_order(_frame(value)).to_numpy()) if value.num_columns else value


def _frame(table: Any) -> pl.DataFrame:
    try:
        frame = pl.from_arrow(table)
    except (pl.exceptions.PolarsError, pa.ArrowException, TypeError, ValueError) as error:
        raise CodecError(
            f"The table can't be digested: {shorten(str(error), 200)}. Cast the column to a plain type."
        ) from error
    assert isinstance(frame, pl.DataFrame)
    return frame
