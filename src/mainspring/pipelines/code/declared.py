"""Inputs that code declares where it uses them: `ms.file` and `ms.env`. What they give is part of the cache key.

The first argument is a literal, because it is read from the source; a declared file travels with the recorded code.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Iterable, Iterator
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


def say_undeclared(error: FileNotFoundError, code: Path) -> None:
    """Say in an error of a worker that a file is the project's and not in the recorded code, if it is so.

    A worker on another machine can't look into the project, and says what would have to be done if it were.
    """
    project = os.environ.get("MAINSPRING_PROJECT")
    names: Iterable[object] = [error.filename]
    if error.filename is None and project:
        names = str(error).replace("'", " ").replace('"', " ").split()
    for name in names:
        inside = _inside(name, (code, Path.cwd()))
        if not inside or (code / inside).exists() or (project and not (Path(project) / inside).exists()):
            continue
        told = (
            f'declare it: ms.file("{inside}")'
            if project
            else f'if it is the project\'s, declare it: ms.file("{inside}")'
        )
        told = f" (`{inside}` is not in the recorded code, which workers run; {told})"
        if error.strerror:
            error.strerror += told
        else:
            error.args = (f"{error}{told}",)
        return


def _inside(name: object, folders: Iterable[Path]) -> str:
    """A path as it lies in one of these folders, or as it was written; empty if it leads elsewhere."""
    if not isinstance(name, str | bytes | os.PathLike):
        return ""
    path = Path(os.path.normpath(os.fsdecode(name)))
    if not path.is_absolute():
        return "" if path.parts[:1] in ((), ("..",)) else path.as_posix()
    return next((path.relative_to(folder).as_posix() for folder in folders if path.is_relative_to(folder)), "")


def _root_above(home: Path) -> Path:
    for folder in (home, *home.parents):
        if any((folder / name).exists() for name in _PROJECT_FILES):
            return folder
    return home
