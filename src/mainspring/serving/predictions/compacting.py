"""Compaction: what a closed segment holds becomes Parquet parts, by endpoint and version, in the workspace's blob store.

The parts are blobs before the rows that name them, these are one transaction, and the segment is removed after it: killed in
between, the next compaction removes it.
"""

from __future__ import annotations

from contextlib import suppress
from io import BytesIO
from itertools import groupby
from pathlib import Path

import msgspec

from mainspring import clock
from mainspring.errors import NotFoundError
from mainspring.ledger import new_id
from mainspring.serving.predictions._store import PartStore, PredictionPart
from mainspring.serving.predictions.ids import id_at, writer_of
from mainspring.serving.predictions.log import predictions_folder
from mainspring.serving.predictions.record import Logged, decode
from mainspring.store import Leases, list_segments, read_segment, remove_segment
from mainspring.workspace import Workspace, current_workspace

_LEASE_S = 600.0


class Compacted(msgspec.Struct, frozen=True):
    """How many segments were compacted, the parts that they became, and the rows in these."""

    segments: int
    parts: int
    rows: int


def compact_predictions(workspace: Workspace | None = None) -> Compacted:
    """Compact the closed segments of this machine, one by one; those that a server writes to are left alone.

    Raises:
        ConflictError: another process of this machine compacts them.
        StorageError: a segment is damaged, or the blob store can't be written.
    """
    workspace = workspace or current_workspace()
    folder, store, leases = predictions_folder(workspace), PartStore(workspace.database), Leases(workspace.database)
    lease = leases.claim(f"predictions/{workspace.owner.split(':')[0]}/{folder}", workspace.owner, _LEASE_S)
    segments = parts = rows = 0
    try:
        for segment in list_segments(folder):
            if segment.live:
                continue
            if not store.is_compacted(segment.name):
                leases.heartbeat(lease)
                made = _parts_of(folder, segment.name, workspace)
                with workspace.database.transaction() as tx:
                    leases.check(tx, lease)
                    for part in made:
                        store.put(tx, part)
                segments, parts, rows = segments + 1, parts + len(made), rows + sum(part.row_count for part in made)
            with suppress(NotFoundError):
                remove_segment(folder, segment.name)
    finally:
        leases.release(lease)
    return Compacted(segments, parts, rows)


def _parts_of(folder: Path, segment: str, workspace: Workspace) -> list[PredictionPart]:
    """The parts of a segment, whose blobs are stored."""
    records = [decode(each.record) for each in read_segment(folder, segment)]
    records.sort(key=lambda record: (record.endpoint, record.version))  # stable: ids stay in order
    return [
        _part(endpoint, version, list(own), segment, workspace)
        for (endpoint, version), own in groupby(records, lambda record: (record.endpoint, record.version))
    ]


def _part(endpoint: str, version: str, records: list[Logged], segment: str, workspace: Workspace) -> PredictionPart:
    from mainspring.serving.predictions.frames import frame_of, types_of

    frame = frame_of(records, types_of(version, workspace))
    data = BytesIO()
    frame.write_parquet(data, row_group_size=16_384, statistics=True)
    instants = [record.at_us for record in records]
    first, last = records[0].id, records[-1]
    return PredictionPart(
        new_id(), endpoint, version, writer_of(first), first, id_at(last.id, last.rows - 1), frame.height, min(instants),
        max(instants), segment, workspace.blobs.put(data.getvalue()), clock.now_us(),
    )  # fmt: skip
