"""Feeding views from streams: each event changes tiles or values in the write that moves the watermark's offset.

So an event's effect is there once, whatever is killed, in whatever batches, and however often it is delivered. Every version
of a view that models use is fed.
"""

from __future__ import annotations

import logging
from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from itertools import islice
from threading import Event as Stop
from threading import Thread

import msgspec
import polars as pl

from mainspring.data import dataset
from mainspring.data.ingestion import EventTable, newest_of_stream
from mainspring.data.tables.type_names import named_type
from mainspring.errors import ConflictError, InvalidError, MainspringError, NotFoundError, WrongTypeError
from mainspring.features._store import DefinitionStore
from mainspring.features.definitions.functions import Functions
from mainspring.features.definitions.records import Definition, ViewRecord
from mainspring.features.online.materializing import alone, backfill
from mainspring.features.online.places import watermark_place
from mainspring.features.online.rows import CREATED, timed_rows
from mainspring.features.online.states import Change, StoredTiles, state_of
from mainspring.features.online.watermark import Watermark, allowance_us, read_watermark
from mainspring.features.uses import each_tried, live_versions
from mainspring.store import Lease
from mainspring.store.keyvalue import checked_changes
from mainspring.streams import Consumer, Event, EventLog, Patience, open_log
from mainspring.streams.columns import OWN
from mainspring.workspace import Workspace, current_workspace, using

_MOST_EVENTS = 5_000
_STEP_S = 1.0  # of what a feeder that is killed does again
_LOOK_AGAIN_S = 2.0
_SWEPT_AT_ONCE = 1_000
_log = logging.getLogger(__name__)


class Fed(msgspec.Struct, frozen=True, kw_only=True):
    """What a version of a view took: `events` up to `offset`, of which `late` ones came after all that can be asked for,
    and `apart` did not fit, or had no entity.
    """

    view: str
    stream: str
    offset: int
    events: int
    late: int
    apart: int


def feed(
    *views: str | Definition, follow: Stop | None = None, max_events: int = _MOST_EVENTS, max_wait_s: float = 0.05,
    workspace: Workspace | None = None,
) -> list[Fed]:  # fmt: skip
    """Bring the events of streams into the online store, up to the present end, or with `follow` until that is set.

    `views` are all views over streams if none are named; of each the newest version and the older ones that models use. One
    that was never fed begins with what the stream's dataset holds. With `follow` new versions are taken up as they come, and
    one that another process feeds is taken over when that ends. What may pass is tried again for a minute. A view that can't
    be fed any more holds up no other: what was wrong is logged, and raised in the end, which comes when no view is left.

    Raises:
        NotFoundError: there is no such view, or events that were not read yet were trimmed.
        InvalidError: a view has no stream, or its stream's dataset a field in another type.
        ConflictError: another process feeds a view (not with `follow`).
        StorageError: the store can't be written, or a tile of aggregates would be larger than it takes.
    """
    workspace = workspace or current_workspace()
    with using(workspace):
        if follow is not None:
            return _Feeder(views, follow, max_events, max_wait_s, workspace).run()
        return each_tried(_fed_versions(views, workspace), lambda each: _once(each, max_events, workspace))


def fields_of(stream: str, workspace: Workspace | None = None) -> dict[str, str]:
    """The fields of a stream's events with their types, as the views over it declare them, also older ones that models
    use; empty if there is none.
    """
    workspace = workspace or current_workspace()
    found: dict[str, str] = {}
    for each in sorted(_fed_versions((), workspace), key=lambda each: each.created_at, reverse=True):
        record = each.record
        if isinstance(record, ViewRecord) and record.source == stream:
            found = {**(record.stream or {}), **found}
    return found


