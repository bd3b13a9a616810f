"""What a version in the making is, whether of a table or of a tree: the committer knows no more of it than this."""

from __future__ import annotations

from typing import Protocol

from mainspring.data.version import DatasetVersion, Kind, Source


class Draft(Protocol):
    """Content on its way to become a version. Blobs are written before the row that names them."""

    kind: Kind
    written: list[str]
    """Every blob that this draft has written, for the collector."""

    @property
    def content_digest(self) -> str:
        """The content digest of the whole version."""
        ...

    @property
    def base(self) -> str | None:
        """The manifest that its own builds on, if it builds on one."""
        ...

    def put_behind(self, head: DatasetVersion | None) -> None:
        """Make it a change of this version, or content of its own. Called again when another writer was faster.

        Raises:
            InvalidError: it can't be a change of that version.
        """
        ...

    def version(
        self, head: DatasetVersion | None, sources: tuple[Source, ...], note: str, extracted_us: int
    ) -> DatasetVersion:
        """Write what isn't written, and give the record; the store sets id, number, time, actor and maker."""
        ...
