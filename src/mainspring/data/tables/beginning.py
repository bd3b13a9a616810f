"""Whether a version of a table begins with the rows of an earlier one: by their digest, whatever the layout of either is."""

from __future__ import annotations

from mainspring.artifacts import LEAF_ROWS, TableDigest, TableHasher
from mainspring.data.tables.manifest import read_listing
from mainspring.data.version import DatasetVersion
from mainspring.store import BlobStore


def begins_with(later: DatasetVersion, earlier: DatasetVersion, blobs: BlobStore) -> bool:
    """Whether the first rows of a version, in the same columns, are those of another. One leaf of rows is read at most."""
    if later.schema != earlier.schema or later.rows < earlier.rows:
        return False
    full = earlier.rows // LEAF_ROWS
    leaves = read_listing(blobs, later.manifest).leaves[:full]
    hasher = TableHasher.resume(TableDigest("", full * LEAF_ROWS, leaves, later.schema))
    hasher.update(later.scan().slice(full * LEAF_ROWS, earlier.rows - full * LEAF_ROWS).collect())
    return hasher.finish().digest == earlier.content_digest
