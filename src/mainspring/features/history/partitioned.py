"""The point-in-time join of what is larger than memory: cut by a hash of the key, joined part by part, put back in order."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from types import TracebackType
from typing import Self

import polars as pl
from msgspec import structs

from mainspring.features.history.cutting import Answers, answer_by_key
from mainspring.features.history.join import AsOf, Columns, Table, Values, join_frames
from mainspring.features.history.report import JoinReport


class PartitionedJoin:
    """The values for rows that were joined, on disk; removed when it is closed, or on exit from its block."""

    def __init__(self, answers: Answers, report: JoinReport) -> None:
        self.report = report
        self._answers = answers

    @property
    def rows(self) -> int:
        """How many rows were joined."""
        return self.report.rows

    def batches(self) -> Iterator[Values]:
        """The values in the order of the rows, as many at a time as the rows were read by; any number of times."""
        for event_time, status, *columns in self._answers.batches():
            yield Values(pl.DataFrame(columns), event_time, status)

    def close(self) -> None:
        """Remove the values."""
        self._answers.close()

    def __enter__(self) -> Self:
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
    tally = how.new_tally()

    def answer(wanted: pl.DataFrame, known: pl.DataFrame, by: Columns) -> list[pl.Series]:
        values = join_frames(wanted, known, structs.replace(how, keys=by.keys, at=by.at), tally)
        return [values.event_time, values.status, *values.columns]

    answers = answer_by_key(rows, history, how, answer, partitions=partitions, batch_rows=batch_rows)
    return PartitionedJoin(answers, tally.report())
