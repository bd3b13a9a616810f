"""The features of one view for many rows, in memory or by partition of what is larger: the same values, bits and counts."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack
from typing import NamedTuple, Protocol

import msgspec
import polars as pl

from mainspring.artifacts.spool import BATCH_BYTES
from mainspring.data.tables.memory import StoredRows
from mainspring.data.tables.type_names import named_type
from mainspring.features.aggregation.aggregation import aggregation
from mainspring.features.aggregation.backfill import aggregate_as_of
from mainspring.features.definitions.expressions import over_other_rows
from mainspring.features.definitions.frames import typed_columns
from mainspring.features.definitions.records import ViewRecord
from mainspring.features.history import AsOf, JoinReport
from mainspring.features.history.cutting import answer_by_key
from mainspring.features.history.instants import expect_values_shown
from mainspring.features.history.join import Columns, join_frames
from mainspring.features.history.report import Tally

_SAMPLE_ROWS = 4_096
_OF_UNKNOWN_WIDTH = 1_024  # bytes that are counted for a list or text


class Lookup(msgspec.Struct, frozen=True, kw_only=True):
    """Which features of a view are asked for: `keys` are columns of the rows by which they are found, `at` the instant.

    `types` are the declared types of the keys' columns in the rows, where these may be of others.
    """

    view: ViewRecord
    features: tuple[str, ...]
    keys: Mapping[str, str]
    at: str
    guard: bool
    types: Mapping[str, str] = {}  # a Struct copies its defaults

    @property
    def by(self) -> AsOf:
        """The columns of rows and history that are needed."""
        view = self.view
        values = [each.column for each in view.aggregates if each.column] + [view.event_id] * bool(view.event_id)
        return AsOf(
            keys=self.keys, at=self.at, event_time=view.event_time, created_time=view.created_time or None,
            columns=values if view.aggregates else self.features, ttl_us=view.ttl_us, guard=self.guard,
            blind=over_other_rows(view, self.features),
        )  # fmt: skip

    def typed(self, rows: pl.DataFrame) -> pl.DataFrame:
        """Rows with their keys in the declared types; raises as `typed_columns`."""
        return typed_columns(rows, self.types)

    def answer(self, rows: pl.DataFrame, history: pl.DataFrame, by: Columns, tally: Tally) -> list[pl.Series]:
        """The features for each row, counted; the columns of rows and history are called as `by` says.

        Raises:
            InvalidError: a time or a feature is one that nobody could be shown, as where it would be stored.
        """
        expect_values_shown(rows.get_column(by.at), f"rows.{self.at}")
        for name in filter(None, (by.event_time, by.created_time)):
            expect_values_shown(history.get_column(name), f"{self.view.name}.{name}")
        answer = self._aggregated if self.view.aggregates else self._joined
        found = list(answer(rows, history, by, tally).select(self.features))
        for each in found:
            expect_values_shown(each, f"{self.view.name}.{each.name}")
        return found

    def _joined(self, rows: pl.DataFrame, history: pl.DataFrame, by: Columns, tally: Tally) -> pl.DataFrame:
        return join_frames(rows, history, msgspec.structs.replace(self.by, keys=by.keys, at=by.at), tally).columns

    def _aggregated(self, rows: pl.DataFrame, events: pl.DataFrame, by: Columns, tally: Tally) -> pl.DataFrame:
        asked = [each for each in self.view.aggregates if any(one.name in self.features for one in each.features())]
        wanted = aggregation(asked, self.view.columns)

        def answers(*, guard: bool) -> pl.DataFrame:
            found = aggregate_as_of(
                rows, events, wanted, keys=by.keys, at=by.at, event_time=by.event_time,
                event_id=self.view.event_id or None, created_time=by.created_time, guard=guard,
            )  # fmt: skip
            return found.select(self.features)

        values = answers(guard=self.guard)
        present = values.select(pl.any_horizontal(_has_value(column) for column in values)).to_series()
        tally.add_rows(
            values.height, found=int(present.sum()), nulls={column.name: column.null_count() for column in values}
        )
        if by.created_time and self.guard and values.height:
            others = answers(guard=False)
            same = pl.DataFrame([values[name].eq_missing(others[name]) for name in values.columns])
            changed = ~same.select(pl.all_horizontal(pl.all())).to_series()
            tally.add_guarded(int(changed.sum()), int((changed & present).sum()))
        return values


class Found(NamedTuple):
    """The features for rows: `batches` gives them, as many rows at a time as these are read by; and what was found."""

    batches: Callable[[], Iterator[list[pl.Series]]]
    report: JoinReport


class Rows(Protocol):
    """Rows that ask for features, read batch by batch."""

    @property
    def names(self) -> list[str]:
        """The columns."""
        ...

    def batches(self) -> Iterator[pl.DataFrame]:
        """The rows in order, cut in the same way each time."""
        ...

    def look_up(self, lookup: Lookup, history: pl.LazyFrame) -> Found:
        """The features of a view, whose rows are given, for each row."""
        ...


class RowsInMemory:
    """All rows at once; what is needed of a history is read whole."""

    def __init__(self, rows: pl.DataFrame) -> None:
        self.rows, self.names = rows, rows.columns

    def batches(self) -> Iterator[pl.DataFrame]:
        """The rows, as one batch."""
        yield self.rows

    def look_up(self, lookup: Lookup, history: pl.LazyFrame) -> Found:
        """The features of a view for each row."""
        by = lookup.by
        tally = by.new_tally()
        needed = history.select(by.of_history(history.collect_schema())).collect(engine="in-memory")
        values = lookup.answer(lookup.typed(self.rows), needed, by, tally)
        return Found(lambda: iter([values]), tally.report())


class RowsOnDisk:
    """Rows of which a part is in memory at a time, and of a history the rows of the keys of a part.

    `features` are the types of all that is looked up for a row.
    """

    def __init__(self, rows: StoredRows, features: Sequence[str], partitions: int | None, stack: ExitStack) -> None:
        self._rows, self._partitions, self._stack = rows, partitions, stack
        sample = rows.scan().head(_SAMPLE_ROWS).collect(engine="in-memory")
        row_bytes = sample.estimated_size() // max(sample.height, 1) + sum(map(_bytes_of, features))
        self.names, self._batch_rows = sample.columns, max(BATCH_BYTES // (int(row_bytes) + 1), 1)

    def batches(self) -> Iterator[pl.DataFrame]:
        """The rows in order, so many at a time."""
        return self._rows.batches(self._batch_rows)

    def look_up(self, lookup: Lookup, history: pl.LazyFrame) -> Found:
        """The features of a view for each row, on disk until the stack is closed."""
        by = lookup.by
        tally = by.new_tally()
        answers = answer_by_key(
            self._rows, history, by, lambda rows, known, cut: lookup.answer(rows, known, cut, tally),
            partitions=self._partitions, batch_rows=self._batch_rows, prepare=lookup.typed,
        )  # fmt: skip
        self._stack.callback(answers.close)
        return Found(answers.batches, tally.report())


def _bytes_of(dtype: str) -> int:
    """How much memory a value of a type takes."""
    kind = named_type(dtype, "features")
    if kind in (pl.String, pl.Binary) or (kind.is_nested() and not isinstance(kind, pl.Array)):
        return _OF_UNKNOWN_WIDTH
    return int(pl.Series([None] * 8, dtype=kind).estimated_size()) // 8


def _has_value(column: pl.Series) -> pl.Expr:
    """Whether an aggregate says something of an event: a count above 0, a list with values, any other value."""
    name = pl.col(column.name)
    if isinstance(column.dtype, pl.List):
        return name.list.len() > 0
    return (name > 0).fill_null(value=False) if column.dtype.is_integer() else name.is_not_null()
