"""Files written out of the store: whole under a name of their own, then renamed; blocks shared where the disk can."""

from __future__ import annotations

import itertools
import os
import unicodedata
from collections.abc import Iterable
from contextlib import suppress

from mainspring.data.trees.entries import CHUNKED, LINK, PACKED, Entry
from mainspring.data.trees.manifest import read_chunk, read_chunks
from mainspring.data.trees.reading import TreeReader
from mainspring.data.trees.scan import OWN_PREFIX, Stamp, stamp_of
from mainspring.store.blobs import write_all
from mainspring.store.copying import copy_file

_FLAGS = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC | os.O_NOFOLLOW
_numbers = itertools.count()


class FileWriter:
    """Writes files of a version below a folder."""

    def __init__(self, reader: TreeReader, folder: str) -> None:
        self._reader, self._folder = reader, folder
        self._made: set[str] = {""}

    def write(self, path: str, entry: Entry) -> Stamp:
        """Write one file or link in one step, in place of what has its name; gives its stamp."""
        parent = os.path.dirname(path)
        if parent not in self._made:
            os.makedirs(os.path.join(self._folder, parent), exist_ok=True)
            self._made.add(parent)
        target = os.path.join(self._folder, path)
        temporary = os.path.join(self._folder, f"{OWN_PREFIX}{os.getpid()}-{next(_numbers)}.part")
        try:
            if entry.form == LINK:
                os.symlink(entry.home, os.fsencode(temporary))
            else:
                self._fill(temporary, entry)
            if os.path.isdir(target) and not os.path.islink(target):
                os.rmdir(target)  # an empty one; others were refused
            os.replace(temporary, target)
        except BaseException:
            with suppress(OSError):
                os.unlink(temporary)
            raise
        return stamp_of(os.lstat(target))

    def sweep(self) -> None:
        """Remove what killed checkouts left unfinished in the folder."""
        with os.scandir(self._folder) as entries:
            left = [
                entry.path for entry in entries if entry.name.startswith(OWN_PREFIX) and entry.name.endswith(".part")
            ]
        for path in left:
            if not _is_alive(os.path.basename(path)[len(OWN_PREFIX) :].partition("-")[0]):
                with suppress(OSError):
                    os.unlink(path)

    def _fill(self, temporary: str, entry: Entry) -> None:
        handle = os.open(temporary, _FLAGS, 0o777 if entry.executable else 0o666)
        try:
            if entry.form == PACKED:
                write_all(handle, self._reader.read_packed(entry))
            elif entry.form == CHUNKED:
                for chunk in read_chunks(self._reader.blobs, entry.home):
                    write_all(handle, read_chunk(self._reader.blobs, chunk))
            else:
                copy_file(self._reader.blobs.path(entry.digest.hex()), handle)
        finally:
            os.close(handle)


def case_collisions(paths: Iterable[str]) -> list[list[str]]:
    """Groups of paths that are one where the file system folds case or Unicode forms.

    >>> case_collisions(["a/B.png", "a/b.png", "c"])
    [['a/B.png', 'a/b.png']]
    """
    groups: dict[str, list[str]] = {}
    for path in paths:
        folded = path.lower() if path.isascii() else unicodedata.normalize("NFC", path).casefold()
        groups.setdefault(folded, []).append(path)
    return [group for group in groups.values() if len(group) > 1]


def folds_case(folder: str) -> bool:
    """Whether names that differ only in case are one in this folder."""
    name = f"{OWN_PREFIX}Case-{os.getpid()}-{next(_numbers)}.part"
    path = os.path.join(folder, name)
    os.close(os.open(path, _FLAGS, 0o600))
    try:
        return os.path.exists(os.path.join(folder, name.lower()))
    finally:
        os.unlink(path)


def _is_alive(process: str) -> bool:
    if not process.isdigit() or int(process) == os.getpid():
        return False
    try:
        os.kill(int(process), 0)
    except ProcessLookupError:
        return False
    except OSError:
        return True
    return True
