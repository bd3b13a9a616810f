"""The Parquet parts of a table."""

from __future__ import annotations

import io
import os
import tempfile
from pathlib import Path
from typing import Any

import polars as pl

from mainspring.artifacts import LEAF_ROWS
from mainspring.artifacts.table import schema_of
from mainspring.data.tables.manifest import Part, read_listing
from mainspring.errors import InvalidError, shorten
from mainspring.store import BlobStore

PART_ROWS = 64 * LEAF_ROWS
_IN_MEMORY_BYTES = 64 << 20
Schema = tuple[tuple[str, str], ...]


def write_parts(frame: pl.DataFrame, blobs: BlobStore) -> tuple[Part, ...]:
    """Write a frame as Parquet blobs of at most 4,194,304 rows; one without columns has none."""
    if not frame.columns:
        return ()
    starts = range(0, max(frame.height, 1), PART_ROWS)
    return tuple(_write_part(frame.slice(start, PART_ROWS), blobs) for start in starts)


def _write_part(frame: pl.DataFrame, blobs: BlobStore) -> Part:
    if frame.estimated_size() <= _IN_MEMORY_BYTES:
        buffer = io.BytesIO()
        _write(frame, buffer)
        return Part(blobs.put(buffer.getvalue()), frame.height, buffer.tell())
    handle, name = tempfile.mkstemp(prefix="mainspring-", suffix=".parquet")
    try:
        with os.fdopen(handle, "wb") as file:
            _write(frame, file)
            size_bytes = file.tell()
        return Part(blobs.put(Path(name)), frame.height, size_bytes)
    finally:
        os.unlink(name)


def _write(frame: pl.DataFrame, file: Any) -> None:
    try:
        frame.write_parquet(file, compression="zstd", compression_level=1)
    except pl.exceptions.PolarsError as error:
        raise InvalidError("frame", shorten(str(error)), "a table that Parquet can hold") from error


def read_table(blobs: BlobStore, manifest: str, rows: int) -> pl.DataFrame:
    """All rows that a manifest lists."""
    parts = read_listing(blobs, manifest).parts
    return read_parts(blobs, parts) if parts else pl.DataFrame(height=rows)


def read_parts(blobs: BlobStore, parts: tuple[Part, ...]) -> pl.DataFrame:
    """The rows of some parts, in order."""
    paths = [blobs.path(part.blob) for part in parts]
    return pl.read_parquet(paths if len(paths) > 1 else paths[0], glob=False, hive_partitioning=False)


def scan_table(blobs: BlobStore, manifest: str, rows: int) -> pl.LazyFrame:
    """A lazy frame over the parts that a manifest lists."""
    paths = [blobs.path(part.blob) for part in read_listing(blobs, manifest).parts]
    return pl.scan_parquet(paths, glob=False, hive_partitioning=False) if paths else pl.LazyFrame(height=rows)


def read_tail(blobs: BlobStore, parts: tuple[Part, ...], rows: int) -> pl.DataFrame | None:
    """The last `rows` rows, from as few parts as hold them."""
    if not rows or not parts:
        return None
    first, held = len(parts), 0
    while held < rows:
        first -= 1
        held += parts[first].rows
    return read_parts(blobs, parts[first:]).tail(rows)


def aligned(frame: pl.DataFrame, schema: Schema, blobs: BlobStore, part: Part | None, subject: str) -> pl.DataFrame:
    """A frame as rows to append: columns in the dataset's order, a column of nulls alone in the dataset's type.

    Raises:
        InvalidError: a column is missing, unknown, or of another type; it is named.
    """
    wanted, given = dict(schema), dict(schema_of(frame))
    if missing := [name for name in wanted if name not in given]:
        raise InvalidError(subject, ", ".join(given), f"a table with the column `{missing[0]}`", _replace_hint())
    if unknown := [name for name in given if name not in wanted]:
        raise InvalidError(f"{subject}.{unknown[0]}", unknown[0], f"a column of `{subject}`", _replace_hint())
    frame = frame.select(list(wanted))
    nulls = [name for name in wanted if given[name] == "null" and wanted[name] != "null"]
    if nulls and part is not None:
        types = pl.read_parquet_schema(blobs.path(part.blob))
        frame = frame.with_columns(pl.col(name).cast(types[name]) for name in nulls)
    for name, kind in schema_of(frame):
        if kind != wanted[name]:
            raise InvalidError(f"{subject}.{name}", kind, f"the column's type, `{wanted[name]}`", "Cast it first.")
    return frame


def _replace_hint() -> str:
    return "Append rows of the same columns, or commit a new table with mode='replace'."
