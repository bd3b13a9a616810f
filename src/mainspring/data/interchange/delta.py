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
from mainspring.store.space import naming_full_disk

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
        self.files = files_of(self._table)
        self._set_order()

    @property
    def reference(self) -> str:
        """The address with the version."""
        address = self.address if "://" in self.address else Path(self.address).as_uri()
        return f"{address}@v{self.version}"

    def source(self, kind: str = PINNED) -> Source:
        """What is read from here; the digest is over the names, sizes and times of the table's files."""
        digest = blake3(self.files.write_csv().encode()).hexdigest()
        node = blake3(f"{kind}\0{self.reference}\0{digest}".encode()).hexdigest()[:32]
        return Source(kind, self.reference, node, digest, int(self.files["size_bytes"].sum()))

    def scan(self) -> pl.LazyFrame:
        """The rows, lazily."""
        with delta_errors(self.address):
            return pl.scan_delta(self._table)

    def lost_file(self) -> str | None:
        """A file of a table on this machine that is gone or has another size, if one is: Polars panics on a short one."""
        if "://" in self.address:
            return None
        sizes = {_plain(path): size for path, size, _ in self.files.iter_rows()}
        for uri in self._table.file_uris():
            path = str(uri).removeprefix("file://")
            if not os.path.exists(path) or os.path.getsize(path) != sizes.get(self._name(uri), os.path.getsize(path)):
                return path
        return None

    def _set_order(self) -> None:
        """Make the table tell its files, and what is known of each, in the order of their writing.

        Polars takes the two for lists of one order, and skips files by what is known of them: both change, or none.
        """
        places = {_plain(path): at for at, path in enumerate(self.files["path"])}
        uris, actions = self._table.file_uris(), pl.DataFrame(self._table.get_add_actions())
        names = [self._name(uri) for uri in uris]
        if set(names) != places.keys():
            return
        uris = [uri for _, uri in sorted(zip(names, uris, strict=True), key=lambda pair: places[pair[0]])]
        order = sorted(range(actions.height), key=lambda row: places[_plain(actions["path"][row])])
        actions = actions[order]
        self._table.file_uris = lambda *_: uris
        self._table.get_add_actions = lambda *_: actions

    def _name(self, uri: str) -> str:
        """The path of a file in the table."""
        root = self._table.table_uri.removeprefix("file://").rstrip("/") + "/"
        return _plain(uri.removeprefix("file://").removeprefix(root))


def _plain(path: str) -> str:
    """A path without percent-encoding: the log's has it once more than the addresses of the files."""
    while (shorter := unquote(path)) != path:
        path = shorter
    return path


def files_of(table: Any) -> pl.DataFrame:
    """The files of a Delta table in the order in which they were written: path, size, time."""
    found = pl.DataFrame(table.get_add_actions(flatten=True))
    return found.select("path", "size_bytes", "modification_time").sort("modification_time", "path")


def address_of(uri: str | Path) -> str:
    """A Delta table's address: one with a scheme as it is, a path in full.

    Raises:
        InvalidError: it holds a secret.
    """
    text = str(uri)
    if redact(text) != text:
        raise InvalidError("uri", redact(text), "an address without secrets", "Give them as `storage_options`.")
    if text.startswith("file://"):
        text = text.removeprefix("file://")
    return text.rstrip("/") if "://" in text else str(Path(text).expanduser().absolute())


def delta_library(purpose: str) -> Any:
    """The module `deltalake`; raises `MissingExtraError`, which names the purpose."""
    try:
        import deltalake
    except ImportError as error:
        raise MissingExtraError("deltalake", "delta", purpose) from error
    return deltalake


@contextmanager
def delta_errors(address: str) -> Iterator[None]:
    """What `deltalake`, Polars and the operating system raise in the block is a `StorageError` of this table."""
    from deltalake.exceptions import DeltaError

    try:
        with naming_full_disk(address):
            yield
    except (DeltaError, pl.exceptions.PolarsError, OSError) as error:
        if isinstance(error, StorageError):
            raise
        raise StorageError(address, f"the Delta table can't be read or written ({shorten(str(error), 200)})") from error
