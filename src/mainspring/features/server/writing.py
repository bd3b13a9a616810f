"""What changes values: rows that are pushed, online and into the views' datasets, and views that are materialized.

Online comes first: pushing the same rows again changes nothing there, so a client that got no answer may send them again.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from datetime import UTC
from typing import TYPE_CHECKING, Any

import msgspec
from msgspec.structs import replace

from mainspring import clock
from mainspring.data import dataset
from mainspring.errors import InvalidError, NotFoundError, close_names
from mainspring.features._store import DefinitionStore
from mainspring.features.definitions.frames import typed_frame
from mainspring.features.definitions.records import Definition, Field, ViewRecord, view_record
from mainspring.features.definitions.rows import source_types
from mainspring.features.online.materializing import iter_materialized
from mainspring.features.online.pushing import push, store_rows, takes_rows, uuids_of
from mainspring.features.server.shapes import Frame, MaterializeRequest, PushRequest, WriteRequest, with_bytes
from mainspring.features.uses import each_tried, live_versions
from mainspring.workspace import Workspace

if TYPE_CHECKING:
    import polars as pl

_EVENT, _CREATED = "event_timestamp", "created"  # as Feast's client names them
_TIME = "datetime[us, UTC]"
_FED = "Aggregates are fed by a stream, or materialized."
_DF = "df."  # where the columns stand in a body
_WAYS = ("online", "offline", "online_and_offline")


def push_rows(request: PushRequest, workspace: Workspace) -> dict[str, Any]:
    """Push rows of a view, or of all views of a source, and say what became of them. Versions that models use get them, too.

    Views of aggregates over the source get them with its next materialization, when the dataset has them.

    Raises:
        NotFoundError: there is no such view or source, or no such column; the nearest are named.
        InvalidError: a column is missing, or rows can't be pushed there.
        WrongTypeError: a value has another type.
        StorageError: a store can't be written.
    """
    if request.to not in _WAYS:
        raise InvalidError("to", request.to, f"one of {', '.join(_WAYS)}")
    views = _pushed(request.push_source_name, workspace, is_online=request.to != "offline")
    answer: dict[str, Any] = {"rows": _rows(request.df), "online": {}, "offline": {}}
    types = source_types(view_record(views[0]), workspace)
    frame = _framed(request.df, types, uuids_of(view_record(views[0])))
    offline = request.to != "online"
    if offline:
        _expect_dataset(view_record(views[0]), frame, types)
    if request.to != "offline":
        store, source = DefinitionStore(workspace.database, workspace.ledger), view_record(views[0]).source
        live = [each for view in views for each in live_versions(view.name, store, workspace)]
        wanted = [each for each in live if takes_rows(each, source)]
        counts = each_tried(wanted, lambda each: push(each, frame, workspace=workspace))
        answer["online"] = dict(zip(map(str, wanted), counts, strict=True))
    if offline:
        source = view_record(views[0]).source
        note = f"pushed to {request.push_source_name}"
        answer["offline"] = {source: str(dataset(source, workspace).append(frame, note=note))}
    return answer


def write_features(request: WriteRequest, workspace: Workspace) -> dict[str, Any]:
    """Store rows of a view that hold its features, as Feast's client sends what is pushed to it; raises as `push_rows`."""
    store = DefinitionStore(workspace.database, workspace.ledger)
    asked = live_versions(request.feature_view_name, store, workspace)
    view = asked[0] if asked else store.get("view", request.feature_view_name)
    types, own = _types_of_features(view_record(view)), _own_times(view_record(view))
    _rows(request.df)
    told = {name: _from_seconds(name, types.get(own.get(name, name), ""), each) for name, each in request.df.items()}
    given = _with_own_times(told, view_record(view))
    frame = _framed(given, types)
    if missing := [name for name in types if name not in frame.columns]:
        sent = next((name for name, each in own.items() if each == missing[0]), missing[0])
        raise InvalidError("df", ", ".join(request.df), f"a column `{sent}` of {view}")
    live = [each for each in live_versions(view.name, store, workspace) if _shape(each) == _shape(view)]
    into = {str(each): each for each in (view, *live)}
    stored = {name: store_rows(_plain(each), frame, workspace) for name, each in into.items()}
    return {"rows": frame.height, "online": stored}


def _own_times(record: ViewRecord) -> dict[str, str]:
    """What the times that Feast's client sends are called in a view."""
    return {_EVENT: record.event_time, _CREATED: record.created_time}


def _with_own_times(columns: Frame, record: ViewRecord) -> Frame:
    """Columns with the times as the view calls them. A row without a created time was known when it happened."""
    times = _own_times(record)
    found = {times.get(name, name) or name: values for name, values in columns.items()}
    if not record.created_time:
        found.pop(_CREATED, None)
    elif record.created_time in found and record.event_time in found:
        both = zip(found[record.created_time], found[record.event_time], strict=True)
        found[record.created_time] = [happened if known is None else known for known, happened in both]
    return found


