"""Files of this machine: paths and globs."""

from __future__ import annotations

import os
from collections import deque
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from glob import has_magic
from itertools import islice
from pathlib import Path, PurePosixPath
from typing import BinaryIO

from mainspring.artifacts.paths import stored_name
from mainspring.data._sources import source_of_file
from mainspring.data.globs import is_hidden
from mainspring.data.ingestion.formats import FORMATS
from mainspring.data.ingestion.items import Item, ItemSource, Stamp
from mainspring.data.ingestion.source import name_from
from mainspring.data.version import Source
from mainspring.errors import InvalidError, NotFoundError, StorageError, listed
from mainspring.store.stamps import is_racy, real_time_ns

_LOOKED_AT = 10_000  # files and folders, to name a glob in place of a folder


class Files(ItemSource, frozen=True):
    """Files by a path or a glob (`raw/*.csv`, `raw/**/*.parquet`), or a folder, read in the order of their names.

    New and changed ones are read, known by size, times and inode, and by their bytes where those can't be trusted. Their
    names are kept relative to the fixed part of the glob, and that to the project's root, so that a project can be moved.
    A link is what it leads to, unless that is hidden or has another ending, as where contents are stored by their digests.
    """

    pattern: str

    @property
    def identity(self) -> str:
        """The folder, however it is named: another glob in it knows what this one read."""
        return f"files {_folder(self.pattern).resolve().as_posix()}"

    def identity_from(self, root: Path) -> str:
        """The same, with a folder in a project named from its root."""
        return f"files {name_from(root, _folder(self.pattern))}"

    def items(self) -> list[Item]:
        """The files, by name.

        Raises:
            InvalidError: it is no glob.
            NotFoundError: there is none.
        """
        base, rest = _parts(self.pattern)
        folder = _folder(self.pattern)
        found: Iterable[Path] = (
            _matching(folder, PurePosixPath(rest).parts, is_all=is_hidden("*", rest)) if rest else [base]
        )
        if not rest and base.is_dir():
            found = (path for path in base.iterdir() if _is_table(path.name))
        seen = (path for path in found if not (rest and is_hidden(rest, path.relative_to(folder).as_posix())))
        named = _named((path for path in seen if path.is_file()), folder)
        items: list[Item] = [LocalItem(path, names) for names, path in named]
        if not items:
            raise NotFoundError("file", self.pattern, hint=_hint(folder, is_folder=not rest and base.is_dir()))
        return items


class LocalItem:
    """A file of this machine. Its stamp holds size, both times, inode, and when it was looked at (git's racily-clean rule).

    The second time, that of the last change of anything about the file, can't be set back.
    """

    def __init__(self, path: Path, names: tuple[str, ...]) -> None:
        self.path, self.name, self.names, self.uri = path, names[0], names, str(path)
        self.stamp = self.present_stamp()
        self.size_bytes = int(self.stamp[0])

    def present_stamp(self) -> Stamp:
        """The stamp that it has now; raises `StorageError` if it is gone."""
        seen_ns = real_time_ns()
        try:
            stat = os.stat(self.path)
        except OSError as error:
            raise StorageError(self.uri, f"it can't be read ({error.strerror or error})") from error
        return [stat.st_size, stat.st_mtime_ns, stat.st_ctime_ns, stat.st_ino, seen_ns]

    def fits(self, stamp: Stamp) -> bool:
        """Whether size, times and inode are those."""
        return stamp[:4] == self.stamp[:4]

    def is_known(self, stamp: Stamp) -> bool:
        """Whether they are, and the file was not changed so shortly before that its times can't be trusted."""
        return self.fits(stamp) and not is_racy(max(stamp[1], stamp[2]), stamp[4])

    def open(self) -> BinaryIO:
        """Its bytes; raises `StorageError`."""
        try:
            return self.path.open("rb", buffering=0)
        except OSError as error:
            raise StorageError(self.uri, f"it can't be read ({error.strerror or error})") from error

    @contextmanager
    def local(self) -> Iterator[Path]:
        """Itself."""
        yield self.path

    def lineage(self, digest: str) -> Source:
        """A file, by its bytes."""
        path = self.path.absolute()
        return source_of_file(stored_name(path) or path.as_uri(), digest, self.size_bytes)


