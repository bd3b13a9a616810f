"""The rows of a view's version on their way into the online store: with times in microseconds, and what names each event."""

from __future__ import annotations

import polars as pl

from mainspring.features.definitions.expressions import over_other_rows
from mainspring.features.definitions.functions import Functions
from mainspring.features.definitions.records import ViewRecord
from mainspring.features.definitions.rows import fitted, view_rows
from mainspring.features.history.instants import expect_shown, microseconds

EVENT, CREATED, NUMBER = "__event_us", "__created_us", "__number"  # no feature is called so


def timed_rows(record: ViewRecord, source: pl.LazyFrame, functions: Functions, first: int = 0) -> pl.DataFrame:
    """The rows of a view with their times in microseconds and their numbers, `first` being that of the first one.

    What has no created time was known at its event time.

    Raises:
        InvalidError: a time is null, or one that no datetime can show; a transform or an expression doesn't fit the rows.
    """
    with fitted(record):
        frame = view_rows(record, source, functions).collect(engine="in-memory")
    event = microseconds(frame.get_column(record.event_time), f"{record.name}.{record.event_time}")
    created = event
    if record.created_time:
        created = microseconds(frame.get_column(record.created_time), f"{record.name}.{record.created_time}")
    for name, times in ((record.event_time, event), (record.created_time, created)):
        expect_shown(times, f"{record.name}.{name}")
    number = pl.int_range(first, first + frame.height, eager=True)
    return frame.with_columns(event.alias(EVENT), created.alias(CREATED), number.alias(NUMBER))


def with_keys(record: ViewRecord, rows: pl.DataFrame) -> pl.DataFrame:
    """The rows that are of an entity; one with a null in its key is of none, here as in training sets."""
    return rows.drop_nulls([key.name for key in record.keys])


def visible(rows: pl.DataFrame, until_us: int) -> pl.DataFrame:
    """The rows that were true and known by an instant."""
    return rows.filter(_due_by(rows, until_us))


def ahead(rows: pl.DataFrame, until_us: int) -> pl.DataFrame:
    """The rows that were not."""
    return rows.filter(~_due_by(rows, until_us))


def _due_by(rows: pl.DataFrame, until_us: int) -> pl.Series:
    return (rows[EVENT] <= until_us) & (rows[CREATED] <= until_us)


def newest(record: ViewRecord, rows: pl.DataFrame) -> pl.DataFrame:
    """The newest row of each entity, by key: by event time, then created time, then place in the source."""
    keys = [key.name for key in record.keys]
    # Only what decides is sorted; the other columns are moved once.
    decides = rows.select(*keys, EVENT, CREATED)
    order = decides.select(pl.arg_sort_by([*keys, EVENT, CREATED], maintain_order=True)).to_series()
    is_last = pl.any_horizontal(pl.col(name).ne_missing(pl.col(name).shift(-1)) for name in keys)
    return rows[order.filter(decides.select(keys)[order].select(is_last).to_series())]


def is_of_single_rows(record: ViewRecord) -> bool:
    """Whether each row of the source surely makes its row of the view alone, so that parts make what the whole does."""
    return not over_other_rows(record)
