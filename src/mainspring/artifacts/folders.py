"""What is known of files and trees around their codec: where decoded ones are written, and who is told of stored ones.

Decoded ones lie below the folder of the task that asks, else of this process.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from pathlib import Path

_folder: ContextVar[Path | None] = ContextVar("decoded_paths", default=None)
_told: ContextVar[Callable[[Path], None] | None] = ContextVar("stored_paths", default=None)


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


@contextmanager
def stored_paths_told(tell: Callable[[Path], None]) -> Iterator[None]:
    """Tell of each path whose content is stored in the block, wherever in a value it stands, before it is read."""
    token = _told.set(tell)
    try:
        yield
    finally:
        _told.reset(token)


def tell_stored(path: Path) -> None:
    """Tell whoever wants to know that the content of a path is about to be stored."""
    tell = _told.get()
    if tell is not None:
        tell(path)
