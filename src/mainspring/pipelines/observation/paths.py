"""Paths as programs give them, as an observer compares them."""

from __future__ import annotations

import os
import stat
from functools import lru_cache


@lru_cache(maxsize=256)
def real_path(path: str) -> str:
    """A path without links in it, as it was when it was first asked for."""
    return os.path.realpath(path)


def absolute(path: object) -> str | None:
    """A path as the program gave it, made absolute; nothing for a descriptor or what is no path."""
    if isinstance(path, int):
        return None
    try:
        return os.path.abspath(os.fsdecode(path))  # type: ignore[arg-type]  # anything may be passed; what is no path raises
    except (TypeError, ValueError, OSError):  # no path at all, or the working directory is gone
        return None


def is_folder(path: str) -> bool:
    """Whether there is a folder at a path, or behind a link there."""
    try:
        return stat.S_ISDIR(os.stat(path).st_mode)
    except (OSError, ValueError):
        return False


def source_of(path: str) -> str:
    """The source file behind a compiled one: `a/__pycache__/b.cpython-311.pyc` is `a/b.py`."""
    if not path.endswith(".pyc"):
        return path
    folder, name = os.path.split(path)
    if os.path.basename(folder) != "__pycache__":
        return path[:-1]
    return os.path.join(os.path.dirname(folder), name.split(".")[0] + ".py")
