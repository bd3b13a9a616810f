"""How much memory rows on disk take: Parquet's size says little of it, since equal values next to each other cost nothing."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Protocol, runtime_checkable

if TYPE_CHECKING:
    import polars as pl

_SAMPLE_ROWS = 4_096


@runtime_checkable
class StoredRows(Protocol):
    """Rows on disk, read in order any number of times: a version, a spool, the parts of an ingest."""

    @property
    def rows(self) -> int:
        """How many there are."""
        ...

    def scan(self) -> pl.LazyFrame:
        """The rows, lazily."""
        ...

    def batches(self, rows: int | None = None, /) -> Iterator[pl.DataFrame]:
        """The rows in order, so many at a time, or as many as take about 64 MiB; one empty batch if there are none."""
        ...


def in_memory_bytes(stored: StoredRows) -> int:
    """What the rows take as one Polars frame, by the width of the first 4,096.

    >>> from mainspring.artifacts.spool import Spool
    >>> import polars as pl
    >>> with Spool(pl.LazyFrame({"n": range(100_000), "one": 1})) as spool:
    ...     in_memory_bytes(spool), spool.path.stat().st_size < 500_000
    (1200000, True)
    """
    sample = stored.scan().head(_SAMPLE_ROWS).collect(engine="in-memory")
    return int(sample.estimated_size()) * stored.rows // max(sample.height, 1)
