"""From a URL to a backend: the one place that knows which backends there are."""

from __future__ import annotations

from pathlib import Path
from urllib.parse import unquote, urlsplit

from mainspring.errors import ConfigError
from mainspring.store.blobs import BlobStore, LocalBlobs
from mainspring.store.database import Database


def open_database(url: str) -> Database:
    """Open `sqlite:///path` or `postgresql://user:password@host/database?schema=name`.

    Raises:
        ConfigError: the URL names no backend there is.
    """
    scheme, path = _parts(url)
    if scheme == "sqlite":
        from mainspring.store.sqlite import SqliteDriver

        return Database(SqliteDriver(path))
    if scheme in ("postgresql", "postgres"):
        from mainspring.store.postgres import PostgresDriver

        return Database(PostgresDriver(url))
    raise ConfigError(f"the database URL `{_shown(url)}` begins with neither sqlite:/// nor postgresql://")


def open_blobs(url: str) -> BlobStore:
    """Open `file:///path` or `s3://bucket/prefix?endpoint=http://host:port`.

    Raises:
        ConfigError: the URL names no backend there is.
    """
    scheme, path = _parts(url)
    if scheme == "file":
        return LocalBlobs(path)
    if scheme == "s3":
        from mainspring.store.s3 import S3Blobs

        return S3Blobs(url)
    raise ConfigError(f"the blob URL `{_shown(url)}` begins with neither file:/// nor s3://")


def _parts(url: str) -> tuple[str, Path]:
    split = urlsplit(url)
    return split.scheme, Path(unquote(split.path))


def _shown(url: str) -> str:
    """A URL without its password."""
    split = urlsplit(url)
    if split.password:
        return url.replace(f":{split.password}@", ":***@")
    return url
