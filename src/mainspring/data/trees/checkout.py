"""A version written into a folder: copies, never links to the store, so that no edit can reach it.

Order: look at everything, refuse what would be lost, remove, write. Each file is written under a name of its own and
renamed; the index says beforehand which version was begun, so that what a killed checkout left is known as its own. Files
whose stored bytes are damaged are named in the end; all others are written.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping
from contextlib import suppress
from pathlib import Path

from mainspring.data._store import DatasetStore
from mainspring.data.damage import UNREADABLE
from mainspring.data.files import Checkout, Progress
from mainspring.data.trees.copies import WorkingCopy
from mainspring.data.trees.draft import matching
from mainspring.data.trees.entries import Entries, Entry, folders_of, not_in_tree
from mainspring.data.trees.manifest import read_listing
from mainspring.data.trees.reading import TreeReader
from mainspring.data.trees.scan import Place, Stamp, unreadable
from mainspring.data.trees.writing import FileWriter, case_collisions, folds_case
from mainspring.errors import CorruptBlobError, NotAllowedError, NotFoundError, StorageError, listed
from mainspring.store.stamps import real_time_ns
from mainspring.workspace import Workspace


class _Plan:
    """What is to be done, by paths in the working copy."""

    def __init__(self) -> None:
        self.write: dict[str, Entry] = {}
        self.kept: dict[str, Entry] = {}
        self.remove: list[str] = []
        self.left: list[str] = []
        self.conflicts: set[str] = set()


def checkout(
    workspace: Workspace, dataset: str, manifest: str, subject: str, folder: str | Path, *, force: bool = False,
    paths: Iterable[str] | None = None, prefix: str = "", only: str = "", progress: Progress | None = None,
) -> Checkout:  # fmt: skip
    """Write a version, or a folder of it (`prefix`), or one file of it (`only`); see `DatasetVersion.checkout`."""
    place = Place(os.path.realpath(os.path.expanduser(folder)), only)
    with TreeReader(workspace.blobs, manifest, subject) as reader:
        wanted = below(reader.entries, prefix, only)
        chosen = wanted if paths is None else _chosen(wanted, paths, subject)
        copy = WorkingCopy(workspace, place)
        former = below(_pending(workspace, copy), prefix, only) or _before_the_index(copy, dataset, prefix, only)
        plan = _planned(copy, wanted, chosen, former, force=force, is_whole=paths is None)
        if plan.conflicts:
            copy.save()
            raise NotAllowedError(
                f"{place.path}: {listed(sorted(plan.conflicts))} would be lost, since no version placed what is there now. "
                "Nothing was changed. Add it to the dataset, move it away, or check out with `force` (`--force`)."
            )
        written = _carried_out(copy, plan, reader, manifest, progress)
    size = sum(entry.size_bytes for entry in plan.write.values())
    return Checkout(place.path, tuple(written), tuple(plan.remove), len(plan.kept), tuple(plan.left), size)


def below(entries: Entries, prefix: str, only: str = "") -> dict[str, Entry]:
    """The files of a folder of a tree, sorted, by their paths in it."""
    start = f"{prefix}/" if prefix else ""
    found = {path[len(start) :]: entries[path] for path in sorted(entries) if path.startswith(start)}
    return {path: entry for path, entry in found.items() if path == only} if only else found


def _chosen(wanted: dict[str, Entry], patterns: Iterable[str], subject: str) -> dict[str, Entry]:
    chosen: dict[str, Entry] = {}
    for pattern in [patterns] if isinstance(patterns, str) else patterns:
        found = matching(wanted, pattern)
        if not found:
            raise not_in_tree(pattern, wanted, f"`{subject}`")
        chosen.update((path, wanted[path]) for path in found)
    return chosen


def _pending(workspace: Workspace, copy: WorkingCopy) -> Entries:
    """The files of the version whose checkout was begun here and not finished."""
    if copy.index.pending:
        with suppress(StorageError, NotFoundError):  # it is gone, e.g. since the version was compacted
            return read_listing(workspace.blobs, copy.index.pending).entries
    return {}


def _before_the_index(copy: WorkingCopy, dataset: str, prefix: str, only: str) -> Entries:
    """The files of the newest version that is exactly what is here, where no index says what was placed.

    The index is lost with the cache, and where a project is moved.
    """
    if not copy.found or any(seen.placed for seen in copy.index.files.values()):
        return {}
    for version in DatasetStore(copy.workspace.database).versions(dataset):
        if prefix or only or version.files == len(copy.found):
            with suppress(StorageError, NotFoundError):
                entries = below(read_listing(copy.workspace.blobs, version.manifest).entries, prefix, only)
                if copy.is_exactly(entries):
                    return entries
    return {}


def _planned(
    copy: WorkingCopy, wanted: Entries, chosen: dict[str, Entry], former: Entries, *, force: bool, is_whole: bool
) -> _Plan:
    plan = _Plan()
    for path, entry in chosen.items():
        if path not in copy.found:
            plan.write[path] = entry
        elif copy.holds(path, entry):
            plan.kept[path] = entry
        elif force or copy.is_placed(path, former.get(path)):
            plan.write[path] = entry
        else:
            plan.conflicts.add(path)
    for path in copy.found if is_whole else ():
        if path not in wanted and copy.came_from_a_version(path, former):
            (plan.remove if copy.is_placed(path, former.get(path)) else plan.left).append(path)
    _plan_around(copy, chosen, plan, force=force)
    return plan


def _plan_around(copy: WorkingCopy, chosen: dict[str, Entry], plan: _Plan, *, force: bool) -> None:
    """Files where a folder is to be, and folders where a file is to be."""
    removed = set(plan.remove)
    for path in folders_of(chosen) & copy.found.keys() - removed:
        if force:
            plan.remove.append(path)
        else:
            plan.conflicts.add(path)
    for path in chosen.keys() & copy.folders:
        plan.conflicts.update(each for each in copy.found if each.startswith(f"{path}/") and each not in removed)


def _carried_out(
    copy: WorkingCopy, plan: _Plan, reader: TreeReader, manifest: str, progress: Progress | None
) -> list[str]:
    stamps: dict[str, Stamp] = {}
    damaged: dict[str, CorruptBlobError | NotFoundError] = {}
    writer = FileWriter(reader, copy.place.folder)
    try:
        os.makedirs(copy.place.folder, exist_ok=True)
        _check_case(copy.place.folder, [*plan.write, *plan.kept])
        if plan.write or plan.remove:
            copy.index.pending = manifest
            copy.save()
            writer.sweep()
        for path in plan.remove:
            copy.remove(path)
        total = sum(entry.size_bytes for entry in plan.write.values())
        done = 0
        for number, (path, entry) in enumerate(plan.write.items()):
            try:
                stamps[path] = writer.write(path, entry)
            except UNREADABLE as error:
                damaged[path] = error
            done += entry.size_bytes
            if progress is not None:
                progress(number + 1, done, total)
        if damaged:
            raise _incomplete(reader.subject, copy.place, damaged)
        copy.index.pending = ""
    except OSError as error:
        raise unreadable(copy.place.path, error) from error
    finally:
        now_ns = real_time_ns()
        for path, stamp in stamps.items():
            entry = plan.write[path]
            copy.index.note(path, stamp, entry.digest, now_ns, placed=entry.digest, media=entry.media)
        for path, entry in plan.kept.items():
            copy.settle(path, entry)
        copy.save()
    return list(plan.write)


def _incomplete(subject: str, place: Place, damaged: Mapping[str, CorruptBlobError | NotFoundError]) -> StorageError:
    """The error for files whose stored bytes are damaged or gone; all others were written."""
    error = next(iter(damaged.values()))
    said = f"{listed(list(damaged))} of {subject} can't be written, all else is in {place.path}"
    found = (
        CorruptBlobError(error.digest, error.found, f"{said}: {error.place}")
        if isinstance(error, CorruptBlobError)
        else StorageError(said, str(error).rstrip("."), "`mainspring doctor` says what depends on it.")
    )
    found.__cause__ = error
    return found


def _check_case(folder: str, paths: list[str]) -> None:
    collisions = case_collisions(paths)
    if collisions and folds_case(folder):
        raise StorageError(
            folder, f"the file system takes {listed(collisions[0])} for one name",
            "Check out to one that tells them apart, or the one or the other with `paths` (`--path`).",
        )  # fmt: skip
