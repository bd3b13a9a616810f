"""Layers: files as a compressed tar, the same bytes for the same files whatever machine, path or time writes them.

Digests of compressed layers are those of one release of zlib; the `diff_id` of a layer is over what is packed, and of none.
OCI image specification: https://github.com/opencontainers/image-spec/blob/v1.1.0/layer.md.
"""

from __future__ import annotations

import hashlib
import io
import os
import tarfile
from collections.abc import Mapping
from gzip import GzipFile
from pathlib import Path, PurePosixPath
from typing import Any, BinaryIO, cast

import msgspec

from mainspring.deploy.tree import Tree

LAYER = "application/vnd.oci.image.layer.v1.tar+gzip"
_LEVEL = 6  # of gzip: 9 takes three times as long for one percent


class Descriptor(msgspec.Struct, frozen=True, rename="camel", omit_defaults=True):
    """What names a blob of an image (descriptor.md)."""

    media_type: str
    digest: str
    size: int
    annotations: dict[str, str] = {}
    platform: dict[str, str] | None = None


class Layer(msgspec.Struct, frozen=True):
    """A layer that was written: its blob, the digest of what is packed in it, and what it holds in a few words."""

    descriptor: Descriptor
    diff_id: str
    about: str


class Folder(msgspec.Struct, frozen=True):
    """A folder that is not root's alone: owner, group and permissions."""

    user: int
    group: int
    mode: int


class _Hashing:
    """What is written goes on, counted and digested."""

    def __init__(self, target: Any) -> None:
        self._target = target
        self._digest = hashlib.sha256()
        self.size = 0

    def write(self, data: bytes) -> int:
        self._target.write(data)
        self._digest.update(data)
        self.size += len(data)
        return len(data)

    def tell(self) -> int:
        return self.size

    def flush(self) -> None:
        self._target.flush()

    @property
    def digest(self) -> str:
        return f"sha256:{self._digest.hexdigest()}"


def write_layer(
    files: Tree, blobs: Path, about: str, *, mtime_s: int = 0, folders: Mapping[str, Folder] | None = None
) -> Layer:
    """Write a layer into a folder of blobs named by their digests. Files belong to root and may be read by everybody.

    Raises:
        OSError: it can't be written.
    """
    scratch = blobs / ".layer"
    with scratch.open("wb") as file:
        packed = _Hashing(file)
        with GzipFile(
            fileobj=cast(BinaryIO, packed), mode="wb", compresslevel=_LEVEL, mtime=0, filename=""
        ) as compressing:
            plain = _Hashing(compressing)
            with tarfile.open(fileobj=cast(BinaryIO, plain), mode="w", format=tarfile.PAX_FORMAT) as archive:
                _write(archive, files, folders or {}, mtime_s)
    os.replace(scratch, blobs / packed.digest.removeprefix("sha256:"))
    return Layer(Descriptor(LAYER, packed.digest, packed.size), plain.digest, about)


def _write(archive: tarfile.TarFile, files: Tree, folders: Mapping[str, Folder], mtime_s: int) -> None:
    above = {str(each) for path in (*files, *folders) for each in PurePosixPath(path).parents} - {"."}
    for path in sorted({*files, *folders, *above}):
        entry = tarfile.TarInfo(path)
        entry.mtime = mtime_s
        if path in files:
            entry.mode, entry.size = 0o755 if files[path].is_program else 0o644, files[path].size_bytes
            with _opened(files[path].content) as content:
                archive.addfile(entry, content)
            continue
        kept = folders.get(path, Folder(0, 0, 0o755))
        entry.type, entry.mode, entry.uid, entry.gid = tarfile.DIRTYPE, kept.mode, kept.user, kept.group
        archive.addfile(entry)


def _opened(content: bytes | Path) -> BinaryIO:
    return io.BytesIO(content) if isinstance(content, bytes) else content.open("rb")
