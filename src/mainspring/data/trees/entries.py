"""What a tree is: files and links by path, with the digest of their bytes; and which paths may be in one.

Invariant: a path is relative, has no empty, `.` or `..` part, and lies below no file or link; a link stays inside.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterable, Mapping

import msgspec

from mainspring.artifacts.codec import meaning_digest
from mainspring.errors import InvalidError, StorageError, close_names

RECIPE = 1
WHOLE, PACKED, CHUNKED, LINK = range(4)
_LEAVES = re.compile(r"(?:^|[/\0])\.{0,2}(?:[/\0]|$)")
_FORBIDDEN = re.compile(r"(?:^|/)\.{0,2}(?:/|$)|\0")


class Entry(msgspec.Struct, frozen=True, array_like=True, gc=False, omit_defaults=True):
    """One file or link, as manifests hold it.

    `digest` is the BLAKE3 digest of the file's bytes (of a link's target). Where they are: in a blob of that digest
    (`WHOLE`), from `offset` on in the blob `home` (`PACKED`), or in the chunks that the blob `home` lists (`CHUNKED`);
    a link's `home` is its target. `media` is set where the name's suffix doesn't say the media type.
    """

    path: str
    digest: bytes
    size_bytes: int
    executable: bool
    form: int
    home: bytes = b""
    offset: int = 0
    media: str = ""

    @property
    def target(self) -> str:
        """Where a link leads."""
        return os.fsdecode(self.home)

    @property
    def meaning(self) -> tuple[bytes, bool, bool]:
        """What makes it another file: bytes, executable bit, whether it is a link."""
        return self.digest, self.executable, self.form == LINK


Entries = Mapping[str, Entry]


def tree_digest(entries: Entries) -> str:
    """The content digest of a tree: over paths, bytes and executable bits, however the bytes are stored."""
    parts = []
    for path in sorted(entries):
        entry = entries[path]
        mark = b"l" if entry.form == LINK else b"x" if entry.executable else b"f"
        parts.append(b"%b\0%b%b" % (path.encode(), mark, entry.digest))
    return meaning_digest("tree", RECIPE, b"".join(parts))


def check_stored(entries: Entries, place: str) -> None:
    """Refuse what a manifest may not hold, before anything is done by it.

    Raises:
        StorageError: a path would leave its folder, or lies below a file or link, or a link leads out.
    """
    joined = "\0".join(entries)
    if entries and (_LEAVES.search(joined) or joined.count("\0") >= len(entries)):
        name = next((path for path in entries if _FORBIDDEN.search(path)), "")
        raise StorageError(place, f"the stored name `{name!r}` would leave its folder", "Nothing was read by it.")
    if (problem := structure_problem(entries)) is not None:
        raise StorageError(place, problem, "Nothing was read by it.")


def structure_problem(entries: Entries) -> str | None:
    """Why these paths and links can't be a tree together, in words; None if they can."""
    for folder in folders_of(entries):
        met = entries.get(folder)
        if met is not None:
            below = next(path for path in entries if path.startswith(f"{folder}/"))
            return f"the name `{below}` lies below `{folder}`, which is no folder"
    for entry in entries.values():
        if entry.form == LINK and (problem := link_problem(entry.path, entry.target, entries)):
            return problem
    return None


def folders_of(paths: Iterable[str]) -> set[str]:
    """Every folder that some paths lie in, but the root."""
    found: set[str] = set()
    for path in paths:
        folder = path.rpartition("/")[0]
        while folder and folder not in found:
            found.add(folder)
            folder = folder.rpartition("/")[0]
    return found


def link_problem(path: str, target: str, entries: Entries) -> str | None:
    """Why a link may not be in a tree, in words; None if it may."""
    place = path.split("/")[:-1]
    if not target or target.startswith("/"):
        return f"the link `{path}` leads out of the tree, to `{target}`"
    for part in target.split("/"):
        if place and (met := entries.get("/".join(place))) is not None and met.form == LINK:
            # Two links that each stay inside as text can lead out together.
            return f"the link `{path}` goes through another link, `{met.path}`"
        if part == "..":
            if not place:
                return f"the link `{path}` leads out of the tree, to `{target}`"
            place.pop()
        elif part not in ("", "."):
            place.append(part)
    return None


def checked_path(path: str, subject: str = "path") -> str:
    """A path given by a user, with `/` at neither end.

    Raises:
        InvalidError: it is absolute, or has an empty, `.` or `..` part.
    """
    path = path.removesuffix("/")
    if _FORBIDDEN.search(path):
        raise InvalidError(subject, path, "a relative path without empty, `.` or `..` parts")
    return path


def not_in_tree(path: str, entries: Entries, tree: str) -> InvalidError:
    """The error for a path that a tree doesn't have, with the nearest."""
    near = close_names(path, entries) if len(entries) < 20_000 else []
    return InvalidError("path", path, f"a file of {tree}", f"Nearest: {', '.join(near)}." if near else "")
