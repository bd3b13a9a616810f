"""Compaction: small parts, and parts from which rows were deleted, become few large ones; what the table says stays.

The rewritten rows are read back and digested before the new layout is committed (`data.relayout`). Where a writer was faster
it is tried again on what that writer made, without writing rows anew. Older versions keep the parts that they had.
"""

from __future__ import annotations

import atexit
import logging
import os
import tempfile
import threading
from pathlib import Path

import msgspec
import polars as pl

from mainspring.artifacts import LEAF_ROWS, TableHasher
from mainspring.data._store import DatasetStore
from mainspring.data.relayout import Layout, compacting, lay_out
from mainspring.data.tables import parts as parts_
from mainspring.data.tables.layout import runs
from mainspring.data.tables.manifest import (
    Listing,
    Part,
    read_listing,
    unchanged_segments,
    write_snapshot,
)  # fmt: skip
from mainspring.data.version import DatasetVersion
from mainspring.errors import ConflictError, MainspringError, StorageError
from mainspring.store import BlobStore
from mainspring.store.space import naming_full_disk
from mainspring.workspace import Workspace

_PATIENCE_S = 5.0
_log = logging.getLogger(__name__)


class Rewrite(msgspec.Struct, frozen=True):
    """Parts that follow each other, and those that take their place; `at` is where, among the parts of a listing."""

    at: int
    old: tuple[Part, ...]
    new: tuple[Part, ...]


def compact(name: str, workspace: Workspace, *, background: bool = False) -> DatasetVersion:
    """Give the newest version of a table a layout of few parts; gives that version, whose content is the same.

    In the background parts are left alone until rewriting them pays (`layout`). Otherwise a compaction in the background
    of this process is waited for.

    Raises:
        NotFoundError: there is no such dataset.
        InvalidError: it is a tree.
        ConflictError: somebody else is compacting it, or writers were faster a hundred times.
        StorageError: what was rewritten doesn't have the content digest; nothing was changed.
    """
    store = DatasetStore(workspace.database, workspace.ledger)
    head = store.head(name)
    if head is None:
        raise store.not_found(name)
    head.expect("table")
    if head.pinned is not None:
        return head  # its rows stay elsewhere
    for thread in () if background else _under_way(name, workspace):
        thread.join()
    with compacting(name, workspace) as lease:
        head = store.head(name) or head
        listing = read_listing(workspace.blobs, head.manifest)
        wanted = list(runs(listing.parts, background=background))
        rewrites = [_rewritten(workspace.blobs, listing, at, end) for at, end in wanted]
        if not rewrites:
            return head
        return lay_out(name, "table", workspace, lease, lambda now: _layout(workspace.blobs, now, rewrites))


def start_compaction(name: str, workspace: Workspace) -> None:
    """Compact in a thread of its own, unless that is under way. Who ends or closes the workspace waits some seconds at most.

    Nothing is lost if it is killed: the layout changes in one transaction, or not.
    """
    if not _under_way(name, workspace):
        _Compactor(name, workspace).start()


def _under_way(name: str, workspace: Workspace) -> list[threading.Thread]:
    wanted = _thread_name(name, workspace)
    return [thread for thread in threading.enumerate() if thread.name == wanted]


def _thread_name(name: str, workspace: Workspace) -> str:
    return f"compact {name} in {workspace.database.place}"


class _Compactor(threading.Thread):
    def __init__(self, dataset: str, workspace: Workspace) -> None:
        super().__init__(name=_thread_name(dataset, workspace), daemon=True)
        self.dataset, self.workspace = dataset, workspace
        workspace.background.add(self)
        atexit.register(self.wait)

    def wait(self) -> None:
        self.join(_PATIENCE_S)

    def run(self) -> None:
        try:
            compact(self.dataset, self.workspace, background=True)
        except ConflictError:
            pass  # another one is at it
        except (MainspringError, OSError) as error:  # all goes on as before; the next append tries again
            _log.warning("%s was not compacted: %s", self.dataset, error)
        finally:
            self.workspace.background.discard(self)
            atexit.unregister(self.wait)


def _rewritten(blobs: BlobStore, listing: Listing, at: int, end: int) -> Rewrite:
    old = listing.parts[at:end]
    new: list[Part] = []
    rows = sum(part.rows for part in old)
    for start in range(0, rows, parts_.PART_ROWS):
        wanted = parts_.scan_parts(blobs, old).slice(start, parts_.PART_ROWS)
        new.append(_sunk(wanted, min(parts_.PART_ROWS, rows - start), blobs))
    rewrite = Rewrite(at, old, tuple(new) or parts_.write_parts(parts_.types_of(blobs, old), blobs))
    _verify(blobs, listing, rewrite)
    return rewrite


def _sunk(frame: pl.LazyFrame, rows: int, blobs: BlobStore) -> Part:
    """One part of these rows; many are written as they are read, in order, so that they are never all in memory."""
    if rows <= parts_.CHUNK_ROWS:
        return parts_.write_parts(frame.collect(), blobs)[0]
    handle, name = tempfile.mkstemp(prefix="mainspring-", suffix=".parquet")
    os.close(handle)
    try:
        with naming_full_disk(name):
            frame.sink_parquet(name, compression="zstd", compression_level=1, maintain_order=True)
        return Part(blobs.put(Path(name)), rows, os.stat(name).st_size)
    except OSError as error:
        raise StorageError(name, f"the part can't be written ({error.strerror or error})") from error
    finally:
        os.unlink(name)


def _verify(blobs: BlobStore, listing: Listing, rewrite: Rewrite) -> None:
    """Digest every leaf that the rewritten rows touch, as the new parts have them.

    Raises:
        StorageError: a leaf differs.
    """
    parts = _replaced(listing.parts, [rewrite])
    before = sum(part.rows for part in parts[: rewrite.at])
    leaf = before // LEAF_ROWS
    after = before + sum(part.rows for part in rewrite.new)
    total = sum(part.rows for part in parts)
    left = min(-(-after // LEAF_ROWS) * LEAF_ROWS, total) - leaf * LEAF_ROWS
    if not left:
        return
    hasher = TableHasher()
    for frame in parts_.rows_from(blobs, parts, leaf * LEAF_ROWS):
        hasher.update(frame.head(left))
        left -= min(frame.height, left)
        if not left:
            break
    leaves = hasher.finish().leaves
    if leaves != listing.leaves[leaf : leaf + len(leaves)]:
        raise StorageError(blobs.place, "the compacted rows differ from those before, so nothing was changed")


def _replaced(parts: tuple[Part, ...], rewrites: list[Rewrite]) -> tuple[Part, ...]:
    for rewrite in reversed(rewrites):
        parts = parts[: rewrite.at] + rewrite.new + parts[rewrite.at + len(rewrite.old) :]
    return parts


def _layout(blobs: BlobStore, head: DatasetVersion, rewrites: list[Rewrite]) -> Layout | None:
    """What is the newest version by now, with the new parts in place of the old; None if it has none of those."""
    listing = read_listing(blobs, head.manifest)
    fitting = [each for each in rewrites if listing.parts[each.at : each.at + len(each.old)] == each.old]
    if not fitting:
        return None  # a writer has replaced or changed those parts
    parts = _replaced(listing.parts, fitting)
    kept = unchanged_segments(listing, fitting[0].at)
    new, written = write_snapshot(blobs, kept, parts, listing.leaves)
    written += [part.blob for each in fitting for part in each.new]
    return Layout(new.blob, len(parts), sum(part.size_bytes for part in parts), written)
