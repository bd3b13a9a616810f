"""Reads a stream in micro-batches and hands each to a sink together with the offset that it moves to.

Delivery is at least once; that each effect is there exactly once is the sink's doing, which keeps its offset in the same
atomic write as the effect and refuses a batch that doesn't begin where it stands.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from threading import Event as Stop
from typing import Protocol

from mainspring.errors import MainspringError, StorageError
from mainspring.streams.event import Event
from mainspring.streams.log import EventLog

_FIRST_PAUSE_S, _LONGEST_PAUSE_S = 0.02, 1.0
_IDLE_S = 0.5
_FIRST_EVENTS = 500


class Sink(Protocol):
    """Where a stream's events have their effect."""

    def offset(self) -> int:
        """The offset up to which events were applied; 0 if none were."""
        ...

    def apply(self, events: Sequence[Event], expect: int, offset: int) -> None:
        """Apply events and move the offset from `expect` to `offset`, all or nothing.

        Raises:
            ConflictError: the offset is not `expect`; nothing was applied.
            LeaseLostError: another process consumes in this one's place.
        """
        ...


class Patience:
    """For how long what may pass is tried again without a success, with growing pauses."""

    def __init__(self, patience_s: float = 60.0) -> None:
        self.patience_s = patience_s
        self.renew()

    def renew(self) -> None:
        """Something succeeded."""
        self._pause_s, self._until = _FIRST_PAUSE_S, time.monotonic() + self.patience_s

    def bear(self, error: MainspringError, stop: Stop) -> None:
        """Pause before the next attempt, no longer than until `stop` is set; what can't pass, or has lasted, is raised."""
        if not error.transient or time.monotonic() > self._until:
            raise error
        stop.wait(self._pause_s)
        self._pause_s = min(2 * self._pause_s, _LONGEST_PAUSE_S)


class Consumer:
    """Applies a stream to a sink, in batches of at most `max_events` that wait at most `max_wait_s` to become full.

    With `step_s` batches begin small, grow while they are applied in a quarter of that, and shrink when they take longer: so
    one that is killed again and again gets on, however long an event takes.
    """

    def __init__(
        self, log: EventLog, stream: str, sink: Sink, *, max_events: int = 1000, max_wait_s: float = 0.05,
        patience_s: float = 60.0, step_s: float | None = None,
    ) -> None:  # fmt: skip
        self.log, self.stream, self.sink = log, stream, sink
        self.max_events, self.max_wait_s, self.patience_s = max_events, max_wait_s, patience_s
        self.step_s, self._most = step_s, max_events if step_s is None else min(max_events, _FIRST_EVENTS)
        self._offset: int | None = None

    def step(self, timeout_s: float = 0.0) -> int:
        """Apply the next batch and give its size: 0 if no event came in time.

        Raises:
            ConflictError: the sink refused it; the next step begins where the sink stands.
            UnavailableError: log or sink don't answer. Whether a batch was applied then is asked of the sink again.
            NotFoundError: events that were not applied yet were trimmed.
            StorageError: the sink is ahead of the log, which is another one, or an older state of it.
        """
        if self._offset is None:
            self._offset = self._begin()
        events = self._batch(self._offset, timeout_s)
        if events:
            expect, self._offset = self._offset, None
            started = time.monotonic()
            self.sink.apply(events, expect, events[-1].offset)
            self._pace(time.monotonic() - started)
            self._offset = events[-1].offset
        return len(events)

    def run(self, stop: Stop) -> int:
        """Apply what comes until `stop` is set; gives how many events that were.

        What may pass is tried again for `patience_s` without a success. Raises as `step` does, then.
        """
        count, patience = 0, Patience(self.patience_s)
        while not stop.is_set():
            try:
                count += self.step(_IDLE_S)
            except MainspringError as error:
                self._offset = None
                patience.bear(error, stop)
            else:
                patience.renew()
        return count

    def _begin(self) -> int:
        """The sink's offset. Behind the end of the log the next events would be taken for applied ones."""
        offset, end = self.sink.offset(), self.log.end(self.stream)
        if offset > end:
            raise StorageError(
                self.log.place,
                f"`{self.stream}` ends at {end}, but was applied up to {offset}",
                "Is it another log, or one that was restored? Consume it under another name.",
            )
        return offset

    def _pace(self, took_s: float) -> None:
        if self.step_s is not None and took_s > self.step_s:
            self._most = max(1, self._most // 2)
        elif self.step_s is not None and took_s < self.step_s / 4:
            self._most = min(self.max_events, self._most * 2)

    def _batch(self, after: int, timeout_s: float) -> list[Event]:
        events = self.log.read(self.stream, after, self._most)
        if not events and timeout_s > 0 and self.log.wait(self.stream, after, timeout_s):
            events = self.log.read(self.stream, after, self._most)
        until = time.monotonic() + self.max_wait_s
        while events and len(events) < self._most and (left_s := until - time.monotonic()) > 0:
            last = events[-1].offset
            if self.log.wait(self.stream, last, left_s):
                events += self.log.read(self.stream, last, self._most - len(events))
        return events
