"""The answers to one batch of rows: each fold's states over each window, finished as columns."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import Any, NamedTuple

import numpy as np
import polars as pl

from mainspring.data.tables.type_names import named_type
from mainspring.features.aggregation.aggregate import Kind
from mainspring.features.aggregation.aggregation import ROWS, Feature, FoldUse, Hop
from mainspring.features.aggregation.chains import Array, Arrays
from mainspring.features.aggregation.folds import Count, FloatSum, Least, Moments, Newest, Tally, deviation
from mainspring.features.aggregation.listings import Coded, coded, count_distinct, largest, most_frequent, newest
from mainspring.features.aggregation.sources import Column, as_series, nulled
from mainspring.features.aggregation.values import value_type
from mainspring.features.aggregation.vector_folds import (
    Extremes,
    FloatSums,
    MomentStates,
    Ones,
    Totals,
    VectorFold,
    WideTotals,
    halves,
)
from mainspring.features.aggregation.windows import Events, Rows, Spans, Tiles, plans, spans

COUNT = FoldUse(ROWS, Count(skips_nulls=False), value_type(ROWS))


class Source(NamedTuple):
    """Events in order, and the columns of values that aggregates need."""

    events: Events
    columns: dict[str, Column]

    def taken(self, some: Any) -> Source:
        """A part of the events."""
        return Source(self.events.taken(some), {name: column.taken(some) for name, column in self.columns.items()})


class _Ready(NamedTuple):
    """A fold with the values that it takes, and its state at each event."""

    fold: VectorFold
    values: Array
    running: Arrays


class _View:
    """The events that a fold sees: all, or those whose value isn't null; with what is made of them once."""

    def __init__(self, source: Source) -> None:
        self.source = source
        self._tiles: dict[int, Tiles] = {}
        self._ready: dict[tuple[int, FoldUse], _Ready] = {}
        self._coded: dict[str, Coded] = {}

    def tiles(self, hop_us: int) -> Tiles:
        """The tiles of one length."""
        if hop_us not in self._tiles:
            self._tiles[hop_us] = Tiles(self.source.events, hop_us)
        return self._tiles[hop_us]

    def ready(self, hop_us: int, use: FoldUse) -> _Ready:
        """An algebraic fold over the tiles of one length."""
        if (hop_us, use) not in self._ready:
            tiles = self.tiles(hop_us)
            fold, values = _vector_fold(use, self.source)
            self._ready[hop_us, use] = _Ready(fold, values, fold.running(values, tiles.runs))
        return self._ready[hop_us, use]

    def coded(self, column: str) -> Coded:
        """A column's values by rank."""
        if column not in self._coded:
            self._coded[column] = coded(self.source.events, self.source.columns[column].data)
        return self._coded[column]


class _Tables(NamedTuple):
    """The states of each row, by fold; zeros in rows without events."""

    any: Array
    states: dict[FoldUse, Arrays]


class Answers:
    """One batch: whole entities' events, and rows of these entities, sorted by entity and instant."""

    def __init__(self, source: Source, rows: Rows) -> None:
        # Entities are counted from the batch's first, so that entity and time fit one number.
        first = rows.entity[0]
        self._source = Source(source.events._replace(entity=source.events.entity - first), source.columns)
        self._rows = Rows(rows.entity - first, rows.at)
        self._views: dict[str, _View] = {}

    def of(self, hop: Hop, types: Mapping[str, pl.DataType]) -> Iterator[tuple[str, pl.Series]]:
        """Each feature of one length of tiles."""
        groups: dict[tuple[str, int], list[Feature]] = {}
        for feature in hop.features:
            groups.setdefault((self._view_name(feature.use), feature.declared.window_us), []).append(feature)
        for (name, window_us), features in groups.items():
            view = self._view(name)
            tiles = view.tiles(hop.hop_us)
            rows = spans(tiles, self._rows, window_us)
            tables = self._tables(view, tiles, rows, features)
            for feature in features:
                dtype = types[feature.name]
                if isinstance(feature.use.fold, _LISTED):
                    yield feature.name, _listing(view, rows, feature, dtype)
                else:
                    yield feature.name, _series(feature, view.source, *_FINISHED[feature.kind](feature, tables), dtype)

    def _view_name(self, use: FoldUse) -> str:
        nullable = use.column and use.fold.skips_nulls and self._source.columns[use.column].null is not None
        return use.column if nullable else ""

    def _view(self, name: str) -> _View:
        if name not in self._views:
            null = self._source.columns[name].null if name else None
            self._views[name] = _View(self._source if null is None else self._source.taken(~null))
        return self._views[name]

    def _tables(self, view: _View, tiles: Tiles, rows: Spans, features: list[Feature]) -> _Tables:
        uses = {feature.use for feature in features if not isinstance(feature.use.fold, _LISTED)}
        if any(isinstance(use.fold, FloatSum) for use in uses):
            uses.add(COUNT)
        ready = {use: view.ready(tiles.hop_us, use) for use in sorted(uses, key=repr)}
        states = {
            use: tuple(np.zeros(len(rows.at), state.dtype) for state in one.running) for use, one in ready.items()
        }
        tables = _Tables(np.zeros(len(rows.at), bool), states)
        for part, plan in plans(tiles, rows) if ready else ():
            some = plan.some + part.start
            tables.any[some] = True
            for use, (fold, values, running) in ready.items():
                for table, state in zip(states[use], plan.states(fold, running, values), strict=True):
                    table[some] = state
        return tables


