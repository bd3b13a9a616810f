"""Datasets: the handle by which versions are committed, appended to and found.

A commit writes parts and manifest first, then one transaction that is refused, and tried again on the new head, if
another writer was faster: concurrent appends are all kept.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from contextlib import suppress
from datetime import datetime
from typing import TYPE_CHECKING, Any, Literal

from mainspring import clock
from mainspring.data._store import DatasetStore
from mainspring.data.version import DatasetVersion
from mainspring.errors import ConflictError, InvalidError, NotAllowedError, NotFoundError, WrongTypeError
from mainspring.ledger import current_task, is_replay, note_moving
from mainspring.workspace import Workspace, current_workspace, using

if TYPE_CHECKING:
    import polars as pl

    from mainspring.data.draft import Draft

_NAME = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.\-]{0,199}")
_ATTEMPTS = 1_000  # each failed one means that another writer committed
Mode = Literal["replace", "append"]
Ref = int | str | datetime


class Dataset:
    """A named table with immutable versions.

    >>> import pathlib, tempfile
    >>> import polars as pl
    >>> workspace = Workspace.open(pathlib.Path(tempfile.mkdtemp()))
    >>> flights = dataset("flights", workspace)
    >>> first = flights.commit(pl.DataFrame({"carrier": ["UA", "AA"]}))
    >>> second = flights.append(pl.DataFrame({"carrier": ["B6"]}))
    >>> second.number, second.rows, flights.version(1).rows
    (2, 3, 2)
    """

    def __init__(self, name: str, workspace: Workspace) -> None:
        self.name = name
        self.workspace = workspace
        self._store = DatasetStore(workspace.database, workspace.ledger)
        self._draft: Draft | None = None

    def commit(
        self,
        frame: Any,
        *,
        source: Any = (),
        note: str = "",
        mode: Mode = "replace",
        extracted_at: datetime | None = None,
    ) -> DatasetVersion:
        """Make a version of this table, or of the newest version with these rows behind it (`mode="append"`).

        `frame` is a Polars, pandas or Arrow table. `source` names what it was read from: paths (whose bytes are
        digested now), addresses, other versions; `extracted_at` when, if not now. If nothing changed, the newest
        version is given.

        Raises:
            InvalidError: a row to append has other columns or types; the column is named.
            CodecError: a column holds values that have no canonical form, e.g. Python objects.
            ConflictError: a thousand other writers were faster.
            NotAllowedError: this is a replay, and no version was recorded with this content.
        """
        from mainspring.data._sources import describe_sources
        from mainspring.data.draft import Draft
        from mainspring.data.frames import as_polars

        if mode not in ("replace", "append"):
            raise InvalidError("mode", mode, "`replace` or `append`")
        table, sources = as_polars(frame), describe_sources(source)
        extracted_us = clock.to_us(extracted_at) if extracted_at else clock.now_us()
        draft = Draft(self.name, table, self.workspace.blobs, before=self._draft)
        if is_replay():
            return self._recorded(draft, mode)
        for _ in range(_ATTEMPTS):
            head = self._store.head(self.name)
            draft.put_behind(head if mode == "append" else None)
            if head is not None and draft.content_digest == head.content_digest:
                self._draft = draft.settled(head)
                return head
            wanted = draft.version(head, sources, note, extracted_us)
            version = self._store.commit(wanted, draft.written)
            if version is not None:
                self._draft = draft.settled(version)
                return version
        raise ConflictError(f"The dataset `{self.name}` is being written by too many others; nothing was committed.")

    def _recorded(self, draft: Draft, mode: Mode) -> DatasetVersion:
        """In a replay nothing is committed: the version that such a commit made then."""
        versions = self._store.versions(self.name)
        by_id = {version.id: version for version in versions}
        for version in versions:
            parent = by_id.get(version.parent or "")
            if version.rows != draft.frame.height + (parent.rows if parent and mode == "append" else 0):
                continue
            with suppress(InvalidError):  # rows that don't fit behind this version were not appended to it
                draft.put_behind(parent if mode == "append" else None)
                if draft.content_digest == version.content_digest:
                    return version
        raise NotAllowedError(
            f"A replay commits nothing, and no version of `{self.name}` was recorded with this content: the rows differ."
        )

    def append(self, frame: Any, *, source: Any = (), note: str = "") -> DatasetVersion:
        """Make a version with these rows behind the newest; raises as `commit` does."""
        return self.commit(frame, source=source, note=note, mode="append")

    def versions(self) -> list[DatasetVersion]:
        """Every version, newest first."""
        return self._store.versions(self.name)

    def latest(self) -> DatasetVersion:
        """The newest version; raises `NotFoundError` if nothing was committed yet."""
        return self.version("latest")

    def version(self, ref: Ref) -> DatasetVersion:
        """A version by its number, id (or a prefix), content digest, `latest`, or as of a time.

        Raises:
            NotFoundError: no such version, or no such dataset; the nearest names are given.
            InvalidError: a prefix fits several versions.
        """
        head = self._store.head(self.name)
        if head is None:
            raise self._store.not_found(self.name)
        found = head if ref == "latest" else self._find(ref)
        if found is None:
            text = ref.isoformat() if isinstance(ref, datetime) else str(ref)
            raise NotFoundError("version", f"{self.name}/{text}", hint=f"The newest is {self.name}/{head.number}.")
        if ref == "latest" or isinstance(ref, datetime):
            note_moving("dataset", f"{self.name}/{'latest' if ref == 'latest' else 'as of a time'}")
        task = current_task()
        if task is not None:
            self._store.note_read(found, task)
        return found

    def to_polars(self) -> pl.DataFrame:
        """The rows of the newest version."""
        version = self.latest()
        with using(self.workspace):
            return version.to_polars()

    def scan(self) -> pl.LazyFrame:
        """The rows of the newest version, lazily."""
        version = self.latest()
        with using(self.workspace):
            return version.scan()

    def _find(self, ref: Ref) -> DatasetVersion | None:
        if isinstance(ref, datetime):
            return self._store.as_of(self.name, clock.to_us(ref))
        if isinstance(ref, int):
            return self._store.by_number(self.name, ref)
        if type(ref) is not str:
            raise WrongTypeError("version", ref, "a number, an id, `latest` or a time")
        digits = ref.removeprefix("v")
        if digits.isdecimal() and len(digits) < 10:
            return self._store.by_number(self.name, int(digits))
        return self._store.by_prefix(ref, self.name)

    def __repr__(self) -> str:
        head = self._store.head(self.name)
        return f"Dataset({self.name!r}, {f'version {head.number}, {head.rows:,} rows' if head else 'empty'})"

    def _repr_html_(self) -> str:
        head = self._store.head(self.name)
        return head._repr_html_() if head else f"<b>{self.name}</b> (nothing committed yet)"


def dataset(name: str, workspace: Workspace | None = None) -> Dataset:
    """The dataset of this name, in the workspace in use; it comes to be with its first commit.

    Raises:
        InvalidError: the name has characters other than letters, digits, `_`, `-` and `.`.
    """
    if not _NAME.fullmatch(str(name)):
        raise InvalidError("dataset", name, "a name of letters, digits, `_`, `-` and `.`")
    return Dataset(name, workspace or current_workspace())


def list_datasets(workspace: Workspace | None = None) -> list[DatasetVersion]:
    """The newest version of every dataset, by name."""
    store = DatasetStore((workspace or current_workspace()).database)
    heads: Iterable[DatasetVersion | None] = (store.head(name) for name in store.names())
    return [head for head in heads if head is not None]


def get_dataset_version(ref: str, workspace: Workspace | None = None) -> DatasetVersion:
    """A version by `name`, `name/number`, `name/latest`, or its id (or a prefix).

    Raises:
        NotFoundError: nothing fits.
    """
    workspace = workspace or current_workspace()
    name, slash, version = ref.partition("/")
    store = DatasetStore(workspace.database, workspace.ledger)
    if not slash and store.head(name) is None:
        found = store.by_prefix(ref)
        if found is None:
            raise store.not_found(ref)
        return found
    return dataset(name, workspace).version(version or "latest")
