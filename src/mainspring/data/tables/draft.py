"""A table's version in the making: what drafts of rows at hand, of lazy rows and of edits have in common."""

from __future__ import annotations

from abc import ABC, abstractmethod

from mainspring.artifacts import TableDigest
from mainspring.data.tables.manifest import Listing
from mainspring.data.version import DatasetVersion, Kind, Source
from mainspring.store import BlobStore


class TableDraft(ABC):
    """A draft of a table; a kind of its own says how it is put behind a version, and what it writes."""

    kind: Kind = "table"

    def __init__(self, name: str, blobs: BlobStore) -> None:
        self.name, self.blobs = name, blobs
        self.written: list[str] = []
        self.listing: Listing | None = None
        self._base: Listing | None = None
        self._digest: TableDigest | None = None

    @property
    def base(self) -> str | None:
        """The manifest that its own builds on."""
        return self._base.blob if self._base else None

    @property
    def digest(self) -> TableDigest:
        """What the rows of the whole version digest to."""
        if self._digest is None:
            self.put_behind(None)
        assert self._digest is not None
        return self._digest

    @property
    def content_digest(self) -> str:
        """The content digest of the whole version."""
        return self.digest.digest

    @property
    def rows(self) -> int:
        """The rows of the whole version."""
        return self.digest.rows

    @abstractmethod
    def put_behind(self, head: DatasetVersion | None) -> None:
        """Make it a change of this version, or a table of its own, with its digest."""

    @abstractmethod
    def write(self) -> tuple[Listing, list[str]]:
        """Write what isn't written; gives the listing of the whole version, and every blob that was written."""

    def version(
        self, head: DatasetVersion | None, sources: tuple[Source, ...], note: str, extracted_us: int
    ) -> DatasetVersion:
        """Write what isn't written, and give the record; the store sets id, number, time and actor."""
        digest = self.digest
        self.listing, self.written = self.write()
        return DatasetVersion(
            id="", dataset=self.name, kind="table", number=0, content_digest=digest.digest, rows=digest.rows, files=0,
            size_bytes=sum(part.size_bytes for part in self.listing.parts), parts=len(self.listing.parts),
            manifest=self.listing.blob, schema=digest.schema, created_at=0, extracted_at=extracted_us,
            source=sources, parent=head.id if head else None, actor="", note=note,
        )  # fmt: skip
