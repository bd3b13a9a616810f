"""How much of a source must be read for a view whose online state reflects an older version of it."""

from __future__ import annotations

import msgspec

from mainspring.data import DatasetVersion, get_dataset_version
from mainspring.data.tables.manifest import read_listing
from mainspring.errors import MainspringError
from mainspring.features.definitions.records import ViewRecord
from mainspring.features.online.rows import is_of_single_rows
from mainspring.features.online.watermark import Watermark
from mainspring.workspace import current_workspace


class Increment(msgspec.Struct, frozen=True):
    """The first row to read; `replaces` says that others may be stored than the source gives now."""

    first: int
    replaces: bool = False


def increment_of(record: ViewRecord, version: DatasetVersion, before: Watermark | None, *, full: bool) -> Increment:
    """What to read of a version beside what the store reflects."""
    if before is None:
        return Increment(0, replaces=full)
    known = [name for name in (before.version, before.running.version if before.running else "") if name]
    lengths = [_rows_before(version, name) for name in known]
    if full or None in lengths or not is_of_single_rows(record):
        return Increment(0, replaces=True)
    if before.running is not None or before.ahead or not before.version:
        return Increment(0)
    return Increment(lengths[0] or 0)


def _rows_before(version: DatasetVersion, name: str) -> int | None:
    """How many rows an older version has, if the version is those and rows behind them; None if it is not."""
    try:
        older = get_dataset_version(name)
        if older.id == version.id:
            return version.rows
        if older.schema != version.schema or older.pinned or version.pinned:
            return None
        parts, others = (read_listing(current_workspace().blobs, each.manifest).parts for each in (older, version))
    except MainspringError:
        return None  # what it was is gone, so all is read again
    return older.rows if parts == others[: len(parts)] else None