def _vector_fold(use: FoldUse, source: Source) -> tuple[VectorFold, Array]:
    if isinstance(use.fold, Count):
        return Ones(), np.ones(len(source.events.time), np.int64)
    data = source.columns[use.column].data
    if use.of_floats:
        return MomentStates() if isinstance(use.fold, Moments) else FloatSums(), use.type.number(
            data.astype(np.float64)
        )
    if isinstance(use.fold, Least):
        return Extremes(use.fold, data.dtype.kind == "f"), data
    most = max(abs(int(data.min())), abs(int(data.max()))) if len(data) else 0
    if most * len(data) < 2**63:
        return Totals(), data.astype(np.int64)
    return WideTotals(), data


def _sum(feature: Feature, tables: _Tables) -> tuple[Array, Array]:
    states = tables.states[feature.use]
    if isinstance(feature.use.fold, FloatSum):
        return states[0], ~tables.any
    total, fits = halves(states)
    if not fits.all():
        row = int(np.flatnonzero(~fits)[0])
        raise feature.overflow((int(states[0][row]) << 32) + int(states[1][row]))
    return total, ~tables.any


def _std(feature: Feature, tables: _Tables) -> tuple[Array, Array]:
    count, _, squares = tables.states[feature.use]
    few = count < 2
    with np.errstate(all="ignore"):
        # Infinities leave a negative or no sum of squares; the root of both is NaN.
        return deviation(np.where(few, 2.0, count), squares, np.sqrt), few


def _mean(feature: Feature, tables: _Tables) -> tuple[Array, Array]:
    return tables.states[feature.use][0] / np.where(tables.any, tables.states[COUNT][0], 1), ~tables.any


def _value(feature: Feature, tables: _Tables) -> tuple[Array, Array]:
    return tables.states[feature.use][0], ~tables.any


_FINISHED: dict[Kind, Callable[[Feature, _Tables], tuple[Array, Array]]] = {
    "count": lambda feature, tables: (tables.states[feature.use][0], np.zeros(len(tables.any), bool)),
    "sum": _sum,
    "mean": _mean,
    "std": _std,
    "min": _value,
    "max": _value,
}


def _series(feature: Feature, source: Source, data: Array, null: Array, dtype: pl.DataType) -> pl.Series:
    """A column of plain results; every NaN is the same one."""
    if data.dtype.kind == "f":
        data = np.where(data != data, np.nan, data)
    if feature.kind in ("min", "max"):
        return source.columns[feature.use.column].series(feature.name, data, null, dtype)
    kind = feature.type if feature.kind == "sum" else _NUMBER
    return nulled(as_series(feature.name, data, kind, dtype), null)


def _listing(view: _View, rows: Spans, feature: Feature, dtype: pl.DataType) -> pl.Series:
    """A column that is read from the events themselves."""
    aggregate = feature.declared.aggregate
    events, values = view.source.events, view.source.columns[aggregate.column]
    if feature.kind == "distinct":
        counts = count_distinct(events, rows, view.coded(aggregate.column))
        return as_series(feature.name, counts, _NUMBER, dtype)
    if feature.kind == "last":
        row, event = newest(events, rows, max(aggregate.k, 1))
        data, null = values.data[event], values.null[event] if values.null is not None else np.zeros(len(event), bool)
    else:
        ranks = view.coded(aggregate.column)
        row, code = (most_frequent if aggregate.by == "count" else largest)(events, rows, ranks, aggregate.k)
        data, null = ranks.values[code], np.zeros(len(code), bool)
    if data.dtype.kind == "f":
        data = np.where(data != data, np.nan, data)
    found = values.series(feature.name, data, null, named_type(feature.type.name, feature.name))
    place = np.full(len(rows.at), len(row), np.int64)
    if not aggregate.k:
        place[row] = np.arange(len(row))
        return pl.concat([found, pl.Series(feature.name, [None], dtype=dtype)]).gather(pl.Series(place))
    begins = np.flatnonzero(np.diff(row, prepend=-1))
    place = np.full(len(rows.at), len(begins), np.int64)
    place[row[begins]] = np.arange(len(begins))
    table = pl.DataFrame([pl.Series("row", row), found])
    lists = table.group_by("row", maintain_order=True).agg(feature.name)[feature.name].cast(dtype)
    return pl.concat([lists, pl.Series(feature.name, [[]], dtype=dtype)]).gather(pl.Series(place))


_LISTED = (Tally, Newest)
_NUMBER = value_type("i64")
