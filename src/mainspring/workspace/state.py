"""The files that are a workspace's own state. They are no data: a tree that is kept leaves them out.

Any folder `.mainspring` that looks like a workspace's is one; of the workspace in use it is also what its settings name.
"""

from __future__ import annotations

import os
import re
from contextlib import suppress

from mainspring.workspace.project import STATE_FOLDER
from mainspring.workspace.workspace import Workspace, find_workspace

_MARKS = ("mainspring.db", "blobs", "cache")
_OF_STEPS = ("scratch", "cache")  # where files of steps and the recorded code lie


class State:
    """The state of a workspace (default: the one in use, if there is any), as it meets whoever walks through folders."""

    def __init__(self, workspace: Workspace | None = None) -> None:
        workspace = workspace or find_workspace()
        self._closed = _closed(workspace) if workspace else set()
        self._own = self._closed | (_own_folders(workspace) if workspace else set())
        self._names = frozenset({STATE_FOLDER, *map(os.path.basename, self._own)})

    def holds(self, folder: str, name: str) -> bool:
        """Whether this entry of a folder, whose real path it is, belongs to the state."""
        if name not in self._names:
            return False
        path = os.path.join(folder, name)
        return path in self._own or (name == STATE_FOLDER and _is_state(path))

    def around(self, path: str) -> str | None:
        """The part of the state that a real path lies in or is; None if it lies in none, or where steps have their files."""
        for closed in self._closed:
            if _is_below(path, closed):
                return closed
        head, found, rest = f"{path}/".rpartition(f"/{STATE_FOLDER}/")
        place = f"{head}/{STATE_FOLDER}"
        return place if found and rest.partition("/")[0] not in _OF_STEPS and _is_state(place) else None


def _is_state(folder: str) -> bool:
    return any(os.path.exists(os.path.join(folder, mark)) for mark in _MARKS)


def _is_below(path: str, folder: str) -> bool:
    return path == folder or path.startswith(f"{folder}/")


def _closed(workspace: Workspace) -> set[str]:
    """The logs, blobs, the online store and the files of the databases, as far as they are local."""
    settings = workspace.project.settings
    found = {os.path.realpath(workspace.segments)}
    if settings.blobs.startswith("file:"):
        found.add(os.path.realpath(workspace.blobs.place))
    if workspace.online_folder is not None:
        found.add(os.path.realpath(workspace.online_folder))
    if settings.database.startswith("sqlite:"):
        folder, file = os.path.split(os.path.realpath(workspace.database.place))
        one_of = re.compile(rf"{re.escape(file.removesuffix('.db'))}(-\w+)?\.db(-wal|-shm|-journal|\.queue)?")
        with suppress(OSError):
            found |= {os.path.join(folder, name) for name in os.listdir(folder) if one_of.fullmatch(name)}
    return found


def _own_folders(workspace: Workspace) -> set[str]:
    """The folder of the state, whatever is in it by now, and those of steps."""
    places = (workspace.project.root / STATE_FOLDER, workspace.cache, workspace.scratch)
    return {os.path.realpath(place) for place in places}
