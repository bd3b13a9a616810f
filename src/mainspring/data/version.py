"""The record of a dataset version: of a table or of a file tree. It is immutable; two are equal if their content is."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from importlib import import_module
from itertools import chain
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO, Literal, TypeVar

import msgspec

from mainspring import clock
from mainspring.data.differences import TableDiff, TreeDiff
from mainspring.data.files import Checkout, Progress, TreeFile, TreeProfile
from mainspring.data.profiles import TableProfile
from mainspring.errors import InvalidError, NotFoundError, RemovedError, WrongTypeError, shorten
from mainspring.workspace import current_workspace

if TYPE_CHECKING:
    import pandas as pd
    import polars as pl
    import pyarrow as pa


Kind = Literal["table", "tree"]
Read = TypeVar("Read")
PINNED = "pinned_delta"
"""The kind of source that a version's rows stay in."""


class Source(msgspec.Struct, frozen=True):
    """What a version was read from: a file by its bytes, an address without secrets, another version."""

    kind: str
    uri: str
    node: str
    digest: str | None = None
    size_bytes: int | None = None


class DatasetVersion(msgspec.Struct, frozen=True, kw_only=True, eq=False):
    """One immutable state of a dataset.

    Times are microseconds since 1970; `schema` is (name, type) in column order, in the words that digests use, and empty
    for a tree; `rows` count a table's, `files` a tree's; `size_bytes` is what a tree's files or a table's parts take;
    `manifest` is a blob; `made_by` the task or run that committed it. A step may return one: the artifact then stands
    for this record in the lineage.
    """

    id: str
    dataset: str
    kind: Kind
    number: int
    content_digest: str
    rows: int
    files: int
    size_bytes: int
    parts: int
    manifest: str
    schema: tuple[tuple[str, str], ...]
    created_at: int
    extracted_at: int
    source: tuple[Source, ...]
    parent: str | None
    actor: str
    note: str
    made_by: str | None = None
    removed_at: int | None = None

    def __eq__(self, other: object) -> bool:
        return isinstance(other, DatasetVersion) and other.content_digest == self.content_digest

    def __hash__(self) -> int:
        return hash(self.content_digest)

    def __repr__(self) -> str:
        return f"<dataset version {self}, {self.amount}, content {self.content_digest[:12]}>"

    def __str__(self) -> str:
        return f"{self.dataset}/{self.number}"

    @property
    def ledger_id(self) -> str:
        """The node of the lineage that this is."""
        return self.id

    @property
    def amount(self) -> str:
        """How much it holds, for people: rows of a table, files of a tree."""
        count, noun = (self.rows, "row") if self.kind == "table" else (self.files, "file")
        return f"{count:,} {noun}{'' if count == 1 else 's'}"

    @property
    def columns(self) -> tuple[str, ...]:
        """The names of the columns, in order."""
        return tuple(name for name, _ in self.schema)

    @property
    def pinned(self) -> Source | None:
        """The outside table that its rows stay in; None if they are stored here."""
        return next((source for source in self.source if source.kind == PINNED), None)

    def to_polars(self) -> pl.DataFrame:
        """The rows, verified, as a Polars frame.

        Raises:
            CorruptBlobError: a stored part no longer matches its digest.
            StorageError: it is pinned to an outside table whose rows are no longer there, or are others.
        """
        frame: pl.DataFrame = self._read("read_table")
        return frame

    def scan(self) -> pl.LazyFrame:
        """The rows as a lazy Polars frame over the verified parts; raises as `to_polars` does."""
        frame: pl.LazyFrame = self._read("scan_table")
        return frame

    def batches(self, rows: int | None = None) -> Iterator[pl.DataFrame]:
        """The rows in order, so many at a time, or as many as take about 64 MiB; raises as `to_polars` does.

        One empty batch if there are no rows.
        """
        self.expect("table")
        if self.pinned is not None:
            pinned: Iterator[pl.DataFrame] = _home("interchange.pinned").read_batches(self, self.pinned, rows)
            return pinned
        blobs, read = current_workspace().blobs, _home("tables.batches").version_batches
        return self.as_stored(lambda present: _begun(read(blobs, present.manifest, present.rows, rows)))

    def to_pandas(self) -> pd.DataFrame:
        """The rows as a pandas frame with a plain index.

        Raises:
            MissingExtraError: pandas or pyarrow is not installed.
        """
        return _home("tables.frames").to_pandas(self.to_polars())

    def to_arrow(self) -> pa.Table:
        """The rows as an Arrow table.

        Raises:
            MissingExtraError: pyarrow is not installed.
        """
        return _home("tables.frames").to_arrow(self.to_polars())

    def diff(self, other: DatasetVersion, key: str | Sequence[str] | None = None) -> TableDiff | TreeDiff:
        """How this version became the other: rows and columns of tables, by `key` if one is named, or files of trees.

        Raises:
            InvalidError: they are of two kinds; the key is no column of both, or several rows have one; it is named.
            WrongTypeError: the other is no version.
        """
        expect_version(other, "other")
        self.expect(other.kind)
        found: TableDiff | TreeDiff
        if self.kind == "tree":
            found = _home("trees.status").diff_trees(self, other)
        else:
            compare = _home("tables.diff").diff_tables
            found = self.as_stored(lambda old: other.as_stored(lambda new: compare(old, new, key)))
        return found

    def profile(self) -> TableProfile | TreeProfile:
        """What the columns of a table hold: counts, extremes, quantiles, frequent values; or the files of a tree: media
        types, sizes, broken images, a sheet of thumbnails. Computed once for a content.
        """
        profile: TableProfile | TreeProfile
        make = _home("trees.profile").tree_profile if self.kind == "tree" else _home("tables.profile").profile_version
        profile = self.as_stored(make)
        return profile

    def _read(self, reader: str) -> Any:
        self.expect("table")
        if self.pinned is not None:
            return getattr(_home("interchange.pinned"), reader)(self, self.pinned)
        workspace, read = current_workspace(), getattr(_home("tables.parts"), reader)
        return self.as_stored(lambda present: read(workspace.blobs, present.manifest, present.rows))

    def as_stored(self, read: Callable[[DatasetVersion], Read]) -> Read:
        """What reading this version gives; `read` is called with the present record if blobs of this one are gone.

        That is so if it was read before the version was compacted, and collected since.

        Raises:
            RemovedError: the version was removed since.
        """
        try:
            return read(self)
        except (NotFoundError, FileNotFoundError) as error:
            present = self._present()
            if present.manifest == self.manifest and isinstance(error, NotFoundError):
                raise  # a file, though, was condemned between being named and being opened, and is elsewhere now
            return read(present)

    def list_files(self) -> list[TreeFile]:
        """The files of a tree, sorted by path."""
        return self.glob("")

    def glob(self, pattern: str) -> list[TreeFile]:
        """The files that a pattern names: `*` stops at `/`, `**/` is any number of folders; a folder is all below it."""
        files: list[TreeFile] = self.in_tree(lambda tree: tree.files(pattern))
        return files

    def open(self, path: str) -> BinaryIO:
        """A file of a tree, verified, read-only and seekable, straight from the store.

        Raises:
            InvalidError: there is no such file; the nearest are given.
            CorruptBlobError: its stored bytes no longer match their digest.
        """
        file: BinaryIO = self.in_tree(lambda tree: tree.open(path))
        return file

    def read_bytes(self, path: str) -> bytes:
        """All bytes of a file of a tree; raises as `open` does."""
        data: bytes = self.in_tree(lambda tree: tree.read_bytes(path))
        return data

    def checkout(
        self, folder: str | Path, *, force: bool = False, paths: Iterable[str] | None = None,
        progress: Progress | None = None,
    ) -> Checkout:  # fmt: skip
        """Write a tree's files into a folder, as copies that may be edited.

        Files that an earlier checkout put there and this version lacks are removed if they are unchanged; files of
        others stay. `paths` are those (or folders, or globs) to write alone, with nothing removed. Each file appears at
        once; a checkout that was killed goes on where it was.

        Raises:
            NotAllowedError: a file in the way was changed since; it is named. `force` overwrites it.
            StorageError: the folder can't be written, or folds the case of names that differ only in it.
        """
        self.expect("tree")
        found: Checkout = _home("trees.checkout").checkout(
            current_workspace(), self.dataset, self._present().manifest, str(self), folder, force=force, paths=paths,
            progress=progress,
        )  # fmt: skip
        return found

    def in_tree(self, read: Callable[[Any], Read]) -> Read:
        """What `read` gives for a reader of the tree's files, which is closed behind it; tried again where it was compacted."""
        self.expect("tree")
        reader, blobs = _home("trees.reading").TreeReader, current_workspace().blobs

        def read_in(present: DatasetVersion) -> Read:
            with reader(blobs, present.manifest, str(self)) as tree:
                return read(tree)

        return self.as_stored(read_in)

    def _present(self) -> DatasetVersion:
        """The record as it is now; raises as `expect` does."""
        present: DatasetVersion = _home("_store").DatasetStore(current_workspace().database).present(self)
        present.expect(self.kind)
        return present

    def expect(self, kind: Kind) -> None:
        """Go on only if this is a version of that kind, and is still there.

        Raises:
            InvalidError: it is of the other kind.
            RemovedError: it was removed.
        """
        if self.kind != kind:
            hint = "Its rows are read by `scan()` and `to_polars()`." if self.kind == "table" else (
                "Its files are read by `open(path)`, `list_files()` and `checkout(folder)`."
            )  # fmt: skip
            raise InvalidError("dataset", str(self), f"a {kind}", f"It is a {self.kind}. {hint}")
        if self.removed_at is not None:
            at = clock.from_us(self.removed_at).isoformat(timespec="seconds")
            raise RemovedError("version", str(self), at)

    def _repr_html_(self) -> str:
        from html import escape

        rows = "".join(f"<tr><td>{escape(name)}</td><td>{escape(kind)}</td></tr>" for name, kind in self.schema)
        at = clock.from_us(self.created_at).isoformat(timespec="seconds")
        head = f"<b>{escape(str(self))}</b> {self.amount}, {self.size_bytes:,} bytes, {at} by {escape(self.actor)}"
        return (
            f"{head} <code>{self.content_digest[:12]}</code><table><tr><th>column</th><th>type</th></tr>{rows}</table>"
        )


def _begun(batches: Iterator[pl.DataFrame]) -> Iterator[pl.DataFrame]:
    """The same, with the first one read: what is gone is missed here."""
    first = next(batches)
    return chain((first,), batches)


def _home(module: str) -> Any:
    """A module of what a kind of dataset can do, by name: those stand on this record."""
    return import_module(f"mainspring.data.{module}")


def expect_version(given: object, path: str = "version") -> None:
    """Go on only with a version; raises `WrongTypeError` that says how to get one, e.g. of a dataset's handle."""
    if isinstance(given, DatasetVersion):
        return
    such = "dataset(name).latest()"
    if isinstance(given, str):
        such = f"get_dataset_version({shorten(given)!r})"
    elif type(given).__name__ == "Dataset":
        such = f"dataset({getattr(given, 'name', 'name')!r}).latest()"
    raise WrongTypeError(path, given, f"a version, such as `{such}`")


def version_from_row(row: tuple[Any, ...]) -> DatasetVersion:
    """The version that a row of its table holds."""
    values = dict(zip(DatasetVersion.__struct_fields__, row, strict=True))
    values["schema"] = msgspec.json.decode(values["schema"])
    values["source"] = msgspec.json.decode(values["source"])
    return msgspec.convert(values, DatasetVersion)
