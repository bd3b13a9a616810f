"""Where decoded files and trees are written: below the folder of the task that asks, else of this process."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from pathlib import Path

_folder: ContextVar[Path | None] = ContextVar("decoded_paths", default=None)


@contextmanager
def paths_below(folder: Path) -> Iterator[None]:
    """Write decoded paths below this folder for the block; it is made when the first comes, and is the caller's to remove."""
    token = _folder.set(folder)
    try:
        yield
    finally:
        _folder.reset(token)


def paths_folder() -> Path | None:
    """The folder of the block that this code belongs to, if there is one."""
    return _folder.get()
