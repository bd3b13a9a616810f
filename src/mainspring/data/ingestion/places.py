"""Where files lie, in words that all cursors of a dataset share: what one glob has read, another that reaches it knows.

A file is in one cursor at a time, that of the source which read it last.
"""

from __future__ import annotations

from collections.abc import Container, Mapping
from posixpath import normpath
from typing import Any

from mainspring.data.ingestion.source import State

Place = tuple[str, ...]
Parts = dict[str, Any]  # stamp and digest of each part of a file
_FILES, _BUCKET = "files ", "s3://"


def place_of(source: str, name: str = "") -> Place:
    """The folder that a source reads, or a file in it, from the project's root, that of the machine, or its bucket.

    >>> place_of("files raw/may", "a.csv") == place_of("files .", "raw/may/a.csv") == place_of("files in", "../raw/may/a.csv")
    True
    >>> place_of("files /raw"), place_of("s3://flights/raw", "a.csv")
    (('files /', 'raw'), ('s3://flights', 'raw', 'a.csv'))
    """
    if source.startswith(_FILES):
        folder = source.removeprefix(_FILES)
        root = f"{_FILES}/" if folder.startswith("/") else f"{_FILES}."
        folder = "" if folder == "." else folder.removeprefix("/")
    else:
        bucket, _, folder = source.removeprefix(_BUCKET).partition("/")
        root = f"{_BUCKET}{bucket}"
    path = f"{folder}/{name}" if folder and name else folder or name
    path = normpath(path) if path and source.startswith(_FILES) else path  # a link may have led out of the folder
    return (root, *path.split("/")) if path else (root,)


def path_of(place: Place) -> str:
    """A place as people name it: from the project's root, or that of the machine, or with its bucket.

    >>> path_of(place_of("files raw", "a.csv")), path_of(place_of("files /raw", "a.csv")), path_of(place_of("s3://b/raw", "a"))
    ('raw/a.csv', '/raw/a.csv', 's3://b/raw/a')
    """
    root, *path = place
    return "/".join(([] if root == f"{_FILES}." else [root.removeprefix(f"{_FILES}/")]) + path)


def files_in(source: str, state: State) -> dict[str, Parts]:
    """The files that a source has read, by name; none if it reads no files."""
    found: dict[str, Parts] = state.get("files", {}) if is_of_files(source) else {}
    return found


def is_of_files(source: str) -> bool:
    """Whether a source reads files, of this machine or in a bucket."""
    return source.startswith((_FILES, _BUCKET))


def may_share(one: str, other: str) -> bool:
    """Whether two sources may reach one file: links lead from any folder to any other, but there are none in buckets.

    >>> may_share("files raw", "files new"), may_share("files raw", "files /raw"), may_share("s3://a/raw", "s3://a/rawhide")
    (True, False, False)
    """
    if not (is_of_files(one) and is_of_files(other)):
        return False
    first, second = place_of(one), place_of(other)
    least = 1 if one.startswith(_FILES) else min(len(first), len(second))
    return first[:least] == second[:least]


def known_by(source: str, others: Mapping[str, State]) -> dict[Place, Parts]:
    """What the cursors of other sources say of files that this one may reach."""
    return {
        place_of(other, name): parts
        for other, state in others.items()
        if may_share(source, other)
        for name, parts in files_in(other, state).items()
    }


def without(source: str, state: State, places: Container[Place]) -> State:
    """A state that doesn't know the files at some places."""
    kept = {name: parts for name, parts in files_in(source, state).items() if place_of(source, name) not in places}
    return {**state, "files": kept}


class Below:
    """Every place in the folder of a source."""

    def __init__(self, source: str) -> None:
        self._folder = place_of(source)

    def __contains__(self, place: object) -> bool:
        return isinstance(place, tuple) and place[: len(self._folder)] == self._folder
