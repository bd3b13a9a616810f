"""Bringing a view's features from its source into the online store: the newest row of each entity, or its events' tiles.

Readers see old values or new ones, never none in between, and the watermark says which. Only what was appended to the source
is read where its rows stand each for itself; else all of it, and what the source doesn't give any more is removed.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from datetime import datetime
from functools import partial
from operator import itemgetter
from threading import Event as Pause
from typing import Any

import msgspec
import polars as pl

from mainspring import clock
from mainspring.data import DatasetVersion, dataset
from mainspring.data.ingestion import left_out_of, newest_of_stream
from mainspring.errors import (
    ConflictError,
    InvalidError,
    MainspringError,
    NotAllowedError,
    NotFoundError,
    WrongTypeError,
)
from mainspring.features._store import DefinitionStore
from mainspring.features.definitions.functions import Functions
from mainspring.features.definitions.records import Definition, view_record
from mainspring.features.online.ahead import are_plain, is_plain, links, merged
from mainspring.features.online.fence import Fence
from mainspring.features.online.increments import increment_of
from mainspring.features.online.places import TILE_BYTES, watermark_place
from mainspring.features.online.rows import CREATED, EVENT, timed_rows, visible, with_keys
from mainspring.features.online.states import Change, StoredValues, state_of, writes
from mainspring.features.online.watermark import Running, Watermark, allowance_us, read_watermark
from mainspring.features.uses import each_tried, live_versions
from mainspring.store import Lease
from mainspring.store.heartbeat import kept_alive
from mainspring.streams.columns import EVENT_OFFSET
from mainspring.workspace import Workspace, current_workspace, using

_BATCH = 50_000  # rows of one write
_log = logging.getLogger(__name__)
_LEASE_S, _PATIENCE_S, _PAUSE_S = 30.0, 60.0, 0.05


class Materialized(msgspec.Struct, frozen=True, kw_only=True):
    """What was done: `rows` of the source version were read, `stored` entities got values of them (or tiles).

    `until_us` is up to when the store now reflects the source, as its watermark says; of a stream when the newest event was
    known, None without any. `newest_us` is the event time of the newest of these rows, None if there were none; `removed`
    entities (or tiles) are not in the source any more. `keyless` rows were left out: they have a null in their key, and so are
    of no entity. `others` are the older versions of the view that models still use.
    """

    view: str
    source: str
    until_us: int | None
    rows: int
    stored: int
    removed: int
    newest_us: int | None
    keyless: int = 0
    others: tuple[Materialized, ...] = ()


def materialize(
    view: str | Definition, *, until: datetime | None = None, full: bool = False, workspace: Workspace | None = None
) -> Materialized:
    """Store the newest row of each entity, or the tiles of a view of aggregates, of rows with event and created time up to
    `until` (now, and no later); of a view by its name for every version that models use.

    Rows that were appended since the last time are read alone, where the view's rows stand each for itself. An instant before
    that of the last time counts as that one. An entity whose stored event was pushed and is newer keeps it, unless `full`:
    then the store afterwards holds what the source holds. It may run beside `push` and itself, and again after a kill. A
    version that the source doesn't fit any more holds up no other, and keeps what it has.

    Of a view over a stream the events that its dataset holds are stored; what came later is brought by `feed`.

    Raises:
        NotFoundError: there is no such view, or its dataset is gone.
        InvalidError: a column of the source is gone, or is of another type than in this version; a time is null, or `until`
            has no time zone.
        WrongTypeError: `until` is no datetime.
        ConflictError: the view is being fed, or for a minute somebody else materializes it.
        NotAllowedError: the view is retired, and no model uses it.
        StorageError: the store can't be written, e.g. its disk is full; what was stored stays.
    """
    workspace = workspace or current_workspace()
    store = DefinitionStore(workspace.database, workspace.ledger)
    until_us = clock.now_us() if until is None else min(_instant_us(until), clock.now_us())
    wanted = [view] if isinstance(view, Definition) else live_versions(view, store, workspace)
    if not wanted:
        raise NotAllowedError(f"The view `{view}` is retired, and no model uses it.")
    with using(workspace):
        first, *others = each_tried(wanted, lambda one: _Work(one, store, workspace).run(until_us, full=full))
    return msgspec.structs.replace(first, others=tuple(others))


def _instant_us(until: datetime) -> int:
    if not isinstance(until, datetime):
        raise WrongTypeError("until", until, "a datetime with a time zone")
    if until.tzinfo is None:
        raise InvalidError("until", until.isoformat(), "a datetime with a time zone", "E.g. with tzinfo=UTC.")
    return clock.to_us(until)


def materialize_all(
    *, until: datetime | None = None, full: bool = False, workspace: Workspace | None = None
) -> list[Materialized]:
    """Every version in use of every view over a dataset, retired ones that models use included; else as `materialize`.

    Raises as `iter_materialized`.
    """
    return list(iter_materialized(until=until, full=full, workspace=workspace))


def iter_materialized(
    views: Iterable[str | Definition] | None = None, *, until: datetime | None = None, full: bool = False,
    workspace: Workspace | None = None,
) -> Iterator[Materialized]:  # fmt: skip
    """Views or versions one after the other, each when it is done; without any as `materialize_all`.

    One that can't be materialized holds up no other: what was wrong is logged, as is, of several, their number; and the first
    error is raised in the end. Raises as `materialize`.
    """
    workspace = workspace or current_workspace()
    failed: list[MainspringError] = []
    for view in _over_datasets(workspace) if views is None else views:
        try:
            yield materialize(view, until=until, full=full, workspace=workspace)
        except MainspringError as error:
            _log.warning("%s was not materialized: %s", view, error)
            failed.append(error)
    if len(failed) > 1:
        _log.warning("%d views were not materialized", len(failed))
    if failed:
        raise failed[0]


def _over_datasets(workspace: Workspace) -> list[Definition]:
    store = DefinitionStore(workspace.database, workspace.ledger)
    names = sorted(name for kind, name in store.heads() if kind == "view")
    return [
        each for name in names for each in live_versions(name, store, workspace) if view_record(each).stream is None
    ]


class _Work:
    """One version of a view on its way into the store."""

    def __init__(self, definition: Definition, store: DefinitionStore, workspace: Workspace) -> None:
        self.definition, self.record = definition, view_record(definition)
        self.store, self.workspace, self.online = store, workspace, workspace.online
        self.state, self.functions = state_of(definition), Functions(workspace)
        self.place, self.allowance_us = watermark_place(definition), allowance_us(workspace)

    def run(self, until_us: int, *, full: bool) -> Materialized:
        """Bring what the source holds now, alone."""
        source = dataset(self.record.source, self.workspace)
        source.latest().expect("table")
        if self.record.stream is not None:
            with alone(self.definition, self.workspace, patience_s=0.0) as lease:
                return self.of_stream(until_us, lease, full=full)
        with alone(self.definition, self.workspace, patience_s=_PATIENCE_S) as lease:
            return self._of_dataset(source.latest(), until_us, lease, full=full)

    def _of_dataset(self, version: DatasetVersion, until_us: int, lease: Lease, *, full: bool) -> Materialized:
        data = self.online.get(self.place)
        before = read_watermark(data)
        until_us = until_us if before is None or full else max(until_us, before.until_us)
        increment = increment_of(self.record, version, before, full=full)
        source = version.scan().slice(increment.first)
        found = timed_rows(self.record, source, self.functions, increment.first)
        keyed = with_keys(self.record, found)
        rows = visible(keyed, until_us)
        fence = self._begun(data, version, until_us, lease)  # only now: a source that doesn't fit begins nothing
        begins_us = until_us - self.allowance_us
        written, wanted = self._write(rows, begins_us, fence, replaces=increment.replaces)
        removed = self._remove_others(wanted, fence, keeps_pushed=not full) if increment.replaces else 0
        swept_us = self._swept(fence, begins_us)
        ended = Watermark(
            source=version.dataset, version=str(version), until_us=until_us, ahead=keyed.height - rows.height,
            begins_us=begins_us if self.record.aggregates else None, swept_us=swept_us,
        )  # fmt: skip
        fence.end(ended)
        return self._done(version, ended, rows, written, removed, found.height - keyed.height)

    def of_stream(self, until_us: int, lease: Lease, *, full: bool) -> Materialized:
        """All events of a stream's dataset, unless the store has them, and no others, by now; the caller is alone."""
        left_out = left_out_of(self.record.source, workspace=self.workspace)
        version, last = newest_of_stream(self.record.source, self.workspace)
        if version is None:
            raise NotFoundError("dataset", self.record.source)
        data = self.online.get(self.place)
        before = read_watermark(data)
        is_there = not full and before is not None and before.running is None and before.offset >= last
        if before is not None and before.surplus(left_out):
            is_there = False
        source = version.scan().clear() if is_there else version.scan()
        found = timed_rows(self.record, source, self.functions)
        rows = with_keys(self.record, found)
        if before is not None and is_there:
            return self._done(version, before, rows, 0, 0, 0)
        fence = self._begun(data, version, until_us, lease)
        known_us: Any = rows[CREATED].max() if rows.height else None
        begins_us = (until_us if known_us is None else known_us) - self.allowance_us
        written, wanted = self._write(rows, begins_us, fence, replaces=True)
        removed = self._remove_others(wanted, fence, keeps_pushed=not full)
        reaches_us = begins_us if self.record.aggregates else None
        ended = Watermark(
            source=self.record.source, offset=last, known_us=known_us, begins_us=reaches_us, swept_us=reaches_us,
            lacks=left_out[-1][1] if left_out else 0,
        )  # fmt: skip
        fence.end(ended)
        return self._done(version, ended, rows, written, removed, found.height - rows.height)

    def _begun(self, data: bytes | None, version: DatasetVersion, until_us: int, lease: Lease) -> Fence:
        before = read_watermark(data) or Watermark(source=self.record.source)
        running = Running(str(version), until_us, lease.token)
        return Fence(self.definition, self.online, data, before, running)

    def _write(
        self, rows: pl.DataFrame, begins_us: int, fence: Fence, *, replaces: bool
    ) -> tuple[int, dict[bytes, bytes]]:  # fmt: skip
        """Store what rows give; gives how many entities got something and, for `_remove_others`, all that they give."""
        stored, wanted = 0, dict[bytes, bytes]()
        if isinstance(self.state, StoredValues):
            for items in map(dict, self.state.batches(rows, _BATCH)):
                stored += self._put(items, fence)
                wanted |= items if replaces else {}
            return stored, wanted
        for part in self.state.parts(rows, _BATCH):
            found = self.state.changes(part, None if replaces else self.online, begins_us)
            for some in writes(sorted(found.changes, key=itemgetter(0)), TILE_BYTES):
                fence.write(some)
            stored += found.entities
            wanted |= dict.fromkeys((key for key, _ in found.changes), b"") if replaces else {}
        return stored, wanted

    def _put(self, given: Mapping[bytes, bytes], fence: Fence) -> int:
        """Store values beside what is stored; gives how many entities got one."""
        plain = given if are_plain(given.values()) else {key: value for key, value in given.items() if is_plain(value)}
        count = fence.put_newest(plain.items())
        if count == len(given):
            return count
        found = zip(given, self.online.get_many([*given]), strict=True)
        # The others of a plain value are newer ones; nothing but a merge gets beside values ahead.
        chained = [(key, old) for key, old in found if not is_plain(given[key]) or (old and not is_plain(old))]
        now_us = clock.now_us()
        return count + len(self._change(chained, lambda key, old: merged(old, links(given[key]), now_us), fence))

    def _remove_others(self, wanted: Mapping[bytes, bytes], fence: Fence, *, keeps_pushed: bool) -> int:
        """Make the store hold what is wanted, and nothing else but, perhaps, newer pushed values."""
        replaced = partial(self.state.replaced, now_us=clock.now_us(), keeps_pushed=keeps_pushed)
        found = self.online.scan(self.state.prefix)
        return sum(
            key not in wanted for key in self._change(found, lambda key, old: replaced(old, wanted.get(key)), fence)
        )

    def _change(
        self, found: Iterable[tuple[bytes, bytes | None]], wanted: Callable[[bytes, bytes | None], bytes | None], fence: Fence
    ) -> list[bytes]:  # fmt: skip
        """Write what is wanted in place of what was found; what was pushed meanwhile is looked at again. Gives the keys."""
        changes = [(key, old, new) for key, old in found if (new := wanted(key, old)) != old]
        for some in writes(changes):
            left = some
            while left:
                try:
                    fence.replace([(key, new) for key, _, new in left], {key: old for key, old, _ in left})
                    break
                except ConflictError:
                    fence.check()
                    keys = [key for key, _, _ in left]
                    present = zip(keys, self.online.get_many(keys), strict=True)
                    left = [(key, old, new) for key, old in present if (new := wanted(key, old)) != old]
        return [key for key, _, _ in changes]

    def _swept(self, fence: Fence, begins_us: int) -> int | None:
        """Drop the tiles that can't be asked for any more, when some have come together; gives up to when that was done."""
        state, before = self.state, fence.begun
        if isinstance(state, StoredValues):
            return None
        if before.begins_us is None:
            return begins_us  # nothing older was stored
        if not state.is_sweep_due(before.swept_us, begins_us):
            return before.swept_us
        expired: list[Change] = [
            (key, None) for key, _ in self.online.scan(state.prefix) if state.is_expired(key, begins_us)
        ]
        for some in writes(expired):
            fence.write(some)
        return begins_us

    def _done(
        self, version: DatasetVersion, mark: Watermark, rows: pl.DataFrame, written: int, removed: int, keyless: int
    ) -> Materialized:
        newest_us: Any = rows[EVENT].max() if rows.height else None
        self.store.note_materialized(self.definition, version, written)
        return Materialized(
            view=str(self.definition), source=str(version), until_us=mark.reaches_us, rows=rows.height, stored=written,
            removed=removed, newest_us=newest_us, keyless=keyless,
        )  # fmt: skip


