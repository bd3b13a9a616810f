"""A working copy: a folder (or file) whose content came from versions or is to become one, and what is known of it."""

from __future__ import annotations

import os
from contextlib import suppress
from functools import cached_property
from pathlib import Path

import msgspec
from blake3 import blake3

from mainspring.data.trees.entries import LINK, Entries, Entry, folders_of
from mainspring.data.trees.index import read_index, write_index
from mainspring.data.trees.scan import Place, Stamp, scan, unreadable
from mainspring.store.blobs import digest_file
from mainspring.store.stamps import real_time_ns
from mainspring.workspace import Workspace


class WorkingCopy:
    """What lies there now (`found`), beside the index of what was there."""

    def __init__(self, workspace: Workspace, place: Place) -> None:
        self.workspace, self.place = workspace, place
        self.index = read_index(workspace.cache, place)
        self.found: dict[str, Stamp] = scan(place, workspace) if os.path.lexists(place.path) else {}
        self.has_news = False

    @cached_property
    def folders(self) -> set[str]:
        """The folders that files lie in."""
        return folders_of(self.found)

    def digest(self, path: str) -> bytes:
        """The digest of what is here; it is read only if the index doesn't know it."""
        stamp = self.found[path]
        seen = self.index.files.get(path)
        if seen is not None and seen.is_now(stamp):
            return seen.digest
        file = os.path.join(self.place.folder, path)
        try:
            if stamp.is_link:
                return blake3(os.fsencode(os.readlink(file))).digest()
            read_at_ns = real_time_ns()
            digest = bytes.fromhex(digest_file(Path(file)))
        except OSError as error:
            raise unreadable(file, error) from error
        placed, media = (seen.placed, seen.media) if seen is not None else (b"", "")
        self.index.note(path, stamp, digest, read_at_ns, placed=placed, media=media)
        self.has_news = True
        return digest

    def holds(self, path: str, entry: Entry) -> bool:
        """Whether what is here is this file; its executable bit may differ."""
        stamp = self.found[path]
        if stamp.is_link != (entry.form == LINK) or stamp.size_bytes != entry.size_bytes:
            return False
        return self.digest(path) == entry.digest

    def is_exactly(self, entries: Entries) -> bool:
        """Whether these files and no others are here."""
        return self.found.keys() == entries.keys() and all(
            self.holds(path, entry) and (entry.form == LINK or self.found[path].executable == entry.executable)
            for path, entry in entries.items()
        )

    def is_placed(self, path: str, former: Entry | None) -> bool:
        """Whether what is here is what a version placed: the last one, or (`former`) one whose checkout was begun."""
        if former is not None and self.holds(path, former):
            return True
        seen = self.index.files.get(path)
        return seen is not None and bool(seen.placed) and self.digest(path) == seen.placed

    def came_from_a_version(self, path: str, former: Entries) -> bool:
        """Whether a version placed a file of this path, changed since or not."""
        seen = self.index.files.get(path)
        return path in former or (seen is not None and bool(seen.placed))

    def remove(self, path: str) -> None:
        """Remove a file, and the folders that are empty then."""
        with suppress(FileNotFoundError):
            os.unlink(os.path.join(self.place.folder, path))
        self.index.files.pop(path, None)
        folder = os.path.dirname(path)
        with suppress(OSError):  # not empty
            while folder:
                os.rmdir(os.path.join(self.place.folder, folder))
                folder = os.path.dirname(folder)

    def settle(self, path: str, entry: Entry) -> None:
        """Say that a file that is here is a version's, with its executable bit."""
        stamp = self.found[path]
        if entry.form == LINK:
            self.index.note(path, stamp, entry.digest, real_time_ns(), placed=entry.digest)
            return
        file = os.path.join(self.place.folder, path)
        if stamp.executable != entry.executable:
            mode = os.stat(file).st_mode & 0o777
            os.chmod(file, mode | (mode & 0o444) >> 2 if entry.executable else mode & ~0o111)
            self.index.files.pop(path, None)  # its stamp is another now
            return
        seen = self.index.files.get(path)
        if seen is not None and seen.placed != entry.digest:
            self.index.files[path] = msgspec.structs.replace(seen, placed=entry.digest)

    def save(self) -> None:
        """Keep what was learnt."""
        write_index(self.workspace.cache, self.place, self.index)
