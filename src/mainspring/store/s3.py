"""Blobs in S3 or a store that speaks its protocol, by obstore, with a bounded local cache of what was read or put.

Invariant: an object gets its name in one request (or at the end of a multipart upload), from bytes whose digest is
known and that nobody can change meanwhile. `blob/<digest>` is kept, `condemned/<digest>` is to be destroyed, and what was
found damaged is set aside as `corrupt/<digest>`, so that the next put writes it anew.
"""

from __future__ import annotations

import itertools
import os
from collections.abc import Iterator
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from blake3 import blake3

from mainspring.errors import (
    ConfigError,
    CorruptBlobError,
    MainspringError,
    MissingExtraError,
    NotFoundError,
    StorageError,
)
from mainspring.store.address import SECRET_BUCKET_OPTIONS, Address
from mainspring.store.blobs import BlobInfo, blob_digest, checked_digest
from mainspring.store.bucket import ABSENT, ERRORS, bucket_error, open_bucket
from mainspring.store.local import LocalBlobs
from mainspring.store.scratch import Scratch

try:
    import obstore
    from obstore import exceptions
    from obstore.store import S3Store
except ImportError as error:
    raise MissingExtraError("obstore", "s3", "A workspace on S3") from error

_number = itertools.count()  # of temporary files in this process
_TOUCH_AFTER = timedelta(minutes=5)  # a blob that was put later than this ago is fresh enough for any collector
_SMALL_BYTES = 1 << 20  # up to here sending the bytes costs less than asking first
_CACHE_BYTES = 4 << 30
_OPTIONS = SECRET_BUCKET_OPTIONS | {"endpoint", "region", "anonymous", "cache", "cache_bytes"}
_first_user: list[int] = []  # the process that has obstore's threads