def backfill(definition: Definition, workspace: Workspace, lease: Lease) -> None:
    """Bring the events of its stream that are in a dataset to a view that was never fed, alone by this lease; also to one that
    has events which the dataset went on without.

    Without a dataset it begins behind what was left out.
    """
    store = DefinitionStore(workspace.database, workspace.ledger)
    work = _Work(definition, store, workspace)
    data = workspace.online.get(work.place)
    mark, source = read_watermark(data), work.record.source
    left_out = left_out_of(source, workspace=workspace)
    if mark is not None and mark.running is None and not mark.surplus(left_out):
        return
    version, offset = newest_of_stream(source, workspace)
    if version is not None and EVENT_OFFSET in version.columns:
        work.of_stream(clock.now_us(), lease, full=False)
    elif offset and mark is None:
        workspace.online.write(
            [(work.place, Watermark(source=source, offset=offset, lacks=offset).packed())], expect={work.place: data}
        )


def is_interrupted(definition: Definition, workspace: Workspace) -> bool:
    """Whether a materialization of a version was killed, and nobody goes on with it: it is to be run again.

    Raises:
        StorageError: the online store can't be read.
    """
    mark = read_watermark(workspace.online.get(watermark_place(definition)))
    return mark is not None and mark.running is not None and not workspace.leases.held(_lease_name(definition))


def _lease_name(definition: Definition) -> str:
    return f"features/{definition.id}"


@contextmanager
def alone(definition: Definition, workspace: Workspace, *, patience_s: float) -> Iterator[Lease]:
    """The right to write a view's watermark, for the block.

    Raises:
        ConflictError: a live process has it, for longer than this one is patient.
    """
    name, waited_s = _lease_name(definition), 0.0
    while True:
        try:
            lease = workspace.leases.claim(name, workspace.owner, _LEASE_S)
            break
        except ConflictError as error:
            if waited_s >= patience_s:
                raise ConflictError(f"{definition} is being fed or materialized by another process: {error}") from error
        Pause().wait(_PAUSE_S)
        waited_s += _PAUSE_S
    with kept_alive(workspace.leases, lease, _LEASE_S):
        yield lease
