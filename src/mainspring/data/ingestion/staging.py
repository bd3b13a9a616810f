"""Rows on their way: gathered into parts that are kept as they are read, so that a killed ingest goes on behind them.

A part is written when 32 MiB, half a million rows, or five seconds of rows have come together.
"""

from __future__ import annotations

import time
from collections.abc import Collection, Iterator, Sequence
from functools import partial

import msgspec
import polars as pl

from mainspring import clock
from mainspring.data.ingestion._store import IngestStore, Staged
from mainspring.data.ingestion.alignment import Alignment
from mainspring.data.ingestion.source import Batch, State
from mainspring.data.tables.manifest import Part
from mainspring.data.tables.parts import parquet_schema, read_parts, scan_parts, write_parts
from mainspring.data.version import Source
from mainspring.errors import InvalidError, NotFoundError, StorageError, close_names, listed
from mainspring.store import BlobStore, Lease


class Limits(msgspec.Struct, frozen=True):
    """When the rows that came together become a part."""

    rows: int = 1 << 19
    size_bytes: int = 32 << 20
    seconds: float = 5.0


def expect_key(key: Sequence[str], columns: Collection[str], name: str) -> None:
    """Go on only if a table has the columns of a key; raises `InvalidError`."""
    if missing := [each for each in key if each not in columns]:
        near = close_names(missing[0], columns) or list(columns)
        raise InvalidError("key", missing[0], f"a column of `{name}`", f"There is {listed(near)}.")


