"""Datasets: the handle by which versions are committed, changed, tagged and found."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from datetime import date, datetime
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from mainspring import clock
from mainspring.data._store import DatasetStore
from mainspring.data.as_of import History, Ref, named, parted
from mainspring.data.commit import commit_draft
from mainspring.data.files import Progress
from mainspring.data.version import DatasetVersion
from mainspring.errors import InvalidError, NotAllowedError, NotFoundError, WrongTypeError, shorten
from mainspring.ledger import is_replay, note_search
from mainspring.workspace import Workspace, current_workspace, using

if TYPE_CHECKING:
    import polars as pl

    from mainspring.data.draft import Draft
    from mainspring.data.tables.rows import FrameDraft
    from mainspring.data.validation.admission import Admission

_NAME = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.\-]{0,199}")
_TAG = re.compile(r"[A-Za-z_][A-Za-z0-9_.\-]{0,99}")
_RESERVED_TAGS = ("latest",)
Mode = Literal["replace", "append"]
TreeMode = Literal["replace", "update"]


class Dataset:
    """A named table or file tree with immutable versions; its first commit decides which.

    >>> import pathlib, tempfile
    >>> import polars as pl
    >>> workspace = Workspace.open(pathlib.Path(tempfile.mkdtemp()))
    >>> flights = dataset("flights", workspace)
    >>> first = flights.commit(pl.DataFrame({"carrier": ["UA", "AA"]}))
    >>> second = flights.append(pl.DataFrame({"carrier": ["B6"]}))
    >>> second.number, second.rows, flights.version(1).rows
    (2, 3, 2)
    """

    def __init__(self, name: str, workspace: Workspace, as_of: Ref | None = None) -> None:
        self.name = name
        self.workspace = workspace
        self.as_of = as_of
        self._store = DatasetStore(workspace.database, workspace.ledger)
        self._history = History(self._store, name, as_of)
        self._draft: FrameDraft | None = None

    def commit(
        self,
        frame: Any,
        *,
        source: Any = (),
        note: str = "",
        mode: Mode = "replace",
        extracted_at: datetime | None = None,
        checks: Any = None,
        quarantine: str = "",
    ) -> DatasetVersion:
        """Make a version of this table, or of the newest version with these rows behind it (`mode="append"`).

        `frame` is a Polars, pandas or Arrow table; a lazy one is computed in order, in bounded memory. `source`
        names what it was read from: paths (whose bytes are digested now), addresses, other versions; `extracted_at`
        when, if not now. If nothing changed, the newest version is given; its blobs that were found corrupt are stored anew.

        `checks` are what `validate` takes, held to these rows, and, where they are appended, to what they make together
        with the newest version (`unique`, `compare_previous`), which is the newest when they are committed, too; the report
        is recorded with the version. Rows that a check of severity `quarantine` fails on are appended to the dataset of
        that name, with their reasons and the report, in the same transaction. What is appended and changes nothing leaves the
        newest version's sources and report. A lazy table is computed once, to a temporary file, and
        checked and divided there.

        Raises:
            InvalidError: a row to append has other columns or types; the column is named. The dataset is a tree. A
                check stops the rows, and nothing was committed.
            CodecError: a column holds values that have no canonical form, e.g. Python objects.
            ConflictError: a thousand other writers were faster.
            NotAllowedError: this is a replay, and no version was recorded with this content.
        """
        from mainspring.data.tables.frames import as_polars
        from mainspring.data.tables.rows import FrameDraft

        if mode not in ("replace", "append"):
            raise InvalidError("mode", mode, "`replace` or `append`")
        behind = mode == "append"
        self._expect_now()
        rows: Any = frame if type(frame).__name__ == "LazyFrame" else as_polars(frame)
        if checks is not None:
            with self._admission(rows, checks, quarantine, behind=behind) as admission:
                return admission.commit(**self._about(source, note, extracted_at), once=behind)
        if rows is frame and type(rows).__name__ == "LazyFrame":
            return self._commit_lazy(rows, source, note, extracted_at, behind=behind)
        draft = FrameDraft(self.name, rows, self.workspace.blobs, before=self._draft)
        version = self._commit(draft, source, note, extracted_at, behind=behind, once=behind)
        if not is_replay():
            self._draft = draft.settled(version)
        return version

    def _commit_lazy(self, frame: pl.LazyFrame, *given: Any, behind: bool) -> DatasetVersion:
        from mainspring.data.tables.lazy import LazyDraft

        draft = LazyDraft(self.name, frame, self.workspace.blobs)
        try:
            return self._commit(draft, *given, behind=behind, once=behind)
        finally:
            draft.close()

    @contextmanager
    def _admission(
        self, rows: Any, checks: Any, quarantine: str, *, behind: bool, replacing: tuple[str, ...] = ()
    ) -> Iterator[Admission]:
        """The way into the dataset that checks guard, for rows that are computed once if they are lazy."""
        from mainspring.artifacts.spool import Spool
        from mainspring.data.tables.parts import fitted_to
        from mainspring.data.validation.admission import Admission

        head = self._store.head(self.name)
        if behind and head is not None and not is_replay():  # a replay's head is a later one
            rows = fitted_to(head, rows, self.workspace.blobs)
        apart = dataset(quarantine, self.workspace).name if quarantine else ""
        with ExitStack() as stack:
            rows = stack.enter_context(Spool(rows)) if type(rows).__name__ == "LazyFrame" else rows
            admission = Admission(
                self.name, rows, checks, self.workspace, behind=behind, quarantine=apart, replacing=replacing
            )
            yield stack.enter_context(admission)

    def _about(self, source: Any, note: str, extracted_at: datetime | None) -> dict[str, Any]:
        """What is told of a version besides its content."""
        from mainspring.data._sources import describe_sources

        extracted_us = clock.to_us(extracted_at) if extracted_at else clock.now_us()
        return {"sources": describe_sources(source), "note": note, "extracted_us": extracted_us}

    def _commit(
        self, draft: Draft, source: Any, note: str, extracted_at: datetime | None, *, behind: bool, once: bool = False
    ) -> DatasetVersion:
        self._expect_now()
        about = self._about(source, note, extracted_at)
        return commit_draft(self.workspace, self.name, draft, behind=behind, **about, once=once)

    def _expect_now(self) -> None:
        if self.as_of is not None:
            raise NotAllowedError(
                f"`{self.name}` was opened as of `{shorten(str(self.as_of))}`, to be read; open it without to change it."
            )

    def append(
        self, frame: Any, *, source: Any = (), note: str = "", checks: Any = None, quarantine: str = ""
    ) -> DatasetVersion:
        """Make a version with these rows behind the newest; takes and raises what `commit` does."""
        return self.commit(frame, source=source, note=note, mode="append", checks=checks, quarantine=quarantine)

    def add(
        self, path: str | Path, *, note: str = "", source: Any = (), mode: TreeMode = "replace", into: str = "",
        extracted_at: datetime | None = None, progress: Progress | None = None,
    ) -> DatasetVersion:  # fmt: skip
        """Make a version of a file or folder: exactly that (`replace`), or the newest tree with it added (`update`).

        `into` is a folder of the tree to put it in; `source` what it came from, if not from the path itself. `progress` is
        called with files done, bytes done, and all bytes to read. Files that are unchanged since they were last added or
        checked out are not read again. Links within the folder are kept as links; empty folders are not kept. If nothing
        changed, the newest version is given; its blobs that were found corrupt are stored anew.

        Raises:
            NotFoundError: there is no such path.
            InvalidError: it can't be kept, e.g. a link that leads out, a socket, a name that is not UTF-8; it is named.
                The dataset is a table.
            StorageError: a file can't be read, or changes while it is read; the store's disk is full.
        """
        from mainspring.data.trees.staging import StagedFiles

        self._expect_now()
        if mode not in ("replace", "update"):
            raise InvalidError("mode", mode, "`replace` or `update`")
        head = self._store.head(self.name)
        staged = StagedFiles(self.workspace, self.name, path, head, into=into, progress=progress)
        origin = source or staged.origin or ()
        version = self._commit(staged.draft(mode), origin, note, extracted_at, behind=mode == "update")
        staged.settle()
        return version

    def delete_files(self, paths: str | Iterable[str], *, note: str = "") -> DatasetVersion:
        """Make a version of the newest tree without some files: paths, folders, or globs (`**/*.tmp`).

        Raises:
            InvalidError: nothing in the tree is named so.
        """
        from mainspring.data.trees.staging import deletion

        self._expect_now()
        head = self._store.head(self.name)
        if head is None:
            raise self._store.not_found(self.name)
        head.expect("tree")
        return self._commit(deletion(self.workspace, self.name, paths), (), note, None, behind=True)

    def upsert(
        self, frame: Any, *, key: str | Sequence[str], source: Any = (), note: str = "",
        extracted_at: datetime | None = None, checks: Any = None, quarantine: str = "",
    ) -> DatasetVersion:  # fmt: skip
        """Make a version in which these rows stand in place of those with the same key; the others are new rows.

        Rows that changed or are new stand behind those that are kept. A row that equals the present one changes nothing.
        `checks` and `quarantine` are as for `commit`.

        Raises:
            InvalidError: a column of the key is missing or null, a key is there twice, or the columns don't fit; it is named.
            ConflictError: a thousand other writers were faster.
            NotAllowedError: this is a replay, and no version was recorded with this content.
        """
        from mainspring.data.tables.edits import EditDraft
        from mainspring.data.tables.frames import as_polars
        from mainspring.data.tables.keys import ByKey

        def draft(rows: Any) -> EditDraft:
            return EditDraft(self.name, self.workspace.blobs, find, rows)

        self._expect_now()
        find, rows = ByKey(self.name, key), as_polars(frame)
        if checks is None:
            return self._commit(draft(rows), source, note, extracted_at, behind=True)
        with self._admission(rows, checks, quarantine, behind=True, replacing=tuple(find.key)) as admission:
            return admission.commit(draft, **self._about(source, note, extracted_at))

    def delete(
        self, keys: Any = None, *, key: str | Sequence[str] | None = None, where: pl.Expr | str | None = None,
        source: Any = (), note: str = "",
    ) -> DatasetVersion:  # fmt: skip
        """Make a version without the rows of these keys, or without those for which `where` is true.

        `keys` is a table with the columns of the key, or a list of values of the column `key`; keys that no row has
        change nothing. `where` is a Polars expression, or one as SQL text: `"day < date '2013-01-01'"`.

        Raises:
            InvalidError: a column of the key is missing or null, or the condition doesn't fit.
            NotFoundError: there is no such dataset.
        """
        from mainspring.data.tables.edits import EditDraft
        from mainspring.data.tables.keys import Where, as_keys

        self._expect_now()
        if (keys is None) == (where is None):
            raise InvalidError("delete", None if keys is None else "keys and where", "given either `keys` or `where`")
        find = as_keys(keys, key, self.name) if where is None else Where(self.name, where)
        draft = EditDraft(self.name, self.workspace.blobs, find, None)
        return self._commit(draft, source, note, None, behind=True)

    def compact(self) -> DatasetVersion:
        """Rewrite what holds other bytes than the newest version's, or more parts than it needs; no content changes.

        Of a table that is small parts, and parts from which rows were deleted; of a tree the packs in which other files lie
        beside those of the newest version. What no version names then is freed by `mainspring gc`.

        Raises:
            ConflictError: somebody else is compacting it.
            StorageError: what was rewritten doesn't have the content digest; nothing was changed.
        """
        self._expect_now()
        head = self._store.head(self.name)
        if head is None:
            raise self._store.not_found(self.name)
        # By name, as those of versions are: what can be done with a dataset stands on it.
        rooms = "mainspring.data"
        done: DatasetVersion = import_module(f"{rooms}.{head.kind}s.compaction").compact(self.name, self.workspace)
        if done.manifest != head.manifest:
            import_module(f"{rooms}.retention").release_blobs(self.name, self.workspace)
        return done

    def versions(self) -> list[DatasetVersion]:
        """Every version, newest first; as of a time or a version those that there were then."""
        return self._history.versions()

    def latest(self) -> DatasetVersion:
        """The newest version; raises `NotFoundError` if nothing was committed yet."""
        return self.version("latest")

    def tag(self, ref: Ref, name: str) -> DatasetVersion:
        """Point a tag at a version, from another one if need be; a tag also keeps a version from `remove` and retention.

        Raises:
            InvalidError: the name could be taken for a number, an id or a time.
        """
        self._expect_now()
        if not _TAG.fullmatch(name) or name in _RESERVED_TAGS or re.fullmatch(r"v\d+|[0-9a-f]{6,}", name):
            raise InvalidError("tag", name, "a name that begins with a letter and is no number, id or `latest`")
        version = self.version(ref)
        self._store.tag(version, name)
        return version

    def untag(self, name: str) -> None:
        """Take a tag away; raises `NotFoundError`."""
        self._expect_now()
        self._store.untag(self.name, name)

    def tags(self) -> dict[str, str]:
        """The tags with the ids of their versions; as of a time those that have pointed there since, as of a version those
        that point to it or to one before it.
        """
        return self._history.tags()

    def version(self, ref: Ref) -> DatasetVersion:
        """A version by its number, tag, id (or a prefix), content digest, `latest`, or as of a time.

        A time is a `datetime` with a zone, a `date`, or text such as `2026-11-21` or `2026-11-21T10:00:00+01:00` (UTC if it
        says no zone).

        Raises:
            NotFoundError: no such version, or no such dataset; the nearest names are given.
            InvalidError: a prefix fits several versions, or a `datetime` has no zone.
        """
        return self._history.version(ref)

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

    def __repr__(self) -> str:
        head = self._newest()
        return f"Dataset({self.name!r}, {f'version {head.number}, {head.amount}' if head else 'empty'})"

    def _repr_html_(self) -> str:
        head = self._newest()
        return head._repr_html_() if head else f"<b>{self.name}</b> (nothing committed yet)"

    def _newest(self) -> DatasetVersion | None:
        try:
            return self._history.newest()
        except NotFoundError:
            return None


def dataset(name: str, workspace: Workspace | None = None, *, as_of: Ref | None = None) -> Dataset:
    """The dataset of this name, in the workspace in use; it comes to be with its first commit.

    `as_of` names a version or a time as `Dataset.version` takes it, or is a version, or `name/3`. Then the dataset is read
    as it was when that was the newest: `latest()` is that version, `versions()` and `version()` give those that there were,
    and nothing can be committed, tagged or compacted. What it names is looked up once.

    Raises:
        InvalidError: the name has characters other than letters, digits, `_`, `-` and `.`; `as_of` is a `datetime` without
            a zone, or a version of another dataset.
        WrongTypeError: `as_of` names no version.
    """
    if not _NAME.fullmatch(str(name)):
        raise InvalidError("dataset", name, "a name of letters, digits, `_`, `-` and `.`")
    return Dataset(name, workspace or current_workspace(), as_of)


def list_datasets(workspace: Workspace | None = None, *, as_of: str | date | None = None) -> list[DatasetVersion]:
    """The newest version of every dataset, or the one that was the newest as of a time, by the datasets' names.

    Raises:
        InvalidError: `as_of` is no time, or has no zone.
    """
    workspace = workspace or current_workspace()
    store = DatasetStore(workspace.database, workspace.ledger)
    if as_of is not None and (parted(str(as_of))[1] or not isinstance(named(as_of, "", "as_of"), date)):
        raise InvalidError("as_of", as_of, "a time", "Numbers, tags and ids are of one dataset: name it.")
    note_search("datasets")
    heads = (History(store, name, as_of).newest() for name in store.names())
    return [head for head in heads if head is not None]


def get_dataset_version(
    ref: str | DatasetVersion, workspace: Workspace | None = None, *, as_of: Ref | None = None
) -> DatasetVersion:
    """A version by `name`, `name@3`, `name@tag`, `name@latest`, `name@2026-11-21`, all also with `/`, or its id (or a prefix).

    Of a version it is the present record.

    With `as_of` it is looked up in the dataset as it was then; see `dataset`.

    Raises:
        NotFoundError: nothing fits.
        WrongTypeError: it is neither text nor a version.
    """
    workspace = workspace or current_workspace()
    if isinstance(ref, DatasetVersion):
        ref = f"{ref.dataset}/{ref.id}"
    if not isinstance(ref, str):
        raise WrongTypeError("ref", ref, "text such as `name/3`, or a version")
    name, version = parted(ref)
    store = DatasetStore(workspace.database, workspace.ledger)
    if not version and store.head(name) is None:
        found = store.by_prefix(ref)
        if found is None:
            raise store.not_found(ref)
        return found if as_of is None else dataset(found.dataset, workspace, as_of=as_of).version(found)
    return dataset(name, workspace, as_of=as_of).version(version or "latest")
