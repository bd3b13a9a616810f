"""Plain Parquet: a version as one file or as a folder of partitions, and files or folders of others as a version."""

from __future__ import annotations

import glob
import os
from collections.abc import Sequence
from pathlib import Path

import polars as pl

from mainspring.data.dataset import Mode, dataset
from mainspring.data.interchange.exported import Exported, in_place_of
from mainspring.data.interchange.partitions import SUFFIX, Layout, scan_partitions, texts_of_folders
from mainspring.data.tables.parts import parquet_schema
from mainspring.data.version import DatasetVersion, expect_version
from mainspring.errors import InvalidError, NotFoundError, close_names, shorten
from mainspring.workspace import Workspace, current_workspace, using


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
        InvalidError: a column of the partitions is missing, its values can't be names of folders, or there is no other
            column than these; the version is a tree.
        StorageError: it can't be written.
    """
    expect_version(version)
    keys = [partition_by] if isinstance(partition_by, str) else list(partition_by)
    target = Path(path).expanduser().absolute()
    with using(workspace or current_workspace()):
        frame = version.scan()
        layout = Layout(version, frame, keys) if keys else None
        with in_place_of(target, overwrite=overwrite, suffix=SUFFIX) as unfinished:
            if layout is not None:
                layout.write(unfinished, origin_of(version))
            else:
                frame.sink_parquet(unfinished, maintain_order=True, metadata=origin_of(version))
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

    Of a folder, columns that are in the names of the folders inside it (`year=2013`) come last, as integers or dates if each of
    them is written as one is (not `01`), else as text; one that the files have, too, is theirs. Of a glob there are none. The
    files are recorded as sources, by their bytes. Raises as `commit` does, and:

    Raises:
        NotFoundError: there is no such file.
        InvalidError: a file is not Parquet, or has other columns or folders than the first, or another value than its
            folder says; the folder is a Delta table.
    """
    files = parquet_files(path)
    folder = Path(path).expanduser().absolute()
    texts = texts_of_folders(folder, files) if folder.is_dir() else {}
    schema = _schema_of(files)
    rows = scan_partitions(files, texts, schema)
    # A lazy frame without columns has no rows.
    frame = rows if schema or texts else pl.DataFrame(height=rows.select(pl.len()).collect().item())
    try:
        return dataset(name, workspace).commit(frame, source=files, note=note, mode=mode)
    except pl.exceptions.PolarsError as error:
        raise InvalidError(str(path), shorten(str(error)), "files with the same columns and types") from error


def _schema_of(files: list[Path]) -> dict[str, pl.DataType]:
    """The columns of the first file; that the others have the same is found when they are read."""
    schemas = []
    for file in files:
        try:
            schemas.append(dict(parquet_schema(file)))
        except (pl.exceptions.PolarsError, OSError) as error:
            raise InvalidError(str(file), shorten(str(error)), "a Parquet file") from error
        if bool(schemas[-1]) != bool(schemas[0]):  # Polars would pass over what has no columns
            told = ", ".join(schemas[-1]) or "no columns"
            raise InvalidError(str(file), shorten(told), "a file with the same columns and types as the first")
    return schemas[0]


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
    """Whether the file or a folder is for others; one with a column in its name is not, whatever it begins with."""
    return path.name.startswith(("_", ".")) or any(
        part.startswith(("_", ".")) and "=" not in part for part in path.parent.parts
    )