def _types_of_features(record: ViewRecord) -> dict[str, str]:
    """The columns of a view's rows as its features, with their types."""
    types = {key.name: str(key.type) for key in record.keys}
    types |= {name: _TIME for name in (record.event_time, record.created_time) if name}
    return types | {field.name: field.dtype for field in record.fields}


def _shape(view: Definition) -> tuple[Any, ...]:
    """The columns that rows of features have."""
    record = view_record(view)
    return record.keys, record.event_time, record.created_time, [(field.name, field.dtype) for field in record.fields]


def _plain(view: Definition) -> Definition:
    """The view as it would be over rows that hold its features already."""
    record = view_record(view)
    fields = tuple(Field(field.name, field.dtype) for field in record.fields)
    return replace(view, record=replace(record, transform=None, fields=fields))


def materialize_views(request: MaterializeRequest, workspace: Workspace) -> dict[str, Any]:
    """Materialize views, or all of them over datasets; an end in the future is now. Raises as `iter_materialized`."""
    names, store = request.feature_views, DefinitionStore(workspace.database, workspace.ledger)
    if names is None:
        names = tuple(str(each) for each in store.heads().values() if _is_materialized(each))
    for name in names:  # nothing is done if one of them isn't there
        live_versions(name, store, workspace)
    until = request.end_ts
    if until is not None:
        until = min(until if until.tzinfo else until.replace(tzinfo=UTC), clock.now())
    done = list(iter_materialized(names, until=until, workspace=workspace))
    return {"views": msgspec.to_builtins(done)}


def _is_materialized(definition: Definition) -> bool:
    record = definition.record
    return isinstance(record, ViewRecord) and record.stream is None and definition.retired_at is None


def _pushed(name: str, workspace: Workspace, *, is_online: bool) -> list[Definition]:
    """The views that a name of one, or of their source, stands for; online one at least that rows can be pushed to."""
    store = DefinitionStore(workspace.database, workspace.ledger)
    views = [each for each in store.heads().values() if isinstance(each.record, ViewRecord) and not each.retired_at]
    found = [each for each in views if each.name == name] or [
        each for each in views if view_record(each).source == name
    ]
    if not found:
        known = {each.name for each in views} | {view_record(each).source for each in views}
        raise NotFoundError("push source", name, close_names(name, known), "It is a view, or the source of some.")
    if is_online and not any(takes_rows(each, view_record(each).source) for each in found):
        raise InvalidError("push_source_name", name, "a view of columns or expressions, or the source of one", _FED)
    return found


def _expect_dataset(record: ViewRecord, frame: pl.DataFrame, types: Mapping[str, str]) -> None:
    if record.stream is not None:
        raise InvalidError("to", "offline", f"a way to reach the stream {record.source}", "Send events to the stream.")
    if missing := [name for name in types if name not in frame.columns]:
        raise InvalidError("df", ", ".join(frame.columns), f"the columns of {record.source}, with `{missing[0]}`")


def _framed(columns: Frame, types: Mapping[str, str], uuids: Collection[str] = ()) -> pl.DataFrame:
    """Columns of JSON with the types that they have there, in that order. Bytes are base64, UUIDs also their text."""
    for name in columns:
        if name not in types:
            raise NotFoundError("column", name, close_names(name, types), f"There are {', '.join(types)}.")
    _rows(columns)
    known = columns or {name: [] for name in types}  # no columns are no rows
    told = {}
    for name in (each for each in types if each in known):
        path = f"{_DF}{name}"
        told[path] = types[name], with_bytes(path, known[name], types[name], is_uuid=name in uuids)
    return typed_frame(told).rename(lambda path: path.removeprefix(_DF))


def _rows(columns: Frame) -> int:
    counts = {len(values) for values in columns.values()}
    if len(counts) > 1:
        told = ", ".join(f"{len(values):,} of {name}" for name, values in columns.items())
        raise InvalidError("df", told, "as many values in each column")
    return counts.pop() if counts else 0


def _from_seconds(name: str, dtype: str, values: list[Any]) -> list[Any]:
    """Times as Feast's client sends them, in whole seconds, as times."""
    if not dtype.startswith("datetime"):
        return values
    for place, each in enumerate(values):
        if type(each) is int and not clock.FIRST_US <= each * 1_000_000 <= clock.LAST_US:
            raise InvalidError(f"df.{name}[{place}]", each, "seconds since 1970, in the years 1 to 9999, or ISO 8601")
    return [clock.from_us(each * 1_000_000).isoformat() if type(each) is int else each for each in values]
