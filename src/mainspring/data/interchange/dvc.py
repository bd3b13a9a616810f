"""DVC: a version for a repository of DVC's, so that `dvc checkout` writes it out; and what DVC keeps as a version."""

from __future__ import annotations

import hashlib
import os
import tempfile
import uuid
from contextlib import suppress
from pathlib import Path
from typing import Any, BinaryIO

import msgspec

from mainspring import clock
from mainspring.data._sources import describe_sources
from mainspring.data._store import DatasetStore
from mainspring.data.commit import commit_draft
from mainspring.data.dataset import dataset
from mainspring.data.files import Progress
from mainspring.data.interchange.dvc_files import (
    FOLDER,
    Out,
    cache_of,
    checked_md5,
    folder_manifest,
    object_path,
    read_dvc_file,
    read_folder_manifest,
    write_dvc_file,
)  # fmt: skip
from mainspring.data.interchange.exported import Exported
from mainspring.data.interchange.parquet import export_parquet, origin_of
from mainspring.data.trees.archiver import Archiver
from mainspring.data.trees.draft import TreeDraft, replacing
from mainspring.data.trees.entries import checked_path
from mainspring.data.trees.gitignore import ignore
from mainspring.data.trees.packs import usable_listing
from mainspring.data.trees.reading import TreeReader
from mainspring.data.version import DatasetVersion, expect_version
from mainspring.errors import ExistsError, InvalidError, NotFoundError, StorageError, close_names
from mainspring.ledger import is_replay
from mainspring.workspace import Workspace, current_workspace, using

_READ_BYTES = 1 << 20  # DVC before 3.0 looks for line ends in pieces of this size, so old digests depend on it
_KEPT_MODE = 0o444  # objects of a cache are read-only, since checkouts may be links to them


def export_dvc(
    version: DatasetVersion, path: str | Path, *, cache: str | Path | None = None, overwrite: bool = False,
    workspace: Workspace | None = None, progress: Progress | None = None,
) -> Exported:  # fmt: skip
    """Put a version into the cache of a DVC repository, and a `.dvc` file for `path` beside it: `dvc checkout` writes it.

    A tree becomes a folder, a table one Parquet file. Links become the files that they lead to, and executable bits are
    lost, since DVC's folders have neither. In a Git repository `path` is added to `.gitignore`, as `dvc add` does.

    Raises:
        NotFoundError: the path is in no DVC repository, and no cache is given.
        ExistsError: there is a `.dvc` file of other content, and `overwrite` was not asked for.
        InvalidError: the tree has a link to a folder.
        StorageError: it can't be written.
        MissingExtraError: PyYAML is not installed.
    """
    expect_version(version)
    place = Path(str(path).removesuffix(".dvc")).expanduser().absolute()
    pointer = place.with_name(f"{place.name}.dvc")
    objects = _Cache(Path(cache).expanduser().absolute() if cache else cache_of(place.parent))
    with using(workspace or current_workspace()):
        try:
            if version.kind == "tree":
                out, count = version.as_stored(lambda present: _put_tree(present, objects, progress))
            else:
                out, count = _put_table(version, objects), 1
            known = read_dvc_file(pointer).outs[0].md5 if pointer.exists() else out["md5"]
            if known != out["md5"] and not overwrite:
                raise ExistsError("file", str(pointer), "It stands for other content: `overwrite=True` (`--force`).")
            place.parent.mkdir(parents=True, exist_ok=True)
            write_dvc_file(pointer, {**out, "hash": "md5", "path": place.name}, origin_of(version))
            ignore(place)  # the `.dvc` file stands for it
        except OSError as error:
            if isinstance(error, StorageError):
                raise
            raise StorageError(error.filename or str(place), f"it can't be written ({error.strerror})") from error
    return Exported("dvc", str(pointer), version.rows, count, int(out["size"]))


def import_dvc(
    name: str, path: str | Path, *, cache: str | Path | None = None, out: str = "", note: str = "",
    workspace: Workspace | None = None, progress: Progress | None = None,
) -> DatasetVersion:  # fmt: skip
    """Make a version of the file or folder that a `.dvc` file stands for, from DVC's cache; each MD5 is checked.

    `out` names one of several outputs. Caches and files of DVC 3 and of the versions before it are read. The `.dvc` file
    and what it says it was imported from are recorded as sources.

    Raises:
        NotFoundError: there is no such `.dvc` file, or no cache; or the cache lacks an object, which `dvc pull` brings.
        InvalidError: it is no `.dvc` file; or it names a path that would leave the folder.
        StorageError: an object of the cache doesn't have its MD5.
        MissingExtraError: PyYAML is not installed.
    """
    workspace = workspace or current_workspace()
    handle = dataset(name, workspace)
    file = Path(path).expanduser().absolute()
    found = read_dvc_file(file)
    chosen = _chosen(found.outs, out, file)
    objects = _Cache(Path(cache).expanduser().absolute() if cache else cache_of(file.parent), is_old=chosen.is_old)
    store = DatasetStore(workspace.database, workspace.ledger)
    head = store.head(handle.name)
    if head is not None:
        head.expect("tree")
    built_on = usable_listing(workspace.blobs, head)
    before = built_on.entries if built_on is not None else {}
    archiver = Archiver(None if is_replay() else workspace.blobs, before, workspace.blobs)
    files = objects.files(chosen)
    total, done = sum(objects.size_of(md5) for _, md5 in files), 0
    for number, (relative, md5) in enumerate(files):
        reading = archiver.add_file(relative, str(objects.verified(md5, relative)), lambda _: None)
        done += reading.stamp.size_bytes
        if progress is not None:
            progress(number + 1, done, total)
    entries = archiver.finish()
    if chosen.is_executable and not chosen.is_folder:
        entries = {at: msgspec.structs.replace(entry, executable=True) for at, entry in entries.items()}
    draft = TreeDraft(
        handle.name, workspace.blobs, replacing(entries), built_on=built_on, stored=archiver.written
    )  # fmt: skip
    return commit_draft(
        workspace, handle.name, draft, behind=False, sources=describe_sources([file, *found.origins]), note=note,
        extracted_us=clock.now_us(),
    )  # fmt: skip


