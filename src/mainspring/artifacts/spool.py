"""A lazy frame on disk: computed in order into one Parquet file, and read from there batch by batch, in bounded memory.

The streaming engine is used only for plans of which it gives the same rows in the same order each time; what groups,
joins, sorts or reduces is computed by the in-memory engine, whose float sums repeat.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from types import TracebackType

import polars as pl

from mainspring.artifacts.table import LEAF_ROWS, TableDigest, TableHasher
from mainspring.errors import InvalidError, shorten
from mainspring.store.scratch import Scratch
from mainspring.store.space import naming_full_disk

BATCH_BYTES = 64 << 20
_LARGEST_BATCH = 16 * LEAF_ROWS
_GROUP_BYTES = 32 << 20
_LARGEST_GROUP = 4 * LEAF_ROWS
_SMALLEST = 1024  # rows
# Nodes of the streaming engine's physical plan that hand rows on one by one, in order.
_IN_ORDER = frozenset(
    """multi-scan in-memory-source with-columns select simple-projection filter map with-row-index streaming-slice slice
    ordered-union zip input-independent-select""".split()
)
_NODE = re.compile(r'label="([a-z-]+)')


def streams_in_order(frame: pl.LazyFrame) -> bool:
    """Whether the streaming engine gives this plan's rows the same way each time.

    >>> frame = pl.LazyFrame({"a": [1.5, 2.5]})
    >>> streams_in_order(frame.filter(pl.col("a") > 2)), streams_in_order(frame.select(pl.col("a").sum()))
    (True, False)
    """
    try:
        plan = frame.show_graph(engine="streaming", plan_stage="physical", raw_output=True)
    except (pl.exceptions.PolarsError, TypeError, ValueError):  # a release whose plans can't be shown
        return False
    nodes = set(_NODE.findall(plan or ""))
    return bool(nodes) and nodes <= _IN_ORDER


def rows_per_batch(sample: pl.DataFrame) -> int:
    """How many rows like these take about 64 MiB."""
    row_bytes = max(int(sample.estimated_size()) // max(sample.height, 1), 1)
    return max(min(BATCH_BYTES // row_bytes, _LARGEST_BATCH), _SMALLEST)


class Spool:
    """The rows of a lazy frame in a temporary file, removed on exit.

    >>> with Spool(pl.LazyFrame({"n": range(5)})) as spool:
    ...     [batch.height for batch in spool.batches(2)], spool.rows
    ([2, 2, 1], 5)
    """

    def __init__(self, frame: pl.LazyFrame) -> None:
        self._scratch = Scratch()
        self.path = self._scratch.path / "rows.parquet"
        self._digest: TableDigest | None = None
        try:
            self._sink(frame)
            self.rows: int = pl.scan_parquet(self.path).select(pl.len()).collect(engine="in-memory").item()
        except BaseException:
            self.close()
            raise

    def _sink(self, frame: pl.LazyFrame) -> None:
        schema = frame.collect_schema()
        if not len(schema):
            raise InvalidError("frame", "a lazy frame", "a table with columns", "Collect it first.")
        source = frame if streams_in_order(frame) else frame.collect(engine="in-memory").lazy()
        width = sum(8 if dtype.is_numeric() or dtype.is_temporal() else 32 for dtype in schema.dtypes())
        if any(dtype.is_nested() for dtype in schema.dtypes()):  # an embedding may be as wide as a thousand numbers
            sample = source.head(_SMALLEST).collect(engine="in-memory")
            width = max(width, int(sample.estimated_size()) // max(sample.height, 1))
        self.group_rows = max(min(_GROUP_BYTES // width, _LARGEST_GROUP), _SMALLEST)
        try:
            with naming_full_disk(self.path):
                source.sink_parquet(
                    self.path, compression="zstd", compression_level=1, row_group_size=self.group_rows,
                    maintain_order=True, engine="streaming",
                )  # fmt: skip
        except pl.exceptions.InvalidOperationError as error:
            if "parquet" not in str(error).lower():
                raise
            raise InvalidError("frame", shorten(str(error)), "a table that Parquet can hold") from error

    @property
    def schema(self) -> pl.Schema:
        """The types of the columns."""
        return pl.Schema(pl.read_parquet_schema(self.path))

    def scan(self) -> pl.LazyFrame:
        """The rows, lazily."""
        return pl.scan_parquet(self.path, glob=False, hive_partitioning=False)

    def batches(self, rows: int | None = None) -> Iterator[pl.DataFrame]:
        """The rows in order, so many at a time, or as many as take about 64 MiB; one empty batch if there are none."""
        return batches_of(self.scan(), self.rows, rows)

    def digest(self) -> TableDigest:
        """The content digest of the rows."""
        if self._digest is None:
            hasher = TableHasher()
            for batch in self.batches():
                hasher.update(batch)
            self._digest = hasher.finish()
        return self._digest

    def close(self) -> None:
        """Remove the file."""
        self._scratch.close()

    def __enter__(self) -> Spool:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self.close()


def batches_of(scan: pl.LazyFrame, total: int, rows: int | None = None) -> Iterator[pl.DataFrame]:
    """The rows of a Parquet file in order, a slice at a time; one empty batch if there are none."""
    step = rows or rows_per_batch(scan.head(_SMALLEST).collect(engine="in-memory"))
    for at in range(0, max(total, 1), step):
        yield scan.slice(at, step).collect(engine="in-memory")
