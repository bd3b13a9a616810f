"""Files under relative POSIX paths, of a run or of another record with an id: blobs, named by rows.

A path names a file or a folder, never both; folders are there as long as something lies in them.
"""

from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, BinaryIO

import msgspec

from mainspring import clock
from mainspring.errors import InvalidError, NotFoundError, close_names
from mainspring.runs._schema import MIGRATIONS
from mainspring.runs.limits import checked_name
from mainspring.store import Transaction
from mainspring.store.blobs import CHUNK_BYTES
from mainspring.workspace import Workspace

_PATH_CHARACTERS = 1_000
_PART_BYTES = 255  # what a name may have on the disks that files are copied to
_BEHIND_SLASH = "0"  # the character that sorts next to `/`


class RunFile(msgspec.Struct, frozen=True):
    """A file, or a folder (which has neither size nor digest), by its path from the top."""

    path: str
    is_folder: bool
    size_bytes: int | None
    digest: str | None


class RunFiles:
    """The files of a workspace's runs. `owner` is a run's id, or that of any record whose room removes them with it."""

    def __init__(self, workspace: Workspace) -> None:
        self.workspace = workspace
        self._database = workspace.database
        self._database.migrate("runs", MIGRATIONS)

    def put(self, owner: str, path: str, data: bytes | Path | BinaryIO) -> RunFile:
        """Keep a file under a path; one that is there is replaced. When this returns, it survives a kill.

        Raises:
            InvalidError: the path is none, or a folder's, or leads through a file.
        """
        checked_path(path)
        if isinstance(data, bytes | Path):
            size = len(data) if isinstance(data, bytes) else os.path.getsize(data)
            file = RunFile(path, False, size, self.workspace.blobs.put(data))
        else:
            file = self._streamed(path, data)
        with self._database.transaction() as tx:
            self.name(tx, owner, [file])
        return file

    def name(self, tx: Transaction, owner: str, files: Sequence[RunFile]) -> None:
        """Name blobs that are there as files of an owner; raises as `put` does."""
        for file in files:
            self.expect_free(owner, file.path, tx)
            tx.execute(
                "INSERT INTO run_file VALUES (?, ?, ?, ?, ?) ON CONFLICT (owner, path) DO UPDATE"
                " SET digest = excluded.digest, size_bytes = excluded.size_bytes, at = excluded.at",
                (owner, checked_path(file.path), file.digest, file.size_bytes, clock.now_us()),
            )

    def list(self, owner: str, folder: str = "") -> list[RunFile]:
        """What lies in a folder, by path: files, and the folders right below it. Of a file's path, that file."""
        inside = f"{checked_path(folder)}/" if folder else ""
        found: dict[str, RunFile] = {}
        for file in self._below(owner, folder):
            name, slash, _ = file.path[len(inside) :].partition("/")
            is_folder = bool(slash) and file.path != folder
            path = f"{inside}{name}" if is_folder else file.path
            found[path] = RunFile(path, True, None, None) if is_folder else file
        return [found[path] for path in sorted(found)]

    def walk(self, owner: str, folder: str = "") -> Mapping[str, RunFile]:
        """Every file below a folder, however deep, by path."""
        return {file.path: file for file in self._below(owner, folder)}

    def get(self, owner: str, path: str) -> RunFile:
        """The record of a file.

        Raises:
            NotFoundError: there is no file of this path.
        """
        row = self._database.query_one(
            "SELECT size_bytes, digest FROM run_file WHERE owner = ? AND path = ?", (owner, checked_path(path))
        )
        if row is None:
            raise NotFoundError("file", path, close_names(path, self.walk(owner)), owner=f"Run {owner[:12]}")
        return RunFile(path, False, *row)

    def open(self, owner: str, path: str) -> BinaryIO:
        """A file, opened to be read; raises as `get` does."""
        return self.workspace.blobs.path(self.get(owner, path).digest or "").open("rb")

    def delete(self, owner: str, path: str) -> None:
        """Remove a file, or everything in a folder.

        Raises:
            NotFoundError: there is neither of this path.
        """
        checked_path(path)
        with self._database.transaction() as tx:
            count = tx.execute(
                "DELETE FROM run_file WHERE owner = ? AND (path = ? OR (path >= ? AND path < ?))",
                (owner, path, f"{path}/", f"{path}{_BEHIND_SLASH}"),
            )
        if not count:
            raise NotFoundError("file", path, close_names(path, self.walk(owner)), owner=f"Run {owner[:12]}")

    def remove(self, tx: Transaction, owner: str) -> None:
        """Remove every file of an owner that goes."""
        tx.execute("DELETE FROM run_file WHERE owner = ?", (owner,))

    def _below(self, owner: str, folder: str) -> Sequence[RunFile]:
        sql, values = "SELECT path, size_bytes, digest FROM run_file WHERE owner = ?", [owner]
        if folder:
            sql += " AND (path = ? OR (path >= ? AND path < ?))"
            values += [checked_path(folder), f"{folder}/", f"{folder}{_BEHIND_SLASH}"]
        return [RunFile(path, False, *rest) for path, *rest in self._database.query(f"{sql} ORDER BY path", values)]

    def expect_free(self, owner: str, path: str, tx: Transaction | None = None) -> None:
        """Refuse a path that is a folder of an owner's, or leads through a file; raises as `put` does."""
        parts = path.split("/")
        above = ["/".join(parts[:count]) for count in range(1, len(parts))]
        marks = ", ".join("?" * len(above)) or "NULL"
        row = (tx or self._database).query_one(
            f"SELECT path FROM run_file WHERE owner = ? AND (path IN ({marks}) OR (path >= ? AND path < ?)) LIMIT 1",
            [owner, *above, f"{path}/", f"{path}{_BEHIND_SLASH}"],
        )
        if row is not None:
            raise clash(path, row[0])

    def _streamed(self, path: str, data: BinaryIO) -> RunFile:
        with tempfile.NamedTemporaryFile() as held:
            shutil.copyfileobj(data, held, CHUNK_BYTES)
            held.flush()
            return RunFile(path, False, held.tell(), self.workspace.blobs.put(Path(held.name)))


def clash(path: str, other: str) -> InvalidError:
    """The error of a path that can't be a file's beside another file's."""
    return InvalidError("path of a file", path, "free: a path names a file or a folder", f"There is `{other}`.")


def checked_path(path: Any) -> str:
    """A relative path of a file, as it came.

    Raises:
        InvalidError: it is absolute, leads up, has an empty segment or one over 255 bytes, a backslash, or characters that
            no path has.

    >>> checked_path("plots/loss curve 🎯.png")
    'plots/loss curve 🎯.png'
    """
    name = checked_name("path of a file", path, _PATH_CHARACTERS)
    if any(part in ("", ".", "..") for part in name.split("/")) or "\\" in name:
        expected = "a relative path with `/` between its parts, none of them empty, `.` or `..`"
        raise InvalidError("path of a file", name, expected)
    if any(len(os.fsencode(part)) > _PART_BYTES for part in name.split("/")):
        raise InvalidError("path of a file", name, f"one whose names have at most {_PART_BYTES} bytes each")
    return name
