"""What a store found corrupt: which blobs, and which of them are whole again."""

from __future__ import annotations

import logging
from collections.abc import Set

from mainspring.errors import CorruptBlobError, NotFoundError, counted
from mainspring.store import BlobStore

UNREADABLE = (CorruptBlobError, NotFoundError)
"""What reading a blob raises that is damaged or gone."""
_log = logging.getLogger(__name__)


def corrupt_blobs(blobs: BlobStore) -> frozenset[str]:
    """The blobs that were found corrupt and not put again."""
    return frozenset(info.digest for info in blobs.list_corrupt())


def tell_repaired(blobs: BlobStore, before: Set[str], subject: str) -> None:
    """Say how many of the blobs that were corrupt before are whole again."""
    if before and (mended := before - corrupt_blobs(blobs)):
        _log.warning("%s: %s found damaged before, now stored again", subject, counted(len(mended), "blob"))
