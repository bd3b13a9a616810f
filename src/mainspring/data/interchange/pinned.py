"""Versions of Delta tables: their rows copied here, or left there and pinned, with the digest of what was there.

Invariant: what a pinned version gives is what was pinned, or an error. Its manifest lists one part
that is in no blob.
"""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime
from pathlib import Path

import polars as pl

from mainspring import clock
from mainspring.artifacts import TableDigest, TableHasher
from mainspring.artifacts.spool import batches_of
from mainspring.data.commit import commit_draft
from mainspring.data.dataset import Mode, dataset
from mainspring.data.interchange.delta import DeltaSnapshot, Options, address_of, delta_errors, open_delta
from mainspring.data.tables.lazy import LazyDraft
from mainspring.data.tables.manifest import Part, write_snapshot
from mainspring.data.version import DatasetVersion, Kind, Source
from mainspring.errors import InvalidError, NotFoundError, StorageError
from mainspring.store import BlobStore
from mainspring.workspace import Workspace, current_workspace


class PinDraft:
    """A Delta table's rows as they are in one version, on their way to become a version that leaves them there."""

    kind: Kind = "table"
    base: str | None = None

    def __init__(self, name: str, snapshot: DeltaSnapshot, blobs: BlobStore) -> None:
        self.name, self.blobs = name, blobs
        self.written: list[str] = []
        self.source = snapshot.source()
        self.digest = _digested(snapshot.scan(), snapshot.address)

    @property
    def content_digest(self) -> str:
        """The content digest of the rows, each of which was read."""
        return self.digest.digest

    def put_behind(self, head: DatasetVersion | None) -> None:
        """It is content of its own, whatever the newest version is."""

    def version(
        self, head: DatasetVersion | None, sources: tuple[Source, ...], note: str, extracted_us: int
    ) -> DatasetVersion:
        """Write the manifest, which holds the digests but no rows, and give the record."""
        size_bytes = self.source.size_bytes or 0
        listing, self.written = write_snapshot(
            self.blobs, (), (Part("", self.digest.rows, size_bytes),), self.digest.leaves
        )
        return DatasetVersion(
            id="", dataset=self.name, kind="table", number=0, content_digest=self.content_digest, rows=self.digest.rows,
            files=0, size_bytes=size_bytes, parts=0, manifest=listing.blob, schema=self.digest.schema, created_at=0,
            extracted_at=extracted_us, source=sources, parent=head.id if head else None, actor="", note=note,
        )  # fmt: skip


def pin_delta(
    name: str, uri: str | Path, *, version: int | None = None, note: str = "", extracted_at: datetime | None = None,
    storage_options: Options | None = None, workspace: Workspace | None = None,
) -> DatasetVersion:  # fmt: skip
    """Make a version of a Delta table as it is in one of its versions (now the newest if none is given), not copied.

    Each row is read once, for the content digest. The version is read from there: `scan` checks that the table's files
    are those that were pinned, `to_polars` the rows, too. Credentials are never recorded; readers take them from their
    environment, as `storage_options` are for this call alone. Nothing can be appended to a pinned version.

    Raises:
        NotFoundError: there is no such table, or version of it.
        InvalidError: the address holds a secret.
        StorageError: the table can't be read.
        MissingExtraError: deltalake is not installed.
    """
    workspace = workspace or current_workspace()
    handle = dataset(name, workspace)
    snapshot = open_delta(address_of(uri), version, storage_options)
    draft = PinDraft(handle.name, snapshot, workspace.blobs)
    return commit_draft(
        workspace, handle.name, draft, behind=False, sources=(draft.source,), note=note,
        extracted_us=clock.to_us(extracted_at) if extracted_at else clock.now_us(),
    )  # fmt: skip


def import_delta(
    name: str, uri: str | Path, *, version: int | None = None, mode: Mode = "replace", note: str = "",
    storage_options: Options | None = None, workspace: Workspace | None = None,
) -> DatasetVersion:  # fmt: skip
    """Make a version of a Delta table as it was in one of its versions (the newest if none is given); its rows are copied.

    Raises as `commit` does, and:

    Raises:
        NotFoundError: there is no such table, or version of it.
        StorageError: the table can't be read.
        MissingExtraError: deltalake is not installed.
    """
    workspace = workspace or current_workspace()
    snapshot = open_delta(address_of(uri), version, storage_options)
    with delta_errors(snapshot.address):
        draft = LazyDraft(dataset(name, workspace).name, snapshot.scan(), workspace.blobs)
    try:
        return commit_draft(
            workspace, name, draft, behind=mode == "append",
            sources=(snapshot.source("delta_table"),), note=note, extracted_us=clock.now_us(),
        )  # fmt: skip
    finally:
        draft.close()


def scan_table(version: DatasetVersion, source: Source) -> pl.LazyFrame:
    """The rows of a pinned version, lazily.

    Raises:
        StorageError: the table is gone, some of its files are, or they are others than those that were pinned.
        MissingExtraError: deltalake is not installed.
    """
    return _pinned_there(version, source).scan()


def read_table(version: DatasetVersion, source: Source) -> pl.DataFrame:
    """The rows of a pinned version, held to its content digest; raises as `scan_table` does, and if they differ."""
    snapshot = _pinned_there(version, source)
    try:
        with delta_errors(snapshot.address):
            frame = snapshot.scan().collect()
    except StorageError as error:
        raise _unreadable(version, source, error) from error
    hasher = TableHasher()
    hasher.update(frame)
    found = hasher.finish().digest
    if found != version.content_digest:
        raise StorageError(source.uri, f"the rows there are not those of {version} ({found[:12]})", _LOST)
    return frame


def read_batches(version: DatasetVersion, source: Source, rows: int | None) -> Iterator[pl.DataFrame]:
    """The rows of a pinned version in order, so many at a time; raises as `scan_table` does."""
    if rows is not None and rows < 1:
        raise InvalidError("rows", rows, "a number of at least 1")
    return batches_of(scan_table(version, source), version.rows, rows)


def _pinned_there(version: DatasetVersion, source: Source) -> DeltaSnapshot:
    address, _, number = source.uri.rpartition("@v")
    try:
        snapshot = open_delta(address_of(address), int(number))
        lost = snapshot.lost_file()
    except (NotFoundError, StorageError) as error:
        raise _unreadable(version, source, error) from error
    if lost:
        raise StorageError(
            source.uri, f"{version} is pinned to this Delta table, whose file {lost} is gone or cut short", _LOST
        )
    if snapshot.source().digest != source.digest:
        raise StorageError(source.uri, f"{version} is pinned to this Delta table, which is another one now", _LOST)
    return snapshot


def _unreadable(version: DatasetVersion, source: Source, error: Exception) -> StorageError:
    return StorageError(
        source.uri, f"{version} is pinned to this Delta table, which can't be read ({str(error).rstrip('.')})", _LOST
    )


_LOST = "Restore it there (a vacuum may have removed it), or use a version that is stored; `import_delta` copies rows."


def _digested(frame: pl.LazyFrame, address: str) -> TableDigest:
    """The digest of rows that are read once, a batch at a time."""
    hasher = TableHasher()
    with delta_errors(address):
        hasher.update(pl.DataFrame(schema=frame.collect_schema()))
        for batch in frame.collect_batches(maintain_order=True):
            hasher.update(batch)
    return hasher.finish()
