"""Compaction: what a closed segment holds becomes Parquet parts, by endpoint and version, in the workspace's blob store."""

from __future__ import annotations

from collections.abc import Iterable
from itertools import groupby, islice
from operator import attrgetter

from mainspring import clock
from mainspring.ledger import new_id
from mainspring.serving.parts import Compacted, compact_segments, stored_frame
from mainspring.serving.predictions._store import PredictionPart, PredictionParts
from mainspring.serving.predictions.ids import id_at, writer_of
from mainspring.serving.predictions.log import predictions_folder
from mainspring.serving.predictions.record import Logged, decode
from mainspring.workspace import Workspace, current_workspace

_AT_ONCE = 32  # so few that records are gone before the garbage collector looks at them: of 512, it takes half the time


def compact_predictions(workspace: Workspace | None = None, *, past_damage: bool = False) -> Compacted:
    """Compact the closed segments of this machine, one by one; those that a server writes to are left alone.

    With `past_damage` also what is whole in a damaged one, all of whose bytes are kept in a file beside the segments.

    Raises:
        ConflictError: another process of this machine compacts them.
        StorageError: a segment is damaged (without `past_damage`), or the blob store can't be written.
    """
    workspace = workspace or current_workspace()

    def parts_of(data: Iterable[bytes], segment: str) -> list[PredictionPart]:
        gathered: dict[tuple[str, str, str], _Gathered] = {}
        records = map(decode, data)
        while some := list(islice(records, _AT_ONCE)):
            for source, own in groupby(some, _source):
                gathered.setdefault(source, _Gathered()).add(list(own))
        return [each.stored(segment, workspace) for _, each in sorted(gathered.items())]

    return compact_segments(
        predictions_folder(workspace), PredictionParts(workspace.database), parts_of, workspace, past_damage=past_damage
    )


_source = attrgetter("endpoint", "version", "runtime")


class _Gathered:
    """A version's rows of one segment, until they are stored as its part."""

    def __init__(self) -> None:
        from mainspring.serving.predictions.frames import Rows

        self._rows = Rows()
        self._first: Logged | None = None
        self._last_id = ""
        self._spans: list[int] = []

    def add(self, records: list[Logged]) -> None:
        self._first = self._first or records[0]
        self._last_id = id_at(records[-1].id, records[-1].rows - 1)
        instants = [record.at_us for record in records]
        self._spans += [min(instants), max(instants)]
        self._rows.add(records)

    def stored(self, segment: str, workspace: Workspace) -> PredictionPart:
        from mainspring.serving.predictions.frames import types_of

        first = self._first
        assert first is not None
        frame = self._rows.frame(types_of(first.version, first.runtime, workspace))
        return PredictionPart(
            id=new_id(), endpoint=first.endpoint, version=first.version, writer=writer_of(first.id), first_id=first.id,
            last_id=self._last_id, row_count=frame.height, first_at=min(self._spans), last_at=max(self._spans),
            segment=segment, blob=stored_frame(frame, workspace), created_at=clock.now_us(),
        )  # fmt: skip
