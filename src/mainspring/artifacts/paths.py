"""The codec of paths: a file, or a directory tree, by content.

The blob is a manifest of relative names, digests, sizes and executable bits; the files are blobs of their own. A path comes
back as a copy of its own, with read-only files, that lives as long as the task that asked, or else the process.
"""

from __future__ import annotations

import os
import shutil
import stat
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from pathlib import Path
from typing import Literal

import msgspec
from blake3 import blake3

from mainspring.artifacts.codec import EQUAL, BlobAccess, Comparison, Encoded, Preview, Tolerance, meaning_digest
from mainspring.artifacts.folders import paths_folder, tell_stored
from mainspring.errors import CodecError, StorageError, shorten
from mainspring.store.copying import copy_file
from mainspring.store.scratch import Scratch
from mainspring.store.space import naming_full_disk
from mainspring.workspace.state import State


class _Entry(msgspec.Struct, frozen=True):
    name: str
    kind: Literal["file", "directory", "link"]
    digest: str = ""
    size_bytes: int = 0
    executable: bool = False
    target: str = ""


class _Manifest(msgspec.Struct, frozen=True):
    name: str
    is_file: bool
    entries: tuple[_Entry, ...]


_PREFIX = "mainspring-paths-"


class PathCodec:
    """Files and trees. A lone file keeps its name, since readers go by the suffix; a tree's own name doesn't count.

    The state of a workspace is no part of a tree that it lies in.
    """

    name, recipe = "path", 1
    immutable = False  # what a path leads to may change, or be removed with a scratch folder
    types = ("pathlib.Path",)

    def digest(self, value: Path) -> str:
        """Over names and contents; times, owners and where the tree lies don't count."""
        return self._digest(_scan(value, None))

    def encode(self, value: Path, blobs: BlobAccess) -> Encoded:
        """The manifest, and a blob for each file."""
        return self.save(value, blobs)[1]

    def save(self, value: Path, blobs: BlobAccess) -> tuple[str, Encoded]:
        """Both from one reading of the files."""
        tell_stored(value)
        manifest = _scan(value, blobs)
        data = msgspec.json.encode(manifest)
        refers = tuple(dict.fromkeys(entry.digest for entry in manifest.entries if entry.kind == "file"))
        size = len(data) + sum(entry.size_bytes for entry in manifest.entries)
        return self._digest(manifest), Encoded(self.name, blobs.put(data), size, refers)

    def _digest(self, manifest: _Manifest) -> str:
        return meaning_digest("path", self.recipe, msgspec.json.encode(manifest))

    def decode(self, encoded: Encoded, blobs: BlobAccess) -> Path:
        """A new copy: whatever its receiver does to it, nobody else sees it.

        Raises:
            CodecError: the manifest is none, or would write outside its folder.
            StorageError: it can't be written, e.g. the disk is full; the folder is named, and nothing stays in it.
        """
        try:
            manifest = msgspec.json.decode(blobs.read(encoded.blob), type=_Manifest)
        except (msgspec.MsgspecError, UnicodeDecodeError) as error:
            raise CodecError(f"The blob `{encoded.blob[:12]}` is not a stored path: {error}.") from error
        _check_manifest(manifest)
        folder = paths_folder() or _of_this_process().path
        with _new_folder(folder) as made:
            target = made.resolve() / encoded.blob / (manifest.name or "tree")
            _write_tree(manifest, target, blobs)
        return target

    def preview(self, value: Path) -> Preview:
        """The size, and the first names."""
        manifest = _scan(value, None, with_digests=False)
        files = [entry for entry in manifest.entries if entry.kind == "file"]
        size = sum(entry.size_bytes for entry in files)
        names = [[shorten(entry.name, 100), entry.size_bytes] for entry in files[:100]]
        summary = f"{manifest.name}, {size:,} bytes" if manifest.is_file else f"{len(files):,} files, {size:,} bytes"
        kind = "file" if manifest.is_file else "tree"
        return Preview(kind, shorten(summary, 100), {"files": len(files), "size_bytes": size, "names": names})

    def compare(self, old: Path, new: Path, tolerance: Tolerance) -> Comparison:  # noqa: ARG002  # nothing here is a float
        """The first name that differs."""
        a, b = _scan(old, None), _scan(new, None)
        if a == b:
            return EQUAL
        if (a.is_file, a.name) != (b.is_file, b.name):
            return Comparison("schema", f"The path is another: `{a.name or 'a tree'}` → `{b.name or 'a tree'}`.")
        before, after = {e.name: e for e in a.entries}, {e.name: e for e in b.entries}
        names = sorted(name for name in before.keys() | after.keys() if before.get(name) != after.get(name))
        how = "is gone" if names[0] not in after else "is new" if names[0] not in before else "differs"
        return Comparison("values", f"{len(names):,} files differ, first: `{names[0]}` {how}.")


def _scan(path: Path, blobs: BlobAccess | None, *, with_digests: bool = True) -> _Manifest:
    state, root = State(), Path(os.path.realpath(path))
    if (part := state.around(str(root))) is not None:
        raise CodecError(f"The path `{path}` is the state of a workspace (`{part}`), not data, so it can't be kept.")
    try:
        if path.is_dir():
            entries = tuple(_entry(root, file, blobs, with_digests) for file in _walk(root, state))
            names = {entry.name: entry for entry in entries}
            for entry in entries:
                if entry.kind == "link":
                    _check_link(entry, names)
            return _Manifest("", False, entries)
        if not path.exists():
            do = "Give" if blobs is None else "Return"  # an argument is only digested first, a result is stored at once
            raise CodecError(f"The path `{path}` does not exist, so it can't be kept. {do} a path to what is there.")
        entry = _entry(root.parent, root, blobs, with_digests)
        return _Manifest(path.name, True, (msgspec.structs.replace(entry, name=path.name),))
    except OSError as error:
        raise CodecError(f"The path `{path}` can't be read: {error.strerror or error}.") from error


