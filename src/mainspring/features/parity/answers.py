"""What the offline path answers to logged reads of one part of a service, by the engines that make training sets."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import polars as pl

from mainspring.features.aggregation import aggregate_as_of
from mainspring.features.definitions.records import Part, ViewRecord
from mainspring.features.history import join_as_of
from mainspring.features.online.rows import EVENT
from mainspring.features.online.states import spec_of
from mainspring.features.parity.past import KNOWN, Past, Whole, chains
from mainspring.features.parity.reads import Reads

AT = "__at"


class Answers(NamedTuple):
    """Values of a part's features, a row for each read, and the event times that they are of (None: of aggregates)."""

    values: pl.DataFrame
    event_us: pl.Series | None

    def taken(self, places: Whole) -> Answers:
        """Those at these places."""
        event_us = None if self.event_us is None else self.event_us.gather(places)
        return Answers(self.values[places], event_us)


class Asked(NamedTuple):
    """Reads of one part: the columns of its keys by the part's names for them, and the instants."""

    part: Part
    record: ViewRecord
    rows: pl.DataFrame
    at: Whole

    def taken(self, places: Whole) -> Asked:
        """Those at these places."""
        return self._replace(rows=self.rows[places], at=self.at[places])


def asked_of(part: Part, record: ViewRecord, reads: Reads) -> Asked:
    """The reads of a part."""
    types = {part.keys.get(key.name, key.name): key.type for key in record.keys}
    return Asked(part, record, reads.keys(types).with_columns(_instants(AT, reads.at)), reads.at)


def answers_as_of(asked: Asked, past: Past, level: Whole) -> Answers:
    """Each read as of its level: what the rows say that need no more."""
    found: list[Answers] = []
    places: list[Whole] = []
    for chain in chains(asked.at, level):
        history = past.as_of(asked.at[chain], level[chain])
        found.append(answers(asked.taken(chain), history))
        places.append(chain)
    return joined(found, places) if found else answers(asked, past.known().clear())


def joined(found: Sequence[Answers], places: Sequence[Whole]) -> Answers:
    """Answers to parts of the reads, those at these places, in the order of all."""
    back = np.argsort(np.concatenate(places), kind="stable")
    events = [each.event_us for each in found if each.event_us is not None]
    return Answers(pl.concat([each.values for each in found]), pl.concat(events) if events else None).taken(back)


def answers_now(asked: Asked, past: Past, *, guard: bool = True) -> Answers:
    """Each read as a training set answers at its instant."""
    return answers(asked, past.known(guard=guard))


def answers(asked: Asked, history: pl.DataFrame, *, ttl_us: int | None = -1) -> Answers:
    """The answers of rows with the time from which on they are known. `ttl_us` is another than the view's, if given."""
    part, record = asked.part, asked.record
    keys = {part.keys.get(key.name, key.name): key.name for key in record.keys}
    if record.aggregates:
        found = aggregate_as_of(
            asked.rows, history, spec_of(record), keys=keys, at=AT, event_time=EVENT, event_id=record.event_id or None,
            created_time=KNOWN,
        )  # fmt: skip
        return Answers(found.select(part.features), None)
    joined = join_as_of(
        asked.rows, history, keys=keys, at=AT, event_time=EVENT, created_time=KNOWN, columns=part.features,
        ttl_us=record.ttl_us if ttl_us == -1 else ttl_us,
    )  # fmt: skip
    return Answers(joined.columns.select(part.features), joined.event_time.to_physical())


def _instants(name: str, at: Whole) -> pl.Series:
    return pl.Series(name, at, pl.Int64).cast(pl.Datetime("us", "UTC"))
