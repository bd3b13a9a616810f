"""Appending from Python: dicts, rows of a table, or events."""

from __future__ import annotations

import sys
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from mainspring.errors import InvalidError, WrongTypeError, counted
from mainspring.streams.event import Appended, Event, event_of
from mainspring.streams.opening import open_log
from mainspring.streams.wire import time_us
from mainspring.workspace import Workspace, current_workspace


def send(
    stream: str, what: Any, *, id: str = "", time: str = "", type: str = "", workspace: Workspace | None = None  # noqa: A002  # the words of CloudEvents
) -> list[Appended]:  # fmt: skip
    """Append an event, or all of several at once: dicts, an `Event`, or the rows of a Polars or pandas frame.

    `id` and `time` name the fields that say which event it is and when it happened. Without `id` each event gets a new one, so
    that it can't be repeated without effect; without `time` it happened now.

    Raises:
        InvalidError: fields are missing or null; how many is said.
        UnavailableError: the log can't be reached. The same ids may be sent again.

    >>> import mainspring as ms, os, tempfile
    >>> with ms.Workspace.open(tempfile.mkdtemp()) as workspace:
    ...     send("arrivals", {"flight": "AA1", "delay": 3}, id="flight", workspace=workspace)
    [Appended(id='AA1', offset=1, is_new=True)]
    """
    rows = _rows(what)
    plain = [row for row in rows if not isinstance(row, Event)]
    for field in filter(None, (id, time)):
        absent = sum(1 for row in plain if not isinstance(row, Mapping) or row.get(field) is None)
        if absent:
            raise InvalidError(
                field, None, f"a value for each event; {counted(absent, 'row')} of {len(plain):,} have none"
            )
    events = [row if isinstance(row, Event) else _event(row, id, time, type) for row in rows]
    return open_log(workspace or current_workspace()).append(stream, events)


def _event(row: Any, id_field: str, time_field: str, kind: str) -> Event:
    at_us = time_us(row[time_field]) if time_field else None
    return event_of(row, id=str(row[id_field]) if id_field else "", time_us=at_us, type=kind)


def _rows(what: Any) -> Sequence[Any]:
    if isinstance(what, Event | dict):
        return [what]
    pandas = sys.modules.get("pandas")
    if pandas is not None and isinstance(what, pandas.DataFrame):
        import polars as pl

        what = pl.from_pandas(what)
    polars = sys.modules.get("polars")
    if polars is not None and isinstance(what, polars.DataFrame):
        return what.to_dicts()  # type: ignore[no-any-return]  # a module found by name is not typed
    if isinstance(what, str | bytes) or not isinstance(what, Iterable):
        raise WrongTypeError("events", what, "a dict, a list of dicts, a frame or an Event")
    return list(what)
