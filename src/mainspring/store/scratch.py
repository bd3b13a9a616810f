"""Temporary folders that live as long as an object or a block, and of which a killed process leaves none for long.

Each holds a locked file; the kernel frees the lock with the last process that has it, and the next folder that is made
takes the unlocked ones away. Those with files that must not be lost stay for a week, for whoever looks for them.
"""

from __future__ import annotations

import fcntl
import os
import time
import weakref
from collections.abc import Callable
from contextlib import suppress
from functools import partial
from pathlib import Path
from types import TracebackType

from mainspring.store.own_work import at_own_work

_PREFIX = "mainspring-scratch-"
_LOCK = "in-use"  # holds the pattern of the files that must not be lost
_KEPT_S = 7 * 86_400.0


class Scratch:
    """A new folder, `path`, removed when it is closed, or with this object, or after its process was killed.

    A process that inherits the descriptor `lock` keeps the folder for its own life. With files that fit `keeps` it stays for
    a week after a kill (`find_in_scratch`, `drop_from_scratch`).

    >>> with Scratch() as folder:
    ...     _ = (folder / "rows.parquet").write_bytes(b"")
    >>> folder.exists()
    False
    """

    def __init__(self, *, keeps: str = "") -> None:
        import tempfile  # ten milliseconds of what a run from the cache takes

        parent = Path(tempfile.gettempdir())
        _sweep(parent)
        made = Path(tempfile.mkdtemp(prefix="mainspring-new-"))
        self.lock = os.open(made / _LOCK, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        fcntl.flock(self.lock, fcntl.LOCK_EX)
        os.write(self.lock, keeps.encode())
        folder = made.rename(parent / made.name.replace("mainspring-new-", _PREFIX))  # only now may a sweep look at it
        self.path = folder / "files"
        self.path.mkdir()
        self._remove = weakref.finalize(self, _remove, folder, self.lock, os.getpid())

    def close(self) -> None:
        """Remove the folder and what is in it."""
        self._remove()

    def __enter__(self) -> Path:
        return self.path

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self.close()


def find_in_scratch(pattern: str) -> Path | None:
    """What fits a pattern in one of the folders of this machine, also of a process that was killed; None if nothing does."""
    import tempfile

    return next(Path(tempfile.gettempdir()).glob(f"{_PREFIX}*/files/{pattern}"), None)


def drop_from_scratch(pattern: str) -> None:
    """Remove the folders with what fits a pattern that nobody uses: what had to be kept of them is somewhere else now."""
    found = find_in_scratch(pattern)
    if found is not None:
        with at_own_work(), suppress(OSError):
            _remove_unused(found.parent.parent, is_needed=lambda _: False)


def _remove(folder: Path, lock: int, pid: int) -> None:
    if os.getpid() == pid:  # a forked child shares its parent's folder but doesn't own it
        import shutil

        shutil.rmtree(folder, ignore_errors=True)
        os.close(lock)


def _sweep(parent: Path) -> None:
    with at_own_work():
        for folder in parent.glob(f"{_PREFIX}*"):
            with suppress(OSError):  # another user's, in use, or gone by now
                _remove_unused(folder, is_needed=partial(_is_needed, folder))


def _is_needed(folder: Path, pattern: str) -> bool:
    """Whether there are files which must not be lost, that were written lately."""
    files = (folder / "files").glob(pattern) if pattern else ()
    return any(time.time() - file.lstat().st_mtime < _KEPT_S for file in files)


def _remove_unused(folder: Path, *, is_needed: Callable[[str], bool]) -> None:
    import shutil

    lock = os.open(folder / _LOCK, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)  # gone if a removal was killed
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        if not is_needed(os.read(lock, 4096).decode()):
            shutil.rmtree(folder, ignore_errors=True)
    finally:
        os.close(lock)
