"""A copy of a version in another workspace: its blobs, its record, and where it came from.

Order: blobs, each verified on both sides; then the content digest is made anew from what is over there; then the record.
So a copy that was killed goes on where it was, and a version over there is never one that can't be read.
"""

from __future__ import annotations

from collections.abc import Callable

import polars as pl
from blake3 import blake3

from mainspring.artifacts import TableHasher
from mainspring.data._store import DatasetStore
from mainspring.data.commit import commit_draft
from mainspring.data.dataset import dataset
from mainspring.data.files import Progress
from mainspring.data.tables import manifest as tables
from mainspring.data.tables import parts
from mainspring.data.trees import manifest as trees
from mainspring.data.trees.entries import LINK, tree_digest
from mainspring.data.trees.reading import TreeReader
from mainspring.data.version import DatasetVersion, Kind, Source, expect_version
from mainspring.errors import InvalidError, StorageError, WrongTypeError
from mainspring.ledger import is_replay
from mainspring.store import BlobStore, Transaction
from mainspring.workspace import Workspace, current_workspace

COPIED = "copied_version"
_READ_BYTES = 8 << 20


def copy_version(
    version: DatasetVersion, to: Workspace, *, name: str = "", note: str | None = None, workspace: Workspace | None = None,
    progress: Progress | None = None,
) -> DatasetVersion:  # fmt: skip
    """Make a version of another workspace that has the same content: the newest there, of the same dataset or of `name`.

    What is there already is not sent again: blobs, and the version itself if it was copied before. Every row and file is
    read over there, and held to the content digest, before the record is written. Its lineage leads to the version here,
    which keeps its id, and on to what that was read from. `progress` is called with blobs, bytes, and about how many
    bytes there are.

    Raises:
        CorruptBlobError: stored bytes here or there don't match their digest.
        StorageError: the content over there is another one; nothing was committed.
        InvalidError: the dataset there is of the other kind; or it is the same workspace.
        WrongTypeError: `to` is no workspace, or `version` no version.
    """
    expect_version(version)
    if not isinstance(to, Workspace):
        raise WrongTypeError("to", to, "a workspace", "`Workspace.open(folder)` opens one.")
    workspace = workspace or current_workspace()
    version = DatasetStore(workspace.database).present(version)
    version.expect(version.kind)
    if to.database is workspace.database or _is_known(version, to):
        raise InvalidError("to", to.blobs.place, "another workspace", f"{version} is in it.")
    store = DatasetStore(to.database, to.ledger)
    handle = dataset(name or version.dataset, to)
    present = next((each for each in _copies(version, store, handle.name) if each.removed_at is None), None)
    if present is not None:
        return present
    blobs = _blobs(version, workspace.blobs)
    if not is_replay():
        _send(blobs, version.size_bytes, workspace.blobs, to.blobs, progress)
        _check(version, to)
    draft = CopyDraft(handle.name, version, blobs)
    return commit_draft(
        to, handle.name, draft, behind=False, sources=(origin(version), *_pin(version)),
        note=version.note if note is None else note, extracted_us=version.extracted_at,
        extra=[_origin_recorded(version, store)],
    )  # fmt: skip


class CopyDraft:
    """A version as it will be in another workspace; its blobs are there."""

    base: str | None = None

    def __init__(self, name: str, version: DatasetVersion, blobs: list[str]) -> None:
        self.name, self.kind, self.written = name, version.kind, blobs
        self._version = version

    kind: Kind

    @property
    def content_digest(self) -> str:
        """The content digest, which is that of the original."""
        return self._version.content_digest

    def put_behind(self, head: DatasetVersion | None) -> None:
        """It is content of its own, whatever the newest version is."""

    def version(
        self, head: DatasetVersion | None, sources: tuple[Source, ...], note: str, extracted_us: int
    ) -> DatasetVersion:
        """The record; the store sets id, number, time, actor and maker."""
        from msgspec.structs import replace

        return replace(
            self._version, id="", dataset=self.name, number=0, created_at=0, source=sources, note=note, actor="",
            extracted_at=extracted_us, parent=head.id if head else None, made_by=None,
        )  # fmt: skip


