"""A workspace: one database, one blob store, and the ledger over them. One workspace = one environment."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from contextvars import ContextVar
from functools import cached_property
from pathlib import Path
from threading import Thread
from typing import Any, Protocol, TypeVar

from mainspring.errors import NotFoundError, StorageError
from mainspring.ledger import Ledger
from mainspring.secrets import is_reference, resolve
from mainspring.store import (
    BlobStore,
    Database,
    KeyValue,
    Leases,
    open_blobs,
    open_database,
    open_keyvalue,
    process_owner,
)
from mainspring.workspace.project import Project, find_project, ignore_state

_PATIENCE_S = 5.0


class Closable(Protocol):
    """What a room above keeps open for as long as the workspace is."""

    def close(self) -> None:
        """Let go of files and connections."""
        ...


_Kept = TypeVar("_Kept", bound=Closable)
_current: ContextVar[Workspace | None] = ContextVar("workspace", default=None)


class Workspace:
    """State, opened together. Opening makes the tables that are missing.

    `background` are threads that work on it behind a caller's back, each as long as it does.
    """

    def __init__(self, project: Project, database: Database, blobs: BlobStore) -> None:
        self.project = project
        self.database = database
        self.blobs = blobs
        self.ledger = Ledger(database)
        self.leases = Leases(database)
        self.background: set[Thread] = set()
        self._kept: dict[str, Any] = {}

    @classmethod
    def open(
        cls,
        start: str | Path | None = None,
        *,
        overrides: Mapping[str, Any] | None = None,
        project: Project | None = None,
        create: bool = True,
    ) -> Workspace:
        """Open the workspace of the project that `start` (default: here) belongs to; make it if there is none.

        With `create=False` nothing is made, for those who only want to look.

        Raises:
            ConfigError: a setting or URL is wrong.
            StorageError: the state can't be opened; the directory or address is named.
            NotFoundError: there is no workspace yet, and none is to be made.
        """
        project = project or find_project(start, overrides=overrides)
        settings = project.settings
        if not create and not _is_there(settings.database):
            hint = (
                "`mainspring run` makes an empty one; `-C DIR` looks elsewhere. A clone of a repository has the code and "
                "its pointers alone: the settings `database` and `blobs` name the workspace that has their data."
            )
            raise NotFoundError("workspace", str(project.root), hint=hint)
        workspace = cls(project, open_database(_url(settings.database)), open_blobs(_url(settings.blobs)))
        if create:
            ignore_state(project.root)
        return workspace

    @cached_property
    def metrics(self) -> Database:
        """The database of metric points, apart so that logging never blocks leases.

        Where there is none yet and none can be made, as on a full disk, that of everything else, which has no points.
        """
        url = self.beside("metrics")
        opened = open_database(url)
        if not _is_there(url):
            try:
                opened.query("SELECT 1")
            except StorageError:
                return self.database
        return opened

    @property
    def online(self) -> KeyValue:
        """The online store, which nothing is opened or connected for before it is used."""
        return self.keep("online", lambda: open_keyvalue(_url(self.project.settings.online)))

    @property
    def online_folder(self) -> Path | None:
        """The folder of the online store; None if it is no folder."""
        from urllib.parse import unquote

        url = _url(self.project.settings.online)
        return Path(unquote(url.removeprefix("lmdb://"))) if "://" not in url or url.startswith("lmdb:") else None

    def beside(self, name: str) -> str:
        """The URL of a database of its own that goes with the workspace's: a file beside it, or a schema."""
        return _beside(_url(self.project.settings.database), name)

    def keep(self, name: str, make: Callable[[], _Kept]) -> _Kept:
        """What a room above opened under this name, made the first time; closed with the workspace."""
        kept: _Kept = self._kept[name] if name in self._kept else self._kept.setdefault(name, make())
        return kept

    @cached_property
    def owner(self) -> str:
        """This process as an owner of leases."""
        return process_owner()

    @cached_property
    def cache(self) -> Path:
        """This machine's folder of caches, which are safe to delete."""
        return Path(self.project.settings.cache)

    @cached_property
    def scratch(self) -> Path:
        """This machine's folder for work in flight."""
        return self.cache.parent / "scratch"

    @cached_property
    def segments(self) -> Path:
        """This machine's folder of append-only logs, a folder each."""
        return self.cache.parent / "segments"

    def close(self) -> None:
        """Close the database, once the background has settled, or some seconds have passed."""
        for thread in list(self.background):
            thread.join(_PATIENCE_S)
        for kept in self._kept.values():
            kept.close()
        self.database.close()
        if "metrics" in self.__dict__:
            self.metrics.close()

    def __enter__(self) -> Workspace:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


def _url(setting: str) -> str:
    """A URL that is a secret reference as a whole, resolved; those inside a URL are the backend's to resolve."""
    return resolve(setting) if is_reference(setting) else setting


def _is_there(database: str) -> bool:
    """Whether a database exists; one behind a server is asked when it is opened."""
    path = database.removeprefix("sqlite://")
    return path == database or Path(path).exists()


def _beside(url: str, name: str) -> str:
    """The URL of a database that goes with another: a file beside it, or a schema beside its schema."""
    if url.startswith("sqlite:"):
        return f"{url.removesuffix('.db')}-{name}.db"
    if "schema=" in url:
        head, _, tail = url.partition("schema=")
        schema, ampersand, rest = tail.partition("&")
        return f"{head}schema={schema}_{name}{ampersand}{rest}"
    return f"{url}{'&' if '?' in url else '?'}schema=mainspring_{name}"


def find_workspace() -> Workspace | None:
    """The workspace in use in this context; none is opened for it."""
    return _current.get()


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