class S3Blobs:
    """A bucket, below a prefix: `s3://bucket/prefix?endpoint=…&region=…&cache=/path&cache_bytes=…`.

    Credentials come from the standard AWS variables or the instance; in the URL they are secret references
    (`access_key_id=secret:env/NAME`), or `anonymous=true`.
    """

    def __init__(self, url: str) -> None:
        address = Address(url)
        unknown = sorted(set(address.options) - _OPTIONS)
        if unknown:
            options = ", ".join(sorted(_OPTIONS))
            raise ConfigError(f"{address.place}: `{unknown[0]}` is not an option; there are {options}")
        self.place = address.place
        self._bucket = open_bucket(address, address.path)
        self._cache_bytes = int(address.options.get("cache_bytes", _CACHE_BYTES))
        given = address.options.get("cache")
        self._scratch = None if given else Scratch()  # removed with this object
        self._cache = LocalBlobs(self._scratch.path if self._scratch else Path(given or ""))
        self.cache_folder = self._cache.place
        self._cached_bytes = sum(info.size_bytes for info in self._cache.list())

    def put(self, data: bytes | Path) -> str:
        """One conditional request; a file goes through the cache, so that what is sent can't change meanwhile."""
        if isinstance(data, Path):
            digest = self._cache.put(data)
            local = self._cache.path(digest)
            size_bytes = local.stat().st_size
            self._keep(digest, local, size_bytes)
            self._trim(size_bytes, keep=digest)
            return digest
        digest = blob_digest(data)
        self._keep(digest, data, len(data))
        return digest

    def read(self, digest: str) -> bytes:
        """The bytes, verified; from the cache if they are there."""
        with suppress(NotFoundError, CorruptBlobError):
            return self._cache.read(digest)
        data = self._fetched(digest)
        found = blob_digest(data)
        if found != digest:
            raise self._set_aside(digest, found)
        self._cache.put(data)
        self._trim(len(data), keep=digest)
        return data

    def path(self, digest: str) -> Path:
        """A file in the cache, which is verified as `LocalBlobs` does; it stays until the cache needs the room."""
        try:
            return self._cache.path(digest)
        except NotFoundError:
            pass
        except CorruptBlobError:
            self._forget(digest)
        part = Path(self._cache.place) / "tmp" / f"{digest}-{os.getpid()}-{next(_number)}"
        part.parent.mkdir(parents=True, exist_ok=True)
        try:
            with part.open("wb") as file:
                for chunk in self._get(digest).stream(min_chunk_size=8 << 20):
                    file.write(chunk)
            found = self._cache.put(part)
            size_bytes = part.stat().st_size
        except ERRORS as error:
            raise self._mapped(error) from error
        finally:
            part.unlink(missing_ok=True)
        if found != digest:
            self._forget(found)
            raise self._set_aside(digest, found)
        self._trim(size_bytes, keep=digest)
        return self._cache.path(digest)

    def exists(self, digest: str) -> bool:
        """Whether the bucket has it, condemned ones included; the cache isn't asked."""
        checked_digest(digest)
        return any(self._head(f"{folder}/{digest}") is not None for folder in ("blob", "condemned", "blob"))

    def list(self) -> Iterator[BlobInfo]:
        """Every blob that is not condemned."""
        yield from self._infos("blob/")

    def condemn(self, digest: str) -> None:
        """Copy it aside, then delete it; a no-op if it is not there."""
        self._move(f"blob/{checked_digest(digest)}", f"condemned/{digest}")
        self._forget(digest)

    def list_condemned(self) -> Iterator[BlobInfo]:
        """The condemned, with the time of the copy."""
        yield from self._infos("condemned/")

    def restore(self, digest: str) -> None:
        """Copy it back, then delete the condemned one; a no-op if there is none."""
        self._move(f"condemned/{checked_digest(digest)}", f"blob/{digest}")

    def list_corrupt(self) -> Iterator[BlobInfo]:
        """The objects set aside whose bytes were not put again."""
        return (info for info in self._infos("corrupt/") if not self.exists(info.digest))

    def remains(self, digest: str) -> bytes:
        """The bytes of the object that was set aside."""
        key = f"corrupt/{checked_digest(digest)}"
        if self._head(key) is None:
            raise NotFoundError("corrupt blob", digest)
        return bytes(self._call(obstore.get, key).bytes())

    def destroy(self, digest: str) -> None:
        """Delete the condemned object."""
        self._call(obstore.delete, f"condemned/{checked_digest(digest)}")
        self._forget(digest)

    def sweep_temporary(self, older_than_s: float) -> int:
        """Remove leftovers in the cache and of touching. Unfinished multipart uploads end by the bucket's own rule."""
        before = datetime.now(UTC) - timedelta(seconds=older_than_s)
        removed = self._cache.sweep_temporary(older_than_s)
        for info in list(self._infos("touch/")):
            if info.touched_at_us <= before.timestamp() * 1e6:
                self._call(obstore.delete, f"touch/{info.digest}")
                removed += 1
        for info in list(self._infos("corrupt/")):
            if self._head(f"blob/{info.digest}") is not None:
                self._call(obstore.delete, f"corrupt/{info.digest}")
        return removed

    @property
    def _store(self) -> S3Store:
        """The client; a request in a forked child would wait for ever for threads that only the parent has."""
        if not _first_user:
            _first_user.append(os.getpid())
        if _first_user[0] != os.getpid():
            raise StorageError(self.place, "this process was forked after S3 was used", "Start it by spawn instead.")
        return self._bucket

    def _keep(self, digest: str, data: bytes | Path, size_bytes: int) -> None:
        key = f"blob/{digest}"
        if size_bytes > _SMALL_BYTES:
            found = self._head(key)
            if found is None or found["size"] != size_bytes:
                self._call(obstore.put, key, data, mode="overwrite")
            else:
                self._touch(key, data, found)
            return
        body = data if isinstance(data, bytes) else data.read_bytes()
        try:
            obstore.put(self._store, key, body, mode="create")
        except exceptions.AlreadyExistsError:
            found = self._head(key)
            if found is None or found["size"] != size_bytes:  # condemned in between
                self._call(obstore.put, key, body, mode="overwrite")
            else:
                self._touch(key, body, found)
        except ERRORS as error:
            raise self._mapped(error) from error

    def _touch(self, key: str, data: bytes | Path, found: Any) -> None:
        if datetime.now(UTC) - found["last_modified"] < _TOUCH_AFTER:
            return
        if found["size"] <= _SMALL_BYTES:
            self._call(obstore.put, key, data, mode="overwrite")
            return
        # S3 refuses to copy an object to itself, and sending a large one again would cost more than two copies there.
        spare = f"touch/{key.rpartition('/')[2]}"
        try:
            obstore.copy(self._store, key, spare)
            obstore.copy(self._store, spare, key)
            obstore.delete(self._store, spare)
        except ABSENT:  # condemned, or touched by another at the same moment
            self._call(obstore.put, key, data, mode="overwrite")
        except ERRORS as error:
            raise self._mapped(error) from error

    def _get(self, digest: str) -> Any:
        # The condemned copy is made before the blob goes, so that one of the two is there whenever they are asked for.
        checked_digest(digest)
        for folder in ("blob", "condemned", "blob"):
            try:
                found = obstore.get(self._store, f"{folder}/{digest}")
                if folder == "condemned":
                    self._revive(digest)
                return found
            except ABSENT as error:
                if "NoSuchBucket" in str(error):
                    raise self._mapped(error) from error
            except ERRORS as error:
                raise self._mapped(error) from error
        if self._head(f"corrupt/{digest}") is not None:
            raise CorruptBlobError(digest, self._digest_of(f"corrupt/{digest}"), f"{self.place} corrupt/{digest}")
        raise NotFoundError("blob", digest, hint=f"It is not in {self.place}.")

    def _digest_of(self, key: str) -> str:
        hasher = blake3()
        for chunk in self._call(obstore.get, key).stream(min_chunk_size=8 << 20):
            hasher.update(bytes(chunk))
        return hasher.hexdigest()

    def _set_aside(self, digest: str, found: str) -> CorruptBlobError:
        """Take a corrupt object out of the way, where that is allowed; gives what is to be raised."""
        with suppress(MainspringError, *ERRORS):
            self._move(f"blob/{digest}", f"corrupt/{digest}")
            if self._digest_of(f"corrupt/{digest}") == digest:  # it was damaged on its way only, or is written anew
                self._move(f"corrupt/{digest}", f"blob/{digest}")
        return CorruptBlobError(digest, found, f"{self.place} blob/{digest}")

    def _revive(self, digest: str) -> None:
        """Copy a condemned blob back, but leave its copy to the collector.

        Were it deleted here, a collector that is just condemning the blob could delete the other one.
        """
        with suppress(*ABSENT):
            obstore.copy(self._store, f"condemned/{digest}", f"blob/{digest}")

    def _fetched(self, digest: str) -> bytes:
        found = self._get(digest)
        try:
            return bytes(found.bytes())
        except ERRORS as error:
            raise self._mapped(error) from error

    def _head(self, key: str) -> Any:
        try:
            return obstore.head(self._store, key)
        except ABSENT:
            return None
        except ERRORS as error:
            raise self._mapped(error) from error

    def _move(self, source: str, target: str) -> None:
        try:
            obstore.copy(self._store, source, target)
            obstore.delete(self._store, source)
        except ABSENT as error:
            if "NoSuchBucket" in str(error):
                raise self._mapped(error) from error
        except ERRORS as error:
            raise self._mapped(error) from error

    def _infos(self, prefix: str) -> Iterator[BlobInfo]:
        try:
            for chunk in obstore.list(self._store, prefix=prefix):
                for found in chunk:
                    at_us = int(found["last_modified"].timestamp() * 1e6)
                    yield BlobInfo(found["path"].rpartition("/")[2], found["size"], at_us)
        except ERRORS as error:
            raise self._mapped(error) from error

    def _call(self, act: Any, *args: Any, **options: Any) -> Any:
        try:
            return act(self._store, *args, **options)
        except ERRORS as error:
            raise self._mapped(error) from error

    def _mapped(self, error: Exception) -> MainspringError:
        if isinstance(error, MainspringError):
            return error
        if isinstance(error, OSError) and error.errno is not None:  # of the cache; obstore's own have no number
            return StorageError(self._cache.place, os.strerror(error.errno))
        return bucket_error(error, self.place)

    def _forget(self, digest: str) -> None:
        self._cache.condemn(digest)
        self._cache.destroy(digest)

    def _trim(self, added_bytes: int, *, keep: str) -> None:
        """Make room, the least recently used first, down to nine tenths."""
        self._cached_bytes += added_bytes
        if self._cached_bytes <= self._cache_bytes:
            return
        infos = sorted(self._cache.list(), key=lambda info: info.touched_at_us)
        self._cached_bytes = sum(info.size_bytes for info in infos)
        for info in infos:
            if self._cached_bytes <= self._cache_bytes * 0.9:
                break
            if info.digest != keep:
                self._forget(info.digest)
                self._cached_bytes -= info.size_bytes
