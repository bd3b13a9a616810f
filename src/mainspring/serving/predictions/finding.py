"""Predictions found again: one by its id, or those of an endpoint as a lazy frame, from segments and compacted parts alike."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence
from contextlib import suppress
from datetime import datetime
from itertools import chain, islice
from pathlib import Path
from typing import Any

import msgspec
import polars as pl

from mainspring.clock import FIRST_US, LAST_US, from_us, to_us
from mainspring.errors import InvalidError, NotFoundError, StorageError, counted, listed
from mainspring.ledger import note_search
from mainspring.serving.parts import read_records, scan_part, uncompacted
from mainspring.serving.predictions._store import PredictionParts
from mainspring.serving.predictions.frames import SCHEMA, frame_of, told, types_of
from mainspring.serving.predictions.ids import id_at, time_of, writer_of
from mainspring.serving.predictions.log import predictions_folder
from mainspring.serving.predictions.record import LOADTEST, ROLES, Head, Logged, decode
from mainspring.store import last_record, list_kept_aside, list_segments, read_segment, records_holding
from mainspring.workspace import Workspace, current_workspace

_head = msgspec.msgpack.Decoder(Head).decode


def find_prediction(prediction_id: str, workspace: Workspace | None = None) -> dict[str, Any] | None:
    """A prediction by its id, with the columns of `scan_predictions`; None if it isn't in the log.

    What other machines have not compacted yet is not found.

    Raises:
        InvalidError: it is no id.
        StorageError: the log can't be read.
    """
    workspace = workspace or current_workspace()
    for frame in _frames(prediction_id, workspace):
        found = frame.filter(pl.col("id") == prediction_id).collect()
        if found.height:
            return found.row(0, named=True)
    return None


def get_prediction(prediction_id: str, workspace: Workspace | None = None) -> dict[str, Any]:
    """A prediction by its id, as `find_prediction` gives it.

    Raises:
        InvalidError: it is no id.
        NotFoundError: it isn't in the log; the text says where was looked.
        StorageError: the log can't be read.
    """
    workspace = workspace or current_workspace()
    found = find_prediction(prediction_id, workspace)
    if found is None:
        raise NotFoundError("prediction", prediction_id, hint=_looked(prediction_id, workspace))
    return found


def _looked(prediction_id: str, workspace: Workspace) -> str:
    """Where a prediction was looked for that isn't there, and why it may not be."""
    writer, folder = writer_of(prediction_id), predictions_folder(workspace)
    segments = [each for each in list_segments(folder) if each.name.endswith(f"-{writer}.segment")]
    parts = PredictionParts(workspace.database).by(writer)
    where = f"{counted(len(segments), 'segment')} here and {counted(len(parts), 'compacted part')}"
    aside = [str(each) for each in list_kept_aside(folder) if f"-{writer}.segment" in each.name]
    lost = f" What of its writer was damaged is kept: {listed(aside)}." if aside else ""
    given_us = time_of(prediction_id)
    given = f"of {from_us(given_us):%Y-%m-%d %H:%M:%S} UTC, " if given_us <= LAST_US else ""
    if not segments and not parts:
        return (
            f"It is {given}and nothing of its writer `{writer}` is in {folder} or in the workspace's compacted parts. "
            "Another machine's predictions are found once they are compacted there."
        )
    return (
        f"It is {given}and is not in what its writer `{writer}` left: {where}. "
        f"An endpoint that logs a share of its requests answers ids that are not in the log.{lost}"
    )


def scan_predictions(
    endpoint: str, since: datetime | None = None, until: datetime | None = None, *, role: str | None = None,
    workspace: Workspace | None = None,
) -> pl.LazyFrame:  # fmt: skip
    """The predictions of an endpoint from one instant up to before another, as a lazy frame in no order.

    They are those of one `role`, or else of all but `loadtest`.

    Beside what all have: `input.NAME` for what requests held, `feature.NAME` and `status.NAME` for what was read, and `output`,
    or `output.CLASS` for the probabilities of several classes. A column that not all versions have is null elsewhere.

    Raises:
        StorageError: the log can't be read.
        InvalidError: there is no such role.
    """
    return as_one(prediction_frames(endpoint, since, until, role=role, workspace=workspace or current_workspace()))


def prediction_frames(
    endpoint: str, since: datetime | None, until: datetime | None, *, role: str | None = None, workspace: Workspace
) -> list[pl.LazyFrame]:  # fmt: skip
    """What `scan_predictions` gives as one frame, in those that have each its own types; raises as it does."""
    if role is not None and role not in ROLES:
        raise InvalidError("role", role, f"a role of predictions: {', '.join(ROLES)}")
    since_us = FIRST_US if since is None else to_us(since)
    until_us = LAST_US if until is None else to_us(until)
    note_search(f"predictions of {endpoint}")

    def wanted(data: bytes) -> Logged | None:
        head = _head(data)
        is_asked = head.role != LOADTEST if role is None else head.role == role
        return decode(data) if is_asked and head.endpoint == endpoint and since_us <= head.at_us < until_us else None

    live = read_records(predictions_folder(workspace), wanted)
    parts = PredictionParts(workspace.database).of(endpoint, since_us, until_us)
    by_version: dict[tuple[str, str], list[Logged]] = {}
    for record in uncompacted(live, parts):
        by_version.setdefault((record.version, record.runtime), []).append(record)
    frames = [scan_part(part, workspace) for part in parts]
    frames += [frame_of(own, types_of(*version, workspace)).lazy() for version, own in by_version.items()]
    at = pl.col("at").to_physical()
    is_asked = pl.col("role") != LOADTEST if role is None else pl.col("role") == role
    return [frame.filter(at >= since_us, at < until_us, is_asked) for frame in frames]


