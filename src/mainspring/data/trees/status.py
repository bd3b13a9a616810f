"""How a folder differs from a version, without reading what is unchanged; and how two versions differ."""

from __future__ import annotations

import os
from pathlib import Path

import msgspec

from mainspring.data.differences import Change, TreeDiff
from mainspring.data.trees.checkout import below
from mainspring.data.trees.copies import WorkingCopy
from mainspring.data.trees.entries import LINK, Entries
from mainspring.data.trees.manifest import read_listing
from mainspring.data.trees.reading import tree_file
from mainspring.data.trees.scan import Place, place_of
from mainspring.data.version import DatasetVersion, expect_version
from mainspring.store import BlobStore
from mainspring.workspace import Workspace, current_workspace, using


class TreeStatus(msgspec.Struct, frozen=True):
    """Paths that are new in a folder, changed or missing, against a version; `unchanged` counts the others."""

    path: str
    new: tuple[str, ...]
    changed: tuple[str, ...]
    removed: tuple[str, ...]
    unchanged: int

    @property
    def is_clean(self) -> bool:
        """Whether the folder is the version."""
        return not (self.new or self.changed or self.removed)


def tree_status(
    folder: str | Path, version: DatasetVersion, *, into: str = "", only: str = "", workspace: Workspace | None = None
) -> TreeStatus:
    """How a folder (or one file of it, `only`) differs from a version, or from a folder of the version (`into`).

    What the index knows by its stamp is not read; what had to be read is in the index then.
    """
    expect_version(version)
    version.expect("tree")
    workspace = workspace or current_workspace()
    place = Place(os.path.realpath(os.path.expanduser(folder)), only) if only else place_of(folder)
    with using(workspace):
        wanted = _entries(version, workspace.blobs)
    if into or only:
        wanted = below(wanted, into, only)
    copy = WorkingCopy(workspace, place)
    new, changed = _compared(copy, wanted)
    removed = [path for path in wanted if path not in copy.found] if len(copy.found) - len(new) < len(wanted) else []
    if copy.has_news:
        copy.save()
    unchanged = len(copy.found) - len(new) - len(changed)
    return TreeStatus(place.path, tuple(new), tuple(sorted(changed)), tuple(sorted(removed)), unchanged)


def _compared(copy: WorkingCopy, wanted: Entries) -> tuple[list[str], list[str]]:
    new, changed = [], []
    files = copy.index.files
    for path, stamp in copy.found.items():
        entry = wanted.get(path)
        if entry is None:
            new.append(path)
            continue
        seen = files.get(path)
        if seen is not None and seen.is_now(stamp):
            digest = seen.digest
        elif stamp.size_bytes != entry.size_bytes:
            changed.append(path)
            continue
        else:
            digest = copy.digest(path)
        if (digest, stamp.is_link) != (entry.digest, entry.form == LINK) or (
            stamp.executable != entry.executable and not stamp.is_link
        ):
            changed.append(path)
    return new, changed


def diff_trees(old: DatasetVersion, new: DatasetVersion, blobs: BlobStore | None = None) -> TreeDiff:
    """How a tree differs from an older one.

    A removed and an added file with the same bytes are one renamed file; of several candidates the first by path.

    Raises:
        InvalidError: one of the two is a table.
    """
    for version in (old, new):
        expect_version(version)
        version.expect("tree")
    blobs = blobs or current_workspace().blobs
    return diff_entries(_entries(old, blobs), _entries(new, blobs))


def _entries(version: DatasetVersion, blobs: BlobStore) -> Entries:
    return version.as_stored(lambda present: read_listing(blobs, present.manifest).entries)


def diff_entries(before: Entries, after: Entries) -> TreeDiff:
    """The same for two listings."""
    added = sorted(path for path in after if path not in before)
    removed = sorted(path for path in before if path not in after)
    changed = sorted(path for path, entry in after.items() if path in before and before[path].meaning != entry.meaning)
    sources: dict[tuple[bytes, bool, bool], list[str]] = {}
    for path in reversed(removed):
        sources.setdefault(before[path].meaning, []).append(path)
    renamed = []
    for path in added:
        candidates = sources.get(after[path].meaning)
        if candidates and after[path].size_bytes:  # empty files are all alike
            renamed.append((candidates.pop(), path))
    gone, come = {old for old, _ in renamed}, {new for _, new in renamed}
    return TreeDiff(
        tuple(tree_file(after[path]) for path in added if path not in come),
        tuple(tree_file(before[path]) for path in removed if path not in gone),
        tuple(Change(tree_file(before[path]), tree_file(after[path])) for path in changed),
        tuple(Change(tree_file(before[old]), tree_file(after[new])) for old, new in renamed),
        len(after) - len(added) - len(changed),
    )
