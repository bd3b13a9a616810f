"""What project modules read while they are imported: an input of every step that loads them.

A module's import is seen once per process, so what it read is kept here, under the import's own spec, and becomes parts
of fingerprints. A file counts by its content, a folder by the names in it, a variable by a digest of its value.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Collection, Iterator, Mapping
from functools import lru_cache
from importlib.machinery import ModuleSpec
from pathlib import Path
from typing import Literal

import msgspec
from blake3 import blake3

from mainspring.artifacts.script import script_file

Kind = Literal["file", "directory", "env", "socket", "subprocess", "dataset", "model", "run", "search", "code"]

MISSING, UNSET = "missing", "unset"
_PART = "read "
_MAY_READ = "call"  # the kind of what was not watched and looks like reading
_NOT_LISTED = frozenset({"__pycache__", ".mainspring"})
_MOST_RECORDED_BYTES = 64 << 20
_Stamp = tuple[int, int, int] | None


class ImportRead(msgspec.Struct, frozen=True):
    """One thing that the import of a module touched. `by` is the line of project code, as `conf.py:3`.

    `path` is absolute, for files and folders; `stamp` the state in which a file was found; `digest` is that of a
    variable's value or a folder's names. Kinds other than these have no content that could be looked at again.
    """

    kind: Kind
    name: str
    by: str = ""
    path: str = ""
    stamp: _Stamp = None
    digest: str = ""

    @property
    def is_input(self) -> bool:
        """Whether its content can be part of a cache key."""
        return _is_input(self.kind, self.name)


class ImportReads:
    """The reads of the modules that are imported in this process. Only what was watched is known."""

    def __init__(self) -> None:
        self._modules: dict[str, tuple[ModuleSpec, dict[tuple[str, str], ImportRead]]] = {}

    def watched(self, spec: ModuleSpec) -> dict[tuple[str, str], ImportRead]:
        """Count a module among those whose import is watched; gives its reads so far."""
        known = self._modules.get(spec.name)
        if known is None or known[0] is not spec:
            known = self._modules[spec.name] = (spec, {})
        return known[1]

    def note(self, spec: ModuleSpec, kind: Kind, name: str, *, by: str, path: str = "") -> None:
        """Keep what the import of a module reads, in the state of this moment; the first sight of a thing counts."""
        reads = self.watched(spec)
        if (kind, name) not in reads:
            digest = value_digest(name) if kind == "env" else names_digest(path) if kind == "directory" else ""
            reads[kind, name] = ImportRead(kind, name, by, path, stamp_of(path) if kind == "file" else None, digest)

    def of(self, name: str, path: Path) -> tuple[ImportRead, ...] | None:
        """What the import of a module read; None if that was not watched, nothing if it was not imported here."""
        live = sys.modules.get(name)
        spec = getattr(live, "__spec__", None)
        known = self._modules.get(name)
        if live is not None and _is_same(getattr(live, "__file__", None), path):
            return tuple(known[1].values()) if known is not None and known[0] is spec else None
        return None if _is_same(script_file(), path) else ()

    def everything(self) -> Iterator[tuple[str, ImportRead]]:
        """All reads of modules that are imported still, with the modules' names."""
        for name, (spec, reads) in self._modules.items():
            if reads and getattr(sys.modules.get(name), "__spec__", None) is spec:
                for read in list(reads.values()):
                    yield name, read


@lru_cache(maxsize=1)
def import_reads() -> ImportReads:
    """Those of this process, which has one table of imported modules."""
    return ImportReads()


class ReadParts(msgspec.Struct):
    """Parts of a fingerprint, notes on why a result can't be reused, and the files that belong to the recorded code."""

    parts: dict[str, str] = {}
    notes: list[str] = []
    files: list[str] = []

    def add(self, module: str, read: ImportRead, root: Path, content: Callable[[Path], str]) -> None:
        """Take in one read of a watched import."""
        key = part_name(module, read.kind, read.name)
        if not read.is_input:
            self.parts[key] = read.by
            self.notes.append(_note(module, read.kind, read.name, read.by))
        elif read.kind != "file":
            self.parts[key] = read.digest
        else:
            path = Path(read.path)
            self.parts[key] = content(path)
            if stamp_of(read.path) != read.stamp:
                self.notes.append(f"not reusable: {read.name} was changed after {module}, which reads it, was imported")
            if path == root / read.name and path.is_relative_to(root) and _is_recordable(read.path):  # else redacted
                self.files.append(read.name)

    def suspect(self, module: str, call: str) -> None:
        """Take in a call that looks like reading, of an import that was not watched: `env:NAME` or `file:line: call`."""
        kind, _, rest = call.partition(":")
        if kind == "env":
            self.parts[part_name(module, "env", rest)] = value_digest(rest)
            return
        place, _, text = call.partition(": ")
        self.parts[part_name(module, _MAY_READ, text)] = place
        self.notes.append(_note(module, _MAY_READ, text, place))


