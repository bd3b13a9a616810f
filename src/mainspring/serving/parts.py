"""Logs of serving as Parquet parts: what closed segments hold, in the blob store, with a manifest in the database.

The parts are blobs before the rows that name them, these are one transaction, and the segment is removed after it: killed in
between, the next compaction removes it. Whoever reads takes the segments first and the manifest after them, so that what is
compacted meanwhile is found once, and not lost.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Generic, TypeVar

import msgspec

from mainspring.errors import MainspringError, NotFoundError, StorageError
from mainspring.store import (
    Database,
    Leases,
    Transaction,
    expect_whole,
    keep_aside,
    list_segments,
    read_segment,
    records_holding,
    remove_segment,
    salvage_segment,
)
from mainspring.store.own_work import at_own_work
from mainspring.workspace import Workspace

if TYPE_CHECKING:
    import polars as pl

_LEASE_S = 600.0
Read = TypeVar("Read")


class Part(msgspec.Struct, frozen=True, kw_only=True):
    """A Parquet blob of rows of one endpoint from one segment, or from what else `segment` names."""

    id: str
    endpoint: str
    row_count: int
    segment: str
    blob: str
    created_at: int


PartKind = TypeVar("PartKind", bound=Part)


class Compacted(msgspec.Struct, frozen=True):
    """How many segments were compacted, the parts that they became, and the rows in these.

    `kept_aside` are the files of those that were damaged, in which so many bytes were passed over.
    """

    segments: int
    parts: int
    rows: int
    kept_aside: tuple[str, ...] = ()
    passed_bytes: int = 0


class PartStore(Generic[PartKind]):
    """The parts of a workspace's log: rows of `table`, which the migrations of `room` make, a column for each field."""

    def __init__(
        self, database: Database, kind: type[PartKind], table: str, room: str, migrations: Sequence[str]
    ) -> None:
        self.database, self._kind, self._table = database, kind, table
        self._columns = ", ".join(kind.__struct_fields__)
        database.migrate(room, migrations)

    def put(self, tx: Transaction, part: PartKind) -> None:
        """Add a part."""
        tx.insert(self._table, msgspec.to_builtins(part))

    def where(self, condition: str, values: Sequence[str | int]) -> list[PartKind]:
        """The parts for which a condition in SQL holds, in the order in which they were made."""
        sql = f"SELECT {self._columns} FROM {self._table} WHERE {condition} ORDER BY id"
        rows = self.database.query(sql, tuple(values))
        return [msgspec.convert(dict(zip(self._kind.__struct_fields__, row, strict=True)), self._kind) for row in rows]

    def is_compacted(self, segment: str, tx: Transaction | None = None) -> bool:
        """Whether the records of a segment are in parts, by a transaction if there is one."""
        row = (tx or self.database).query_one(f"SELECT 1 FROM {self._table} WHERE segment = ? LIMIT 1", (segment,))
        return row is not None

    def blobs(self) -> Iterable[str]:
        """The blobs of all parts."""
        for (blob,) in self.database.query(f"SELECT blob FROM {self._table}"):
            yield str(blob)


