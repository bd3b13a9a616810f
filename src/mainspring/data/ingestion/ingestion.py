"""Ingestion: rows of a source become a version of a table, each exactly once, whenever the process is killed.

Batches are staged as parts under a lease; at the end one transaction makes the version, moves the source's state, and lets
go of what was staged. So a version is a whole reading of its source, and what was staged isn't read again.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING, Any

import msgspec
import polars as pl
from blake3 import blake3

from mainspring.data._store import DatasetStore
from mainspring.data.commit import commit_draft
from mainspring.data.ingestion._store import Cursor, IngestStore, StagedRows, list_staged, list_stored
from mainspring.data.ingestion.alignment import Alignment, declared_types
from mainspring.data.ingestion.draft import StagedDraft
from mainspring.data.ingestion.opening import as_source
from mainspring.data.ingestion.places import may_share
from mainspring.data.ingestion.progress import Listener
from mainspring.data.ingestion.reader import Reader
from mainspring.data.ingestion.retry import Retry
from mainspring.data.ingestion.source import (
    BatchSource,
    IngestMode,
    KnowsWhatChanged,
    ReadByCursor,
    Reading,
    ReadInOneGo,
    State,
    identity_in,
    told_of_repetition,
)
from mainspring.data.ingestion.staging import Limits, Staging, expect_key
from mainspring.data.tables.draft import TableDraft
from mainspring.data.tables.edits import EditDraft
from mainspring.data.tables.keys import ByKey
from mainspring.data.tables.lazy import LazyDraft
from mainspring.data.tables.manifest import Part, read_listing
from mainspring.data.tables.parts import parquet_schema, scan_parts
from mainspring.data.tables.rows import FrameDraft
from mainspring.data.tables.type_names import name_of_type
from mainspring.data.tables.widening import filled, holds, without_values
from mainspring.data.version import DatasetVersion, Source
from mainspring.data.widening import widen
from mainspring.errors import ConflictError, InvalidError, MainspringError, NotAllowedError, counted, listed, shorten
from mainspring.ledger import is_replay, note_moving
from mainspring.store import Lease, Transaction
from mainspring.store.heartbeat import kept_alive
from mainspring.workspace import Workspace, current_workspace

if TYPE_CHECKING:
    from mainspring.data.validation.quarantine import Table
    from mainspring.data.validation.report import Report

_LEASE_S = 60.0
_MODES = ("append", "replace", "upsert")


class Ingested(msgspec.Struct, frozen=True, kw_only=True):
    """What an ingest did. `version` is None if there was nothing to read and no version before.

    `rows` and `size_bytes` count what was read, `resumed_rows` those of them that an interrupted ingest had left. `widened`
    says which columns changed their type, or came, while they were read; `warnings` what a person should look at.
    """

    version: DatasetVersion | None
    rows: int
    size_bytes: int
    state: State | None
    resumed_rows: int = 0
    retries: int = 0
    widened: dict[str, str] = {}  # a Struct copies its defaults
    report: Report | None = None
    warnings: tuple[str, ...] = ()


def ingest(
    source: Any, *, to: str, mode: IngestMode = "append", key: str | Sequence[str] = (), types: Mapping[str, Any] | None = None,
    checks: Any = None, quarantine: str = "", note: str = "", retry: Retry | None = None, limits: Limits | None = None,
    progress: Listener | None = None, workspace: Workspace | None = None, **options: Any,
) -> Ingested:  # fmt: skip
    """Read what is new in a source and make it a version of the dataset `to`.

    `source` is a path, a glob or an address, to which `options` are added, or one of `Files`, `Sql`, `Http`, `Objects`,
    `Dlt`, or an object of your own that keeps `BatchSource`. `append` puts what is new since the last ingest behind the
    newest version, `upsert` in place of rows with the same `key`, of which the last one read counts; `replace` reads
    everything anew, and forgets how far the dataset's other sources were read. `types` declare columns; others are inferred.
    If nothing was new, the newest version is given. A file that another glob read into the dataset is not new.

    `checks` and `quarantine` are as for `Dataset.commit`, part by part in bounded memory: rows that a check of severity
    `stop` fails on stop the ingest, those of severity `quarantine` go into the dataset of that name, and the report is
    recorded with the version. An upsert holds in memory what was read.

    How far a source was read moves with the versions that this makes alone. A commit by hand, also one that replaces
    everything, leaves it: what was mended or taken out there doesn't come again. `forget_cursor` reads from the beginning.

    Raises:
        NotFoundError: the source is not there.
        InvalidError: rows don't fit, a check stops them, or some are to be set apart and it isn't said where to; nothing is
            committed.
        ConflictError: another process reads this source into this dataset now.
        StorageError: the source can't be read, after `retry.attempts` attempts.
        NotAllowedError: this is a replay; what a source held then can't be read again.
    """
    if mode not in _MODES:
        raise InvalidError("mode", mode, "`append`, `replace` or `upsert`")
    keys = (key,) if isinstance(key, str) else tuple(key)
    if (mode == "upsert") != bool(keys):
        raise InvalidError("key", ", ".join(keys), "the columns of the key with mode='upsert', and nothing otherwise")
    if keys:
        ByKey(to, keys)  # raises if they are none
    if quarantine and checks is None:
        raise InvalidError(
            "quarantine", quarantine, "given together with checks", "They say which rows are set apart there."
        )
    found = as_source(source, options)
    if is_replay():
        raise NotAllowedError(
            f"A replay doesn't read `{found.identity}` again: it may hold other rows by now. Ingest in a run of its own,"
            " and give the step the version."
        )
    note_moving("source", found.identity)
    from mainspring.data import dataset  # a package's own name; its module of the same name would stand in its place

    workspace, retry = workspace or current_workspace(), retry or Retry()
    root = workspace.project.root
    identity = retry.ask(lambda: identity_in(found, root))
    return _Ingest(
        found, identity, dataset(to, workspace).name, mode, keys, types or {}, checks, quarantine, note, workspace
    ).run(retry, limits or Limits(), progress)


class _Ingest:
    """One ingest, and what it knows from the beginning."""

    def __init__(
        self, source: BatchSource, identity: str, name: str, mode: IngestMode, key: tuple[str, ...],
        types: Mapping[str, Any], checks: Any, quarantine: str, note: str, workspace: Workspace,
    ) -> None:  # fmt: skip
        self.source, self.name, self.mode, self.key = source, name, mode, key
        self.types, self.checks, self.quarantine = declared_types(types), checks, quarantine
        self.note, self.workspace = note, workspace
        self.datasets = DatasetStore(workspace.database, workspace.ledger)
        self.others: dict[str, State] = {}
        self.superseded: tuple[str, ...] = ()
        self.store = IngestStore(workspace.database, workspace.ledger, name, identity)

    def run(self, retry: Retry, limits: Limits, progress: Listener | None) -> Ingested:
        """Read, check, commit."""
        identity = self.store.source
        with leased(self.workspace, self.store) as lease:
            cursor = self.store.cursor(otherwise=self.source.identity)
            before = cursor.state if cursor and self.mode != "replace" else None
            self.others = {} if self.mode == "replace" else self.store.others()
            alignment = self._alignment()
            # Rows staged behind another state, e.g. before the dataset was removed, are not this ingest's.
            beside = sorted((each, state) for each, state in self.others.items() if may_share(identity, each))
            known = (self.source, self.mode, self.key, sorted(self.types.items()), before, beside)
            settings = blake3(repr(known).encode()).hexdigest()
            staging = Staging(self.store, lease, settings, self.workspace.blobs, alignment, limits, self.key)
            if self._lets_go():
                staging.discard()
            reading = Reading(self.mode, alignment.decided, identity=identity, others=self.others)
            reader = Reader(self.source, identity, staging, retry, progress)
            try:
                with _keeping(staging):
                    reader.read(reading, before)
                staging.alignment.expect_declared(self.store.source)
                version, report = self._committed(staging, lease, before)
            except InvalidError:
                staging.discard()  # so that the next ingest reads the source again, which may be mended
                raise
        return Ingested(
            version=version, rows=staging.rows, size_bytes=staging.size_bytes,
            state=before if staging.state is None else staging.state,
            resumed_rows=staging.resumed_rows, retries=reader.retries, widened=staging.alignment.widened, report=report,
            warnings=(
                *staging.warnings, *self._read_anew(cursor, staging.rows), *self._apart(cursor, version),
            ),
        )  # fmt: skip

    def _lets_go(self) -> bool:
        """Whether nobody can say whether the rows that an interrupted ingest read are there still, or where it was."""
        if self.mode == "replace":
            return not isinstance(self.source, KnowsWhatChanged)
        return self.mode == "append" and isinstance(self.source, ReadInOneGo) and self.source.is_of_one_go

    def _read_anew(self, cursor: Cursor | None, rows: int) -> tuple[str, ...]:
        if not rows or self.mode != "append":
            return ()
        if cursor is None:
            return self._of_one_database()
        if not isinstance(self.source, ReadByCursor) or self.source.cursor:
            return ()
        return (told_of_repetition(self.store.source),)

    def _of_one_database(self) -> tuple[str, ...]:
        """A query beside a table or another query: each is read from its own beginning, whatever rows they share."""
        place, is_query, _ = self.store.source.rpartition(" query ")
        if is_query:
            near = [each for each in self.others if each.startswith(f"{place} ")]
        else:
            near = [
                each
                for each in self.others
                if self.store.source.startswith(f"{each.rpartition(' query ')[0] or each} ")
            ]
        if not near:
            return ()
        told = f"`{self.name}` has rows of {listed(near)} already, and {self.store.source} was read from its beginning"
        return (f"{told}: rows that both hold are there twice. mode='upsert' with a key takes each once.",)

    def _apart(self, cursor: Cursor | None, version: DatasetVersion | None) -> Iterator[str]:
        """What was read and isn't there any more, or will be read again."""
        yield from self.superseded
        if self.store.forgotten:
            told = f"{version} has the rows of {self.store.source} alone, so how far others were read is forgotten"
            yield f"{told}: {listed(list(self.store.forgotten))}."
        replaced = self.store.replaced_by or (cursor.replaced_by if cursor and self.mode != "replace" else None)
        if replaced:
            told = f"{replaced} replaced by hand what was read of {self.store.source} before, which is not read again"
            yield f"{told}. forget_cursor() brings it back."

    def _alignment(self) -> Alignment:
        """The columns of the newest version, if rows go behind it, else those declared."""
        head = self.datasets.head(self.name)
        if head is not None and head.kind != "table":
            raise InvalidError("dataset", self.name, "a table", f"It is a {head.kind}; choose another name.")
        if head is None or self.mode == "replace":
            return Alignment(self.types)
        known = self._types_of(head)
        expect_key(self.key if known else (), known, self.name)
        others = {
            name: dtype
            for name, dtype in self.types.items()
            if name in known and dtype != filled(known[name], dtype) and not holds(dtype, known[name])
        }
        empty = without_values(scan_parts(self.workspace.blobs, self._parts_of(head)), others) if others else ()
        for name, dtype in others.items():
            if name not in empty:
                expected = f"the column's type in `{head}`, `{dict(head.schema)[name]}`, or a wider one"
                raise InvalidError(
                    f"types.{name}", name_of_type(dtype), expected, "mode='replace' makes a table of any."
                )
        return Alignment(self.types, known)

    def _types_of(self, version: DatasetVersion | None) -> Mapping[str, pl.DataType]:
        """The columns of a version; none if there is none."""
        parts = self._parts_of(version)
        return parquet_schema(self.workspace.blobs.path(parts[0].blob)) if parts else {}

    def _parts_of(self, version: DatasetVersion | None) -> tuple[Part, ...]:
        return read_listing(self.workspace.blobs, version.manifest).parts if version is not None else ()

    def _committed(
        self, staging: Staging, lease: Lease, before: State | None
    ) -> tuple[DatasetVersion | None, Report | None]:
        """The version with the rows that were read, and the report of its checks; the newest one if there are none."""
        state = staging.state if staging.state is not None else before or {}
        head = self.datasets.head(self.name)
        if self.mode == "replace" and not staging.rows:
            staging.alignment.fill(self._types_of(head))
        if staging.alignment.types is None or (not staging.rows and head is not None and self.mode != "replace"):
            if state != (before or {}):
                self.store.move(lease, before, state, self.others)
            elif staging.state is not None:
                self.store.discard(lease)  # a reading that came to its end is none to go on with
            return head, None

        def settle(tx: Transaction, _: DatasetVersion) -> None:
            self.store.settle(tx, lease, before, state, others=self.others, replaces=self.mode == "replace")

        staging.settle()
        rows = staging if self.mode != "upsert" else self._last_of_each_key(staging)
        about: dict[str, Any] = {
            "sources": _once(staging.sources), "note": self.note, "extracted_us": staging.begun_us,
            "extra": [settle], "about": [self.store.note_version],
        }  # fmt: skip
        if self.checks is None:
            self._widen(staging, head)
            draft = self._draft(rows)
            return commit_draft(self.workspace, self.name, draft, behind=self.mode != "replace", **about), None
        from mainspring.data import dataset
        from mainspring.data.validation.admission import Admission

        with Admission(
            self.name, rows, self.checks, self.workspace, behind=self.mode != "replace", replacing=self.key,
            quarantine=dataset(self.quarantine, self.workspace).name if self.quarantine else "", origin=self.store.source,
        ) as admission:  # fmt: skip
            if staging.alignment.widened:
                admission.judge(head)  # what is stopped widens nothing
                self._widen(staging, head)
            version = admission.commit(self._draft, **about)
            self.superseded = self._superseded(staging, admission.apart)
            return version, admission.report

    def _superseded(self, staging: Staging, apart: Table | None) -> tuple[str, ...]:
        """That rows gave way to later ones of their key which were set apart, so that neither is in the dataset."""
        if self.mode != "upsert" or apart is None:
            return ()
        rows = apart.lazy() if isinstance(apart, pl.DataFrame | pl.LazyFrame) else apart.scan()
        keys = rows.select(self.key).unique()
        sharing = staging.scan().select(self.key).join(keys, on=self.key, how="semi", nulls_equal=True)
        count = sharing.select(pl.len()).collect().item() - keys.select(pl.len()).collect().item()
        if not count:
            return ()
        told = (
            f"{counted(count, 'row')} of {self.store.source} gave way to later ones of the same key that were set apart"
        )
        return (f"{told}: the dataset has neither, and what it had of that key before.",)

    def _widen(self, staging: Staging, head: DatasetVersion | None) -> None:
        """Give the newest version the columns and types that came while rows for it were read."""
        if head is not None and self.mode != "replace" and staging.alignment.widened:
            told = "; ".join(f"{column}: {change}" for column, change in staging.alignment.widened.items())
            widen(self.name, staging.alignment.types or {}, self.workspace, note=told)

    def _last_of_each_key(self, staging: Staging) -> pl.DataFrame:
        expect_key(self.key, staging.alignment.types or {}, self.name)
        return staging.scan().unique(self.key, keep="last", maintain_order=True).collect(engine="in-memory")

    def _draft(self, rows: Table) -> TableDraft:
        if isinstance(rows, Staging):
            return StagedDraft(self.name, rows)
        if isinstance(rows, pl.LazyFrame):
            return LazyDraft(self.name, rows, self.workspace.blobs)
        assert isinstance(rows, pl.DataFrame)
        if self.key:
            return EditDraft(self.name, self.workspace.blobs, ByKey(self.name, self.key), rows)
        return FrameDraft(self.name, rows, self.workspace.blobs)