def origin(version: DatasetVersion) -> Source:
    """The version that another one is a copy of. Its id is that of a node in both workspaces."""
    return Source(COPIED, str(version), version.id, version.content_digest, version.size_bytes)


def _pin(version: DatasetVersion) -> tuple[Source, ...]:
    return () if version.pinned is None else (version.pinned,)


def _is_known(version: DatasetVersion, to: Workspace) -> bool:
    found = DatasetStore(to.database).by_prefix(version.id)
    return found is not None and found.id == version.id


def _copies(version: DatasetVersion, store: DatasetStore, name: str) -> list[DatasetVersion]:
    return [
        each for each in store.versions(name)
        if each.content_digest == version.content_digest and any(source.node == version.id for source in each.source)
    ]  # fmt: skip


def _blobs(version: DatasetVersion, blobs: BlobStore) -> list[str]:
    if version.kind == "tree":
        return sorted(trees.reachable_blobs(blobs, version.manifest))
    return sorted(tables.needed_blobs(blobs, [version.manifest]))


def _send(digests: list[str], size_bytes: int, source: BlobStore, target: BlobStore, progress: Progress | None) -> None:
    """Put every blob; one that is there is only touched, so that no collection takes it meanwhile."""
    done = 0
    for number, digest in enumerate(digests):
        path = source.path(digest)
        found = target.put(path)
        if found != digest:
            raise StorageError(str(path), f"its bytes changed while they were copied ({found[:12]}, not {digest[:12]})")
        done += path.stat().st_size
        if progress is not None:
            progress(number + 1, done, max(done, size_bytes))


def _check(version: DatasetVersion, to: Workspace) -> None:
    """Make the content digest from what is over there."""
    if version.pinned is not None:
        version.to_polars()
        return
    found = _tree_digest(version, to) if version.kind == "tree" else _table_digest(version, to)
    if found != version.content_digest:
        raise StorageError(
            to.blobs.place, f"what arrived of {version} has the content {found[:12]}, not {version.content_digest[:12]}",
            "Nothing was committed there. `mainspring doctor --blobs` checks the version here.",
        )  # fmt: skip


def _table_digest(version: DatasetVersion, to: Workspace) -> str:
    hasher = TableHasher()
    found = tables.read_listing(to.blobs, version.manifest).parts
    if not found:
        hasher.update(pl.DataFrame(height=version.rows))
    for frame in parts.rows_from(to.blobs, found, 0) if found else ():
        hasher.update(frame)
    if found and not version.rows:
        hasher.update(parts.types_of(to.blobs, found))
    return hasher.finish().digest


def _tree_digest(version: DatasetVersion, to: Workspace) -> str:
    with TreeReader(to.blobs, version.manifest, str(version)) as reader:
        for path, entry in reader.entries.items():
            if entry.form == LINK:
                continue
            hasher = blake3()
            with reader.open(path) as file:
                while data := file.read(_READ_BYTES):
                    hasher.update(data)
            if hasher.digest() != entry.digest:
                raise StorageError(to.blobs.place, f"the file `{path}` of {version} arrived with other bytes")
        return tree_digest(reader.entries)


def _origin_recorded(version: DatasetVersion, store: DatasetStore) -> Callable[[Transaction, DatasetVersion], None]:
    """What writes the way from the original to what it was read from, as it is known here."""

    def record(tx: Transaction, _: DatasetVersion) -> None:
        for source in version.source:
            kind = "copied_version" if source.kind == "record" else source.kind
            store.ledger.node(tx, kind, source.node, source.uri, source.digest)
            store.ledger.edge(tx, version.id, "read_from", source.node)

    return record
