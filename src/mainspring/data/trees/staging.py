"""A file or folder taken into a dataset: scanned, read where the index doesn't know it, stored, and put into a draft."""

from __future__ import annotations

import os
from collections.abc import Iterable
from pathlib import Path

from blake3 import blake3

from mainspring.data._sources import name_of, source_of_file, source_of_folder
from mainspring.data.damage import corrupt_blobs, tell_repaired
from mainspring.data.files import Progress
from mainspring.data.trees.archiver import Archiver
from mainspring.data.trees.draft import TreeDraft, deleting, replacing, updating
from mainspring.data.trees.entries import LINK, Entry, checked_path, link_problem, tree_digest
from mainspring.data.trees.index import Index, Seen, read_index, write_index
from mainspring.data.trees.packs import FilesAtHand, mend_packs, usable_listing
from mainspring.data.trees.scan import Stamp, place_of, scan, unreadable
from mainspring.data.version import DatasetVersion, Source
from mainspring.errors import InvalidError
from mainspring.ledger import is_replay
from mainspring.store.stamps import real_time_ns
from mainspring.workspace import Workspace


class StagedFiles:
    """The files of one reading of a file or folder.

    Their blobs are in the store when it is made, so that a draft of it can be committed; `settle` then keeps the index.
    In a replay nothing is stored.
    """

    def __init__(
        self, workspace: Workspace, name: str, path: str | Path, head: DatasetVersion | None, *, into: str = "",
        progress: Progress | None = None,
    ) -> None:  # fmt: skip
        if head is not None and head.kind != "tree":
            raise InvalidError("dataset", str(head), "a tree", f"It is a {head.kind}; choose another name.")
        self._workspace, self._name, self._progress = workspace, name, progress
        self._prefix = f"{checked_path(into, 'into')}/" if into else ""
        self._place = place_of(path)
        self._old = read_index(workspace.cache, self._place)
        self._new = Index(path=self._place.path, pending=self._old.pending)
        corrupt = frozenset() if is_replay() else corrupt_blobs(workspace.blobs)
        found = scan(self._place, workspace)
        if corrupt:
            mend_packs(workspace, corrupt, FilesAtHand(self._place, found, self._old.files).find)
        self._before = usable_listing(workspace.blobs, head)
        before = self._before.entries if self._before else {}
        self._archiver = Archiver(None if is_replay() else workspace.blobs, before, workspace.blobs)
        try:
            self._entries = self._taken(found)
        finally:
            if self._new.files != self._old.files:  # what was read needn't be read again
                write_index(workspace.cache, self._place, self._new)
        tell_repaired(workspace.blobs, corrupt, name)

    def draft(self, mode: str) -> TreeDraft:
        """The draft of a version that is exactly this (`replace`), or has it added (`update`)."""
        change = replacing(self._entries) if mode == "replace" else updating(self._entries)
        return TreeDraft(
            self._name, self._workspace.blobs, change, built_on=self._before, stored=self._archiver.written
        )

    @property
    def origin(self) -> Source | None:
        """The folder or file as a source; None for what a step wrote into its own scratch folder."""
        path = Path(self._place.path)
        if path.is_relative_to(self._workspace.scratch.resolve()):
            return None
        size_bytes = sum(entry.size_bytes for entry in self._entries.values())
        if self._place.only:
            (entry,) = self._entries.values()
            return source_of_file(name_of(path), entry.digest.hex(), size_bytes)
        entries = {name.removeprefix(self._prefix): entry for name, entry in self._entries.items()}
        return source_of_folder(path, tree_digest(entries), size_bytes)

    def settle(self) -> None:
        """Remember that the files here are those of a version: a checkout may replace them while they are unchanged."""
        placed = {path: seen if seen.placed == seen.digest else _placed(seen) for path, seen in self._new.files.items()}
        if self._new.pending or placed != self._new.files:
            self._new.files, self._new.pending = placed, ""
            write_index(self._workspace.cache, self._place, self._new)

    def _taken(self, found: dict[str, Stamp]) -> dict[str, Entry]:
        self._take_links({path: stamp for path, stamp in found.items() if stamp.is_link})
        unread: list[tuple[str, Stamp]] = []
        for path, stamp in found.items():
            if stamp.is_link:
                continue
            seen = self._old.files.get(path)
            if seen is not None:
                self._new.files[path] = seen
                if seen.is_now(stamp) and self._archiver.add_known(
                    self._prefix + path, seen.digest, stamp.executable, seen.media
                ):
                    continue
            unread.append((path, stamp))
        total = sum(stamp.size_bytes for _, stamp in unread)
        done = 0
        for number, (path, _) in enumerate(unread):

            def moved(count: int, number: int = number) -> None:
                nonlocal done
                done += count
                if self._progress is not None:
                    self._progress(number, done, total)

            reading = self._archiver.add_file(self._prefix + path, os.path.join(self._place.folder, path), moved)
            old = self._old.files.get(path)
            placed = old.placed if old is not None else b""
            self._new.note(path, reading.stamp, reading.digest, reading.read_at_ns, placed=placed, media=reading.media)
        if self._progress is not None:
            self._progress(len(unread), done, total)
        return self._archiver.finish()

    def _take_links(self, found: dict[str, Stamp]) -> None:
        """Links first: one that leads out is refused before anything is read."""
        for path, stamp in found.items():
            file = os.path.join(self._place.folder, path)
            read_at_ns = real_time_ns()
            try:
                target = os.fsencode(os.readlink(file))
                target.decode()
            except OSError as error:
                raise unreadable(file, error) from error
            except UnicodeDecodeError as error:
                raise InvalidError(file, repr(target), "a link to a name in UTF-8") from error
            self._archiver.add_link(self._prefix + path, target)
            old = self._old.files.get(path)
            placed = old.placed if old is not None else b""
            self._new.note(path, stamp, blake3(target).digest(), read_at_ns, placed=placed)
        entries = self._archiver.entries.items()
        links = {path.removeprefix(self._prefix): entry for path, entry in entries if entry.form == LINK}
        for path in found:
            entry = links[path]
            if problem := link_problem(path, entry.target, links):
                expected = "a link within the tree to a file or folder of it"
                file = os.path.join(self._place.folder, path)
                raise InvalidError(file, entry.target, expected, _sentence(problem))


def deletion(workspace: Workspace, name: str, patterns: Iterable[str]) -> TreeDraft:
    """The draft of a version without some files."""
    return TreeDraft(name, workspace.blobs, deleting(patterns, name))


def _placed(seen: Seen) -> Seen:
    return Seen(
        seen.size_bytes, seen.mtime_ns, seen.ctime_ns, seen.inode, seen.executable, seen.digest, seen.digest, seen.media
    )


def _sentence(text: str) -> str:
    return f"{text[0].upper()}{text[1:]}; put the file itself into the tree."
