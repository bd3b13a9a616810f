"""The door to events: a log of streams that is appended to, read by offset, and trimmed.

Invariant: offsets of a stream are 1, 2, 3, … in the order in which appends became visible, so whoever has read up to an
offset has seen every event at or below it, for ever; "what was known" is one number.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

from mainspring.errors import NotFoundError
from mainspring.streams.event import Appended, Event, Stream


class EventLog(Protocol):
    """What a log provides; safe to use from several threads, and by any number of processes at once.

    Every call may raise `UnavailableError` (nobody answers; transient) and `StorageError` (a full disk, say).
    """

    place: str
    """The file or address, for messages; never holds a password."""

    def append(self, stream: str, events: Sequence[Event]) -> list[Appended]:
        """Keep events, all or none, and say where each stands, in the order given.

        An event whose id the stream had before, also in this call, has no effect, whatever else it says. What was
        returned survives SIGKILL of this process, and of the log's own. A stream begins with its first event.

        Raises:
            InvalidError: a name, id, time or size that can't be kept.
        """
        ...

    def read(self, stream: str, after: int | None = None, limit: int = 1000) -> list[Event]:
        """The events behind an offset in their order, at most `limit`; None begins with the oldest that there is.

        Raises:
            NotFoundError: events behind `after` were trimmed, so that the reader would miss some.
        """
        ...

    def wait(self, stream: str, after: int, timeout_s: float) -> bool:
        """Return when there is an event behind an offset (True), or the time is over (False)."""
        ...

    def end(self, stream: str) -> int:
        """The offset of the last event; 0 if there never was one."""
        ...

    def trim(self, stream: str, before: int, *, forget_ids: bool = False) -> int:
        """Drop the events below an offset; gives how many. Their ids are remembered, so that late repetitions have no
        effect, unless they are to be forgotten: then those of events that were dropped before are, too.
        """
        ...

    def streams(self) -> list[Stream]:
        """The streams, by name."""
        ...

    def close(self) -> None:
        """Let go of connections."""
        ...


def check_not_trimmed(stream: str, after: int | None, trimmed: int) -> None:
    """Refuse to read on behind an offset whose next events are gone; None is no offset.

    Raises:
        NotFoundError: with the offset from which on there are events.
    """
    if after is not None and after < trimmed:
        raise NotFoundError(
            "event",
            f"{stream}/{after + 1}",
            hint=f"Events up to {trimmed} were trimmed; read after {trimmed} to go on without them.",
        )