def fed_to(stream: str, workspace: Workspace | None = None) -> dict[str, int]:
    """The offsets up to which the views over a stream have its events in the online store, by version of the view.

    Raises:
        StorageError: the store can't be read.
    """
    workspace = workspace or current_workspace()
    found: dict[str, int] = {}
    for each in _fed_versions((), workspace):
        if isinstance(each.record, ViewRecord) and each.record.source == stream:
            mark = read_watermark(workspace.online.get(watermark_place(each)))
            found |= {str(each): mark.offset} if mark and mark.offset else {}
    return found


def _fed_versions(views: Sequence[str | Definition], workspace: Workspace) -> list[Definition]:
    """The versions to feed, those of all views over streams if none are named."""
    store = DefinitionStore(workspace.database, workspace.ledger)
    names = views or [name for kind, name in sorted(store.heads()) if kind == "view"]
    found: list[Definition] = []
    for each in names:
        versions = [each] if isinstance(each, Definition) else live_versions(each, store, workspace)
        fed = [version for version in versions if isinstance(version.record, ViewRecord) and version.record.stream]
        if views and not fed:
            raise InvalidError("view", str(each), "a view over a stream", "Others are brought there by `materialize`.")
        found += fed
    return found


def _once(definition: Definition, max_events: int, workspace: Workspace) -> Fed:
    with alone(definition, workspace, patience_s=0.0) as lease:
        sink = _ViewSink(definition, workspace)
        consumer = _consumer(sink, max_events, 0, lease)
        end, patience = consumer.log.end(consumer.stream), Patience()
        while sink.offset() < end:
            try:
                if not consumer.step():
                    break
                patience.renew()
            except ConflictError as error:  # e.g. a value was pushed between the look and the write
                patience.bear(error, Stop())
    return sink.fed()


def _consumer(sink: _ViewSink, max_events: int, max_wait_s: float, lease: Lease) -> Consumer:
    backfill(sink.definition, sink.workspace, lease)
    log = open_log(sink.workspace)
    _expect_all(log, sink)
    return Consumer(log, sink.record.source, sink, max_events=max_events, max_wait_s=max_wait_s, step_s=_STEP_S)


def _expect_all(log: EventLog, sink: _ViewSink) -> None:
    """Refuse to begin where events are gone that no dataset has."""
    stream = sink.record.source
    trimmed, offset = next((each.trimmed for each in log.streams() if each.name == stream), 0), sink.offset()
    if offset >= trimmed:
        return
    said, ways = f"Events up to {trimmed} were trimmed", []
    if newest_of_stream(stream, sink.workspace)[1] < trimmed:
        said += f", and the dataset `{stream}` doesn't have them"
        ways.append(f'`ingest_stream("{stream}", after={trimmed})` leaves them out')
    if offset:
        ways.append(f'`materialize("{sink.record.name}")` brings what the dataset has')
    raise NotFoundError("event", f"{stream}/{offset + 1}", hint=f"{said}: {', then '.join(ways)}.")


