"""Locations of scratch folders in results: another one in every run, so what holds one never comes out the same again."""

from __future__ import annotations

import re

from mainspring.artifacts.values import text_without_paths
from mainspring.errors import CodecError, NotFoundError, StorageError
from mainspring.pipelines.graph import Stored
from mainspring.pipelines.values import Values

_ID = "[0-9a-f]{32}"
_LOCATION = re.compile(rf"[^\s'\"]*/(?:scratch/{_ID}/{_ID}|mainspring-(?:scratch|paths)-\w+)[^\s'\",;)\]]*")
_TEXT_SEARCHED = 1 << 20  # characters


def location_in(value: object) -> str:
    """The first location of a scratch folder that a value shows as text; empty if it shows none.

    >>> from pathlib import Path
    >>> location_in({"at": "/a/mainspring-scratch-x1/files/a.txt"}), location_in([Path("/a/mainspring-scratch-x1/a")])
    ('/a/mainspring-scratch-x1/files/a.txt', '')
    """
    found = _LOCATION.search(text_without_paths(value)[:_TEXT_SEARCHED])
    return found[0] if found else ""


def moved_location(values: Values, old_id: str, new_id: str) -> list[str]:
    """Why two results differ that both name a scratch folder, as a list of one; else an empty one."""
    try:
        names = [location_in(values.value(Stored(each))) for each in (old_id, new_id)]
    except (CodecError, NotFoundError, StorageError):
        return []
    if not all(names) or names[0] == names[1]:
        return []
    told = f"both results name a place in a scratch folder, which is another one in every run (`{names[1]}`)"
    return [f"{told}; return a Path, whose content is compared, or a name without its folder"]
