"""Which row of a history counts for each instant: one search among rows that are laid next to each other by entity, and a
second look where the guard says no.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import polars as pl

from mainspring.features.history.keys import key_names, keyed, numbered
from mainspring.features.history.known import Whole
from mainspring.features.history.runs import Runs

_FEW = 8  # rows of the history for each instant, from which on those of other entities are left out before the sort


class Sought(NamedTuple):
    """Entities and instants: a column for each part of the key, which may hold nulls, and microseconds."""

    keys: list[pl.Series]
    at: pl.Series


class History(NamedTuple):
    """The times of rows in microseconds, beside their keys. `created` is None if nobody knows."""

    keys: list[pl.Series]
    event: pl.Series
    created: pl.Series | None


class Newest(NamedTuple):
    """For each instant the position of the newest row and its age in microseconds; −1 where there is none.

    `late` are the instants whose newest row was created only later, and `late_age` its age: what the guard kept from them.
    """

    position: Whole
    age: Whole
    late: Whole
    late_age: Whole


def newest_rows(sought: Sought, history: History, *, guard: bool) -> Newest:
    """The row with the greatest (event time, created time, position) among those of the entity by the instant.

    With the guard only rows count that were created by the instant, too.
    """
    names = key_names(len(sought.keys))
    at = sought.at.to_numpy()
    wanted = keyed(sought.keys, at=sought.at, row=pl.int_range(len(at), eager=True))
    rows = _rows(history, wanted.select(names))
    event, created, position = (rows.get_column(name).to_numpy() for name in ("event", "created", "position"))
    order, sorted_event = _order(rows)
    codes, wanted_codes = numbered(rows.select(names), wanted.select(names))
    runs = Runs(codes[order])
    places = np.full(len(at), -1, np.int64)
    places[wanted.get_column("row").to_numpy()] = runs.last(wanted_codes, _ranks(sorted_event, wanted.get_column("at")))
    late = np.empty(0, np.int64)
    if guard and history.created is not None:
        found = np.flatnonzero(places >= 0)
        late = found[created[order[runs.place(places[found])]] > at[found]]
    late_age = at[late] - event[order[runs.place(places[late])]]
    if len(late):
        places[late] = runs.last_at_most(created, order, places[late], at[late])
    known = np.flatnonzero(places >= 0)
    which = order[runs.place(places[known])]
    taken, age = np.full((2, len(at)), -1, np.int64)
    taken[known], age[known] = position[which], at[known] - event[which]
    return Newest(taken, age, late, late_age)


def _rows(history: History, wanted: pl.DataFrame) -> pl.DataFrame:
    """The rows that can count, in any order, each with its position."""
    created = history.created if history.created is not None else history.event
    frame = keyed(
        history.keys,
        event=history.event,
        created=created,
        position=pl.int_range(len(created), dtype=pl.Int64, eager=True),
    )
    few = wanted.height * _FEW < frame.height
    return frame.join(wanted, on=wanted.columns, how="semi") if few else frame


def _order(rows: pl.DataFrame) -> tuple[Whole, Whole]:
    """What sorts rows by event time, then created time, then position; and the event times in that order."""
    order = rows.get_column("event").arg_sort().to_numpy(writable=True)
    event = rows.get_column("event").to_numpy()[order]
    tied = np.zeros(len(order) + 1, np.bool_)
    tied[1:-1] = event[1:] == event[:-1]
    if len(spots := np.flatnonzero(tied[1:] | tied[:-1])):  # a sort by three columns costs three times as much
        ties = rows.select("event", "created", "position")[order[spots]]
        order[spots] = order[spots][ties.select(pl.arg_sort_by(ties.columns)).to_series().to_numpy()]
    return order, event


def _ranks(sorted_event: Whole, at: pl.Series) -> Whole:
    """How many rows have an event time up to each instant."""
    order = at.arg_sort().to_numpy()  # what is looked for in order is found in half the time
    ranks = np.empty(len(order), np.int64)
    ranks[order] = np.searchsorted(sorted_event, at.to_numpy()[order], side="right")
    return ranks
