"""A sink in a key-value store: the offset is a key beside those that events change, and all change in one write."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence

from mainspring.store.keyvalue import KeyValue
from mainspring.streams.event import Event

Change = tuple[bytes, bytes | None]


class KeyValueSink:
    """Applies events to a store: `changes` says what a batch writes (None deletes), as it follows from what is there.

    If another consumer of the same name was faster, the write is refused as a whole, so that `changes` may read first.
    """

    def __init__(
        self, store: KeyValue, stream: str, consumer: str, changes: Callable[[Sequence[Event]], Iterable[Change]]
    ) -> None:
        self._store, self._changes = store, changes
        self._key = f"\0offset/{stream}/{consumer}".encode()

    def offset(self) -> int:
        """The offset up to which events were applied."""
        return int(self._store.get(self._key) or 0)

    def apply(self, events: Sequence[Event], expect: int, offset: int) -> None:
        """Write what the events change, and the offset.

        Raises:
            ConflictError: the offset is not `expect`; nothing was written.
        """
        known = b"%d" % expect if expect else None
        self._store.write([*self._changes(events), (self._key, b"%d" % offset)], expect={self._key: known})
