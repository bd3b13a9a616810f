"""The Parquet parts of a table: written, read, and scanned without the rows that were deleted from them."""

from __future__ import annotations

import io
import os
import tempfile
from collections.abc import Iterator
from itertools import groupby
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
import polars as pl

from mainspring.artifacts import LEAF_ROWS
from mainspring.artifacts.table import schema_of
from mainspring.data.tables.manifest import Part, read_listing
from mainspring.data.tables.positions import (
    Positions,
    all_dropped,
    between,
    position_of,
    read_dropped,
    starts_of,
)  # fmt: skip
from mainspring.data.version import DatasetVersion
from mainspring.errors import InvalidError, close_names, counted, shorten
from mainspring.store import BlobStore
from mainspring.store.space import naming_full_disk

PART_ROWS = 64 * LEAF_ROWS
CHUNK_ROWS = 16 * LEAF_ROWS
_IN_MEMORY_BYTES = 64 << 20
Schema = tuple[tuple[str, str], ...]
AnyFrame = TypeVar("AnyFrame", pl.DataFrame, pl.LazyFrame)
_UNTYPED = (
    "It held no value so far: `ingest()` of the rows, as a file, gives it their type, or `commit()` the whole table."
)


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
            _write(frame, file, name)
            size_bytes = file.tell()
        return Part(blobs.put(Path(name)), frame.height, size_bytes)
    finally:
        os.unlink(name)


def _write(frame: pl.DataFrame, file: Any, place: str = "") -> None:
    try:
        with naming_full_disk(place):
            frame.write_parquet(file, compression="zstd", compression_level=1)
    except pl.exceptions.PolarsError as error:
        raise InvalidError("frame", shorten(str(error)), "a table that Parquet can hold") from error


def parquet_schema(path: str | Path) -> pl.Schema:
    """The columns of a Parquet file; Polars' own function takes `[` and `*` in its path for a glob."""
    return pl.scan_parquet(path, glob=False, hive_partitioning=False).collect_schema()


def read_table(blobs: BlobStore, manifest: str, rows: int) -> pl.DataFrame:
    """All rows that a manifest lists."""
    parts = read_listing(blobs, manifest).parts
    return read_parts(blobs, parts) if parts else pl.DataFrame(height=rows)


def read_parts(blobs: BlobStore, parts: tuple[Part, ...]) -> pl.DataFrame:
    """The rows of some parts, in order."""
    if any(part.dropped for part in parts):
        return scan_parts(blobs, parts).collect()
    paths = [blobs.path(part.blob) for part in parts]
    return pl.read_parquet(paths if len(paths) > 1 else paths[0], glob=False, hive_partitioning=False)


def scan_table(blobs: BlobStore, manifest: str, rows: int) -> pl.LazyFrame:
    """A lazy frame over the parts that a manifest lists."""
    parts = read_listing(blobs, manifest).parts
    return scan_parts(blobs, parts) if parts else pl.LazyFrame(height=rows)


def scan_parts(blobs: BlobStore, parts: tuple[Part, ...], index: str = "") -> pl.LazyFrame:
    """The rows of some parts, in order; predicates and projections reach the files.

    With `index` a column of that name says where each row is stored, counted over the stored rows of these parts.
    """
    runs = [list(run) for _, run in groupby(enumerate(parts), lambda item: item[1].dropped and item[0])]
    names = parquet_schema(blobs.path(parts[0].blob)) if len(runs) > 1 or runs[0][0][1].dropped else {}
    row = "row"
    while row in names or row == index:
        row += "_"
    frames, start = [], 0
    for run in runs:
        dropped = run[0][1].dropped
        paths = [blobs.path(part.blob) for _, part in run]
        frame = pl.scan_parquet(
            paths, glob=False, hive_partitioning=False, row_index_name=row if dropped else index or None
        )
        if dropped:
            gone = pl.Series(read_dropped(blobs, run[0][1])).cast(pl.get_index_type())
            frame = frame.filter(~pl.col(row).is_in(gone.implode()))
            frame = frame.rename({row: index}) if index else frame.drop(row)
        if index:
            frame = frame.with_columns(pl.col(index).cast(pl.Int64) + start)
        frames.append(frame)
        start += sum(part.stored_rows for _, part in run)
    return frames[0] if len(frames) == 1 else pl.concat(frames)


