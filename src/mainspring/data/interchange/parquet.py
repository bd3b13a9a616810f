"""Plain Parquet: a version as one file or as a folder of partitions, and files or folders of others as a version."""

from __future__ import annotations

import glob
import os
import re
from collections.abc import Sequence
from datetime import date
from pathlib import Path
from urllib.parse import unquote

import polars as pl

from mainspring.data.dataset import Mode, dataset
from mainspring.data.interchange.exported import Exported, in_place_of
from mainspring.data.version import DatasetVersion
from mainspring.errors import InvalidError, NotFoundError, close_names, shorten
from mainspring.workspace import Workspace, current_workspace, using

SUFFIX = ".parquet"
_NULL = "__HIVE_DEFAULT_PARTITION__"
_INTEGER = re.compile(r"0|-?[1-9][0-9]{0,18}")
_DATE = re.compile(r"[0-9]{4}-[0-9]{2}-[0-9]{2}")


def export_parquet(
    version: DatasetVersion, path: str | Path, *, partition_by: str | Sequence[str] = (), overwrite: bool = False,
    workspace: Workspace | None = None,
) -> Exported:  # fmt: skip
    """Write a table as one Parquet file in row order, or as a folder with `column=value` folders.

    The file says in its metadata which version it is. Partitions are in the order of the rows within; their columns are
    in the folders' names alone, as Hive has it. What is there appears at once; a folder that is overwritten is missing for
    an instant.

    Raises:
        ExistsError: something is there, and `overwrite` was not asked for.
        InvalidError: there is no such column, or no other column than these; the version is a tree.
        StorageError: it can't be written.
    """
    keys = [partition_by] if isinstance(partition_by, str) else list(partition_by)
    target = Path(path).expanduser().absolute()
    with using(workspace or current_workspace()):
        frame = version.scan()
        _check_keys(version, keys)
        with in_place_of(target, overwrite=overwrite, suffix=SUFFIX) as unfinished:
            place = pl.PartitionBy(unfinished, key=keys, include_key=False) if keys else unfinished
            if keys:
                unfinished.mkdir()  # there must be one even without rows
            frame.sink_parquet(place, maintain_order=True, metadata=origin_of(version))
            files = sorted(unfinished.rglob(f"*{SUFFIX}")) if keys else [unfinished]
            size_bytes = sum(file.stat().st_size for file in files)
    return Exported("parquet", str(target), version.rows, len(files), size_bytes)


def origin_of(version: DatasetVersion) -> dict[str, str]:
    """What a file or table of others says of the version that it was written from."""
    return {
        "mainspring.version": str(version), "mainspring.version_id": version.id,
        "mainspring.content_digest": version.content_digest,
    }  # fmt: skip


def import_parquet(
    name: str, path: str | Path, *, mode: Mode = "replace", note: str = "", workspace: Workspace | None = None
) -> DatasetVersion:
    """Make a version of a Parquet file, of those that a glob names, or of all in a folder, in the order of their paths.

    Columns that are in the names of folders (`year=2013`) come last, as integers or dates if each of them is written as one
    is (not `01`), else as text. The files are recorded as sources, by their bytes. Raises as `commit` does, and:

    Raises:
        NotFoundError: there is no such file.
        InvalidError: a file is not Parquet or has other columns than the first, or the folder is a Delta table.
    """
    files = parquet_files(path)
    folder = Path(path).expanduser().absolute()
    folders = _columns_of_folders(folder, files) if folder.is_dir() else {}
    columns: set[str] = set()
    for file in files:
        try:
            columns |= pl.read_parquet_schema(file).keys()
        except (pl.exceptions.PolarsError, OSError) as error:
            raise InvalidError(str(file), shorten(str(error)), "a Parquet file") from error
    frame: pl.LazyFrame | pl.DataFrame = pl.DataFrame()  # as a version without columns was exported
    if columns or folders:
        frame = pl.scan_parquet(files, glob=False, hive_partitioning=bool(folders), hive_schema=folders or None)
    try:
        return dataset(name, workspace).commit(frame, source=files, note=note, mode=mode)
    except pl.exceptions.PolarsError as error:
        raise InvalidError(str(path), shorten(str(error)), "files with the same columns and types") from error


def _columns_of_folders(folder: Path, files: list[Path]) -> dict[str, pl.DataType]:
    """The columns in the names of folders, with the types that keep each spelling."""
    found: dict[str, set[str]] = {}
    for file in files:
        for part in file.relative_to(folder).parts[:-1]:
            name, is_column, value = part.partition("=")
            if is_column:
                found.setdefault(name, set()).add(unquote(value))
    return {unquote(name): _type_of(values - {_NULL}) for name, values in found.items()}


def _type_of(values: set[str]) -> pl.DataType:
    if not values or not all(_INTEGER.fullmatch(value) or _DATE.fullmatch(value) for value in values):
        return pl.String()
    if all(_INTEGER.fullmatch(value) and -(1 << 63) <= int(value) < 1 << 63 for value in values):
        return pl.Int64()
    try:
        for value in values:
            date.fromisoformat(value)
    except ValueError:
        return pl.String()
    return pl.Date()


def parquet_files(path: str | Path) -> list[Path]:
    """The files that a path, folder or glob names, by path; what begins with `_` or `.` is passed over, as elsewhere.

    Raises:
        NotFoundError: there is none.
        InvalidError: the folder is a Delta table.
    """
    place = Path(path).expanduser().absolute()
    if (place / "_delta_log").is_dir():
        raise InvalidError("path", str(path), "plain Parquet", "It is a Delta table: use import_delta or pin_delta.")
    if place.is_file():
        return [place]
    if place.is_dir():
        found = [file for file in place.rglob(f"*{SUFFIX}") if not _is_hidden(file.relative_to(place))]
    else:
        found = [Path(file) for file in glob.glob(str(place), recursive=True) if os.path.isfile(file)]
    if not found:
        near = os.listdir(place.parent) if place.parent.is_dir() else []
        raise NotFoundError("Parquet file", str(path), close_names(place.name, near))
    return sorted(found)


def _is_hidden(path: Path) -> bool:
    return any(part.startswith(("_", ".")) for part in path.parts)


def _check_keys(version: DatasetVersion, keys: list[str]) -> None:
    for key in keys:
        if key not in version.columns:
            near = close_names(key, version.columns)
            raise InvalidError(
                "partition_by", key, f"a column of {version}", f"Nearest: {', '.join(near)}." if near else ""
            )
    if keys and len(set(keys)) == len(version.columns):
        raise InvalidError("partition_by", ", ".join(keys), "less than all columns", "The files would have none.")
