"""What is known of a working copy on this machine, so that unchanged files needn't be read again. Safe to delete.

Invariant: a file whose stamp is that of the index has the digest of the index (git's rule: a stamp so young that a later
change could bear it too is not kept).
"""

from __future__ import annotations

import os
from contextlib import suppress
from pathlib import Path

import msgspec
from blake3 import blake3

from mainspring.data.trees.scan import Place, Stamp
from mainspring.store.stamps import is_racy, real_time_ns

_FORMAT = 1


class Seen(msgspec.Struct, array_like=True, gc=False, frozen=True):
    """A file as it was last seen. `placed` is the digest that a version gave it when it was added or checked out here."""

    size_bytes: int
    mtime_ns: int
    ctime_ns: int
    inode: int
    executable: bool
    digest: bytes
    placed: bytes = b""
    media: str = ""

    def is_now(self, stamp: Stamp) -> bool:
        """Whether a file with this stamp has the digest still."""
        return (
            self.mtime_ns == stamp[1]
            and self.size_bytes == stamp[0]
            and self.ctime_ns == stamp[2]
            and self.inode == stamp[3]
            and self.executable == stamp[4]
        )


class Index(msgspec.Struct):
    """The files of one working copy. `pending` is the manifest of a checkout that was begun and not finished."""

    format: int = _FORMAT
    path: str = ""
    pending: str = ""
    files: dict[str, Seen] = {}

    def note(self, path: str, stamp: Stamp, digest: bytes, read_at_ns: int, *, placed: bytes, media: str = "") -> None:
        """Remember a file that was read at that instant; `placed` as in `Seen`."""
        mtime_ns = -1 if is_racy(stamp.changed_at_ns, read_at_ns) else stamp.mtime_ns
        self.files[path] = Seen(
            stamp.size_bytes, mtime_ns, stamp.ctime_ns, stamp.inode, stamp.executable, digest, placed, media
        )


def read_index(cache: Path, place: Place) -> Index:
    """The index of a working copy; an empty one if there is none, or if it can't be read."""
    with suppress(OSError, msgspec.MsgspecError):
        index = _DECODER.decode(_file(cache, place).read_bytes())
        if (index.format, index.path) == (_FORMAT, place.path):
            return index
    return Index(path=place.path)


def write_index(cache: Path, place: Place, index: Index) -> None:
    """Keep an index, in one step; a cache that can't be written is done without."""
    file = _file(cache, place)
    temporary = file.with_name(f"{file.name}.{os.getpid()}-{real_time_ns()}")
    with suppress(OSError):
        file.parent.mkdir(parents=True, exist_ok=True)
        try:
            temporary.write_bytes(msgspec.msgpack.encode(index))
            temporary.replace(file)
        except OSError:
            temporary.unlink(missing_ok=True)
            raise


def _file(cache: Path, place: Place) -> Path:
    return cache / "trees" / f"{blake3(os.fsencode(place.path)).hexdigest()[:32]}.index"


_DECODER = msgspec.msgpack.Decoder(Index)