def _parts(pattern: str) -> tuple[Path, str]:
    """The fixed folder of a glob, and the rest; no rest if it is a path."""
    path = Path(pattern.removeprefix("file://")).expanduser()
    if path.exists() or not has_magic(pattern):
        return path, ""
    parts = path.parts
    first = next(number for number, part in enumerate(parts) if has_magic(part))
    return Path(*parts[:first]), str(PurePosixPath(*parts[first:]))


def _folder(pattern: str) -> Path:
    """What names are relative to."""
    base, rest = _parts(pattern)
    return base if rest or base.is_dir() else base.parent


def _matching(folder: Path, parts: tuple[str, ...], *, is_all: bool) -> Iterator[Path]:
    """What a glob finds in a folder, of hidden folders only with `is_all`; `pathlib` passes over linked folders behind `**`."""
    part, rest = parts[0], parts[1:]
    if part == "**":
        while rest[:1] == ("**",):  # which lead nowhere else
            rest = rest[1:]
    elif "**" in part:
        raise InvalidError(
            "glob", part, "`**` alone between two slashes", "Within a name one `*` stands for any of it."
        )
    found: Iterable[Path] = [folder / part]
    if part == "**":
        found = _below(folder, is_all=is_all)
    elif has_magic(part):
        found = folder.glob(part)
    for here in found:
        if rest:
            yield from _matching(here, rest, is_all=is_all) if here.is_dir() else ()
        elif part != "**":
            yield here


def _below(folder: Path, *, is_all: bool) -> Iterator[Path]:
    """A folder and all in it, each once however links lead there, and by a name without links if it has one."""
    seen: set[Path] = set()
    pending, links = [folder], deque[Path]()
    while pending or links:
        here = pending.pop() if pending else links.popleft()
        if (real := here.resolve()) in seen:
            continue
        seen.add(real)
        yield here
        try:
            with os.scandir(here) as entries:
                for entry in entries:
                    if entry.is_dir() and (is_all or not is_hidden("*", entry.name)):
                        (links if entry.is_symlink() else pending).append(here / entry.name)
        except PermissionError:  # which other globs pass over, too
            continue


def _named(paths: Iterable[Path], folder: Path) -> list[tuple[tuple[str, ...], Path]]:
    """Each file once, by the name that it has seen from a folder without links on the way, else by those of its links."""
    root, parents = folder.resolve(), dict[Path, Path]()
    found: dict[Path, list[tuple[tuple[bool, bool, list[str]], str, Path]]] = {}
    for path in paths:
        if path.parent not in parents:
            parents[path.parent] = path.parent.resolve()
        real = parents[path.parent] / path.name
        if real.is_symlink():
            real = real.resolve()
        given = path.relative_to(folder).as_posix()
        own = (real.relative_to(root) if real.is_relative_to(root) else Path(os.path.relpath(real, root))).as_posix()
        is_own = real.suffix == path.suffix and not is_hidden("*", own.replace("../", ""))
        name = own if is_own else given
        found.setdefault(real, []).append(((name != own, name != given, given.split("/")), name, path))
    sorted_ways = (sorted(ways) for ways in found.values())
    named = [(tuple(dict.fromkeys(name for _, name, _ in ways)), ways[0][2]) for ways in sorted_ways]
    return sorted(named, key=lambda each: each[0][0].split("/"))


def _hint(folder: Path, *, is_folder: bool) -> str:
    """What there is in place of files that aren't there."""
    if is_folder:
        below = islice(folder.rglob("*"), _LOOKED_AT)
        tables = (each for each in below if _is_table(each.name) and each.is_file())
        if (table := next(tables, None)) is not None:
            glob = folder / f"**/*{''.join(table.suffixes)}"
            return f"It holds folders alone; a glob reads what is in them: '{glob}'."
    near = sorted(each.name for each in folder.iterdir())[:5] if folder.is_dir() else []
    return f"In `{folder}` there are {listed(near)}." if near else f"There is nothing in `{folder}`."


def _is_table(name: str) -> bool:
    return not is_hidden("*", name) and any(f".{ending}" in name.lower() for ending in FORMATS)
