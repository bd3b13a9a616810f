"""A workspace: one database, one blob store, and the ledger over them. One workspace = one environment."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from contextvars import ContextVar
from pathlib import Path
from typing import Any

from mainspring.ledger import Ledger
from mainspring.secrets import resolve
from mainspring.store import BlobStore, Database, Leases, open_blobs, open_database
from mainspring.workspace.project import Project, find_project

_current: ContextVar[Workspace | None] = ContextVar("workspace", default=None)


class Workspace:
    """State, opened together. Opening writes nothing until something is recorded."""

    def __init__(self, project: Project, database: Database, blobs: BlobStore) -> None:
        self.project = project
        self.database = database
        self.blobs = blobs
        self.ledger = Ledger(database)
        self.leases = Leases(database)

    @classmethod
    def open(
        cls, start: Path | None = None, *, overrides: Mapping[str, Any] | None = None, project: Project | None = None
    ) -> Workspace:
        """Open the workspace of the project that `start` (default: here) belongs to.

        Raises:
            ConfigError: a setting or URL is wrong.
            StorageError: the state can't be opened; the directory or address is named.
        """
        project = project or find_project(start, overrides=overrides)
        settings = project.settings
        return cls(project, open_database(resolve(settings.database)), open_blobs(resolve(settings.blobs)))

    @property
    def cache(self) -> Path:
        """This machine's folder of caches, which are safe to delete."""
        return Path(self.project.settings.cache)

    @property
    def scratch(self) -> Path:
        """This machine's folder for work in flight."""
        return self.cache.parent / "scratch"

    def close(self) -> None:
        """Close the database."""
        self.database.close()

    def __enter__(self) -> Workspace:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


def current_workspace() -> Workspace:
    """The workspace in use in this context, else that of the project here, which stays open for the process."""
    workspace = _current.get()
    if workspace is None:
        workspace = Workspace.open()
        _current.set(workspace)
    return workspace


@contextmanager
def using(workspace: Workspace) -> Iterator[Workspace]:
    """Make a workspace the one in use for the block."""
    token = _current.set(workspace)
    try:
        yield workspace
    finally:
        _current.reset(token)
