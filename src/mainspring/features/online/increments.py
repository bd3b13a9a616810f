"""How much of a source must be read for a view whose online state reflects an older version of it."""

from __future__ import annotations

import msgspec

from mainspring.artifacts import LEAF_ROWS, TableDigest, TableHasher
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
    """How many rows an older version has, if the version is those and rows behind them; None if it is not.

    Told by content, wherever the borders of parts lie: the digests of whole leaves, and of the rows behind them.
    """
    try:
        older = get_dataset_version(name)
        if older.id == version.id:
            return version.rows
        if older.schema != version.schema or older.rows > version.rows or older.pinned or version.pinned:
            return None
        leaves, known = (read_listing(current_workspace().blobs, each.manifest).leaves for each in (version, older))
        whole = older.rows // LEAF_ROWS
        if leaves[:whole] != known[:whole]:
            return None
        digested = TableHasher.resume(TableDigest("", whole * LEAF_ROWS, leaves[:whole], version.schema))
        digested.update(version.scan().slice(whole * LEAF_ROWS, older.rows % LEAF_ROWS).collect(engine="in-memory"))
        return older.rows if digested.finish().digest == older.content_digest else None
    except MainspringError:
        return None  # what it was is gone, so all is read again