class _Cache:
    """A cache of DVC: files by their MD5."""

    def __init__(self, folder: Path, *, is_old: bool = False) -> None:
        self.folder, self.is_old = folder, is_old

    def files(self, out: Out) -> list[tuple[str, str]]:
        """The files of an output with their MD5, by path."""
        if not out.is_folder:
            return [(checked_path(Path(out.path).name), out.md5)]
        manifest = self.verified(out.md5, out.path)
        listed = read_folder_manifest(manifest.read_bytes(), str(manifest))
        return sorted((checked_path(path, f"{manifest}: relpath"), md5) for path, md5 in listed.items())

    def size_of(self, md5: str) -> int:
        """The bytes of an object; 0 if there is none."""
        with suppress(FileNotFoundError):
            return object_path(self.folder, md5, is_old=self.is_old).stat().st_size
        return 0

    def verified(self, md5: str, path: str) -> Path:
        """The object of this MD5, which was checked."""
        place = object_path(self.folder, checked_md5(md5, path, FOLDER), is_old=self.is_old)
        try:
            found = _md5_of(place, is_old=self.is_old and not md5.endswith(FOLDER))
        except FileNotFoundError as error:
            raise NotFoundError(
                "object", md5, hint=f"It is `{path}`; run `dvc pull` to get it.", owner=f"the DVC cache {self.folder}"
            ) from error
        except OSError as error:
            raise StorageError(str(place), f"it can't be read ({error.strerror})") from error
        if md5.removesuffix(FOLDER) not in found:
            raise StorageError(str(place), f"it is not what DVC put there: `{path}` has another MD5", "Run `dvc pull`.")
        return place

    def put(self, file: BinaryIO, suffix: str = "") -> tuple[str, int]:
        """Keep bytes, unless they are there; gives their MD5 and count."""
        unfinished = self.folder / "files" / "md5" / f".{uuid.uuid4().hex}.part"
        unfinished.parent.mkdir(parents=True, exist_ok=True)
        hasher, size_bytes = hashlib.md5(usedforsecurity=False), 0
        try:
            with open(unfinished, "xb") as target:
                while data := file.read(_READ_BYTES):
                    hasher.update(data)
                    size_bytes += target.write(data)
            md5 = hasher.hexdigest() + suffix
            place = object_path(self.folder, md5, is_old=False)
            place.parent.mkdir(exist_ok=True)
            unfinished.chmod(_KEPT_MODE)
            if not (place.exists() and hasher.hexdigest() in _md5_of(place, is_old=False)):
                os.replace(unfinished, place)  # also in place of one that is damaged
        finally:
            with suppress(FileNotFoundError):
                unfinished.unlink()
        return md5, size_bytes


def _put_tree(version: DatasetVersion, objects: _Cache, progress: Progress | None) -> tuple[dict[str, Any], int]:
    files, done = {}, 0
    with TreeReader(current_workspace().blobs, version.manifest, str(version)) as reader:
        for number, path in enumerate(sorted(reader.entries)):
            try:
                opened = reader.open(path)
            except InvalidError as error:
                raise InvalidError(
                    "path", path, "a file, or a link to one", "DVC has no links to folders; delete it first."
                ) from error
            with opened:
                files[path], size_bytes = objects.put(opened)
            done += size_bytes
            if progress is not None:
                progress(number + 1, done, version.size_bytes)
    with tempfile.TemporaryFile() as manifest:
        manifest.write(folder_manifest(files))
        manifest.seek(0)
        md5, _ = objects.put(manifest, FOLDER)
    return {"md5": md5, "size": done, "nfiles": len(files)}, len(files)


def _put_table(version: DatasetVersion, objects: _Cache) -> dict[str, Any]:
    with tempfile.TemporaryDirectory(prefix="mainspring-") as folder:
        written = export_parquet(version, Path(folder, "table.parquet"))
        with open(written.path, "rb") as file:
            md5, size_bytes = objects.put(file)
    return {"md5": md5, "size": size_bytes}


def _chosen(outs: tuple[Out, ...], out: str, file: Path) -> Out:
    if not out and len(outs) == 1:
        return outs[0]
    found = next((each for each in outs if each.path == out), None)
    if found is None:
        paths = [each.path for each in outs]
        hint = f"Nearest: {', '.join(near)}." if (near := close_names(out, paths)) else f"It has {', '.join(paths)}."
        raise InvalidError("out", out, f"an output of {file}", hint)
    return found


def _md5_of(path: Path, *, is_old: bool) -> tuple[str, ...]:
    """The MD5 of a file; for one of an old cache also that which DVC took of text, with Unix line ends."""
    plain, unix = hashlib.md5(usedforsecurity=False), hashlib.md5(usedforsecurity=False)
    with open(path, "rb") as file:
        while data := file.read(_READ_BYTES):
            plain.update(data)
            if is_old:
                unix.update(data.replace(b"\r\n", b"\n"))
    return (plain.hexdigest(), unix.hexdigest()) if is_old else (plain.hexdigest(),)
