"""Bringing a view's features from its source into the online store: the newest row of each entity, or its events' tiles.

Readers see old values or new ones, never none in between. What was stored with a newer event time stays.
"""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime
from typing import TYPE_CHECKING, Any

import msgspec
import numpy as np

from mainspring import clock
from mainspring.data import DatasetVersion, dataset
from mainspring.errors import InvalidError
from mainspring.features._store import DefinitionStore, Freshness
from mainspring.features.definitions.functions import Functions
from mainspring.features.definitions.records import Definition, ViewRecord
from mainspring.features.definitions.rows import view_rows
from mainspring.features.history.instants import microseconds
from mainspring.features.online.entities import entities_bytes
from mainspring.features.online.packing import Packing
from mainspring.features.online.places import values_prefix
from mainspring.workspace import Workspace, current_workspace, using

if TYPE_CHECKING:
    import polars as pl

_BATCH = 50_000  # rows of one write
_EVENT, _CREATED = "__event_us", "__created_us"  # no feature is called so


class Materialized(msgspec.Struct, frozen=True, kw_only=True):
    """What was done: `rows` of the source version were visible by `until_us`, `stored` entities got a value of them.

    `newest_us` is the event time of the newest row, None if there were none; `removed` entities are not in the source any more.
    """

    view: str
    source: str
    until_us: int
    rows: int
    stored: int
    removed: int
    newest_us: int | None


def materialize(
    view: str | Definition, *, until: datetime | None = None, full: bool = False, workspace: Workspace | None = None
) -> Materialized:
    """Store the newest row of each entity, of those with event time and created time up to `until` (now).

    An entity whose stored event is newer keeps it, so this may run beside `push` and itself, and again after a kill. With
    `full` the store afterwards holds what the source holds: values that were pushed and are not in it go, too.

    Raises:
        NotFoundError: there is no such view, or its dataset is gone.
        InvalidError: it is a view of aggregates, or a key is null.
        StorageError: the store can't be written, e.g. its disk is full; what was stored stays.
    """
    workspace = workspace or current_workspace()
    store = DefinitionStore(workspace.database, workspace.ledger)
    definition, record = _found(view, store)
    until_us = clock.now_us() if until is None else clock.to_us(until)
    with using(workspace):
        version = dataset(record.source, workspace).latest()
        rows = newest_rows(record, version, until_us, Functions(workspace))
        written = _write(definition, record, rows, workspace)
        removed = _remove_others(definition, record, rows, workspace) if full else 0
    done = Materialized(
        view=str(definition), source=str(version), until_us=until_us, rows=version.rows, stored=written,
        removed=removed, newest_us=rows[_EVENT].max() if rows.height else None,  # type: ignore[arg-type]  # of integers
    )  # fmt: skip
    freshness = Freshness(done.source, until_us, done.newest_us, written, clock.now_us())
    store.note_materialized(definition, version, freshness)
    return done


def _found(view: str | Definition, store: DefinitionStore) -> tuple[Definition, ViewRecord]:
    definition = store.get("view", view) if isinstance(view, str) else view
    record = definition.record
    if not isinstance(record, ViewRecord) or record.aggregates:
        raise InvalidError(
            "view", str(definition), "a view of columns or expressions", "Aggregates are fed by a stream."
        )
    return definition, record


def newest_rows(record: ViewRecord, version: DatasetVersion, until_us: int, functions: Functions) -> pl.DataFrame:
    """The newest row of each entity by an instant, with its times in microseconds."""
    import polars as pl

    timed = _timed(record, version.scan(), functions)
    visible = timed.filter((pl.col(_EVENT) <= until_us) & (pl.col(_CREATED) <= until_us))
    ordered = visible.sort(_EVENT, _CREATED, maintain_order=True)
    return ordered.unique([key.name for key in record.keys], keep="last", maintain_order=True)


def _timed(record: ViewRecord, source: pl.LazyFrame, functions: Functions) -> pl.DataFrame:
    """The rows of a view with their times in microseconds; what has no created time was known at its event time."""
    frame = view_rows(record, source, functions).collect(engine="in-memory")
    event = microseconds(frame.get_column(record.event_time), f"{record.name}.{record.event_time}")
    created = event
    if record.created_time:
        created = microseconds(frame.get_column(record.created_time), f"{record.name}.{record.created_time}")
    return frame.with_columns(event.alias(_EVENT), created.alias(_CREATED))


def _packed(definition: Definition, record: ViewRecord, rows: pl.DataFrame) -> Iterator[list[tuple[bytes, bytes]]]:
    packing, prefix = Packing(record.fields, definition.number), values_prefix(definition)
    for batch in rows.iter_slices(_BATCH):
        times = [batch[name].to_numpy().astype(np.int64) for name in (_EVENT, _CREATED)]
        values = packing.pack(batch.select(field.name for field in record.fields), times[0], times[1])
        keys = entities_bytes(record.keys, batch)
        yield [(prefix + key, value) for key, value in zip(keys, values, strict=True)]


def _write(definition: Definition, record: ViewRecord, rows: pl.DataFrame, workspace: Workspace) -> int:
    return sum(workspace.online.put_newest(batch) for batch in _packed(definition, record, rows))


def _remove_others(definition: Definition, record: ViewRecord, rows: pl.DataFrame, workspace: Workspace) -> int:
    """Make the store hold these rows and no others."""
    wanted: dict[bytes, bytes] = {}
    for batch in _packed(definition, record, rows):
        wanted |= dict(batch)
    changes: list[tuple[bytes, bytes | None]] = []
    removed = 0
    for key, value in workspace.online.scan(values_prefix(definition)):
        if key not in wanted:
            removed += 1
            changes.append((key, None))
        elif value != wanted[key]:
            changes.append((key, wanted[key]))
    for at in range(0, len(changes), _BATCH):
        workspace.online.write(changes[at : at + _BATCH])
    return removed


def push(view: str | Definition, rows: Any, *, workspace: Workspace | None = None) -> int:
    """Store rows of a view at once, before its source has them; gives how many entities got a value.

    `rows` have the columns that the view's source has: its transform and expressions are applied. A newer event stays.

    Raises:
        NotFoundError: there is no such view.
        InvalidError: a column is missing, a time or key null.
        StorageError: the store can't be written.
    """
    from mainspring.data import as_polars

    workspace = workspace or current_workspace()
    definition, record = _found(view, DefinitionStore(workspace.database, workspace.ledger))
    return _write(definition, record, _timed(record, as_polars(rows).lazy(), Functions(workspace)), workspace)
