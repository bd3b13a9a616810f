"""A version written as one commit of a Delta table.

The files are written here and the library `deltalake` commits them: its own writer spreads the batches of a stream over
threads, so that rows come out in another order each time (deltalake 1.6).
"""

from __future__ import annotations

import json
import os
import re
import tempfile
import uuid
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any, Literal

import polars as pl

from mainspring import clock
from mainspring.data.interchange.delta import Options, address_of, delta_errors, delta_library
from mainspring.data.interchange.delta_types import as_delta, delta_schema
from mainspring.data.interchange.exported import Exported
from mainspring.data.interchange.parquet import origin_of
from mainspring.data.version import DatasetVersion, expect_version
from mainspring.errors import ExistsError, InvalidError, MissingExtraError
from mainspring.workspace import Workspace, current_workspace, using

FILE_ROWS = 1 << 22
_OWN = re.compile(r"_delta_log|part-\d{5}-[0-9a-f-]{36}-c000\.zstd\.parquet")
DeltaMode = Literal["error", "overwrite", "append"]


def export_delta(
    version: DatasetVersion, uri: str | Path, *, mode: DeltaMode = "error", storage_options: Options | None = None,
    workspace: Workspace | None = None,
) -> Exported:  # fmt: skip
    """Write a table as one commit of a Delta table, in row order: a new one, or a new version of one that is there.

    The commit says in its metadata which version it is. Types that Delta lacks become the next that hold the same
    values: wider integers, text for categories, lists for arrays, microseconds, UTC; `cast` of what is given tells them.

    Raises:
        ExistsError: there is a Delta table, and neither `overwrite` nor `append` was asked for; or a folder of other files,
            into which nothing is written in any mode.
        InvalidError: a column has a type that Delta has nothing for, or (`append`) the table has others; the version is
            a tree.
        StorageError: the table can't be written.
        MissingExtraError: deltalake is not installed.
    """
    expect_version(version)
    lake = delta_library("Exporting to Delta Lake")
    address = address_of(uri)
    if mode not in ("error", "overwrite", "append"):
        raise InvalidError("mode", mode, "`error`, `overwrite` or `append`")
    options = dict(storage_options or {})
    with using(workspace or current_workspace()), delta_errors(address):
        is_there = lake.DeltaTable.is_deltatable(address, options)
        if is_there and mode == "error":
            raise ExistsError("Delta table", address, "Give `mode`: `overwrite` (`--force`) or `append` (`--append`).")
        if not is_there:
            _expect_own(address)
        frame, cast = as_delta(version.scan(), str(version))
        schema = lake.Schema.from_json(json.dumps(delta_schema(frame.collect_schema())))
        table = lake.DeltaTable(address, storage_options=options) if is_there else None
        if table is not None and mode == "append" and table.schema() != schema:
            raise InvalidError(
                str(version), ", ".join(version.columns), f"a table with the columns and types of {address}"
            )
        written = _Files(address, options)
        try:
            written.write(frame, version.rows)
            _commit(lake, table or address, schema, written, mode, origin_of(version), options)
        except BaseException:
            written.remove()
            raise
        table_rows = (
            _rows_of(lake.DeltaTable(address, storage_options=options)) if is_there and mode == "append" else None
        )
    size_bytes = sum(each for _, _, each in written.files)
    return Exported("delta", address, version.rows, len(written.files), size_bytes, cast, table_rows)


def _expect_own(address: str) -> None:
    """Go on only if a folder that is no table is empty, or holds what an export left that was killed."""
    if not os.path.isdir(address):
        return
    foreign = next((name for name in sorted(os.listdir(address)) if not _OWN.fullmatch(name)), None)
    if foreign is not None:
        raise ExistsError("folder", address, f"It is no Delta table and holds `{foreign}`; choose another folder.")


def _rows_of(table: Any) -> int | None:
    """The rows of a Delta table; None if whoever wrote a file of it didn't tell."""
    files = pl.DataFrame(table.get_add_actions(flatten=True))
    told = files["num_records"] if "num_records" in files.columns else pl.Series([None])
    return None if told.has_nulls() else int(told.sum())


def _commit(
    lake: Any, table: Any, schema: Any, written: _Files, mode: str, origin: Mapping[str, str], options: Options
) -> None:
    from deltalake.transaction import AddAction, create_table_with_add_actions

    at_ms = clock.now_us() // 1000
    actions = [
        # Times tell readers the order of files; those of a commit are otherwise equal.
        AddAction(name, size_bytes, {}, at_ms + place, True, json.dumps({"numRecords": rows}))
        for place, (name, rows, size_bytes) in enumerate(written.files)
    ]
    properties = lake.CommitProperties(custom_metadata=dict(origin))
    if isinstance(table, str):
        create_table_with_add_actions(
            table, schema, actions, mode="error", storage_options=dict(options), commit_properties=properties
        )
    else:
        table.create_write_transaction(actions, mode, schema, commit_properties=properties)


class _Files:
    """The Parquet files of an export: name, rows and size of each."""

    def __init__(self, address: str, options: Options) -> None:
        self.files: list[tuple[str, int, int]] = []
        self._address, self._is_local = address, "://" not in address
        self._store = None if self._is_local else _object_store(address, dict(options))
        self._unfinished: list[str] = []

    def write(self, frame: pl.LazyFrame, rows: int) -> None:
        """Write the rows, in order, as files of 4,194,304."""
        if self._is_local:
            Path(self._address).mkdir(parents=True, exist_ok=True)
        for number, start in enumerate(range(0, max(rows, 1), FILE_ROWS)):
            name = f"part-{number:05}-{uuid.uuid4()}-c000.zstd.parquet"
            part = frame.slice(start, FILE_ROWS)
            if self._store is None:
                self._unfinished.append(f"{self._address}/{name}")
                part.sink_parquet(self._unfinished[-1], maintain_order=True)
                size_bytes = os.path.getsize(self._unfinished[-1])
            else:
                size_bytes = self._upload(part, name)
            self.files.append((name, min(rows - start, FILE_ROWS), size_bytes))

    def remove(self) -> None:
        """Remove what no commit names; in object storage it stays until the table is vacuumed."""
        for path in self._unfinished:
            with suppress(OSError):
                os.unlink(path)

    def _upload(self, part: pl.LazyFrame, name: str) -> int:
        with tempfile.TemporaryDirectory(prefix="mainspring-") as folder:
            path = Path(folder, name)
            part.sink_parquet(path, maintain_order=True)
            assert self._store is not None
            self._store.put(name, path)
            return path.stat().st_size


def _object_store(address: str, options: dict[str, str]) -> Any:
    try:
        from obstore.store import from_url
    except ImportError as error:
        raise MissingExtraError("obstore", "s3", "Exporting to object storage") from error
    return from_url(address, config=options or None)  # type: ignore[arg-type]  # typed as the options of S3 alone
