"""Writes of a materialization, each on condition that it is still the one that is going on.

It begins by a watermark that nobody else writes. Whoever takes its place writes another one first, so however late the old one
wakes up, it changes nothing.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping

import msgspec

from mainspring.errors import ConflictError
from mainspring.features.definitions.records import Definition
from mainspring.features.online.places import watermark_place
from mainspring.features.online.states import Change
from mainspring.features.online.watermark import Running, Watermark
from mainspring.store import KeyValue


class Fence:
    """The materialization of one version of a view; making it tells readers that other values may come from now on.

    `before` are the bytes of the watermark that it found, `mark` what they said. All methods raise `ConflictError` when another
    process has taken its place; nothing is written then.
    """

    def __init__(
        self, definition: Definition, online: KeyValue, before: bytes | None, mark: Watermark, running: Running
    ) -> None:
        self._definition, self._online, self._place = definition, online, watermark_place(definition)
        self.begun = msgspec.structs.replace(mark, running=running)
        self._data = self.begun.packed()
        online.write([(self._place, self._data)], expect={self._place: before})

    def write(self, changes: Iterable[Change]) -> None:
        """Put and delete."""
        try:
            self.replace(changes, {})
        except ConflictError as error:
            raise self._passed() from error

    def put_newest(self, items: Iterable[tuple[bytes, bytes]]) -> int:
        """Store values of the highest rank; gives how many keys got one."""
        try:
            return self._online.put_newest(items, expect={self._place: self._data})
        except ConflictError as error:
            raise self._passed() from error

    def replace(self, changes: Iterable[Change], expect: Mapping[bytes, bytes | None]) -> None:
        """Put and delete where just that is stored.

        Raises:
            ConflictError: something else is stored; `check` says whether that is because another one goes on.
        """
        self._online.write(changes, expect={self._place: self._data, **expect})

    def check(self) -> None:
        """Refuse to go on if another one does."""
        if self._online.get(self._place) != self._data:
            raise self._passed()

    def end(self, mark: Watermark) -> None:
        """Say what the store reflects now."""
        self.write([(self._place, mark.packed())])

    def _passed(self) -> ConflictError:
        return ConflictError(
            f"{self._definition} was taken over by another process while it was materialized; nothing more was written."
        )
