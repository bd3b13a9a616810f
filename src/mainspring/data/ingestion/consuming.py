"""A stream into a dataset: micro-batches of events become versions, and the offset moves in the transaction of each.

So every event is in the dataset once, or set apart once, whatever is killed and however often it is delivered. The cursor is
that of any ingestion: it goes with a removed dataset, and can be forgotten.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from threading import Event as Stop

import msgspec
import polars as pl

from mainspring import clock
from mainspring.data._sources import source_of_address
from mainspring.data._store import DatasetStore
from mainspring.data.commit import commit_drafts
from mainspring.data.dataset import dataset
from mainspring.data.draft import Wanted
from mainspring.data.ingestion._store import IngestStore
from mainspring.data.ingestion.events import EventTable
from mainspring.data.ingestion.ingestion import leased
from mainspring.data.tables.rows import FrameDraft
from mainspring.data.tables.type_names import named_type
from mainspring.data.tables.united import UnitedDraft
from mainspring.data.version import DatasetVersion
from mainspring.data.widening import widen
from mainspring.errors import ConflictError, InvalidError, NotAllowedError, NotFoundError, close_names
from mainspring.ledger import is_replay, note_moving
from mainspring.store import Lease, Transaction
from mainspring.streams.columns import EVENT_OFFSET, OWN
from mainspring.streams.consumer import Consumer
from mainspring.streams.event import Event
from mainspring.streams.log import EventLog, check_not_trimmed
from mainspring.streams.opening import open_log
from mainspring.workspace import Workspace, current_workspace, using

_SCHEME = "stream://"
_MOST_EVENTS = 100_000


class StreamIngested(msgspec.Struct, frozen=True, kw_only=True):
    """What was read of a stream: `events` of which `apart` were set apart, up to `offset`, into `version`."""

    stream: str
    version: DatasetVersion | None
    events: int
    apart: int
    offset: int


def ingest_stream(
    stream: str, fields: Mapping[str, str] | None = None, *, to: str = "", quarantine: str = "", after: int = 0,
    follow: Stop | None = None, max_events: int = _MOST_EVENTS, max_wait_s: float = 1.0, workspace: Workspace | None = None,
) -> StreamIngested:  # fmt: skip
    """Read the events of a stream behind the last one read, up to its present end, into the dataset `to` (of its name).

    `fields` are the types of the events' data; those of the dataset's newest version are known. A row has `event_id`,
    `event_time`, `received_at` and `event_offset` before them. An event that doesn't fit goes into the dataset
    `quarantine` (`NAME-quarantine`) with its data as text and the reasons, in the same transaction. `after` is the offset to
    go on behind: where nothing was read yet any one, later only that up to which events were trimmed, so that none that is
    still there is left out; what was read is not read again. With `follow` it goes on, a version for each batch of at most
    `max_events` that waits `max_wait_s` to become full, until that is set, and the stream may still be to come.

    Raises:
        InvalidError: no fields are known, or one has another type in the dataset; or `after` is beyond the end, or would
            leave out events that are there.
        ConflictError: another process reads this stream into this dataset now.
        NotFoundError: there is no such stream; or events that were not read yet were trimmed.
        StorageError: more was read than the stream has: the log is another one, or an older state of it.
        UnavailableError: the log doesn't answer.
        NotAllowedError: this is a replay; what a stream held then can't be read again.
    """
    if is_replay():
        raise NotAllowedError(
            "A replay doesn't read a stream again. Ingest in a run of its own, and give the step the version."
        )
    workspace = workspace or current_workspace()
    note_moving("source", _SCHEME + stream)
    name = dataset(to or stream, workspace).name
    store = IngestStore(workspace.database, workspace.ledger, name, _SCHEME + stream)
    log = open_log(workspace)
    if follow is None or not (fields or dataset(name, workspace).versions()):
        _expect_stream(log, stream)
    with using(workspace), leased(workspace, store) as lease:
        sink = _DatasetSink(name, quarantine or f"{name}-quarantine", fields or {}, store, lease, workspace)
        _go_on_behind(after, log, stream, store, lease)
        consumer = Consumer(log, stream, sink, max_events=max_events, max_wait_s=max_wait_s if follow else 0)
        if follow is not None:
            consumer.run(follow)
        else:
            end = log.end(stream)
            while consumer.step() and sink.offset() < end:
                pass
        version = DatasetStore(workspace.database, workspace.ledger).head(name)
        return StreamIngested(
            stream=stream, version=version, events=sink.events, apart=sink.apart, offset=sink.offset()
        )


def ingested_to(stream: str, *, to: str = "", workspace: Workspace | None = None) -> int:
    """The offset up to which the events of a stream are in the dataset `to` (of its name), or were set apart; 0 for none."""
    workspace = workspace or current_workspace()
    return _offset(IngestStore(workspace.database, workspace.ledger, to or stream, _SCHEME + stream))


def left_out_of(stream: str, *, to: str = "", workspace: Workspace | None = None) -> list[tuple[int, int]]:
    """The events of a stream that its dataset was told to go on without, as their first and last offsets, in order.

    Who has read them before they were trimmed knows more than the dataset.
    """
    workspace = workspace or current_workspace()
    cursor = IngestStore(workspace.database, workspace.ledger, to or stream, _SCHEME + stream).cursor()
    return [(first, last) for first, last in cursor.state.get("left_out", ())] if cursor else []


def newest_of_stream(stream: str, workspace: Workspace | None = None) -> tuple[DatasetVersion | None, int]:
    """The newest version of a stream's dataset, and the offset up to which events are in it, were set apart, or were left out.

    None and 0 if there is none.
    """
    workspace = workspace or current_workspace()
    offset = ingested_to(stream, workspace=workspace)  # before the version is looked up, so that it has them
    version = DatasetStore(workspace.database, workspace.ledger).head(dataset(stream, workspace).name)
    if version is None or EVENT_OFFSET not in dict(version.schema):
        return version, offset
    return version, max(offset, version.scan().select(pl.col(EVENT_OFFSET).max()).collect().item() or 0)


def _offset(store: IngestStore) -> int:
    cursor = store.cursor()
    return int(cursor.state["offset"]) if cursor else 0


def _expect_stream(log: EventLog, stream: str) -> None:
    known = [each.name for each in log.streams()]
    if stream not in known:
        raise NotFoundError("stream", stream, close_names(stream, known), "It is there with its first event.")


def _go_on_behind(after: int, log: EventLog, stream: str, store: IngestStore, lease: Lease) -> None:
    """Move the cursor over events that the caller wants to leave out, and may."""
    if after < 0:
        raise InvalidError("after", after, "an offset, from 0 on")
    cursor, read = store.cursor(), _offset(store)
    if after <= read:
        return
    if after > (end := log.end(stream)):
        raise InvalidError("after", after, f"an offset up to the end of `{stream}`, {end}")
    trimmed = next((each.trimmed for each in log.streams() if each.name == stream), 0)
    check_not_trimmed(stream, after, trimmed)
    if cursor is not None and after > (least := max(trimmed, read)):
        said = f"Those from {least + 1} to {after} are there, and were not read yet."
        raise InvalidError("after", after, f"at most {least}, so that no events are left out", said)
    state = cursor.state if cursor else {}
    gaps = [*state.get("left_out", ()), [read + 1, after]]
    store.move(lease, cursor.state if cursor else None, {**state, "offset": after, "left_out": gaps})


class _DatasetSink:
    """Where a stream's events become rows. One at a time has the lease, which is checked with each version."""

    def __init__(
        self, name: str, quarantine: str, fields: Mapping[str, str], store: IngestStore, lease: Lease,
        workspace: Workspace,
    ) -> None:  # fmt: skip
        self.name, self.quarantine, self.store, self.lease, self.workspace = name, quarantine, store, lease, workspace
        self.table = EventTable(self._fields(fields))
        self.sources = (source_of_address(store.source),)
        self.events = self.apart = 0
        self._before: FrameDraft | None = None

    def offset(self) -> int:
        """The offset up to which events are in the dataset, or set apart."""
        return _offset(self.store)

    def apply(self, events: Sequence[Event], expect: int, offset: int) -> None:
        """Make a version of events and move the offset."""
        cursor, found = self.store.cursor(), self.offset()
        if found != expect:
            raise ConflictError(f"`{self.store.source}` was read up to {found}, not {expect}; begin there.")
        rows, apart = self.table.parted(events)
        before = cursor.state if cursor else None

        def settle(tx: Transaction, _: DatasetVersion) -> None:
            self.store.settle(tx, self.lease, before, {**(before or {}), "offset": offset})

        draft = FrameDraft(self.name, rows, self.workspace.blobs, self._before)
        about = [self.store.note_version]
        wanted = [Wanted(self.name, draft, behind=True, sources=self.sources, extra=[settle], about=about)]
        bad = UnitedDraft(self.quarantine, apart, self.workspace.blobs) if apart.height else None
        if bad is not None:
            note = f"of {self.name}: events whose data doesn't fit its fields"
            wanted.append(Wanted(self.quarantine, bad, behind=True, sources=self.sources, note=note))
        try:
            version = commit_drafts(self.workspace, wanted, extracted_us=clock.now_us())[0]
        finally:
            if bad is not None:
                bad.close()
        self._before = draft.settled(version)
        self.events += len(events)
        self.apart += apart.height

    def _fields(self, fields: Mapping[str, str]) -> dict[str, str]:
        """The fields with their types: those of the dataset, which gets what is new among those given."""
        head = DatasetStore(self.workspace.database, self.workspace.ledger).head(self.name)
        if head is None or not head.schema:
            if not fields:
                raise InvalidError(
                    "fields", "none", "the columns of the events' data with their types", "e.g. {'delay': 'f64'}"
                )
            return dict(fields)
        known = dict(head.schema)
        if missing := [name for name in OWN if name not in known]:
            raise InvalidError("dataset", self.name, f"one with the column `{missing[0]}`", "Name another one: to=…")
        for name, dtype in fields.items():
            if name in known and named_type(known[name], name) != named_type(dtype, f"fields.{name}"):
                raise InvalidError(f"fields.{name}", dtype, f"the column's type in `{head}`, `{known[name]}`")
        if any(name not in known for name in fields):
            columns: dict[str, pl.DataType] = {
                name: named_type(dtype, name) for name, dtype in {**known, **fields}.items()
            }
            widen(self.name, columns, self.workspace, note=f"the fields of {self.store.source}")
        return {name: dtype for name, dtype in {**known, **fields}.items() if name not in OWN}
