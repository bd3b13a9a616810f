"""The log of served vectors: a sample of what was answered, with all that it can be computed again from.

A record is one read, or a part of one that would be too large: what was asked, at which instant, what was answered, and the
watermarks of the same read of the store. It is in the file before `append` returns. Whether a vector is in the sample is
decided by its id, so that it is so everywhere.
"""

from __future__ import annotations

import logging
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

import msgspec

from mainspring import clock
from mainspring.errors import ConflictError, InvalidError, NotFoundError, counted
from mainspring.features.online.reader import FeatureReader
from mainspring.features.online.vector import Reading, Vector
from mainspring.ledger import is_sampled, sample_limit
from mainspring.store import SegmentWriter, list_segments, remove_segment
from mainspring.store.frames import LARGEST_RECORD_BYTES
from mainspring.workspace import Workspace

FOLDER = "vectors"
_log = logging.getLogger("mainspring.features")
_DAY_US = 86_400_000_000


class Logged(msgspec.Struct, frozen=True, array_like=True):
    """One read as it is logged. `rows` are the columns `request` as the reader took them, `values` the answers, by row.

    `views` are the versions that were read, each with its watermark as bytes; `pushed` as in `Reading`.
    """

    service: str
    at_us: int
    request: tuple[str, ...]
    views: tuple[str, ...]
    watermarks: tuple[bytes | None, ...]
    ids: Sequence[str]
    rows: Sequence[Sequence[Any]]
    values: Sequence[Sequence[Any]]
    statuses: Sequence[Sequence[str]]
    event_us: Sequence[Sequence[int | None]]
    pushed: Sequence[int]


_BY_VECTOR = ("ids", "rows", "values", "statuses", "event_us", "pushed")
_encode = msgspec.msgpack.Encoder().encode


class VectorLog:
    """Keeps a sample of served vectors in this machine's folder of the workspace; for any number of threads.

    `share` of the vectors are kept (0: none, 1: all; by the setting `vectors_share`), for `vectors_keep_days` days.
    `limit` is the share in the form that `is_sampled` takes. `dropped` counts those that were to be kept and are larger than
    a record of 16 MiB.
    """

    def __init__(self, workspace: Workspace, *, share: float | None = None) -> None:
        self.share = _checked(workspace.project.settings.vectors_share if share is None else share)
        self.folder = vectors_folder(workspace)
        self._keep_days: float = workspace.project.settings.vectors_keep_days
        self.limit = sample_limit(self.share)
        self._writer = SegmentWriter(self.folder)
        self._segment = ""
        self.dropped = 0

    def samples(self, vector_id: str, share: float | None = None) -> bool:
        """Whether the vector of this id is kept.

        >>> from types import SimpleNamespace as N
        >>> settings = N(vectors_share=0.5, vectors_keep_days=7.0)
        >>> log = VectorLog(N(project=N(settings=settings), segments=Path("segments")))
        >>> 450 < sum(log.samples(f"request-{number}") for number in range(1000)) < 550
        True
        """
        return is_sampled(vector_id, self.limit if share is None else sample_limit(share))

    def read(
        self, reader: FeatureReader, entities: Sequence[Mapping[str, Any]], ids: Sequence[str], *,
        at_us: int | None = None, share: float | None = None,
    ) -> list[Vector]:  # fmt: skip
        """What `reader.read` gives; the vectors whose `ids` are in the sample are logged with what they reflect.

        `share` is that of this call, instead of the log's.

        Raises:
            InvalidError, WrongTypeError, StorageError: as `reader.read`; StorageError also if the log can't be written.
        """
        limit = self.limit if share is None else sample_limit(share)
        if len(entities) == 1 and not is_sampled(ids[0], limit):
            return reader.read(entities, at_us=at_us)
        at = clock.now_us() if at_us is None else at_us
        vectors: list[Vector] = []
        for some in reader.batches(entities):
            own = ids[len(vectors) : len(vectors) + len(some)]
            kept = [place for place, each in enumerate(own) if is_sampled(each, limit)]
            if kept:
                found = reader.reading(some, at_us=at, wanted=kept)
                self.append(reader, found, some, own, kept)
            vectors += found.vectors if kept else reader.read(some, at_us=at)
        return vectors

    def readings(
        self,
        reader: FeatureReader,
        entities: Sequence[Mapping[str, Any]],
        ids: Sequence[str],
        *,
        at_us: int | None = None,
    ) -> list[Reading]:
        """The same with what the vectors reflect: a reading for each lot of entities read at once; raises as `read`."""
        found: list[Reading] = []
        at = clock.now_us() if at_us is None else at_us
        start = 0
        for some in reader.batches(entities):
            own = ids[start : start + len(some)]
            kept = [place for place, each in enumerate(own) if is_sampled(each, self.limit)]
            found.append(reader.reading(some, at_us=at, wanted=kept))
            if kept:
                self.append(reader, found[-1], some, own, kept)
            start += len(some)
        return found

    def append(
        self, reader: FeatureReader, reading: Reading, entities: Sequence[Mapping[str, Any]], ids: Sequence[str],
        places: Sequence[int] | None = None,
    ) -> None:  # fmt: skip
        """Log vectors of a reading: those at `places`, or all; not what was answered while the store was away.

        Raises:
            StorageError: the disk is full or the folder not writable; nothing of it is kept.
        """
        asked = range(len(ids)) if places is None else places
        chosen = [place for place in asked if reading.vectors[place].is_live]
        if not chosen:
            return
        request = tuple(reader.request)
        vectors = [reading.vectors[place] for place in chosen]
        record = Logged(
            reader.service.id, reading.at_us, request, tuple(view.id for view in reader.views), reading.watermarks,
            [ids[place] for place in chosen],
            reader.taken([entities[place] for place in chosen]),
            [each.values for each in vectors], [each.statuses for each in vectors],
            [each.event_us for each in vectors], [reading.pushed[place] for place in chosen],
        )  # fmt: skip
        records = list(_fitting(record))
        if lost := len(chosen) - sum(count for _, count in records):
            self.dropped += lost
            _log.warning("%s: %s too large for the log of vectors", reader.service, counted(lost, "vector"))
        written = self._writer.append([data for data, _ in records])
        if written is not None and written.segment != self._segment:
            self._segment = written.segment
            remove_old(self.folder, self._keep_days)

    def close(self) -> None:
        """End the segment; a later append begins another."""
        self._writer.close()


