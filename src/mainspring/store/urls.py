"""From a URL to a backend: the one place that knows which backends there are."""

from __future__ import annotations

from pathlib import Path

from mainspring.errors import ConfigError
from mainspring.store.blobs import BlobStore
from mainspring.store.database import Database
from mainspring.store.keyvalue import KeyValue
from mainspring.store.local import LocalBlobs


def open_database(url: str) -> Database:
    """Open `sqlite:///path` or `postgresql://user:password@host/database?schema=name`.

    A password may be a secret reference, `secret:env/NAME`. Nothing is connected before it is used.

    Raises:
        ConfigError: the URL names no backend there is.
        MissingExtraError: the backend's extra is not installed.
    """
    scheme = url.partition(":")[0]
    if scheme == "sqlite":
        from mainspring.store.sqlite import SqliteDriver

        return Database(SqliteDriver(_path(url)))
    if scheme in ("postgresql", "postgres"):
        from mainspring.store.postgres import PostgresDriver

        return Database(PostgresDriver(url))
    raise ConfigError(f"the database URL of scheme `{scheme}` begins with neither sqlite:/// nor postgresql://")


def open_blobs(url: str) -> BlobStore:
    """Open `file:///path` or `s3://bucket/prefix?endpoint=http://host:port`.

    Raises:
        ConfigError: the URL names no backend there is.
        MissingExtraError: the backend's extra is not installed.
    """
    scheme = url.partition(":")[0]
    if scheme == "file":
        return LocalBlobs(_path(url))
    if scheme == "s3":
        from mainspring.store.s3 import S3Blobs

        return S3Blobs(url)
    raise ConfigError(f"the blob URL of scheme `{scheme}` begins with neither file:/// nor s3://")


def open_keyvalue(url: str) -> KeyValue:
    """Open `lmdb:///path`, a path, `redis://user:password@host:port/0?prefix=name&timeout_s=2`, or `rediss://` (TLS).

    A password may be a secret reference, `secret:env/NAME`. Nothing is opened or connected before it is used.

    Raises:
        ConfigError: the URL names no backend there is.
        MissingExtraError: the backend's extra is not installed.
    """
    scheme = url.partition(":")[0]
    if scheme == "lmdb" or "://" not in url:
        from mainspring.store.lmdb import LmdbKeyValue

        return LmdbKeyValue(_path(url) if scheme == "lmdb" else Path(url).absolute())
    if scheme in ("redis", "rediss"):
        from mainspring.store.redis import RedisKeyValue

        return RedisKeyValue(url)
    raise ConfigError(f"the online store's URL of scheme `{scheme}` begins with neither lmdb:/// nor redis://")


def _path(url: str) -> Path:
    """The path of `sqlite:///…` or `file:///…`; percent signs are undone, as in any URL.

    >>> _path("file:///srv/my%20blobs")
    PosixPath('/srv/my blobs')
    """
    rest = url.partition(":")[2]
    if not rest.startswith("///"):
        raise ConfigError(f"the URL `{url}` needs three slashes before an absolute path, e.g. sqlite:///srv/state.db")
    if "%" in rest:
        from urllib.parse import unquote

        rest = unquote(rest)
    return Path(rest[2:])