class Staging:
    """The batches of one ingest. `state` is that behind the last batch taken, staged or not; `begun_us` is when the reading
    of these rows began, by whichever process.
    """

    def __init__(
        self, store: IngestStore, lease: Lease, settings: str, blobs: BlobStore, alignment: Alignment, limits: Limits,
        key: tuple[str, ...] = (),
    ) -> None:  # fmt: skip
        self.store, self.lease, self.settings, self.blobs = store, lease, settings, blobs
        self.limits, self.key = limits, key
        self.rows = self.size_bytes = 0
        self.state: State | None = None
        self.sources: list[Source] = []
        self.warnings: list[str] = []
        self.parts: list[Part] = []
        self._position = 0
        self._is_resumable = True
        self._staged_state: State | None = None
        self._pending: list[pl.DataFrame] = []
        self._pending_sources: list[Source] = []
        self._pending_warnings: list[str] = []
        self._pending_rows = self._pending_bytes = self._read_bytes = 0
        self._since = time.monotonic()
        self.alignment = self._first = alignment
        self._reset()
        self._recall_all()
        self.resumed_rows, self.resumed_bytes = self.rows, self.size_bytes

    @property
    def reached(self) -> int:
        """How far the reading is, to be compared with how far it was."""
        return self.rows + self.size_bytes

    def take(self, batch: Batch) -> None:
        """Add a batch; with a state behind it, what came together may become a part that outlives this process."""
        if batch.frame is not None:
            origin = batch.origin or self.store.source
            named = batch.named or partial(_numbered, origin, self.rows)
            frame = self.alignment.take(batch.frame, origin, sparse=batch.sparse, named=named, hint=batch.hint)
            if not batch.sparse:  # otherwise a column of it may still come
                expect_key(self.key, frame.schema, self.store.dataset)
            if self._pending and frame.schema != self._pending[-1].schema:
                self._pending = [self.alignment.settle(each, "rows before") for each in self._pending]
            self._pending.append(frame)
            self._pending_rows += frame.height
            self._pending_bytes += int(frame.estimated_size())
            self.rows += frame.height
        if batch.warning:
            self.warnings.append(batch.warning)
            self._pending_warnings.append(batch.warning)
        self.sources.extend(batch.sources)
        self._pending_sources.extend(batch.sources)
        self.size_bytes += batch.size_bytes
        self._read_bytes += batch.size_bytes
        self.state = batch.state
        self._is_resumable = self._is_resumable and batch.state is not None
        if self._is_due():
            self.flush()

    def flush(self) -> None:
        """Make what came together a part, and keep it if reading can go on behind it."""
        parts = self._written()
        if self._is_resumable and self.state is not None and self.state != self._staged_state:
            sources, warnings = tuple(self._pending_sources), tuple(self._pending_warnings)
            staged = Staged(parts, self.state, sources, self._read_bytes, self.begun_us, warnings)
            self.store.stage(self.lease, self.settings, self._position, staged)
            self._position += 1
            self._staged_state = self.state
        self.parts.extend(parts)
        self._begin_part()

    def discard(self) -> None:
        """Let go of everything, to begin anew."""
        self.store.discard(self.lease)
        self.rows = self.size_bytes = self.resumed_rows = self.resumed_bytes = 0
        self.state = None
        self._reset()

    def settle(self) -> None:
        """Give every part the columns that the ingest ended with, so that they are read as one table."""
        types = list((self.alignment.types or {}).items())
        settled: list[Part] = []
        for part in self.parts:
            if list(parquet_schema(self.blobs.path(part.blob)).items()) == types:
                settled.append(part)
            else:
                frame = self.alignment.settle(read_parts(self.blobs, (part,)), "rows before")
                settled += write_parts(frame, self.blobs)
        self.parts = settled

    def scan(self) -> pl.LazyFrame:
        """The rows of settled parts, lazily."""
        return scan_parts(self.blobs, tuple(self.parts)) if self.parts else pl.LazyFrame(schema=self.alignment.types)

    def batches(self, rows: int | None = None, /) -> Iterator[pl.DataFrame]:
        """The rows of settled parts in order, at most so many at a time; one empty batch if there are none."""
        if not self.parts:
            yield self.scan().collect(engine="in-memory")
        for part in self.parts:
            frame = read_parts(self.blobs, (part,))
            yield from frame.iter_slices(rows or max(frame.height, 1))

    def _reset(self) -> None:
        self.alignment = Alignment(self._first.declared, self._first.known)
        self.parts, self.sources, self.warnings, self._position = [], [], [], 0
        self._is_resumable, self._staged_state = True, None
        self.begun_us = clock.now_us()
        self._begin_part()

    def _begin_part(self) -> None:
        self._pending, self._pending_sources, self._pending_warnings = [], [], []
        self._pending_rows = self._pending_bytes = self._read_bytes = 0
        self._since = time.monotonic()

    def _recall_all(self) -> None:
        """Go on behind what an earlier ingest left, unless it was another one, or the dataset has other columns now."""
        found = self.store.staged(self.lease)
        try:
            for settings, staged in found:
                if settings != self.settings:
                    raise InvalidError("settings", settings, "those of this ingest")
                self._recall(staged)
        except (InvalidError, NotFoundError, StorageError):  # the last ones if a blob of it is gone or damaged
            self.discard()

    def _recall(self, staged: Staged) -> None:
        for part in staged.parts:
            self.alignment.recall(scan_parts(self.blobs, (part,)))
            self.rows += part.rows
        self.parts.extend(staged.parts)
        self.sources.extend(staged.sources)
        self.warnings.extend(staged.warnings)
        self.begun_us = min(self.begun_us, staged.begun_us)
        self.size_bytes += staged.size_bytes
        self.state = self._staged_state = staged.state
        self._position += 1

    def _is_due(self) -> bool:
        return (
            self._pending_rows >= self.limits.rows
            or self._pending_bytes >= self.limits.size_bytes
            or time.monotonic() - self._since >= self.limits.seconds
        )

    def _written(self) -> tuple[Part, ...]:
        frames = [frame for frame in self._pending if frame.height]
        return write_parts(pl.concat(frames), self.blobs) if frames else ()


def _numbered(origin: str, before: int, row: int) -> str:
    return f"{origin}, row {before + row + 1}"