def encoded(record: Logged) -> bytes:
    """A record as bytes. Numbers that MessagePack has no form for are texts, which the types of their columns tell."""
    try:
        return _encode(record)
    except OverflowError:
        rows, values = ([list(map(_as_text, row)) for row in each] for each in (record.rows, record.values))
        return _encode(msgspec.structs.replace(record, rows=rows, values=values))


def _fitting(record: Logged) -> Iterator[tuple[bytes, int]]:
    """A record in as many as its size takes, each with its number of vectors; one vector that is too large has none."""
    data, count = encoded(record), len(record.ids)
    if len(data) <= LARGEST_RECORD_BYTES:
        yield data, count
    elif count > 1:
        for half in (slice(None, count // 2), slice(count // 2, None)):
            yield from _fitting(
                msgspec.structs.replace(record, **{name: getattr(record, name)[half] for name in _BY_VECTOR})
            )


def _as_text(value: Any) -> Any:
    return str(value) if type(value) is int and not -(1 << 63) <= value < 1 << 64 else value


def vectors_folder(workspace: Workspace) -> Path:
    """Where this machine's log of served vectors lies."""
    return workspace.segments / FOLDER


def remove_old(folder: Path, keep_days: float) -> int:
    """Remove the closed segments that were last written before so many days; gives how many."""
    removed, oldest_us = 0, clock.now_us() - keep_days * _DAY_US
    for segment in list_segments(folder):
        with suppress(FileNotFoundError, NotFoundError, ConflictError):  # another process removes, too
            if not segment.live and (folder / segment.name).stat().st_mtime * 1e6 < oldest_us:
                remove_segment(folder, segment.name)
                removed += 1
    return removed


def _checked(share: float) -> float:
    if not 0 <= share <= 1:
        raise InvalidError("share", share, "a share of vectors from 0 to 1")
    return share
