"""Temporary folders that live as long as an object, and of which a killed process leaves none for long.

Each holds a locked file; the kernel frees the lock with the last process that has it, and the next folder that is made
takes the unlocked ones away.
"""

from __future__ import annotations

import fcntl
import os
import shutil
import tempfile
import weakref
from contextlib import suppress
from pathlib import Path

_PREFIX = "mainspring-blobs-"
_LOCK = "in-use"


def scratch_folder(owner: object) -> Path:
    """A new folder, removed with its owner."""
    parent = Path(tempfile.gettempdir())
    _sweep(parent)
    made = Path(tempfile.mkdtemp(prefix="mainspring-new-"))
    lock = os.open(made / _LOCK, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    fcntl.flock(lock, fcntl.LOCK_EX)
    folder = made.rename(parent / made.name.replace("mainspring-new-", _PREFIX))  # only now may a sweep look at it
    weakref.finalize(owner, _remove, folder, lock, os.getpid())
    return folder


def _remove(folder: Path, lock: int, pid: int) -> None:
    if os.getpid() == pid:  # a forked child shares its parent's folder but doesn't own it
        shutil.rmtree(folder, ignore_errors=True)
        os.close(lock)


def _sweep(parent: Path) -> None:
    for folder in parent.glob(f"{_PREFIX}*"):
        with suppress(OSError):  # another user's, in use, or gone by now
            lock = os.open(folder / _LOCK, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)  # gone if a removal was killed
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
                shutil.rmtree(folder, ignore_errors=True)
            finally:
                os.close(lock)