def part_name(module: str, kind: str, name: str) -> str:
    """The name of the part that stands for what a module's import read."""
    return f"{_PART}{module} {kind} {name}"


def shown_part(name: str) -> str:
    """A part's name in words.

    >>> shown_part("read conf.base file conf.json"), shown_part("code a.f")
    ('file conf.json, read while conf.base is imported,', 'code a.f')
    """
    if not name.startswith(_PART):
        return name
    module, kind, what = name[len(_PART) :].split(" ", 2)
    return f"{kind} {what}, read while {module} is imported,"


def recalled(before: Mapping[str, str], root: Path, content: Callable[[Path], str]) -> tuple[dict[str, str], list[str]]:
    """The parts for import reads of an earlier fingerprint, as they would be now, and notes: for who imports nothing.

    Importing the same code, finding the same in all that it reads, reads the same.
    """
    parts: dict[str, str] = {}
    notes: list[str] = []
    for key, former in before.items():
        if not key.startswith(_PART):
            continue
        module, kind, name = key[len(_PART) :].split(" ", 2)
        if _is_input(kind, name):
            parts[key] = _present(kind, name, root, content)
        else:
            parts[key] = former
            notes.append(_note(module, kind, name, former))
    return parts, notes


def _present(kind: str, name: str, root: Path, content: Callable[[Path], str]) -> str:
    if kind == "env":
        return value_digest(name)
    return content(root / name) if kind == "file" else names_digest(str(root / name))


def files_in(parts: Collection[str]) -> list[str]:
    """The files that a fingerprint with these parts answers for: declared, or read by an import."""
    return [name[5:] for name in parts if name.startswith("file ")] + files_read(parts)


def definitions_in(parts: Collection[str]) -> list[str]:
    """The definitions, as `module.name`, that a fingerprint with these parts answers for."""
    return [name[5:] for name in parts if name.startswith("code ")]


def variables_in(parts: Collection[str]) -> list[str]:
    """The environment variables that a fingerprint with these parts answers for: declared, or read by an import."""
    split = (name[len(_PART) :].split(" ", 2) for name in parts if name.startswith(_PART))
    return [name[4:] for name in parts if name.startswith("env ")] + [name for _, kind, name in split if kind == "env"]


def files_read(parts: Collection[str]) -> list[str]:
    """The files that parts of a fingerprint name as read by an import."""
    split = (name[len(_PART) :].split(" ", 2) for name in parts if name.startswith(_PART))
    return [name for _, kind, name in split if kind == "file"]


def is_in_key(module: str, read: ImportRead, parts: Mapping[str, str]) -> bool:
    """Whether a fingerprint with these parts answers for what an import read in this process."""
    found = parts.get(part_name(module, read.kind, read.name), parts.get(f"{read.kind} {read.name}"))
    if found is None:
        return False
    if read.kind == "file":
        return (found == MISSING) == (read.stamp is None)
    return not read.is_input or found == read.digest


def value_digest(variable: str) -> str:
    """The digest of an environment variable's value, read without being seen; `unset` if it has none."""
    try:
        value = os._Environ.__getitem__(os.environ, variable)
    except KeyError:
        return UNSET
    return blake3(value.encode("utf-8", "replace")).hexdigest(16)


def names_digest(folder: str) -> str:
    """The digest of the names in a folder; `missing` if there is none."""
    try:
        names = sorted(set(os.listdir(folder)) - _NOT_LISTED)
    except OSError:
        return MISSING
    return blake3("\0".join(names).encode("utf-8", "surrogatepass")).hexdigest(16)


def stamp_of(path: str) -> _Stamp:
    """What tells whether a file was changed; None if it is not there."""
    try:
        found = os.stat(path)
    except (OSError, ValueError):
        return None
    return found.st_size, found.st_mtime_ns, found.st_ino


def _is_input(kind: str, name: str) -> bool:
    return kind in ("file", "directory") or (kind == "env" and name != "*")


def _note(module: str, kind: str, name: str, by: str) -> str:
    where = f" ({by})" if by else ""
    if kind == _MAY_READ:
        return (
            f"not reusable: {module} was imported unwatched and may read at import: `{name}`{where}; start it by "
            "`mainspring run`, or declare the input with ms.file or ms.env"
        )
    return f"not reusable: importing {module} reads the undeclared {kind} `{name}`{where}"


def _is_recordable(path: str) -> bool:
    return os.path.isfile(path) and os.path.getsize(path) <= _MOST_RECORDED_BYTES


def _is_same(file: object, path: Path) -> bool:
    return isinstance(file, str) and (file == str(path) or os.path.realpath(file) == os.path.realpath(path))
