"""The only doors to state: `Database`, `BlobStore`, `Leases`, `KeyValue`, segments.

Nothing above this package opens a file or a connection of its own. A URL chooses the backend (`open_database`,
`open_blobs`, `open_keyvalue`); every backend of a door obeys the same contract suite in `mainspring.testing`.
"""

from mainspring.store.blobs import BlobInfo, BlobStore, blob_digest
from mainspring.store.database import BATCH, Database, Driver, Fences, Transaction, batches, current_fences
from mainspring.store.keyvalue import KeyValue
from mainspring.store.lease import Lease, Leases, process_owner
from mainspring.store.segments import (
    Salvaged,
    Segment,
    SegmentRecord,
    SegmentWriter,
    expect_whole,
    keep_aside,
    last_record,
    list_kept_aside,
    list_segments,
    read_segment,
    read_segments,
    records_holding,
    remove_segment,
    salvage_segment,
)
from mainspring.store.urls import open_blobs, open_database, open_keyvalue

__all__ = [
    "BATCH",
    "BlobInfo",
    "BlobStore",
    "Database",
    "Driver",
    "Fences",
    "KeyValue",
    "Lease",
    "Leases",
    "Salvaged",
    "Segment",
    "SegmentRecord",
    "SegmentWriter",
    "Transaction",
    "batches",
    "current_fences",
    "blob_digest",
    "expect_whole",
    "keep_aside",
    "last_record",
    "records_holding",
    "list_kept_aside",
    "list_segments",
    "open_blobs",
    "open_database",
    "open_keyvalue",
    "process_owner",
    "read_segment",
    "read_segments",
    "remove_segment",
    "salvage_segment",
]
