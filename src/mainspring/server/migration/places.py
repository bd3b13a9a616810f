"""Where the files of an MLflow store lie: folders of this machine, by the addresses that the store has of them."""

from __future__ import annotations

import os
from pathlib import Path
from urllib.parse import unquote

import msgspec

from mainspring.errors import InvalidError
from mainspring.runs.files import RunFile, checked_path
from mainspring.store import BlobStore

_PROXIED = "mlflow-artifacts:/"


class Place(msgspec.Struct, frozen=True):
    """A file by its path from the top of its folder."""

    path: str
    source: Path
    size_bytes: int
    changed_ns: int


class Places:
    """Reads folders; `notes` tell what was left out, and why. `artifacts` is the folder behind `mlflow-artifacts:/`."""

    def __init__(self, blobs: BlobStore, artifacts: Path | None = None) -> None:
        self._blobs = blobs
        self._artifacts = artifacts
        self.notes: list[str] = []

    def files(self, uri: str | None) -> list[Place]:
        """What lies below an address, by path; nothing if it lies on no disk of this machine, of which there is a note then."""
        folder = self._folder(uri or "")
        if folder is None:
            self.notes.append(f"The files of `{uri}` lie elsewhere and were left out.")
            return []
        found = []
        for top, _, names in os.walk(folder):
            for name in names:
                source = Path(top, name)
                path = source.relative_to(folder).as_posix()
                if source.is_symlink():
                    self.notes.append(f"The link `{source}` was left out: it may lead anywhere.")
                elif self._can_be_kept(path, source):
                    status = source.stat()
                    found.append(Place(path, source, status.st_size, status.st_mtime_ns))
        return sorted(found, key=lambda place: place.path)

    def kept(self, places: list[Place]) -> list[RunFile]:
        """The files as those of a record, their bytes in the blob store."""
        return [RunFile(each.path, False, each.size_bytes, self._blobs.put(each.source)) for each in places]

    def _folder(self, uri: str) -> Path | None:
        if uri.startswith(_PROXIED):
            inside = uri.removeprefix(_PROXIED).lstrip("/")
            return None if self._artifacts is None or ".." in inside.split("/") else self._artifacts / inside
        if uri.startswith("file:"):
            return Path(unquote("/" + uri.removeprefix("file:").lstrip("/")))
        return None if not uri or ":/" in uri else Path(uri)

    def _can_be_kept(self, path: str, source: Path) -> bool:
        try:
            checked_path(path)
        except InvalidError as error:
            self.notes.append(f"The file {str(source)!a} was left out: {error}")
            return False
        return True
