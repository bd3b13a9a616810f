"""Deletion vectors: which rows of a Parquet part a table no longer has, as a blob of sorted positions or of bits."""

from __future__ import annotations

from typing import Any

import numpy as np

from mainspring.artifacts import BlobAccess
from mainspring.data.tables.manifest import Part
from mainspring.errors import StorageError

Positions = np.ndarray[Any, np.dtype[np.int64]]
"""Places of rows, sorted, counted from 0 over the stored rows: those of one part, or of all parts of a table in order."""

_SPARSE, _DENSE = b"positions\n", b"bits\n"
NONE: Positions = np.empty(0, np.int64)


def write_dropped(blobs: BlobAccess, positions: Positions, stored_rows: int) -> str:
    """Keep the positions of the dropped rows of a part, in whichever form is smaller; gives the blob."""
    if len(positions) * 32 < stored_rows:
        return blobs.put(_SPARSE + positions.astype("<u4").tobytes())
    bits = np.zeros(stored_rows, np.bool_)
    bits[positions] = True
    return blobs.put(_DENSE + np.packbits(bits).tobytes())


def read_dropped(blobs: BlobAccess, part: Part) -> Positions:
    """The positions of the dropped rows of a part.

    Raises:
        StorageError: the blob is no deletion vector of this part.
    """
    if not part.dropped:
        return NONE
    data = blobs.read(part.dropped)
    if data.startswith(_SPARSE):
        positions = np.frombuffer(data, "<u4", offset=len(_SPARSE)).astype(np.int64)
    else:
        bits = np.unpackbits(np.frombuffer(data.removeprefix(_DENSE), np.uint8), count=part.stored_rows)
        positions = np.flatnonzero(bits).astype(np.int64)
    if len(positions) != part.dropped_rows:
        raise StorageError(
            f"blob {part.dropped[:12]}", f"it names {len(positions)} dropped rows, not {part.dropped_rows}"
        )
    return positions


def starts_of(parts: tuple[Part, ...]) -> Positions:
    """Where the stored rows of each part begin, and behind them where those of the last one end."""
    return np.concatenate([[0], np.cumsum([part.stored_rows for part in parts], dtype=np.int64)]).astype(np.int64)


def all_dropped(blobs: BlobAccess, parts: tuple[Part, ...]) -> Positions:
    """The positions of all dropped rows, over the stored rows of all parts."""
    found = [read_dropped(blobs, part) + at for part, at in zip(parts, starts_of(parts), strict=False) if part.dropped]
    return np.concatenate(found) if found else NONE


def position_of(row: int, dropped: Positions) -> int:
    """Where the row of this number is stored.

    >>> [position_of(row, np.array([0, 2])) for row in range(3)]
    [1, 3, 4]
    """
    return row + int(np.searchsorted(dropped - np.arange(len(dropped)), row, side="right"))


def row_at(position: int, dropped: Positions) -> int:
    """The number of the row that is stored here: how many rows that are left stand before it.

    >>> [row_at(position, np.array([0, 2])) for position in (1, 3, 4)]
    [0, 1, 2]
    """
    return position - int(np.searchsorted(dropped, position))


def between(positions: Positions, start: int, end: int) -> slice:
    """The part of sorted positions that lies in [start, end)."""
    return slice(*(int(at) for at in np.searchsorted(positions, (start, end))))


def united(first: Positions, second: Positions) -> Positions:
    """Positions of both."""
    return np.union1d(first, second) if len(second) else first
