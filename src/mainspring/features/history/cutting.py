"""Questions to a history larger than memory: both are cut by a hash of the key, answered part by part, put back in order."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager

import numpy as np
import polars as pl
from msgspec import structs

from mainspring.artifacts.spool import Spool, rows_per_batch
from mainspring.data.splits.keys import hash_keys
from mainspring.data.tables.memory import StoredRows, in_memory_bytes
from mainspring.errors import InvalidError
from mainspring.features.history.instants import expect_times
from mainspring.features.history.join import Columns, Table
from mainspring.features.history.keys import comparable_keys, key_names
from mainspring.features.history.known import Whole
from mainspring.features.history.shuffle import Shuffle

Answer = Callable[[pl.DataFrame, pl.DataFrame, Columns], Sequence[pl.Series]]
"""Answers rows by a history: a value for each row in each column. It is told what their columns are called."""

Prepare = Callable[[pl.DataFrame], pl.DataFrame]

_PART_BYTES = 128 << 20
_MOST_PARTS = 256  # each batch writes so many files
_ROW, _BATCH, _AT = "row", "batch", "at"


def as_given(rows: pl.DataFrame) -> pl.DataFrame:
    """The rows as they are."""
    return rows


class Answers:
    """Columns of answers on disk, removed when they are closed."""

    def __init__(self, shuffle: Shuffle, batches: int, names: Sequence[str]) -> None:
        self._shuffle, self._batches, self._names = shuffle, batches, names

    def batches(self) -> Iterator[list[pl.Series]]:
        """The columns in the order of the rows, as many rows at a time as these were read by; any number of times."""
        for batch in range(self._batches):
            found = self._shuffle.read("answers", batch).sort(_ROW).get_columns()[1:]
            yield [series.alias(name) for series, name in zip(found, self._names, strict=True)]

    def close(self) -> None:
        """Remove them."""
        self._shuffle.close()


def answer_by_key(
    rows: Table, history: Table, by: Columns, answer: Answer, *, partitions: int | None, batch_rows: int | None,
    prepare: Prepare = as_given,
) -> Answers:  # fmt: skip
    """The answers to all rows, the same for any number of partitions: all rows of a key lie in one, in their order.

    By default there are as many partitions as make each take about 128 MiB, at most 256. `batch_rows` is how many rows are
    read, and their answers given back, at a time; `prepare` brings their columns to the types by which they are compared.

    Raises:
        InvalidError: there is no such number of partitions, a key has a type that doesn't fit, or a time is null.
        NotFoundError: a column is missing.
        StorageError: the disk for temporary files is full.
    """
    if partitions is not None and partitions < 1:
        raise InvalidError("partitions", partitions, "a number of at least 1")
    shuffle = Shuffle()
    try:
        with stored_rows(rows, by.of_rows) as left, stored_rows(history, by.of_history) as right:
            _expect_times(left, "rows", [by.at])
            _expect_times(right, "history", [by.event_time, by.created_time])
            count = partitions or min(-(-_bytes(left, right) // _PART_BYTES) or 1, _MOST_PARTS)
            batches = _lay(shuffle, left, right, by, prepare, count, batch_rows)
            return Answers(shuffle, batches, _answered(shuffle, by, answer, count))
    except BaseException:
        shuffle.close()
        raise


def _bytes(rows: StoredRows, history: StoredRows) -> int:
    """What history and answers take in memory; a row of answers is about as wide as one of the history."""
    known = in_memory_bytes(history)
    return known + rows.rows * (known // max(history.rows, 1))


def _lay(
    shuffle: Shuffle, rows: StoredRows, history: StoredRows, by: Columns, prepare: Prepare, count: int,
    batch_rows: int | None,
) -> int:  # fmt: skip
    """Cut both tables; gives how many batches of rows there were."""
    no_rows, no_history = prepare(_schema_frame(rows)), _schema_frame(history)
    kept = [name for name in by.of_history(no_history.schema) if name not in by.keys.values() or name in by.values]
    start = batches = 0
    for given in rows.batches(batch_rows):
        batch = prepare(given)
        keys, _ = comparable_keys(batch, no_history, by.keys)
        frame = pl.DataFrame([*_named(keys, by), batch.get_column(by.at).alias(_AT)]).with_columns(
            pl.int_range(start, start + batch.height).alias(_ROW), pl.lit(batches).alias(_BATCH)
        )
        shuffle.write("rows", frame, np.maximum(_piles(keys, count), 0))
        start, batches = start + batch.height, batches + 1
    for batch in history.batches():
        _, keys = comparable_keys(no_rows, batch, by.keys)
        shuffle.write("history", pl.DataFrame([*_named(keys, by), *batch.select(kept)]), _piles(keys, count))
    return batches


def _named(keys: Sequence[pl.Series], by: Columns) -> list[pl.Series]:
    """The keys by names that no other column of the history has."""
    return [key.alias(name) for key, name in zip(keys, key_names(len(keys), by.values), strict=True)]


def _answered(shuffle: Shuffle, by: Columns, answer: Answer, count: int) -> list[str]:
    """Put the answers of each partition on the piles of the batches that their rows came in; gives their names."""
    cut = structs.replace(by, keys={name: name for name in key_names(len(by.keys), by.values)}, at=_AT)
    names: list[str] = []
    for pile in range(count):
        wanted, known = shuffle.take("rows", pile), shuffle.take("history", pile)
        if wanted.height or not pile:
            answers = answer(wanted, known, cut)
            names = [series.name for series in answers]
            numbered = [series.alias(f"answer {number}") for number, series in enumerate(answers)]
            frame = pl.DataFrame([wanted.get_column(_ROW), *numbered])
            shuffle.write("answers", frame, wanted.get_column(_BATCH).to_numpy())
    return names


def _piles(keys: Sequence[pl.Series], count: int) -> Whole:
    """The partition of each key; −1 if it has a null."""
    piles = np.full(len(keys[0]), -1, np.int64)
    whole = pl.DataFrame(keys).select(pl.all_horizontal(pl.all().is_not_null())).to_series()
    if whole.any():
        piles[whole.to_numpy()] = hash_keys([key.filter(whole) for key in keys], "history") % np.uint64(count)
    return piles


@contextmanager
def stored_rows(table: Table, needed: Callable[[pl.Schema], list[str]]) -> Iterator[StoredRows]:
    """A table as rows that can be read in batches; a lazy one is computed once, into a temporary file.

    `needed` says which columns; those of a stored table are all read.
    """
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
