"""What the online state of one version of a view reflects, kept beside the values, so that one read gives both.

Of a view over a dataset that is a version and an instant; of a view over a stream an offset, which moves in the write of
what the events up to it change. Whoever writes a watermark expects the one it read, so that no two writers meet.
"""

from __future__ import annotations

from collections.abc import Iterable

import msgspec

from mainspring.features._store import DefinitionStore
from mainspring.features.definitions.records import Definition
from mainspring.features.online.places import watermark_place
from mainspring.workspace import Workspace, current_workspace

_DAY_US = 86_400_000_000


class Running(msgspec.Struct, frozen=True, array_like=True):
    """A materialization that has begun: an entity has what it had before, or already what this version gives.

    `token` is its lease's, so that one which was taken over meets another watermark than its own, and writes nothing more.
    """

    version: str
    until_us: int
    token: int = 0


class Watermark(msgspec.Struct, frozen=True, kw_only=True, array_like=True):
    """What a view's online state is a function of.

    Of a dataset (`version` is one, e.g. `weather/3`): its rows with event time and created time up to `until_us`; `ahead` of
    its rows were not among them. Of a stream (`version` is empty): its events up to `offset`, of which the newest was known
    at `known_us`. Of aggregates no instant before `begins_us` can be asked for any more. Times are microseconds.

    Values that were pushed are in neither; each says so itself (`Packed.is_pushed`).
    """

    source: str
    version: str = ""
    until_us: int = 0
    offset: int = 0
    running: Running | None = None
    known_us: int | None = None
    ahead: int = 0
    begins_us: int | None = None
    swept_us: int | None = None
    """What `begins_us` was when the tiles before it were removed."""
    lacks: int = 0
    """Up to this offset it has no event either that the stream's dataset went on without."""

    @property
    def reaches_us(self) -> int | None:
        """Up to which instant the store reflects what was known; of a stream when the newest of its events was, if any."""
        return self.until_us if self.version else self.known_us

    def surplus(self, left_out: Iterable[tuple[int, int]]) -> list[tuple[int, int]]:
        """Of the events that the stream's dataset went on without, by first and last offset, those that this has.

        >>> Watermark(source="arrivals", offset=15, lacks=3).surplus([(2, 3), (10, 20), (30, 40)])
        [(10, 15)]
        """
        return [
            (first, min(last, self.offset)) for first, last in left_out if self.lacks < last and first <= self.offset
        ]

    def packed(self) -> bytes:
        """The bytes under which it is stored."""
        return _encode(self)


_encode = msgspec.msgpack.Encoder().encode
_decode = msgspec.msgpack.Decoder(Watermark).decode


def read_watermark(data: bytes | None) -> Watermark | None:
    """The watermark that is stored at `watermark_place`, None if nothing is.

    >>> mark = Watermark(source="weather", version="weather/3", until_us=5, running=Running("weather/4", 9))
    >>> read_watermark(mark.packed()) == mark
    True
    """
    return None if data is None else _decode(data)


def watermark_of(view: str | Definition, workspace: Workspace | None = None) -> Watermark | None:
    """What the online state of a view's version reflects; None if nothing was brought there but by `push`.

    Raises:
        NotFoundError: there is no such view.
        InvalidError: it is no view.
        StorageError: the online store can't be read.
    """
    workspace = workspace or current_workspace()
    if not isinstance(view, Definition):
        view = DefinitionStore(workspace.database, workspace.ledger).get("view", view)
    view.expect("view")
    return read_watermark(workspace.online.get(watermark_place(view)))


def allowance_us(workspace: Workspace) -> int:
    """How long before the newest instant that a view knows of its aggregates can still be asked for (`late_events_days`)."""
    return int(workspace.project.settings.late_events_days * _DAY_US)
