"""Files in object storage, by obstore: `s3://bucket/raw/*.csv`. New and changed ones are known by their tags."""

from __future__ import annotations

import re
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, BinaryIO, cast

from mainspring.data._sources import source_of_file
from mainspring.data.globs import glob_expression, is_hidden
from mainspring.data.ingestion.items import Item, ItemSource, Stamp
from mainspring.data.version import Source
from mainspring.errors import MissingExtraError, NotFoundError
from mainspring.store.address import Address
from mainspring.store.bucket import ERRORS, bucket_error, open_bucket

try:
    import obstore
    from obstore.store import S3Store
except ImportError as error:
    raise MissingExtraError("obstore", "s3", "Reading from S3") from error

_MAGIC = re.compile(r"[*?]")
_CHUNK_BYTES = 8 << 20


class Objects(ItemSource, frozen=True):
    """Objects of a bucket by a key or a glob: `s3://bucket/raw/*.csv?endpoint=…&region=…&access_key_id=secret:env/NAME`.

    Credentials come from the standard AWS variables or the instance, or are secret references, or `anonymous=true`. In a
    glob `*` stands for anything within a folder, `**/` for folders.
    """

    url: str

    @property
    def identity(self) -> str:
        """Bucket and folder: another glob in it knows what this one read."""
        address = Address(self.url)
        return f"s3://{address.host}/{_folder(address.path)}"

    def items(self) -> list[Item]:
        """The objects, by key.

        Raises:
            NotFoundError: there is none.
        """
        address = Address(self.url)
        store = open_bucket(address)
        folder, wanted = _folder(address.path), glob_expression(address.path, sets=False)
        items: list[Item] = []
        try:
            for chunk in obstore.list(store, prefix=folder or None):
                items += [
                    ObjectItem(store, meta, folder, f"s3://{address.host}/{meta['path']}")
                    for meta in chunk
                    if wanted.fullmatch(meta["path"]) and not is_hidden(address.path, meta["path"])
                ]
        except ERRORS as error:
            raise bucket_error(error, self.identity) from error
        if not items:
            raise NotFoundError("object", f"s3://{address.host}/{address.path}")
        return sorted(items, key=lambda item: item.name)


class ObjectItem:
    """One object. Its stamp holds size, entity tag, and the time when it was last changed."""

    def __init__(self, store: S3Store, meta: Any, folder: str, uri: str) -> None:
        self._store, self._key = store, meta["path"]
        self.name, self.uri = self._key.removeprefix(f"{folder}/" if folder else ""), uri
        self.names: tuple[str, ...] = (self.name,)
        self.stamp = _stamp(meta)
        self.size_bytes = int(meta["size"])

    def present_stamp(self) -> Stamp:
        """The stamp that it has now."""
        try:
            return _stamp(obstore.head(self._store, self._key))
        except ERRORS as error:
            raise bucket_error(error, self.uri) from error

    def fits(self, stamp: Stamp) -> bool:
        """Whether size, tag and time are those."""
        return stamp == self.stamp

    def is_known(self, stamp: Stamp) -> bool:
        """Whether they are."""
        return stamp == self.stamp

    def open(self) -> BinaryIO:
        """Its bytes, as they come."""
        return cast("BinaryIO", _ObjectStream(self._store, self._key, self.uri))

    @contextmanager
    def local(self) -> Iterator[Path]:
        """A temporary file."""
        with tempfile.TemporaryDirectory(prefix="mainspring-") as folder:
            path = Path(folder) / "object"
            with path.open("wb") as file, self.open() as stream:
                while data := stream.read(_CHUNK_BYTES):
                    file.write(data)
            yield path

    def lineage(self, digest: str) -> Source:
        """A file at its address, by its bytes."""
        return source_of_file(self.uri, digest, self.size_bytes)


class _ObjectStream:
    """The bytes of an object."""

    def __init__(self, store: S3Store, key: str, uri: str) -> None:
        self._uri, self._rest = uri, b""
        self._chunks: Iterator[Any]
        try:
            self._chunks = iter(obstore.get(store, key).stream(min_chunk_size=_CHUNK_BYTES))
        except ERRORS as error:
            raise bucket_error(error, uri) from error

    def read(self, size: int) -> bytes:
        """At most so many."""
        while not self._rest:
            try:
                self._rest = bytes(next(self._chunks))
            except StopIteration:
                return b""
            except ERRORS as error:
                raise bucket_error(error, self._uri) from error
        taken, self._rest = self._rest[:size], self._rest[size:]
        return taken

    def __enter__(self) -> _ObjectStream:
        return self

    def __exit__(self, *_: object) -> None:
        self._chunks = iter(())


def _stamp(meta: Any) -> Stamp:
    return [int(meta["size"]), str(meta["e_tag"]), int(meta["last_modified"].timestamp())]


def _folder(pattern: str) -> str:
    parts = pattern.split("/")
    fixed = next((number for number, part in enumerate(parts[:-1]) if _MAGIC.search(part)), len(parts) - 1)
    return "/".join(parts[:fixed])
