"""Finds the project's modules by name, as Python's own search would, without importing anything."""

from __future__ import annotations

import os
from bisect import bisect_left
from collections.abc import Sequence
from operator import attrgetter
from pathlib import Path

import msgspec

_SKIPPED = {"__pycache__", "node_modules", "site-packages"}


class ModuleFile(msgspec.Struct, frozen=True):
    """A module of the project and the file it comes from."""

    name: str
    path: Path


class Found(msgspec.Struct, frozen=True):
    """Where a module is. A namespace package has no path."""

    name: str
    path: Path | None
    package: bool


class ProjectModules:
    """The modules below a project's import roots (its root, and `src` in it). Folders are listed once."""

    def __init__(self, root: Path, import_roots: Sequence[Path] | None = None) -> None:
        self.root = root
        self.import_roots = tuple(import_roots) if import_roots is not None else import_roots_of(root)
        self._found: dict[str, Found | None] = {}
        self._folders: dict[str, frozenset[str]] = {}
        self._everything: list[Found] | None = None

    def find(self, name: str) -> Found | None:
        """The project's module of that name, or `None` if it has none."""
        if name not in self._found:
            self._found[name] = self._find(name)
        return self._found[name]

    def shown(self, path: Path) -> str:
        """A path as messages and keys name it: relative to the project's root where it lies inside."""
        text, root = str(path), str(self.root) + os.sep
        return text[len(root) :].replace(os.sep, "/") if text.startswith(root) else text

    def everything(self) -> Sequence[Found]:
        """Every module of the project, sorted by name."""
        if self._everything is None:
            listed = (self.find(name) for name in sorted(self._names()))
            self._everything = [found for found in listed if found is not None and found.path is not None]
        return self._everything

    def below(self, package: str) -> Sequence[Found]:
        """Every module inside a package, at any depth, sorted by name."""
        every, name = self.everything(), attrgetter("name")
        return every[bisect_left(every, f"{package}.", key=name) : bisect_left(every, f"{package}/", key=name)]

    def _names(self) -> set[str]:
        names: set[str] = set()
        for root in self.import_roots:
            for folder, inner, files in os.walk(root):
                inner[:] = sorted(
                    part
                    for part in inner
                    if part.isidentifier()
                    and (part not in _SKIPPED or os.path.exists(os.path.join(folder, part, "__init__.py")))
                    and not os.path.exists(os.path.join(folder, part, "pyvenv.cfg"))
                )
                inside = os.path.relpath(folder, root)
                prefix = [] if inside == "." else inside.split(os.sep)
                names.update(
                    ".".join([*prefix, *([] if file == "__init__.py" else [file[:-3]])])
                    for file in files
                    if file.endswith(".py") and file[:-3].isidentifier() and file != "__main__.py"
                )
        return names - {""}

    def _find(self, name: str) -> Found | None:
        inside = name.split(".")
        if not all(part.isidentifier() for part in inside):
            return None
        namespace = False
        for root in self.import_roots:
            folder = os.path.join(root, *inside[:-1])
            held = self._list(folder)
            if inside[-1] in held and "__init__.py" in self._list(os.path.join(folder, inside[-1])):
                return Found(name, Path(folder, inside[-1], "__init__.py"), package=True)
            if f"{inside[-1]}.py" in held:
                return Found(name, Path(folder, f"{inside[-1]}.py"), package=False)
            namespace = namespace or (inside[-1] in held and self._holds_modules(os.path.join(folder, inside[-1])))
        return Found(name, None, package=True) if namespace else None

    def _holds_modules(self, folder: str, depth: int = 3) -> bool:
        """Whether a folder without `__init__.py` is a package of the project rather than some folder of data."""
        held = self._list(folder)
        if any(name.endswith(".py") for name in held):
            return True
        inner = (os.path.join(folder, name) for name in held if name.isidentifier() and name not in _SKIPPED)
        return depth > 0 and any(self._holds_modules(name, depth - 1) for name in inner)

    def _list(self, folder: str) -> frozenset[str]:
        if folder not in self._folders:
            try:
                with os.scandir(folder) as entries:
                    # A link that leads nowhere is no module, as for Python's own search.
                    found = [each.name for each in entries if not each.is_symlink() or os.path.exists(each.path)]
            except OSError:
                found = []
            self._folders[folder] = frozenset(found)
        return self._folders[folder]


def import_roots_of(root: Path) -> tuple[Path, ...]:
    """Where a project's modules are imported from: `src` if it has one, then its root."""
    source = root / "src"
    return (source, root) if source.is_dir() else (root,)