class _ViewSink:
    """Where a stream's events become the state of one version of a view."""

    def __init__(self, definition: Definition, workspace: Workspace) -> None:
        record = definition.record
        assert isinstance(record, ViewRecord)
        self.definition, self.record, self.workspace, self.online = definition, record, workspace, workspace.online
        self.allowance_us = allowance_us(workspace)
        self.state, self.place = state_of(definition), watermark_place(definition)
        self.functions, self.table = Functions(workspace), EventTable(_types(record, workspace))
        self.events = self.late = self.apart = 0
        self._sweep: Iterator[tuple[bytes, bytes]] | None = None

    def offset(self) -> int:
        """The offset up to which events are in the state."""
        mark = read_watermark(self.online.get(self.place))
        return mark.offset if mark else 0

    def fed(self) -> Fed:
        """What was taken so far."""
        return Fed(
            view=str(self.definition), stream=self.record.source, offset=self.offset(), events=self.events,
            late=self.late, apart=self.apart,
        )  # fmt: skip

    def apply(self, events: Sequence[Event], expect: int, offset: int) -> None:
        """Change the state by events and move the offset, in one write."""
        data = self.online.get(self.place)
        before = read_watermark(data) or Watermark(source=self.record.source)
        if before.offset != expect:
            raise ConflictError(f"{self.definition} was fed up to {before.offset}, not {expect}; begin there.")
        rows = self._rows(self.table.parted(events).rows)
        try:
            late = self._write(rows, data, before, offset, events[-1].received_us)
        except (InvalidError, WrongTypeError):
            rows = self._fitting(rows)
            late = self._write(rows, data, before, offset, events[-1].received_us)
        self.events += len(events)
        self.late += late
        self.apart += len(events) - rows.height

    def _write(
        self, rows: pl.DataFrame, data: bytes | None, before: Watermark, offset: int, received_us: int
    ) -> int:  # fmt: skip
        """Write what rows change, and the watermark; gives how many came too late."""
        known_us = _known(before, rows, received_us)
        begins_us = before.begins_us or 0 if known_us is None else known_us - self.allowance_us
        found = self.state.changes(rows, self.online, begins_us)
        after = msgspec.structs.replace(before, offset=offset, known_us=known_us)
        swept: list[Change] = []
        if isinstance(self.state, StoredTiles):
            swept, swept_us = self._swept(self.state, before, begins_us)
            after = msgspec.structs.replace(after, begins_us=begins_us, swept_us=swept_us)
        changes = [*swept, *found.changes, (self.place, after.packed())]
        self.online.write(changes, expect={self.place: data, **found.expect})
        return found.late

    def _fitting(self, rows: pl.DataFrame) -> pl.DataFrame:
        """The rows that can be stored each alone: a key may be too long, or no UUID."""
        try:
            checked_changes(self.state.changes(rows, None, 0).changes)
        except (InvalidError, WrongTypeError) as error:
            if rows.height > 1:
                return pl.concat([self._fitting(half) for half in _halves(rows)], rechunk=True)
            self._leave_out(error)
            return rows.clear()
        return rows

    def _leave_out(self, error: Exception) -> None:
        _log.warning("an event of `%s` is left out of %s: %s", self.record.source, self.definition, error)

    def _rows(self, parted: pl.DataFrame) -> pl.DataFrame:
        """The view's rows of these events that have an entity; what doesn't fit is left out."""
        keys = [key.name for key in self.record.keys]
        try:
            return timed_rows(self.record, parted.lazy(), self.functions).drop_nulls(keys)
        except (MainspringError, pl.exceptions.PolarsError) as error:
            if parted.height > 1:
                return pl.concat([self._rows(half) for half in _halves(parted)], rechunk=True)
            self._leave_out(error)
            return timed_rows(self.record, parted.clear().lazy(), self.functions)

    def _swept(self, state: StoredTiles, before: Watermark, begins_us: int) -> tuple[list[Change], int | None]:
        """Some tiles to drop that can't be asked for any more; the search for them goes on with the next events."""
        if self._sweep is None:
            if not state.is_sweep_due(before.swept_us, begins_us):
                return [], before.swept_us
            self._sweep = self.online.scan(state.prefix)
        sweep, self._sweep = self._sweep, None  # one that fails begins anew
        some = list(islice(sweep, _SWEPT_AT_ONCE))
        expired: list[Change] = [(key, None) for key, _ in some if state.is_expired(key, begins_us)]
        if len(some) == _SWEPT_AT_ONCE:
            self._sweep = sweep
            return expired, before.swept_us
        return expired, begins_us