def _walk(folder: Path, state: State) -> Iterator[Path]:
    for entry in sorted(os.scandir(folder), key=lambda e: e.name):
        if state.holds(str(folder), entry.name):
            continue
        yield Path(entry.path)
        if entry.is_dir(follow_symlinks=False):
            yield from _walk(Path(entry.path), state)


def _entry(root: Path, path: Path, blobs: BlobAccess | None, with_digests: bool) -> _Entry:
    name = path.relative_to(root).as_posix()
    try:
        name.encode()
    except UnicodeEncodeError as error:
        raise CodecError(f"The name `{name!r}` is not UTF-8, so it can't be kept. Rename the file.") from error
    status = path.lstat()
    if stat.S_ISLNK(status.st_mode):
        target = os.readlink(path)
        return _Entry(name, "link", target=target)
    if stat.S_ISDIR(status.st_mode):
        return _Entry(name, "directory")
    if not stat.S_ISREG(status.st_mode):
        raise CodecError(f"`{path}` is neither a file, a directory nor a link, so it can't be kept.")
    digest = "" if not with_digests else _file_digest(path) if blobs is None else blobs.put(path)
    return _Entry(name, "file", digest, status.st_size, bool(status.st_mode & stat.S_IXUSR))


def _file_digest(path: Path) -> str:
    return (
        blake3(max_threads=blake3.AUTO).update_mmap(path).hexdigest() if path.stat().st_size else blake3().hexdigest()
    )


def _stays_inside(name: str, target: str) -> bool:
    if not target or target.startswith("/"):
        return False
    depth = name.count("/")
    for part in target.split("/"):
        depth += -1 if part == ".." else 0 if part in ("", ".") else 1
        if depth < 0:
            return False
    return True


def _check_link(entry: _Entry, names: dict[str, _Entry]) -> None:
    if not _stays_inside(entry.name, entry.target):
        raise CodecError(
            f"The link `{entry.name}` leads out of the tree, to `{entry.target}`. Put the file itself into the tree."
        )
    place = entry.name.split("/")[:-1]
    parts = [part for part in entry.target.split("/") if part not in ("", ".")]
    for part in parts[:-1]:
        place = place[:-1] if part == ".." else [*place, part]
        met = names.get("/".join(place))
        if met is not None and met.kind == "link":
            # Two links that each stay inside as text can lead out together.
            raise CodecError(
                f"The link `{entry.name}` goes through another link, `{met.name}`. Let it name its end directly."
            )


def _check_manifest(manifest: _Manifest) -> None:
    names = {entry.name: entry for entry in manifest.entries}
    if manifest.is_file and (
        list(names) != [manifest.name] or manifest.entries[0].kind != "file" or "/" in manifest.name
    ):
        raise CodecError("The stored path is not one file.")
    if not manifest.is_file and manifest.name:
        raise CodecError("The stored tree has a name, which it must not.")
    for entry in manifest.entries:
        parts = entry.name.split("/")
        if any(part in ("", ".", "..") for part in parts) or "\0" in entry.name:
            raise CodecError(f"The stored name `{entry.name!r}` would leave its folder, so nothing is written.")
        above = ("/".join(parts[:i]) for i in range(1, len(parts)))
        if any(parent in names and names[parent].kind != "directory" for parent in above):
            raise CodecError(f"The stored name `{entry.name}` lies below something that is not a directory.")
        if entry.kind == "link":
            _check_link(entry, names)


@contextmanager
def _new_folder(parent: Path) -> Iterator[Path]:
    """A folder of its own below another, which stays if the block ends well."""
    try:
        with naming_full_disk(parent):
            parent.mkdir(parents=True, exist_ok=True)
            made = Path(tempfile.mkdtemp(prefix=_PREFIX, dir=parent))
            try:
                yield made
            except BaseException:
                shutil.rmtree(made, ignore_errors=True)
                raise
    except StorageError:
        raise
    except OSError as error:
        reason = f"a stored path can't be written there ({error.strerror or error})"
        raise StorageError(str(parent), reason) from error


def _write_tree(manifest: _Manifest, target: Path, blobs: BlobAccess) -> None:
    root = target.parent if manifest.is_file else target
    root.mkdir(parents=True)
    for entry in manifest.entries:
        path = root / entry.name
        path.parent.mkdir(parents=True, exist_ok=True)
        if entry.kind == "directory":
            path.mkdir(exist_ok=True)
        elif entry.kind == "link":
            path.symlink_to(entry.target)
        else:
            handle = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
            try:
                copy_file(blobs.path(entry.digest), handle)
                os.fchmod(handle, 0o555 if entry.executable else 0o444)
            finally:
                os.close(handle)


def stored_name(path: Path) -> str | None:
    """A name for what lies in a stored tree that was written here: `artifact:DIGEST/name`, the same on every machine.

    None for any other path.
    """
    parts = path.absolute().parts
    for place, part in enumerate(parts):
        if part.startswith(_PREFIX) and len(parts) > place + 2:
            return "/".join([f"artifact:{parts[place + 1][:16]}", *parts[place + 3 :]])
    return None


def stored_blob(name: str) -> str:
    """The first digits of the blob that a name given by `stored_name` lies in; empty for any other text.

    >>> stored_blob("artifact:a8d9ef6dc5ec747d/flights.parquet")
    'a8d9ef6dc5ec747d'
    """
    scheme, _, rest = name.partition(":")
    return rest.partition("/")[0] if scheme == "artifact" else ""


@cache
def _of_this_process() -> Scratch:
    return Scratch()