def stored_chunks(blobs: BlobStore, parts: tuple[Part, ...], first: int) -> Iterator[tuple[int, pl.DataFrame]]:
    """The stored rows from a position on, dropped ones included, about a million at a time, each with its position."""
    starts = starts_of(parts)
    place = max(int(starts.searchsorted(first, side="right")) - 1, 0)
    while place < len(parts):
        end = place + 1
        while end < len(parts) and starts[end + 1] - starts[place] <= CHUNK_ROWS:
            end += 1
        chunk = pl.scan_parquet(
            [blobs.path(part.blob) for part in parts[place:end]], glob=False, hive_partitioning=False
        )
        for at in range(max(first, int(starts[place])), int(starts[end]), CHUNK_ROWS):
            yield at, chunk.slice(at - int(starts[place]), CHUNK_ROWS).collect()
        place = end


def rows_from(blobs: BlobStore, parts: tuple[Part, ...], first: int) -> Iterator[pl.DataFrame]:
    """The rows of a table from a number on, about a million at a time."""
    dropped = all_dropped(blobs, parts)
    for at, frame in stored_chunks(blobs, parts, position_of(first, dropped)):
        yield without(frame, dropped[between(dropped, at, at + frame.height)] - at)


def without(frame: pl.DataFrame, dropped: Positions) -> pl.DataFrame:
    """A frame without the rows at some positions."""
    if not len(dropped):
        return frame
    kept = np.ones(frame.height, np.bool_)
    kept[dropped] = False
    return frame.filter(pl.Series(kept))


def types_of(blobs: BlobStore, parts: tuple[Part, ...]) -> pl.DataFrame:
    """No rows, with the columns that the parts have."""
    return pl.DataFrame(schema=parquet_schema(blobs.path(parts[0].blob))) if parts else pl.DataFrame()


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
        renamed = close_names(missing[0], [name for name in given if name not in wanted])
        said = f"columns {', '.join(renamed)}" if renamed else counted(len(given), "column")
        raise InvalidError(subject, said, f"a table with the column `{missing[0]}`", _replace_hint())
    if unknown := [name for name in given if name not in wanted]:
        raise InvalidError(f"{subject}.{unknown[0]}", unknown[0], f"a column of `{subject}`", _replace_hint())
    frame = frame.select(list(wanted))
    nulls = [name for name in wanted if given[name] == "null" and wanted[name] != "null"]
    if nulls and part is not None:
        types = parquet_schema(blobs.path(part.blob))
        frame = frame.with_columns(pl.col(name).cast(types[name]) for name in nulls)
    for name, kind in schema_of(frame):
        if kind != wanted[name]:
            hint = "Cast it first." if wanted[name] != "null" else _UNTYPED
            raise InvalidError(f"{subject}.{name}", kind, f"the column's type, `{wanted[name]}`", hint)
    return frame


def fitted_to(version: DatasetVersion, rows: AnyFrame, blobs: BlobStore) -> AnyFrame:
    """A table, lazy or not, with the columns of the version that it is put behind; raises as `aligned` does."""
    version.expect("table")
    parts = read_listing(blobs, version.manifest).parts
    given = pl.DataFrame(schema=rows.lazy().collect_schema())
    wanted = aligned(given, version.schema, blobs, parts[0] if parts else None, version.dataset)
    return rows.select(pl.col(name).cast(kind) for name, kind in wanted.schema.items())


def _replace_hint() -> str:
    return "Append rows of the same columns, or commit a new table with mode='replace'."
