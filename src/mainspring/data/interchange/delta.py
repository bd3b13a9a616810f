"""Delta tables of others, read by the library `deltalake` as they were in one of their versions."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from urllib.parse import unquote

import polars as pl
from blake3 import blake3

from mainspring.data.version import PINNED, Source
from mainspring.errors import InvalidError, MissingExtraError, NotFoundError, StorageError, shorten
from mainspring.secrets import redact

Options = Mapping[str, str]


def open_delta(address: str, version: int | None, storage_options: Options | None = None) -> DeltaSnapshot:
    """A Delta table as it was in one of its versions; the newest if none is given.

    Raises:
        NotFoundError: there is no such table, or version of it.
        StorageError: the table can't be read.
        MissingExtraError: deltalake is not installed.
    """
    lake = delta_library("Reading a Delta table")
    options = dict(storage_options or {})
    with delta_errors(address):
        if not lake.DeltaTable.is_deltatable(address, options):
            raise NotFoundError("Delta table", address)
        newest = lake.DeltaTable(address, storage_options=options).version()
        if version is not None and not 0 <= version <= newest:
            raise NotFoundError("version", f"{version} of {address}", hint=f"The newest is {newest}.")
        return DeltaSnapshot(address, newest if version is None else version, options)


class DeltaSnapshot:
    """One version of a Delta table.

    Delta gives a table's files no order, and readers take them newest first; here rows are in the order in which the
    files were written, so that one version is always the same rows in the same order.
    """

    def __init__(self, address: str, version: int, options: dict[str, str]) -> None:
        lake = delta_library("Reading a Delta table")
        self.address, self.version = address, version
        self._table = lake.DeltaTable(address, version=version, storage_options=options)
        # The log holds paths percent-encoded, once more than the addresses of the files are.
        places = {unquote(path): at for at, path in enumerate(files_of(self._table)["path"])}
        root = self._table.table_uri.removeprefix("file://").rstrip("/") + "/"

        def place(uri: str) -> tuple[int, str]:
            path = uri.removeprefix("file://").removeprefix(root)
            return places.get(path, places.get(unquote(path), len(places))), path

        uris = sorted(self._table.file_uris(), key=place)
        self._table.file_uris = lambda *_: uris  # what Polars asks for the files to scan

    @property
    def reference(self) -> str:
        """The address with the version."""
        address = self.address if "://" in self.address else Path(self.address).as_uri()
        return f"{address}@v{self.version}"

    def source(self, kind: str = PINNED) -> Source:
        """What is read from here; the digest is over the names, sizes and times of the table's files."""
        files = files_of(self._table)
        digest = blake3(files.write_csv().encode()).hexdigest()
        node = blake3(f"{kind}\0{self.reference}\0{digest}".encode()).hexdigest()[:32]
        return Source(kind, self.reference, node, digest, int(files["size_bytes"].sum()))

    def scan(self) -> pl.LazyFrame:
        """The rows, lazily."""
        with delta_errors(self.address):
            return pl.scan_delta(self._table)

    def missing_file(self) -> str | None:
        """A file of a table on this machine that is gone, if one is."""
        paths = (uri.removeprefix("file://") for uri in self._table.file_uris())
        return next((path for path in paths if "://" not in path and not os.path.exists(path)), None)


def files_of(table: Any) -> pl.DataFrame:
    """The files of a Delta table in the order in which they were written: path, size, time."""
    found = pl.DataFrame(table.get_add_actions(flatten=True))
    return found.select("path", "size_bytes", "modification_time").sort("modification_time", "path")


def address_of(uri: str | Path) -> str:
    text = str(uri)
    if redact(text) != text:
        raise InvalidError("uri", redact(text), "an address without secrets", "Give them as `storage_options`.")
    if text.startswith("file://"):
        text = text.removeprefix("file://")
    return text.rstrip("/") if "://" in text else str(Path(text).expanduser().absolute())


def delta_library(purpose: str) -> Any:
    try:
        import deltalake
    except ImportError as error:
        raise MissingExtraError("deltalake", "delta", purpose) from error
    return deltalake


@contextmanager
def delta_errors(address: str) -> Iterator[None]:
    from deltalake.exceptions import DeltaError

    try:
        yield
    except (DeltaError, pl.exceptions.PolarsError, OSError) as error:
        if isinstance(error, StorageError):
            raise
        raise StorageError(address, f"the Delta table can't be read or written ({shorten(str(error), 200)})") from error
