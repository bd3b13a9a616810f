"""Compaction of labels: what a closed segment holds becomes Parquet parts, by endpoint, as that of predictions does."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from itertools import groupby
from operator import attrgetter

import polars as pl

from mainspring import clock
from mainspring.ledger import new_id
from mainspring.serving.feedback._store import FeedbackPart, FeedbackParts
from mainspring.serving.feedback.frames import frame_of
from mainspring.serving.feedback.intake import feedback_folder
from mainspring.serving.feedback.record import Labels, decode
from mainspring.serving.parts import Compacted, compact_segments, stored_frame
from mainspring.workspace import Workspace, current_workspace


def compact_feedback(workspace: Workspace | None = None, *, past_damage: bool = False) -> Compacted:
    """Compact the closed segments of this machine, one by one; those that are written to are left alone.

    With `past_damage` also what is whole in a damaged one, all of whose bytes are kept in a file beside the segments.

    Raises:
        ConflictError: another process of this machine compacts them.
        StorageError: a segment is damaged (without `past_damage`), or the blob store can't be written.
    """
    workspace = workspace or current_workspace()

    def parts_of(data: Iterable[bytes], segment: str) -> list[FeedbackPart]:
        records = sorted(map(decode, data), key=attrgetter("endpoint"))
        own = groupby(records, attrgetter("endpoint"))
        return [part_of(list(labels), endpoint, segment, workspace) for endpoint, labels in own]

    return compact_segments(
        feedback_folder(workspace), FeedbackParts(workspace.database), parts_of, workspace, past_damage=past_damage
    )


def part_of(records: Sequence[Labels], endpoint: str, segment: str, workspace: Workspace) -> FeedbackPart:
    """The part of some records of an endpoint, whose blob is stored."""
    frame = frame_of(records).sort(pl.col("prediction"), pl.col("event_at"))  # so that one is found by statistics
    first = min(min(record.known_us) for record in records)
    return FeedbackPart(
        id=new_id(), endpoint=endpoint, row_count=frame.height, first_known_at=first, segment=segment,
        blob=stored_frame(frame, workspace), created_at=clock.now_us(),
    )  # fmt: skip