def compact_segments(
    folder: Path, store: PartStore[PartKind], parts_of: Callable[[Iterable[bytes], str], list[PartKind]],
    workspace: Workspace, *, past_damage: bool = False,
) -> Compacted:  # fmt: skip
    """Compact the closed segments of a folder of this machine, one by one; those that are written to are left alone.

    `parts_of` makes the parts of a segment's records, whose blobs are stored. With `past_damage` they are those of the whole
    records of a damaged segment, too, whose bytes are all kept aside.

    Raises:
        ConflictError: another process of this machine compacts them.
        StorageError: a segment is damaged, or can't be compacted for any other reason, and stays as it is; the others are
            compacted. With `past_damage` a damaged one is no error; one of a newer format is.
    """
    from polars.exceptions import PanicException

    leases = Leases(workspace.database)
    lease = leases.claim(f"{folder.name}/{workspace.owner.split(':')[0]}/{folder}", workspace.owner, _LEASE_S)
    segments = parts = rows = passed_bytes = 0
    kept_aside: list[str] = []
    failed: list[StorageError] = []
    try:
        for segment in list_segments(folder):
            if segment.live:
                continue
            if not store.is_compacted(segment.name):
                leases.heartbeat(lease)
                try:
                    made, passed = _parts_of(parts_of, folder, segment.name, past_damage=past_damage)
                    if passed is not None:  # before the parts are there: then whoever compacts removes the segment
                        kept_aside.append(str(keep_aside(folder, segment.name)))
                        passed_bytes += passed
                except (Exception, PanicException) as error:  # noqa: BLE001  # whatever it is holds up no other segment
                    path = folder / segment.name
                    if not isinstance(error, NotFoundError) or path.exists():  # else another machine compacted it
                        failed.append(_failed(path, error))
                    continue
                with workspace.database.transaction() as tx:
                    leases.check(tx, lease)
                    if store.is_compacted(segment.name, tx):  # by that machine, meanwhile
                        made = []
                    for part in made:
                        store.put(tx, part)
                segments, parts, rows = segments + 1, parts + len(made), rows + sum(part.row_count for part in made)
            try:
                with suppress(NotFoundError):
                    remove_segment(folder, segment.name)
            except (MainspringError, OSError) as error:  # its parts are there, so that it is not read
                failed.append(_failed(folder / segment.name, error, "removed"))
    finally:
        leases.release(lease)
    if failed:
        raise failed[0]
    return Compacted(segments, parts, rows, tuple(kept_aside), passed_bytes)


def _failed(path: Path, error: BaseException, done: str = "compacted") -> StorageError:
    """What is told of a segment that can't be compacted, or removed, and so stays."""
    if isinstance(error, StorageError) and error.place == str(path):
        return error
    reason = str(error) if isinstance(error, MainspringError) else f"{type(error).__name__}: {error}"
    found = StorageError(str(path), f"the segment can't be {done}, and stays: {reason.strip().rstrip('.')}")
    found.__cause__ = error
    return found


def _parts_of(
    parts_of: Callable[[Iterable[bytes], str], list[PartKind]], folder: Path, name: str, *, past_damage: bool
) -> tuple[list[PartKind], int | None]:
    """The parts of a segment's records, and of a damaged one how many bytes were passed over; what lacks an end has none."""
    try:
        return parts_of((each.record for each in read_segment(folder, name)), name), None
    except StorageError:
        if not past_damage:
            raise
    whole = salvage_segment(folder, name)
    return parts_of(whole.records, name), whole.passed_bytes


@at_own_work()  # whoever asks notes what it looks for
def read_records(
    folder: Path, wanted: Callable[[bytes], Read | None], any_of: Sequence[bytes] = ()
) -> dict[str, list[Read]]:  # fmt: skip
    """The records that lie in segments now, by segment, as `wanted` decodes them; where it gives None, they are left out.

    With `any_of` they are those in which one of these texts of bytes lies, and others cost next to nothing: in segments that
    are closed they are verified once (`expect_whole`), as a damaged one may be one of those.

    Raises:
        StorageError: a segment is damaged, or can't be read.
    """
    found: dict[str, list[Read]] = {}
    segments = list_segments(folder)
    if any_of:
        expect_whole(folder, segments)
    for segment in segments:
        with suppress(NotFoundError):  # compacted since it was listed: it is in the manifest
            held = records_holding(folder, segment.name, any_of) if any_of else None
            whole = (each.record for each in read_segment(folder, segment.name)) if held is None else held
            records = [wanted(each) for each in whole]
            found[segment.name] = [record for record in records if record is not None]
    return found


def uncompacted(records: Mapping[str, list[Read]], parts: Collection[Part]) -> list[Read]:
    """Those of the records, by segment, that are not in parts which were listed after they were read."""
    compacted = {part.segment for part in parts}
    return [each for name, own in records.items() if name not in compacted for each in own]


def stored_frame(frame: pl.DataFrame, workspace: Workspace) -> str:
    """The blob of a table of rows."""
    from io import BytesIO

    data = BytesIO()
    frame.write_parquet(data, row_group_size=16_384, statistics=True)
    return workspace.blobs.put(data.getvalue())


def scan_part(part: Part, workspace: Workspace) -> pl.LazyFrame:
    """The rows of a part."""
    import polars as pl

    return pl.scan_parquet(workspace.blobs.path(part.blob), glob=False, hive_partitioning=False)