class _Feeder:
    """Feeds versions side by side, each in a thread, as long as nobody stops it and one of them can be fed."""

    def __init__(
        self, views: Sequence[str | Definition], stop: Stop, max_events: int, max_wait_s: float, workspace: Workspace
    ) -> None:
        self.views, self.stop, self.workspace = views, stop, workspace
        self.max_events, self.max_wait_s = max_events, max_wait_s
        self.threads: dict[str, Thread] = {}
        self.sinks: dict[str, _ViewSink] = {}
        self.failed: dict[str, Exception] = {}
        self.waiting: set[str] = set()  # for another process to end; said once
        self._wanted: list[Definition] = []
        self._seen = -1

    def run(self) -> list[Fed]:
        ending, patience = Stop(), Patience()
        try:
            while not self.stop.is_set() and not self._is_over():
                try:
                    self._look(ending)
                    patience.renew()
                except MainspringError as error:
                    patience.bear(error, self.stop)
                else:
                    self.stop.wait(_LOOK_AGAIN_S)
        finally:
            ending.set()
            for thread in self.threads.values():
                thread.join()
        if self.failed:
            raise next(iter(self.failed.values()))
        return [sink.fed() for sink in self.sinks.values()]

    def _is_over(self) -> bool:
        return bool(self._wanted) and all(each.id in self.failed for each in self._wanted)

    def _look(self, ending: Stop) -> None:
        """Start what is not being fed; which versions are wanted is read again when the ledger has something new."""
        seen = self.workspace.ledger.last_seq()
        if seen != self._seen:
            self._wanted = _fed_versions(self.views, self.workspace)
            self._seen = seen
        for each in self._wanted:
            thread = self.threads.get(each.id)
            if each.id not in self.failed and (thread is None or not thread.is_alive()):
                self.threads[each.id] = Thread(
                    target=self._follow, args=(each, ending), name=f"feed {each}", daemon=True
                )
                self.threads[each.id].start()

    def _follow(self, definition: Definition, ending: Stop) -> None:
        try:
            with using(self.workspace), ExitStack() as stack:
                try:
                    lease = stack.enter_context(alone(definition, self.workspace, patience_s=0.0))
                except ConflictError:  # it is looked at again
                    if definition.id not in self.waiting:
                        _log.warning("another process feeds %s, waiting", definition)
                        self.waiting.add(definition.id)
                    return
                self.waiting.discard(definition.id)
                self._feed(definition, lease, ending)
        except Exception as error:  # noqa: BLE001  # a thread's failure is its view's, and is raised in the end
            _log.error("%s is not fed any more: %s", definition, error, exc_info=not isinstance(error, MainspringError))
            self.failed[definition.id] = error

    def _feed(self, definition: Definition, lease: Lease, ending: Stop) -> None:
        patience = Patience()
        while not ending.is_set():
            try:
                sink = self.sinks.get(definition.id) or _ViewSink(definition, self.workspace)
                consumer = _consumer(sink, self.max_events, self.max_wait_s, lease)
                self.sinks[definition.id] = sink
                patience.renew()
                consumer.run(ending)
            except MainspringError as error:
                patience.bear(error, ending)


def _halves(rows: pl.DataFrame) -> tuple[pl.DataFrame, pl.DataFrame]:
    middle = rows.height // 2
    return rows[:middle], rows[middle:]


def _known(before: Watermark, rows: pl.DataFrame, received_us: int) -> int | None:
    """The newest instant at which an event was known; one that lies behind the log's clock moves nothing."""
    newest = rows[CREATED].max() if rows.height else None
    found = [each for each in (before.known_us, newest) if isinstance(each, int)]
    return min(max(found), max(received_us, before.known_us or received_us)) if found else None


def _types(record: ViewRecord, workspace: Workspace) -> dict[str, str]:
    """The types by which events are taken or set apart: all that the stream's dataset and views know, as there.

    Raises:
        InvalidError: the dataset has a field in another type than the view.
    """
    versions = dataset(record.source, workspace).versions()
    known = {name: dtype for name, dtype in (versions[0].schema if versions else ()) if name not in OWN}
    for name, dtype in (record.stream or {}).items():
        if name in known and named_type(known[name], name) != named_type(dtype, name):
            raise InvalidError(
                f"{record.name}.{name}", known[name], f"{dtype}, its type in this version of the view",
                f"That is its type in {versions[0]}: apply the view with it.",
            )  # fmt: skip
    return {**fields_of(record.source, workspace), **known, **(record.stream or {})}
