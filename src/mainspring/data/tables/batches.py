"""A version's rows batch by batch, in order, in bounded memory."""

from __future__ import annotations

from collections.abc import Iterator

import polars as pl

from mainspring.artifacts.spool import rows_per_batch
from mainspring.data.tables.manifest import Part, read_listing
from mainspring.data.tables.parts import read_parts, scan_parts, without
from mainspring.data.tables.positions import between, read_dropped
from mainspring.errors import InvalidError
from mainspring.store import BlobStore

_SAMPLE_ROWS = 1_024


def version_batches(blobs: BlobStore, manifest: str, total: int, rows: int | None = None) -> Iterator[pl.DataFrame]:
    """The rows that a manifest lists: `rows` at a time (the last batch fewer), or as many as take about 64 MiB.

    One empty batch if there are none.
    """
    if rows is not None and rows < 1:
        raise InvalidError("rows", rows, "a number of at least 1")
    parts = read_listing(blobs, manifest).parts
    if not parts:
        yield pl.DataFrame(height=total)
        return
    step = rows or rows_per_batch(scan_parts(blobs, parts[:1]).head(_SAMPLE_ROWS).collect(engine="in-memory"))
    yield from _cut(_pieces(blobs, parts, step), step)


def _pieces(blobs: BlobStore, parts: tuple[Part, ...], step: int) -> Iterator[pl.DataFrame]:
    """Rows in order: slices of large parts, and small parts together."""
    place = 0
    while place < len(parts):
        part = parts[place]
        end, held = place + 1, part.stored_rows
        if held <= step:
            while end < len(parts) and held + parts[end].stored_rows <= step:
                held += parts[end].stored_rows
                end += 1
            yield read_parts(blobs, parts[place:end])
        else:
            stored = pl.scan_parquet(blobs.path(part.blob), glob=False, hive_partitioning=False)
            dropped = read_dropped(blobs, part)
            for at in range(0, part.stored_rows, step):
                frame = stored.slice(at, step).collect(engine="in-memory")
                yield without(frame, dropped[between(dropped, at, at + frame.height)] - at)
        place = end


def _cut(pieces: Iterator[pl.DataFrame], step: int) -> Iterator[pl.DataFrame]:
    """The same rows in batches of exactly so many, the last one fewer."""
    held: list[pl.DataFrame] = []
    count = 0
    for piece in pieces:
        held.append(piece)
        count += piece.height
        while count >= step:
            whole = pl.concat(held) if len(held) > 1 else held[0]
            yield whole[:step]
            held, count = [whole[step:]], count - step
    rest = pl.concat(held) if len(held) > 1 else held[0]
    if rest.height or not count:
        yield rest
