"""Shared libraries of this machine's system that distributions are linked to, and which a base needn't have.

Invariant: what wheels may expect of every system (PEP 600), and what the interpreter itself is linked to, is the base's.
"""

from __future__ import annotations

import mmap
import struct
import sys
import sysconfig
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path

import msgspec

from mainspring.deploy.tree import File

# https://peps.python.org/pep-0600, without those of displays, which slim images don't have.
_EXPECTED = frozenset(
    f"lib{name}"
    for name in (
        "c.so.6", "m.so.6", "dl.so.2", "rt.so.1", "pthread.so.0", "util.so.1", "resolv.so.2", "nsl.so.1", "anl.so.1",
        "gcc_s.so.1", "stdc++.so.6",
    )
)  # fmt: skip
_LOADER = "ld-linux"
_MAGIC = b"\x7fELF\x02\x01"  # of 64 bits, little-endian: amd64 and arm64
_LOAD, _DYNAMIC = 1, 2  # kinds of segments
_NEEDED, _TEXTS, _NAME = 1, 5, 14  # tags of the dynamic section


class SharedLibrary(msgspec.Struct, frozen=True):
    """A shared library of the system: the name by which it is looked for, its file, and the distributions that need it."""

    name: str
    file: File
    needed_by: tuple[str, ...]

    def __str__(self) -> str:
        return f"{self.name} of {', '.join(self.needed_by)}"


class Linked(msgspec.Struct, frozen=True):
    """What a shared object calls itself, and the names of those that it is linked to."""

    name: str
    needs: tuple[str, ...]


def shared_of(mapped: Iterable[str], owner_of: Callable[[str], str]) -> tuple[SharedLibrary, ...]:
    """The libraries of the system that distributions need, directly or not, among the files that a process has mapped.

    `owner_of` names the distribution that a file is of; nothing for a file of the system or of the interpreter.
    """
    linked = {file: linked_of(Path(file)) for file in sorted(set(mapped))}
    owners = {file: owner_of(file) for file in linked}
    system = {
        linked[file].name or Path(file).name: file
        for file, owner in owners.items()
        if not owner and not _is_interpreters(file)
    }
    based = _reached((file for file, owner in owners.items() if not owner and _is_interpreters(file)), system, linked)
    needed_by: dict[str, set[str]] = {}
    for file, owner in owners.items():
        for name in _reached([file], system, linked) - based if owner else ():
            needed_by.setdefault(name, set()).add(owner)
    return tuple(
        SharedLibrary(name, File(Path(system[name])), tuple(sorted(needed_by[name]))) for name in sorted(needed_by)
    )


def linked_of(path: Path) -> Linked:
    """What the dynamic section of an ELF file says (System V ABI, chapter 5); nothing for any other file."""
    with path.open("rb") as file:
        if file.read(len(_MAGIC)) != _MAGIC:
            return Linked("", ())
        with mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as data:
            return _linked(data)


def _linked(data: mmap.mmap) -> Linked:
    start, (size, count) = struct.unpack_from("<Q", data, 32)[0], struct.unpack_from("<HH", data, 54)
    segments = [_segment(data, start + size * number) for number in range(count)]
    entries = [
        struct.unpack_from("<QQ", data, place)
        for kind, offset, _, length in segments
        if kind == _DYNAMIC
        for place in range(offset, offset + length, 16)
    ]
    texts = next((value for tag, value in entries if tag == _TEXTS), 0)
    loaded = (
        offset + texts - at for kind, offset, at, length in segments if kind == _LOAD and at <= texts < at + length
    )
    base = next(loaded, 0)

    def text(place: int) -> str:
        return data[base + place : data.find(b"\0", base + place)].decode()

    named = next((text(value) for tag, value in entries if tag == _NAME), "")
    return Linked(named, tuple(text(value) for tag, value in entries if tag == _NEEDED))


def _segment(data: mmap.mmap, place: int) -> tuple[int, int, int, int]:
    """Kind, offset in the file, address, and length in the file of a segment."""
    kind, _, offset, address, _, length = struct.unpack_from("<IIQQQQ", data, place)
    return kind, offset, address, length


def _reached(files: Iterable[str], system: Mapping[str, str], linked: Mapping[str, Linked]) -> set[str]:
    """The names of the system's libraries that files are linked to, and those that these are."""
    found, pending = set[str](), list(files)
    while pending:
        for name in linked[pending.pop()].needs:
            if name in system and name not in found and name not in _EXPECTED and not name.startswith(_LOADER):
                found.add(name)
                pending.append(system[name])
    return found


def _is_interpreters(file: str) -> bool:
    """Whether a file is the interpreter's: its program, its library, or a module of the standard library."""
    path = Path(file)
    library = Path(sysconfig.get_path("platstdlib", vars={"platbase": sys.base_exec_prefix})).resolve()
    return path == Path(sys.executable).resolve() or path.name.startswith("libpython") or path.is_relative_to(library)
