"""What a version in the making is, whether of a table or of a tree: the committer knows no more of it than this."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import NamedTuple, Protocol

from mainspring.data._store import Extra
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


class Wanted(NamedTuple):
    """A draft that is to become the newest version of a dataset: content of its own, or (`behind`) a change of the newest.

    `extra` is run in the transaction, whether it makes a version or finds the newest unchanged. `sources` and `about` are told
    of the version that holds the draft: the one that is made, or one that all of it equals. Of a change that changes nothing no
    version is told.
    """

    name: str
    draft: Draft
    behind: bool = False
    sources: tuple[Source, ...] = ()
    note: str = ""
    extra: Sequence[Extra] = ()
    about: Sequence[Extra] = ()


Making = Callable[[DatasetVersion | None], Sequence[Wanted]]
"""What is to be committed, as it follows from a dataset's newest version; the first is that dataset's."""