def as_one(frames: Sequence[pl.LazyFrame]) -> pl.LazyFrame:
    """Predictions of several frames as one. An input whose types have none in common is text in all, as in one log."""
    schemas = [frame.collect_schema() for frame in frames]
    types: dict[str, set[Any]] = {}
    for name, dtype in chain.from_iterable(schema.items() for schema in schemas):
        types.setdefault(name, set()).add(dtype)
    mixed = {name for name, found in types.items() if name.startswith("input.") and _is_mixed(found)}
    if not frames:
        return pl.LazyFrame(schema=SCHEMA)
    as_texts = [
        frame.with_columns(
            pl.col(name).map_batches(told, return_dtype=pl.String, is_elementwise=True)
            for name in mixed & schema.keys()
        )
        for frame, schema in zip(frames, schemas, strict=True)
    ]
    return pl.concat(as_texts, how="diagonal_relaxed")


def _is_mixed(types: Collection[Any]) -> bool:
    """Whether values of these types, or what lies in them, have none in common but text."""
    kinds = {pl.Float64 if each.is_numeric() else type(each) for each in types} - {pl.Null}
    if len(kinds) > 1:
        return True
    lists = {each.inner for each in types if isinstance(each, pl.List | pl.Array)}
    fields = [field for each in types if isinstance(each, pl.Struct) for field in each.fields]
    inner = [lists, *({each.dtype for each in fields if each.name == name} for name in {each.name for each in fields})]
    return any(_is_mixed(each) for each in inner if each)


def _frames(prediction_id: str, workspace: Workspace) -> Iterator[pl.LazyFrame]:
    """Rows among which an id may be, the likeliest first; whole segments last, which say what in them is damaged."""
    folder, writer = predictions_folder(workspace), writer_of(prediction_id)
    likely, damaged = _segments(folder, writer, prediction_id)
    quickly = (data for name in likely for data in _likely(folder, name, prediction_id))
    yield from _rows(quickly, prediction_id, workspace)
    yield from (
        scan_part(part, workspace) for part in PredictionParts(workspace.database).holding(writer, prediction_id)
    )
    yield from _rows(_every(folder, [*likely, *damaged]), prediction_id, workspace)


def _segments(folder: Path, writer: str, prediction_id: str) -> tuple[list[str], list[str]]:
    """Of a writer's segments the one in which an id would be, and those of which that can't be told."""
    begun, damaged = [], []
    for segment in list_segments(folder):
        if segment.name.endswith(f"-{writer}.segment"):
            try:
                with suppress(NotFoundError):
                    first = islice(read_segment(folder, segment.name), 1)
                    begun += [(_head(each.record).id, segment.name) for each in first]
            except StorageError:
                damaged.append(segment.name)
    begun.sort()  # a clock that is set back changes the order of names, and not that of ids
    return [name for first, name in begun if first <= prediction_id][-1:], damaged


def _rows(records: Iterator[bytes], prediction_id: str, workspace: Workspace) -> Iterator[pl.LazyFrame]:
    """The rows of the record that holds an id, if it is among these."""
    data = next((data for data in records if _holds(_head(data), prediction_id)), None)
    if data is not None:
        record = decode(data)
        yield frame_of([record], types_of(record.version, record.runtime, workspace)).lazy()


def _likely(folder: Path, name: str, prediction_id: str) -> Iterator[bytes]:
    """The records of a segment that may hold an id: one of a single row names it; another is the last that begins before it."""
    with suppress(NotFoundError, StorageError):
        yield from records_holding(folder, name, [prediction_id.encode()])
    with suppress(
        NotFoundError, StorageError, msgspec.MsgspecError, UnicodeDecodeError
    ):  # what `key` is given may be damaged
        last = last_record(folder, name, lambda data: _head(data).id, prediction_id)
        if last is not None:
            yield last


def _holds(head: Head, prediction_id: str) -> bool:
    return head.id <= prediction_id <= id_at(head.id, head.rows - 1)


def _every(folder: Path, names: Sequence[str]) -> Iterator[bytes]:
    """The records of segments, whatever is damaged before them; that is told behind the last one."""
    damage: StorageError | None = None
    for name in names:
        try:
            with suppress(NotFoundError):
                for each in read_segment(folder, name, past_damage=True):
                    yield each.record
        except StorageError as error:
            damage = damage or error
    if damage is not None:
        raise damage
