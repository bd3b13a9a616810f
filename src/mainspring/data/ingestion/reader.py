"""Reading a source to its end: after a transient failure on behind the last batch, or from the beginning if that can't be.

It ends: a failure is forgiven only once reading has come further than ever, and a source that goes on changing is given up.
"""

from __future__ import annotations

import time

import msgspec
import polars as pl

from mainspring.data.ingestion.progress import Listener, Progress
from mainspring.data.ingestion.retry import Retry
from mainspring.data.ingestion.source import (
    BatchSource,
    Interrupted,
    KnowsItsRows,
    KnowsItsSize,
    KnowsWhatChanged,
    Reading,
    StaleState,
    State,
)
from mainspring.data.ingestion.staging import Staging
from mainspring.errors import InvalidError, MainspringError, StorageError


class Reader:
    """Stages every batch behind a committed state. `retries` counts how often the source was asked again."""

    def __init__(
        self, source: BatchSource, identity: str, staging: Staging, retry: Retry, progress: Listener | None
    ) -> None:
        self.source, self.identity, self.staging = source, identity, staging
        self.retry, self.progress = retry, progress
        self.retries = 0
        self._failures = self._changes = 0
        self._total_rows: int | None = None
        self._furthest = staging.reached
        self._begun = time.monotonic()

    def read(self, reading: Reading, before: State | None) -> None:
        """Take every batch.

        Raises:
            InvalidError: rows don't fit, or the source isn't what the committed state stands in.
            StorageError: it can't be read, or changed each time, `retry.attempts` times.
        """
        self._tell(self._total(before, reading), "")
        while True:
            try:
                self._read_on(reading, before)
                return
            except StaleState:
                self._begin_anew()
            except (Interrupted, MainspringError) as error:
                self._wait(error)

    def _read_on(self, reading: Reading, before: State | None) -> None:
        staging = self.staging
        is_resumed = staging.state is not None
        if reading.mode == "replace" and staging.state is not None and isinstance(self.source, KnowsWhatChanged):
            self._expect_unchanged(staging.state, self.source)
        known = {name: dtype for name, dtype in (staging.alignment.types or {}).items() if dtype != pl.Null()}
        retry = msgspec.structs.replace(self.retry, sleep=self._sleep)
        reading = msgspec.structs.replace(reading, is_resumed=is_resumed, known=known, retry=retry)
        total = self._total(before, reading)
        state = staging.state if is_resumed else before
        if self.progress is not None and isinstance(self.source, KnowsItsRows):
            rows = self.source.total_rows(state, reading)
            self._total_rows = None if rows is None else rows + staging.rows
        for batch in self.source.batches(state, reading):
            staging.take(batch)
            if staging.reached > self._furthest:
                self._furthest, self._failures = staging.reached, 0
            self._tell(total, batch.origin)
        staging.flush()

    def _expect_unchanged(self, state: State, source: KnowsWhatChanged) -> None:
        """A version that replaces all rows holds what there is now, so it goes on behind nothing else."""
        if not source.still_holds(state):
            raise StaleState

    def _begin_anew(self) -> None:
        """What was read has changed. The first time that is what an interrupted ingest finds, later ones are waited out."""
        if self.staging.state is None:
            raise InvalidError("source", self.identity, "a source that can be read from its beginning") from None
        self._changes += 1
        if self._changes > self.retry.attempts:
            raise StorageError(self.identity, f"it changed each of {self._changes} times while it was read") from None
        if self._changes > 1:
            self._sleep(self.retry.wait_s(self._changes - 1, None))
        self.staging.discard()
        self._furthest = self._failures = 0

    def _wait(self, error: Interrupted | MainspringError) -> None:
        cause, asked_s = (error.error, error.retry_after_s) if isinstance(error, Interrupted) else (error, None)
        self._failures += 1
        if not cause.transient or self._failures >= self.retry.attempts:
            raise cause from error.__cause__
        self._sleep(self.retry.wait_s(self._failures, asked_s))
        if self.staging.state is None:
            self.staging.discard()

    def _sleep(self, seconds: float) -> None:
        """Wait before the source is asked again."""
        self.retries += 1
        self.retry.sleep(seconds)

    def _total(self, before: State | None, reading: Reading) -> int | None:
        if not isinstance(self.source, KnowsItsSize):
            return None
        staging = self.staging
        state = before if staging.state is None else staging.state
        return self.source.total_bytes(state, reading) + staging.size_bytes

    def _tell(self, total: int | None, origin: str) -> None:
        if self.progress is not None:
            staging = self.staging
            fresh = staging.size_bytes - staging.resumed_bytes
            elapsed_s = time.monotonic() - self._begun
            fresh_rows = staging.rows - staging.resumed_rows
            counts = (staging.rows, staging.size_bytes, total, elapsed_s, origin, fresh, self._total_rows, fresh_rows)
            self.progress(Progress(*counts))
