"""The point-in-time join of what is larger than memory: cut by a hash of the key, joined part by part, put back in order."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from types import TracebackType

import numpy as np
import polars as pl
from msgspec import structs

from mainspring.artifacts.spool import Spool, rows_per_batch
from mainspring.data.splits.keys import hash_keys
from mainspring.data.tables.memory import StoredRows, in_memory_bytes
from mainspring.errors import InvalidError
from mainspring.features.history.instants import expect_times
from mainspring.features.history.join import AsOf, Table, Values, join_frames
from mainspring.features.history.keys import comparable_keys, key_names
from mainspring.features.history.known import Whole
from mainspring.features.history.report import JoinReport
from mainspring.store.scratch import Scratch
from mainspring.store.space import naming_full_disk

_PART_BYTES = 128 << 20
_MOST_PARTS = 256  # each batch writes so many files
_ROW, _BATCH, _PILE, _AT, _EVENT, _STATUS = "row", "batch", "pile", "at", "event", "status"


class PartitionedJoin:
    """The values for rows that were joined, on disk; removed when it is closed, or on exit from its block."""

    def __init__(self, shuffle: Shuffle, batches: int, report: JoinReport, columns: Sequence[str]) -> None:
        self.report = report
        self._shuffle, self._batches, self._columns = shuffle, batches, columns

    @property
    def rows(self) -> int:
        """How many rows were joined."""
        return self.report.rows

    def batches(self) -> Iterator[Values]:
        """The values in the order of the rows, as many at a time as the rows were read by; any number of times."""
        for batch in range(self._batches):
            frame = self._shuffle.read("joined", batch).sort(_ROW)
            values = frame.select(pl.nth(range(3, frame.width)))
            values.columns = list(self._columns)
            yield Values(values, frame.get_column(_EVENT), frame.get_column(_STATUS))

    def close(self) -> None:
        """Remove the values."""
        self._shuffle.close()

    def __enter__(self) -> PartitionedJoin:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self.close()


def join_partitioned(
    rows: Table,
    history: Table,
    *,
    keys: Mapping[str, str],
    at: str,
    event_time: str,
    created_time: str | None = None,
    ttl_us: int | None = None,
    columns: Sequence[str],
    guard: bool = True,
    partitions: int | None = None,
    batch_rows: int | None = None,
) -> PartitionedJoin:
    """What `join_as_of` gives, in bounded memory, the same for any number of partitions.

    All rows of a key lie in one partition, so memory is bounded by the largest key, or by about a gigabyte. By default there
    are as many partitions as make each of the history about 128 MiB, at most 256. `batch_rows` is how many rows are read, and
    their values given back, at a time.

    Raises:
        InvalidError: as `join_as_of`, or there is no such number of partitions.
        NotFoundError: a column is missing.
        StorageError: the disk for temporary files is full.
    """
    how = AsOf(
        keys=keys, at=at, event_time=event_time, created_time=created_time, ttl_us=ttl_us, columns=columns, guard=guard
    )
    if partitions is not None and partitions < 1:
        raise InvalidError("partitions", partitions, "a number of at least 1")
    shuffle = Shuffle()
    try:
        with _stored(rows, how.of_rows) as left, _stored(history, how.of_history) as right:
            _expect_times(left, "rows", [how.at])
            _expect_times(right, "history", [how.event_time, how.created_time])
            count = partitions or min(-(-in_memory_bytes(right) // _PART_BYTES) or 1, _MOST_PARTS)
            return _join(shuffle, left, right, how, count, batch_rows)
    except BaseException:
        shuffle.close()
        raise


def _join(
    shuffle: Shuffle, rows: StoredRows, history: StoredRows, how: AsOf, count: int, batch_rows: int | None
) -> PartitionedJoin:
    no_rows, no_history = (_schema_frame(table) for table in (rows, history))
    start = batches = 0
    for batch in rows.batches(batch_rows):
        keys, _ = comparable_keys(batch, no_history, how.keys)
        frame = pl.DataFrame([*keys, batch.get_column(how.at).alias(_AT)]).with_columns(
            pl.int_range(start, start + batch.height).alias(_ROW), pl.lit(batches).alias(_BATCH)
        )
        shuffle.write("rows", frame, np.maximum(_piles(keys, count), 0))
        start, batches = start + batch.height, batches + 1
    for batch in history.batches():
        _, keys = comparable_keys(no_rows, batch, how.keys)
        shuffle.write("history", batch.select(how.of_history(batch.schema)), _piles(keys, count))
    tally, names = how.new_tally(), key_names(len(how.keys))
    inner = structs.replace(how, keys=dict(zip(names, how.keys.values(), strict=True)), at=_AT)
    for pile in range(count):
        wanted, known = shuffle.take("rows", pile), shuffle.take("history", pile)
        if wanted.height or not pile:
            _join_pile(shuffle, wanted, join_frames(wanted, known, inner, tally))
    return PartitionedJoin(shuffle, batches, tally.report(), list(dict.fromkeys(how.columns)))


def _join_pile(shuffle: Shuffle, wanted: pl.DataFrame, values: Values) -> None:
    """Put the values of a partition on the piles of the batches that their rows came in."""
    places = [wanted.get_column(_ROW), values.event_time.alias(_EVENT), values.status.alias(_STATUS)]
    columns = [column.alias(f"value {number}") for number, column in enumerate(values.columns)]
    shuffle.write("joined", pl.DataFrame([*places, *columns]), wanted.get_column(_BATCH).to_numpy())


def _piles(keys: Sequence[pl.Series], count: int) -> Whole:
    """The partition of each key; −1 if it has a null."""
    piles = np.full(len(keys[0]), -1, np.int64)
    whole = pl.DataFrame(keys).select(pl.all_horizontal(pl.all().is_not_null())).to_series()
    if whole.any():
        piles[whole.to_numpy()] = hash_keys([key.filter(whole) for key in keys], "history") % np.uint64(count)
    return piles


class Shuffle:
    """Rows laid on numbered piles on disk; each pile gives back its rows in the order in which they came."""

    def __init__(self) -> None:
        self._scratch = Scratch()
        self._files: dict[tuple[str, int], list[Path]] = {}
        self._empty: dict[str, pl.DataFrame] = {}

    def write(self, name: str, frame: pl.DataFrame, piles: Whole) -> None:
        """Lay each row on its pile; those of −1 on none."""
        self._empty.setdefault(name, frame.clear())
        parts = frame.with_columns(pl.Series(_PILE, piles)).partition_by(_PILE, as_dict=True, include_key=False)
        for (pile,), part in parts.items():
            if pile >= 0:
                files = self._files.setdefault((name, pile), [])
                path = self._scratch.path / f"{name}-{pile}-{len(files)}.parquet"
                with naming_full_disk(path):
                    part.write_parquet(path, compression="zstd", compression_level=1)
                files.append(path)

    def read(self, name: str, pile: int) -> pl.DataFrame:
        """The rows of a pile."""
        files = self._files.get((name, pile), [])
        return pl.read_parquet(files, glob=False, hive_partitioning=False) if files else self._empty[name]

    def take(self, name: str, pile: int) -> pl.DataFrame:
        """The rows of a pile, which is removed."""
        frame = self.read(name, pile)
        for path in self._files.pop((name, pile), []):
            path.unlink()
        return frame

    def close(self) -> None:
        """Remove all piles."""
        self._scratch.close()


@contextmanager
def _stored(table: Table, needed: Callable[[pl.Schema], list[str]]) -> Iterator[StoredRows]:
    """A table as rows that can be read in batches; a lazy one is computed once, into a temporary file."""
    if isinstance(table, pl.DataFrame):
        yield _FrameRows(table.select(needed(table.schema)))
    elif isinstance(table, pl.LazyFrame):
        with Spool(table.select(needed(table.collect_schema()))) as spool:
            yield spool
    else:
        needed(table.scan().collect_schema())
        yield table


class _FrameRows:
    """A frame in memory, read as what is stored is."""

    def __init__(self, frame: pl.DataFrame) -> None:
        self._frame, self.rows = frame, frame.height

    def scan(self) -> pl.LazyFrame:
        return self._frame.lazy()

    def batches(self, rows: int | None = None, /) -> Iterator[pl.DataFrame]:
        step = rows or rows_per_batch(self._frame)
        return (self._frame.slice(start, step) for start in range(0, max(self.rows, 1), step))


def _schema_frame(table: StoredRows) -> pl.DataFrame:
    return pl.DataFrame(schema=table.scan().collect_schema())


def _expect_times(table: StoredRows, side: str, names: Sequence[str | None]) -> None:
    """Go on only if columns are times without nulls, all rows counted; raises `InvalidError`."""
    for name in filter(None, names):
        column = table.scan().select(name)
        nulls = column.null_count().collect(engine="streaming").item()
        expect_times(column.collect_schema()[name], nulls, f"{side}.{name}")
