"""Aggregates for many rows at once: for each row the bits that the online state gives at its instant."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

import numpy as np
import polars as pl

from mainspring.artifacts.table import schema_of
from mainspring.data.tables.type_names import named_type
from mainspring.features.aggregation.aggregate import Aggregate
from mainspring.features.aggregation.aggregation import Aggregation, aggregation
from mainspring.features.aggregation.answers import Answers, Source
from mainspring.features.aggregation.chains import Array
from mainspring.features.aggregation.sources import column, entities, event_order, micros, named_columns, ordered
from mainspring.features.aggregation.windows import Events, Rows

_ROWS = 1 << 16  # of a batch, which a processor's cache then holds: a fifth quicker than half a million
_MOST_ROWS, _MOST_EVENTS = 1 << 19, 1 << 20  # of a batch, as the events of its entities are looked through for each


def aggregate_as_of(
    rows: pl.DataFrame | pl.LazyFrame,
    events: pl.DataFrame | pl.LazyFrame,
    spec: Aggregation | Sequence[Aggregate],
    *,
    keys: Mapping[str, str],
    at: str,
    event_time: str,
    event_id: str | None,
    created_time: str | None = None,
    guard: bool = True,
) -> pl.DataFrame:
    """One column for each feature and one row for each of `rows`, in their order: the answers at the rows' instants.

    `keys` maps columns of the rows to columns of the events. With `guard` a row sees only events created by its instant;
    without `created_time` all are seen. Events with the same entity, time and id count once: the one created first, then
    the one that stands first. Without `event_id` (None) each row of `events` is an event of its own, and equal times are
    in the order of the frame. A row with an unknown or null key has no events: counts are 0, values null, lists empty.

    Time and memory: rows and events are sorted by entity and taken in batches of whole entities, some 2**16 rows, 2**19 at
    most, and 2**20 events (a larger entity alone, its rows in several batches); beyond the frames and the result, memory is
    that of a batch. Entities don't meet, so frames larger than memory can be cut by entity and given one by one.

    Raises:
        NotFoundError: a column is missing.
        WrongTypeError: a time is none.
        InvalidError: a key has different types, times or ids are null, a kind takes no values of a column's type, a sum is
            beyond 64 bits.
    """
    wanted = spec if isinstance(spec, Aggregation) else aggregation(spec, _types(events, spec))
    asked = named_columns(rows, [*(("The key", name) for name in keys), ("The instant", at)])
    times = {"The event time": event_time, "The event id": event_id, "The created time": created_time}
    needed = [(what, name) for what, name in times.items() if name is not None]
    values = [("The events' values", name) for name in wanted.types]
    found = named_columns(events, [*(("The key", name) for name in keys.values()), *needed, *values])
    asked_at = micros(asked, at, "The instant")
    row_entity, event_entity = entities(asked, found, keys)
    answers_some = np.isin(event_entity, row_entity) & _within(
        wanted, micros(found, event_time, "The event time"), asked_at
    )
    event_entity = np.where(answers_some, event_entity, -1)  # without an entity an event is left out
    source = _source(found, wanted, event_entity, event_time, event_id, created_time)
    if not guard:
        source = source._replace(events=source.events._replace(known=None))
    order = ordered(row_entity, asked_at)
    answers = _answered(wanted, source, Rows(row_entity[order], asked_at[order]))
    back = np.empty(len(order), np.int64)
    back[order] = np.arange(len(order))
    return answers.select(pl.all().gather(pl.Series(back)))


def _within(spec: Aggregation, time: Array, at: Array) -> Array:
    """Which times lie in the reach of any window that is asked for."""
    if not len(at):
        return np.zeros(len(time), bool)
    reach_us = max((hop.longest_us + hop.hop_us for hop in spec.hops), default=0)
    reached: Array = (time >= int(at.min()) - reach_us) & (time <= at.max())
    return reached


def _types(events: pl.DataFrame | pl.LazyFrame, spec: Sequence[Aggregate]) -> dict[str, str]:
    columns = {aggregate.column for aggregate in spec}
    schema = {name: dtype for name, dtype in events.collect_schema().items() if name in columns}
    return dict(schema_of(pl.DataFrame(schema=schema)))


def _source(
    found: pl.DataFrame, spec: Aggregation, entity: Array, event_time: str, event_id: str | None, created: str | None
) -> Source:
    """The events in order, each once."""
    time = micros(found, event_time, "The event time")
    known = micros(found, created, "The created time") if created is not None else None
    ids = found[event_id] if event_id is not None else None
    order = event_order(entity, time, ids, known)
    events = Events(entity, time, known).taken(order)
    return Source(events, {name: column(found, name, kind, order) for name, kind in spec.types.items()})


def _answered(spec: Aggregation, source: Source, rows: Rows) -> pl.DataFrame:
    """The answers to rows that are sorted by entity and instant, batch by batch."""
    types = {name: named_type(kind, name) for name, kind in spec.result_types.items()}
    parts: dict[str, list[pl.Series]] = {name: [pl.Series(name, [], dtype=types[name])] for name in spec.names}
    for row_part, event_part in _batches(source.events.entity, rows.entity):
        answers = Answers(source.taken(event_part), Rows(rows.entity[row_part], rows.at[row_part]))
        with np.errstate(all="ignore"):  # infinities and NaN are values
            for hop in spec.hops:
                for name, series in answers.of(hop, types):
                    parts[name].append(series)
    return pl.DataFrame([pl.concat(parts[name]) for name in spec.names])


def _batches(events: Array, rows: Array) -> Iterator[tuple[slice, slice]]:
    """Slices of rows with those of the events of their entities; both are given as sorted entities."""
    row = 0
    while row < len(rows):
        event = int(np.searchsorted(events, rows[row]))
        last = rows[min(row + _ROWS, len(rows)) - 1]
        if event + _MOST_EVENTS < len(events):
            last = max(min(last, events[event + _MOST_EVENTS] - 1), rows[row])
        behind = min(row + _MOST_ROWS, int(np.searchsorted(rows, last, "right")))
        yield slice(row, behind), slice(event, int(np.searchsorted(events, last, "right")))
        row = behind
