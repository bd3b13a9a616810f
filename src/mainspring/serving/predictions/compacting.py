"""Compaction: what a closed segment holds becomes Parquet parts, by endpoint and version, in the workspace's blob store."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import groupby

from mainspring import clock
from mainspring.ledger import new_id
from mainspring.serving.parts import Compacted, compact_segments, stored_frame
from mainspring.serving.predictions._store import PredictionPart, PredictionParts
from mainspring.serving.predictions.ids import id_at, writer_of
from mainspring.serving.predictions.log import predictions_folder
from mainspring.serving.predictions.record import Logged, decode
from mainspring.workspace import Workspace, current_workspace


def compact_predictions(workspace: Workspace | None = None) -> Compacted:
    """Compact the closed segments of this machine, one by one; those that a server writes to are left alone.

    Raises:
        ConflictError: another process of this machine compacts them.
        StorageError: a segment is damaged, or the blob store can't be written.
    """
    workspace = workspace or current_workspace()

    def parts_of(data: Sequence[bytes], segment: str) -> list[PredictionPart]:
        records = sorted(map(decode, data), key=_source)  # stable: ids stay in order
        return [_part(list(own), segment, workspace) for _, own in groupby(records, _source)]

    return compact_segments(predictions_folder(workspace), PredictionParts(workspace.database), parts_of, workspace)


def _source(record: Logged) -> tuple[str, str]:
    return record.endpoint, record.version


def _part(records: list[Logged], segment: str, workspace: Workspace) -> PredictionPart:
    from mainspring.serving.predictions.frames import frame_of, types_of

    first, last = records[0], records[-1]
    frame = frame_of(records, types_of(first.version, workspace))
    instants = [record.at_us for record in records]
    return PredictionPart(
        id=new_id(), endpoint=first.endpoint, version=first.version, writer=writer_of(first.id), first_id=first.id,
        last_id=id_at(last.id, last.rows - 1), row_count=frame.height, first_at=min(instants), last_at=max(instants),
        segment=segment, blob=stored_frame(frame, workspace), created_at=clock.now_us(),
    )  # fmt: skip
