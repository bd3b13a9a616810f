"""The code of a run as a tree of blobs: the modules it may load and the files it declares. Workers and replay run it.

The digest covers relative paths and contents only, so the same code has one digest wherever it is checked out.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path, PurePosixPath
from types import MappingProxyType
from typing import Protocol

import msgspec
from blake3 import blake3

from mainspring.errors import CorruptBlobError, InvalidError, StorageError, depended_on
from mainspring.pipelines.code.modules import ModuleFile
from mainspring.runs.code import CodeEntry, CodeTree, listed

_EXECUTABLE, _PLAIN = 0o755, 0o644


class CodeBlobs(Protocol):
    """Where code is kept; a `BlobStore` satisfies it."""

    def put(self, data: bytes | Path) -> str:
        """Keep these bytes and give their digest."""
        ...

    def read(self, digest: str) -> bytes:
        """The bytes of that digest, verified."""
        ...


def record(
    project_root: Path, modules: Sequence[ModuleFile], files: Iterable[Path | str], blobs: CodeBlobs,
    texts: Mapping[str, str] = MappingProxyType({}),
) -> CodeTree:  # fmt: skip
    """Keep the sources of these modules and these files (relative ones: to the root; folders with all they hold).

    A declared file that does not exist is left out: it is missing in the tree too. `texts` by their paths in the tree are
    kept as files beside them.

    Raises:
        InvalidError: a file lies outside the project.
        StorageError: a file can't be read.
    """
    root = Path(os.path.abspath(project_root))
    paths = {Path(os.path.abspath(module.path)) for module in modules}
    for file in files:
        paths.update(_expanded(Path(os.path.normpath(root / file))))
    written = [(path, text.encode("utf-8", "surrogatepass")) for path, text in texts.items()]
    entries, manifest, digest = listed(
        [
            *(_entry(path, root, blobs) for path in paths),
            *(CodeEntry(path, blobs.put(data), len(data), _PLAIN) for path, data in written),
        ]
    )
    return CodeTree(digest, blobs.put(manifest), entries)


def read_tree(manifest: str, blobs: CodeBlobs) -> CodeTree:
    """The tree that a manifest's blob lists.

    Raises:
        CorruptBlobError: the blob is no manifest.
    """
    with depended_on("the list of the recorded code"):
        data = blobs.read(manifest)
    try:
        entries = msgspec.json.decode(data, type=tuple[CodeEntry, ...])
    except msgspec.MsgspecError as error:
        raise CorruptBlobError(manifest, blake3(data).hexdigest(), "code tree") from error
    return CodeTree(listed(entries)[2], manifest, entries)


def materialise(manifest: str, blobs: CodeBlobs, target: Path) -> CodeTree:
    """Write a recorded tree below `target`, each file verified against its digest. Files that are there stay.

    Raises:
        InvalidError: a path of the manifest leaves the target.
        CorruptBlobError: a blob is not what its digest says.
        StorageError: the target can't be written.
    """
    tree = read_tree(manifest, blobs)
    places = [(entry, _inside(entry.path, target)) for entry in tree.entries]
    for entry, place in places:
        with depended_on(f"`{entry.path}` in the recorded code"):
            data = blobs.read(entry.blob)
            found = blake3(data).hexdigest()
            if found != entry.blob:
                raise CorruptBlobError(entry.blob, found, entry.path)
        try:
            _write(target, place, data, _EXECUTABLE if entry.mode & 0o100 else _PLAIN)
        except OSError as error:
            raise StorageError(str(place), f"the recorded code can't be written: {error.strerror}") from error
    return tree


def _expanded(path: Path) -> Iterable[Path]:
    if path.is_dir():
        return [file for file in path.rglob("*") if file.is_file() and "__pycache__" not in file.parts]
    return [path] if path.exists() else []


def _entry(path: Path, root: Path, blobs: CodeBlobs) -> CodeEntry:
    if not path.is_relative_to(root):
        raise InvalidError("code", str(path), f"a file inside the project {root}", "It can't be recorded.")
    try:
        data = path.read_bytes()
        mode = _EXECUTABLE if path.stat().st_mode & 0o100 else _PLAIN
    except OSError as error:
        raise StorageError(str(path), f"it can't be read: {error.strerror}") from error
    return CodeEntry(path.relative_to(root).as_posix(), blobs.put(data), len(data), mode)


def _inside(path: str, target: Path) -> Path:
    parts = PurePosixPath(path).parts
    if not parts or path.startswith("/") or ".." in parts or "\0" in path or "\\" in path:
        raise InvalidError("code manifest", path, f"a path inside {target}")
    return target.joinpath(*parts)


def _write(target: Path, place: Path, data: bytes, mode: int) -> None:
    target.mkdir(parents=True, exist_ok=True)
    folder = target
    for part in place.relative_to(target).parts[:-1]:
        folder = folder / part
        if folder.is_symlink():
            raise InvalidError("code manifest", str(folder), f"a folder inside {target}, not a link")
        folder.mkdir(exist_ok=True)
    handle = os.open(place, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW, mode)
    with os.fdopen(handle, "wb") as file:
        file.write(data)
