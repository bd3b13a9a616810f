"""What lies in a folder now: files and links by path, with the stamps by which a change is seen."""

from __future__ import annotations

import errno
import os
import stat
from pathlib import Path
from typing import NamedTuple

from mainspring.errors import InvalidError, NotFoundError, StorageError
from mainspring.workspace import State, Workspace

OWN_PREFIX = ".mainspring-"
"""How names of unfinished files begin that a checkout writes; they are in no tree."""
_FORMAT = 0o170000


class Stamp(NamedTuple):
    """The state of a file by which a change of its bytes is seen; what is read between two equal ones belongs together."""

    size_bytes: int
    mtime_ns: int
    ctime_ns: int
    inode: int
    executable: bool
    is_link: bool = False

    @property
    def changed_at_ns(self) -> int:
        """When the file, or what is said of it, was changed last."""
        return max(self.mtime_ns, self.ctime_ns)


class Place(NamedTuple):
    """A working copy: a folder, or one file in a folder (`only`)."""

    folder: str
    only: str = ""

    @property
    def path(self) -> str:
        """The folder, or the file."""
        return os.path.join(self.folder, self.only) if self.only else self.folder


def place_of(path: str | Path) -> Place:
    """The working copy at a path: a file that is there, else a folder; links to it are followed."""
    found = os.path.realpath(os.path.expanduser(path))
    return Place(*os.path.split(found)) if os.path.isfile(found) else Place(found)


def stamp_of(found: os.stat_result) -> Stamp:
    """The stamp in what `stat` gave."""
    mode = found.st_mode
    values = (
        found.st_size, found.st_mtime_ns, found.st_ctime_ns, found.st_ino, mode & 0o100 != 0,
        mode & _FORMAT == stat.S_IFLNK,
    )  # fmt: skip
    return tuple.__new__(Stamp, values)  # a named tuple's own constructor takes as long as `stat`


def scan(place: Place, workspace: Workspace) -> dict[str, Stamp]:
    """Every file and link of a working copy by path, in the order of their names; folders themselves don't count.

    The state of this or another workspace that lies in it is left out.

    Raises:
        NotFoundError: there is no such folder.
        InvalidError: something in it can be in no tree: a socket, pipe or device, a name that is not UTF-8. It is named.
            The whole is the state of a workspace.
        StorageError: a folder can't be read.
    """
    found: dict[str, Stamp] = {}
    state = State(workspace)
    if (part := state.around(place.path)) is not None:
        raise InvalidError(place.path, "a workspace's own state", "data", f"It is a part of {part}.")
    try:
        if place.only:
            found[place.only] = _stamp(place.folder, place.only, os.lstat(place.path))
        else:
            _walk(place.folder, "", found, state)
    except FileNotFoundError as error:
        if not os.path.lexists(place.path):
            raise NotFoundError("folder", place.path) from error
        raise StorageError(error.filename or place.path, "it was removed while the folder was read") from error
    except NotADirectoryError as error:
        expected = "a folder" if os.path.isfile(place.path) else "a file or folder"
        raise InvalidError(place.path, "what is there", expected) from error
    except OSError as error:
        raise unreadable(error.filename or place.path, error) from error
    return found


def unreadable(path: str, error: OSError) -> StorageError:
    """The error for a file or folder of the user's that can't be read or written."""
    if isinstance(error, StorageError):
        return error
    if error.errno in (errno.ENOSPC, errno.EDQUOT):
        return StorageError(path, "the disk is full", "Free some space and do it again; nothing is damaged.")
    return StorageError(path, f"it can't be read or written ({os.strerror(error.errno or 0)})")


def _walk(folder: str, prefix: str, found: dict[str, Stamp], state: State) -> None:
    # By a handle: with paths, the kernel would look up every folder above for each file again (a quarter of the time).
    handle = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        with os.scandir(handle) as listing:
            entries = sorted(listing, key=_name)
        folders = []
        for entry in entries:
            name = entry.name
            if name.startswith(OWN_PREFIX) or state.holds(folder, name):
                continue
            if entry.is_dir(follow_symlinks=False):
                folders.append(name)
            else:
                found[prefix + name] = _stamp(folder, name, entry.stat(follow_symlinks=False))
    finally:
        os.close(handle)
    for name in folders:
        path = os.path.join(folder, name)
        _check_name(folder, name)
        _walk(path, f"{prefix}{name}/", found, state)


def _name(entry: os.DirEntry[str]) -> str:
    return entry.name


def _stamp(folder: str, name: str, found: os.stat_result) -> Stamp:
    if not name.isascii():
        _check_name(folder, name)
    if found.st_mode & _FORMAT not in (stat.S_IFREG, stat.S_IFLNK):
        path = os.path.join(folder, name)
        raise InvalidError(path, _kind(found.st_mode), "a file, folder or link", "It can't be kept.")
    return stamp_of(found)


def _check_name(folder: str, name: str) -> None:
    try:
        name.encode()
    except UnicodeEncodeError as error:
        hint = "Rename the file; other machines could not read it."
        raise InvalidError(repr(folder), repr(name), "a name in UTF-8", hint) from error


def _kind(mode: int) -> str:
    kinds = ((stat.S_ISSOCK, "a socket"), (stat.S_ISFIFO, "a pipe"))
    return next((name for is_one, name in kinds if is_one(mode)), "a device")
