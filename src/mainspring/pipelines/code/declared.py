"""Inputs that code declares where it uses them: `ms.file` and `ms.env`. What they give is part of the cache key.

The first argument is a literal, because it is read from the source; a declared file travels with the recorded code.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from pathlib import Path
from typing import overload

from mainspring.errors import InvalidError

_PROJECT_FILES = ("mainspring.toml", "pyproject.toml", ".mainspring")

# The engine sets it to the project, or to the recorded code, that a task runs in.
_scratch: ContextVar[Path | None] = ContextVar("scratch", default=None)
project_root: ContextVar[Path | None] = ContextVar("project_root", default=None)


def file(path: str) -> Path:
    """The absolute path of a file or folder that the code reads, declared: its content is part of the key.

    `path` is a literal, relative to the folder of the module that calls this; if nothing is there, to the project's
    root. The file need not exist.

    Raises:
        InvalidError: the path is absolute, or leads out of the project.
    """
    frame = sys._getframe(1)
    source = frame.f_globals.get("__file__")
    home = Path(os.path.abspath(source)).parent if source else Path.cwd()
    return place_of(path, home, project_root.get() or _root_above(home))


@overload
def env(name: str) -> str | None: ...
@overload
def env(name: str, default: str) -> str: ...
@overload
def env(name: str, default: None) -> str | None: ...
def env(name: str, default: str | None = None) -> str | None:
    """The value of an environment variable, declared: its value is part of the key. `name` is a literal."""
    return os.environ.get(name, default)


def scratch() -> Path:
    """An empty folder for this attempt of the step, removed when its outputs are kept.

    Return a path below it, and the file or folder is kept as an artifact.

    Raises:
        InvalidError: no step is running.
    """
    folder = _scratch.get()
    if folder is None:
        raise InvalidError("ms.scratch", "here", "inside a step", "Outside one, use the tempfile module.")
    folder.mkdir(parents=True, exist_ok=True)
    return folder


@contextmanager
def scratch_folder(folder: Path) -> Iterator[None]:
    """Make a folder the one that `scratch` gives, for the block. It is made only if a step asks for it."""
    token = _scratch.set(folder)
    try:
        yield
    finally:
        _scratch.reset(token)


def place_of(path: str, home: Path, root: Path) -> Path:
    """Where a declared file lies, for a module in the folder `home` of the project at `root`.

    Raises:
        InvalidError: the path is absolute, or leads out of the project.
    """
    if os.path.isabs(path) or not path:
        raise InvalidError("ms.file", path, "a path relative to its module or to the project's root")
    beside = Path(os.path.normpath(home / path))
    found = beside if os.path.lexists(beside) else Path(os.path.normpath(root / path))
    if not found.is_relative_to(root) and not found.is_relative_to(home):
        raise InvalidError("ms.file", path, f"a path inside the project {root}")
    return found


def _root_above(home: Path) -> Path:
    for folder in (home, *home.parents):
        if any((folder / name).exists() for name in _PROJECT_FILES):
            return folder
    return home
