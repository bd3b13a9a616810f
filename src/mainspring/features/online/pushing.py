"""Rows of a view that are stored at once, before its source has them: of the types that they have there, or refused.

What is stored says that it was pushed, until the source gives it.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from threading import Event as Pause
from typing import TYPE_CHECKING, Any
from uuid import UUID

from mainspring.errors import ConflictError, InvalidError, NotAllowedError, counted
from mainspring.features._store import DefinitionStore
from mainspring.features.definitions.expressions import expect_of_single_rows
from mainspring.features.definitions.frames import typed_columns, typed_frame
from mainspring.features.definitions.functions import Functions
from mainspring.features.definitions.records import Definition, ViewRecord, view_record
from mainspring.features.definitions.rows import source_types
from mainspring.features.online.rows import timed_rows
from mainspring.features.online.states import StoredTiles, StoredValues, state_of
from mainspring.features.uses import each_tried, live_versions
from mainspring.store import KeyValue
from mainspring.streams import Patience
from mainspring.workspace import Workspace, current_workspace

if TYPE_CHECKING:
    import polars as pl

_AT_ONCE = 10_000


def push(view: str | Definition, rows: Any, *, workspace: Workspace | None = None) -> int:
    """Store rows of a view at once, before its source has them; gives how many entities got a value in its newest version.

    A view by its name is pushed to in all versions of that source that models use. `rows` are a table or dicts with the columns
    that the source has and values that fit their types there; others are left out. Transform and expressions are applied. A
    newer event stays. What is stored says that it was pushed, until the source gives it. Rows of a view over a stream also have
    the columns of its events, `received_at` among them. A version that they don't fit holds up no other.

    Raises:
        NotFoundError: there is no such view, or its dataset is gone.
        InvalidError: it is a view of aggregates, or of expressions over other rows; a column is missing, a time or key null, a
            time not in the years 1 to 9999; a column of the source is of another type than in a version of the view.
        WrongTypeError: a value doesn't fit the type of its column; it is named.
        NotAllowedError: the view is retired, and no model uses it.
        StorageError: the store can't be written.
    """
    workspace = workspace or current_workspace()
    store = DefinitionStore(workspace.database, workspace.ledger)
    versions = [view] if isinstance(view, Definition) else live_versions(view, store, workspace)
    if not versions:
        raise NotAllowedError(f"The view `{view}` is retired, and no model uses it.")
    newest, *older = versions
    record = view_record(newest)
    _stored_values(newest)
    types = source_types(record, workspace)
    if isinstance(rows, list) and not rows:
        return 0
    frame = _typed(rows, types, uuids_of(record))
    _expect_columns(record, types, frame)
    wanted = [newest, *(each for each in older if takes_rows(each, record.source))]
    return each_tried(wanted, lambda each: store_rows(each, frame, workspace))[0]


def _typed(rows: Any, types: Mapping[str, str], uuids: Collection[str]) -> pl.DataFrame:
    """The columns that the source has, in its types."""
    import polars as pl

    from mainspring.data import as_polars

    given = [rows] if isinstance(rows, dict) else rows
    if isinstance(given, list) and all(isinstance(each, dict) for each in given):
        columns = {name: [each.get(name) for each in given] for name in types if any(name in each for each in given)}
        return typed_frame({
            name: (types[name], _plain(values, types[name]) if name in uuids else values)
            for name, values in columns.items()
        })  # fmt: skip
    frame = as_polars(rows)
    known = {name: dtype for name, dtype in types.items() if name in frame.columns}
    objects = [name for name in known if name in uuids and frame.schema[name] == pl.Object]
    plain = [pl.Series(name, _plain(frame.get_column(name).to_list(), types[name])) for name in objects]
    return typed_columns(frame.select(list(known)).with_columns(plain), known)


def _expect_columns(record: ViewRecord, types: Mapping[str, str], frame: pl.DataFrame) -> None:
    """Go on only if rows have the columns that a view takes as they are; what a transform needs it says itself."""
    needed = [key.name for key in record.keys] + [record.event_time, record.created_time]
    needed += [field.name for field in record.fields if not field.formula]
    for name in filter(None, needed if record.transform is None else ()):
        if name in types and name not in frame.columns:
            given = ", ".join(frame.columns) or "none of its columns"
            raise InvalidError(f"{record.name}.{name}", given, f"rows with the column `{name}` of `{record.source}`")


def _plain(values: Sequence[Any], dtype: str) -> list[Any]:
    """Objects of UUIDs as what the source has for them: bytes or text."""
    return [(each.bytes if dtype == "bin" else str(each)) if isinstance(each, UUID) else each for each in values]


def uuids_of(record: ViewRecord) -> list[str]:
    """The keys of a view that are UUIDs."""
    return [key.name for key in record.keys if key.type == "uuid"]


def takes_rows(view: Definition, source: str) -> bool:
    """Whether rows of a source can be pushed to a version of a view."""
    record = view_record(view)
    return record.source == source and not record.aggregates


def store_rows(definition: Definition, rows: pl.DataFrame, workspace: Workspace) -> int:
    """Store rows of a version of a view that have the types of its source; gives how many entities got a value.

    Raises as `push`.
    """
    record, state = view_record(definition), _stored_values(definition)
    expect_of_single_rows(record.name, record.fields)
    given = timed_rows(record, rows.lazy(), Functions(workspace))
    for key in record.keys:
        if nulls := given.get_column(key.name).null_count():
            path = f"{record.name}.{key.name}"
            raise InvalidError(path, counted(nulls, "null"), "a key in every row", "Drop these rows.")
    changed: set[bytes] = set()
    for part in given.iter_slices(_AT_ONCE):
        changed |= _put(state, part, workspace.online)
    return len(changed)


def _stored_values(definition: Definition) -> StoredValues:
    state = state_of(definition)
    if isinstance(state, StoredTiles):
        raise InvalidError(
            "view", str(definition), "a view of columns or expressions", "Aggregates are fed by a stream."
        )
    return state


def _put(state: StoredValues, rows: pl.DataFrame, online: KeyValue) -> set[bytes]:
    """The keys of the entities that got a value."""
    patience = Patience()
    while True:
        found = state.changes(rows, online, is_pushed=True)
        try:
            online.write(found.changes, expect=found.expect)
            return {*found.expect}
        except ConflictError as error:  # somebody wrote between the look and the write
            patience.bear(error, Pause())
