"""The online store as a reader sees it, with what is known while it is away; nothing that was read before is given unmarked.

What is remembered are stored bytes, not answers: times to live, windows and on-demand features are computed at the instant
that is asked for.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Mapping, Sequence
from itertools import accumulate, chain
from typing import Any, NamedTuple

from mainspring import clock
from mainspring.errors import ConfigError, InvalidError, UnavailableError
from mainspring.features.definitions.frames import typed_frame
from mainspring.features.definitions.records import ServiceRecord
from mainspring.features.definitions.service import expect_outage
from mainspring.features.history.status import Status
from mainspring.store import KeyValue
from mainspring.workspace import Workspace

_MEMORY_BYTES = 64 << 20
_ENTRY_BYTES = 200  # what Python takes for an entry besides its bytes


class Known(NamedTuple):
    """Bytes as they were last read, and when."""

    data: bytes | None
    read_us: int


class GuardedStore:
    """The online store with what a service declares for its outage: `policy` is fail, defaults or last_known.

    `at_hand` is the store's own `get_many` where nothing needs to be remembered of it: a local store is not away.
    """

    def __init__(self, record: ServiceRecord, workspace: Workspace) -> None:
        self.policy = record.outage or _setting(workspace)
        self.defaults = _defaults(record)
        self._reads = workspace.keep("online_reads", lambda: _Reads(workspace.online))
        self._remember = self.policy == "last_known"
        is_at_hand = not self._remember and workspace.online_folder is not None
        self.at_hand = workspace.online.get_many if is_at_hand else None

    def get_many(self, keys: Sequence[bytes]) -> list[bytes | None]:
        """The values of the keys, as the store has them.

        Raises:
            StorageError: the store is away.
        """
        found = self._reads.get_many(keys)
        if self._remember:
            self._reads.memory.keep(keys, found, clock.now_us())
        return found

    def recall(self, keys: Sequence[bytes]) -> list[Known | None]:
        """What is known of the keys while the store is away."""
        return self._reads.memory.recall(keys) if self._remember else [None] * len(keys)


class _Reads:
    """The reads of a workspace's online store by this process, with what they gave last.

    After an attempt that took long the next ones are refused for as long as it took, so that a store which doesn't answer
    holds up nobody more than half of the time.
    """

    def __init__(self, online: KeyValue) -> None:
        self.memory = _Memory()
        self._online = online
        self._resting_until = 0.0
        self._reason = ""

    def get_many(self, keys: Sequence[bytes]) -> list[bytes | None]:
        began = time.monotonic()
        if began < self._resting_until:
            raise UnavailableError(self._online.place, self._reason)
        try:
            return self._online.get_many(keys)
        except UnavailableError as error:
            self._reason, self._resting_until = error.reason, 2 * time.monotonic() - began
            raise

    def close(self) -> None:
        """Nothing is open: the store is the workspace's."""


class _Memory:
    """The last bytes of keys, the oldest readings forgotten first."""

    def __init__(self, limit_bytes: int = _MEMORY_BYTES) -> None:
        self._held: dict[bytes, Known] = {}
        self._lock = threading.Lock()
        self._limit_bytes, self._bytes = limit_bytes, 0

    def keep(self, keys: Sequence[bytes], found: Sequence[bytes | None], at_us: int) -> None:
        with self._lock:
            held = self._held
            for key, data in zip(keys, found, strict=True):
                old = held.pop(key, None)
                self._bytes += _size(key, data) - (_size(key, old.data) if old else 0)
                held[key] = Known(data, at_us)
            while self._bytes > self._limit_bytes:
                key = next(iter(held))
                self._bytes -= _size(key, held.pop(key).data)

    def recall(self, keys: Sequence[bytes]) -> list[Known | None]:
        with self._lock:
            return [self._held.get(key) for key in keys]


class Need(NamedTuple):
    """What a feature is made of: of a part, by its number, the keys at these places among those of an entity."""

    part: int
    places: range


class Outage(NamedTuple):
    """How vectors are marked that were answered without the store.

    `spans` say how many keys each part has for an entity; `needs` what each feature is made of.
    """

    defaults: Mapping[str, Any]
    names: Sequence[str]
    needs: Sequence[Sequence[Need]]
    spans: Sequence[int]

    def read_us(self, known: Sequence[Known | None], counts: Sequence[int]) -> dict[Need, list[int | None]]:
        """When what features need was read, the oldest of what is known of it, None if never: for each entity of its part.

        `counts` says how many entities each part has.
        """
        begins = [*accumulate((span * count for span, count in zip(self.spans, counts, strict=True)), initial=0)]
        return {
            need: [self._oldest(known, begins[need.part], number, need) for number in range(counts[need.part])]
            for need in dict.fromkeys(chain.from_iterable(self.needs))
        }

    def _oldest(self, known: Sequence[Known | None], begin: int, number: int, need: Need) -> int | None:
        first = begin + number * self.spans[need.part]
        read = (known[first + place] for place in need.places)
        return min((each.read_us for each in read if each), default=None)

    def marked(
        self, values: Sequence[Any], statuses: Sequence[str], read_us: Mapping[Need, int | None]
    ) -> tuple[list[Any], list[str], int | None]:
        """The values and statuses of one vector, and when the oldest of what is in it was read."""
        told, marks = [*values], [*statuses]
        for place, (name, needs) in enumerate(zip(self.names, self.needs, strict=True)):
            if any(read_us[need] is None for need in needs):
                told[place] = self.defaults.get(name)
                marks[place] = Status.DEFAULT.value if name in self.defaults else Status.UNAVAILABLE.value
            elif needs and marks[place] != Status.OUTSIDE_MAX_AGE.value:
                marks[place] = Status.LAST_KNOWN.value
        return told, marks, min((at for at in read_us.values() if at is not None), default=None)


def _size(key: bytes, data: bytes | None) -> int:
    return len(key) + len(data or b"") + _ENTRY_BYTES


def _setting(workspace: Workspace) -> str:
    origin = workspace.project.settings.origins["online_outage"]
    try:
        return expect_outage("online_outage", origin.value)
    except InvalidError as error:
        raise ConfigError(str(error), origin.origin) from error


def _defaults(record: ServiceRecord) -> dict[str, Any]:
    """The declared values as they are read from the store."""
    if not record.defaults:
        return {}
    types = {field.name: field.dtype for field in record.fields}
    row = typed_frame({name: (types[name], [value]) for name, value in record.defaults.items()}).row(0, named=True)
    return dict(row)