@contextmanager
def _keeping(staging: Staging) -> Iterator[None]:
    """Stage what was read if reading breaks off, so that the next ingest goes on behind it."""
    try:
        yield
    except InvalidError:
        raise
    except (MainspringError, KeyboardInterrupt):
        with suppress(MainspringError):  # what broke it off is told
            staging.flush()
        raise


@contextmanager
def leased(workspace: Workspace, store: IngestStore) -> Iterator[Lease]:
    """The right to read this source into this dataset."""
    name = f"ingest:{store.dataset}:{blake3(store.source.encode()).hexdigest()[:16]}"
    try:
        lease = workspace.leases.claim(name, workspace.owner, _LEASE_S)
    except ConflictError as error:
        what = f"`{shorten(store.source)}` into `{store.dataset}`"
        raise ConflictError(
            f"Another ingest of {what} still runs; start this one when it has ended. ({error})"
        ) from error
    with kept_alive(workspace.leases, lease, _LEASE_S):
        yield lease


def _once(sources: Sequence[Source]) -> tuple[Source, ...]:
    return tuple({source.node: source for source in sources}.values())


def list_cursors(name: str = "", workspace: Workspace | None = None) -> list[Cursor]:
    """How far each source was read into a dataset, or into any."""
    return list_stored((workspace or current_workspace()).database, name)


def list_uncommitted(name: str = "", workspace: Workspace | None = None) -> list[StagedRows]:
    """What ingests into a dataset, or into any, have read that isn't committed: those that run, or were interrupted."""
    return list_staged((workspace or current_workspace()).database, name)


def forget_cursor(name: str, source: Any, workspace: Workspace | None = None, **options: Any) -> None:
    """Forget how far a source was read, so that the next ingest reads it from the beginning.

    Raises:
        NotFoundError: it was never read into this dataset.
        ConflictError: it is being read into it now.
    """
    workspace = workspace or current_workspace()
    is_stream = isinstance(source, str) and source.startswith("stream://")
    identity = source if is_stream else identity_in(as_source(source, options), workspace.project.root)
    store = IngestStore(workspace.database, workspace.ledger, name, identity)
    with leased(workspace, store) as lease:
        store.forget(lease)
