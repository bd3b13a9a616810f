"""Columns in the names of folders (`year=2013/carrier=UA`), as Hive has it; names and values are escaped as in addresses."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from datetime import date
from pathlib import Path
from typing import Any
from urllib.parse import quote, unquote

import polars as pl

from mainspring.data.tables.texts import as_text
from mainspring.data.version import DatasetVersion
from mainspring.errors import InvalidError, close_names, shorten

SUFFIX = ".parquet"
_NULL = "__HIVE_DEFAULT_PARTITION__"
_INTEGER = re.compile(r"0|-?[1-9][0-9]{0,18}")
_DATE = re.compile(r"[0-9]{4}-[0-9]{2}-[0-9]{2}")
_LONGEST_NAME = 255  # bytes, of Linux's and macOS's file systems
Texts = Mapping[str, Sequence[str | None]]
"""The columns in the names of folders, each with its text for every file."""


class Layout:
    """How the rows of a version are spread over folders.

    Raises:
        InvalidError: a column is missing, has no exact text or a value that no folder's name can be, or no other is left.
    """

    def __init__(self, version: DatasetVersion, frame: pl.LazyFrame, keys: Sequence[str]) -> None:
        self.frame, self.keys = frame, list(keys)
        _expect_columns(version, self.keys)
        schema = frame.collect_schema()
        for key in self.keys:
            if schema[key].is_nested() or schema[key] == pl.Binary():
                raise InvalidError(
                    "partition_by", key, "a column of numbers, text, truth values or times", _hint(schema[key])
                )
        self._texts = [as_text(pl.col(key), schema[key]) for key in self.keys]
        self._folders = {row: self._folder(row) for row in frame.select(self._texts).unique().collect().iter_rows()}

    def write(self, folder: Path, metadata: dict[str, str]) -> None:
        """Write the rows, in their order within each folder; without rows one file says the columns."""
        folder.mkdir()
        if not self._folders:
            place: Any = folder / self._folder([None] * len(self.keys)) / f"{0:08}{SUFFIX}"
            frame = self.frame.drop(self.keys)
        else:
            place = pl.PartitionBy(folder, key=self.keys, include_key=False, file_path_provider=self._path)
            frame = self.frame
        frame.sink_parquet(place, maintain_order=True, metadata=metadata, mkdir=True)

    def _path(self, file: Any) -> str:
        row = file.partition_keys.select(self._texts).row(0)
        return f"{self._folders[row]}/{file.index_in_partition:08}{SUFFIX}"

    def _folder(self, texts: Iterable[str | None]) -> str:
        parts = []
        for key, text in zip(self.keys, texts, strict=True):
            if text == _NULL:
                raise InvalidError(f"column `{key}`", text, "other text", "Hive's folders say null by this name.")
            part = f"{quote(key, safe='')}={_NULL if text is None else quote(text, safe='')}"
            if len(part) > _LONGEST_NAME:
                raise InvalidError(
                    f"column `{key}`", shorten(text or key), "short enough for the name of a folder",
                    f"`{shorten(part)}` has {len(part)} bytes, more than {_LONGEST_NAME}.",
                )  # fmt: skip
            parts.append(part)
        return "/".join(parts)


def texts_of_folders(folder: Path, files: list[Path]) -> Texts:
    """The columns in the names of the folders that files of a folder lie in.

    Raises:
        InvalidError: a file lies in folders of other columns than the first, or twice in one's; it is named.
    """
    found: list[dict[str, str | None]] = []
    for file in files:
        pairs = [part.partition("=") for part in file.relative_to(folder).parts[:-1] if "=" in part]
        texts = {_unescaped(name): None if value == _NULL else _unescaped(value) for name, _, value in pairs}
        if len(texts) < len(pairs) or (found and texts.keys() != found[0].keys()):
            wanted = " and ".join(f"`{name}=…`" for name in (found[0] if found else texts)) or "no `column=value`"
            raise InvalidError(str(file), "/".join(map("".join, pairs)), f"in folders {wanted}, as the first file")
        found.append(texts)
    return {name: [texts[name] for texts in found] for name in (found[0] if found else ())}


def scan_partitions(files: list[Path], texts: Texts, schema: Mapping[str, pl.DataType]) -> pl.LazyFrame:
    """The rows of files, with the columns in the names of their folders last, unless the files of `schema` have them.

    Raises:
        InvalidError: a file has another value in such a column than its folder says; both are named.
    """
    if not texts:
        return pl.scan_parquet(files, glob=False, hive_partitioning=False)
    path = "path"
    while path in schema or path in texts:
        path += "_"
    frame = pl.scan_parquet(files, glob=False, hive_partitioning=False, include_file_paths=path)
    for name in texts.keys() & schema.keys():
        _expect_same(frame, path, files, name, texts[name], schema[name])
    columns = [_by_file(path, files, _typed(each)).alias(name) for name, each in texts.items() if name not in schema]
    return frame.with_columns(columns).drop(path)


def _expect_same(
    frame: pl.LazyFrame, path: str, files: list[Path], name: str, texts: Sequence[str | None], dtype: pl.DataType
) -> None:
    """Hold the column of files to the names of their folders, as numbers if it has numbers, else as text."""
    written = pl.Series(texts, dtype=pl.String)
    held: pl.Expr = as_text(pl.col(name), dtype)
    differs = held.ne_missing(_by_file(path, files, written))
    if dtype.is_numeric():  # `01` is 1, and what is no number not null
        differs &= pl.col(name).eq(_by_file(path, files, written.cast(dtype, strict=False))).not_().fill_null(True)
    odd = frame.filter(differs).select(path, held.cast(pl.String).alias(f"{path}_")).head(1).collect()
    if odd.height:
        file, value = odd.row(0)
        text = texts[[str(each) for each in files].index(file)]
        told = "null" if text is None else f"`{shorten(text)}`"
        raise InvalidError(
            f"{file}, column `{name}`", value, f"{told}, as the folder's name says", "Rename either of them."
        )


def _by_file(path: str, files: list[Path], values: pl.Series) -> pl.Expr:
    return pl.col(path).replace_strict([str(file) for file in files], values, return_dtype=values.dtype)


def _typed(texts: Sequence[str | None]) -> pl.Series:
    """The values as integers or dates if that keeps each spelling, else as text."""
    dtype = _type_of({text for text in texts if text is not None})
    read: Any = {pl.Int64(): int, pl.Date(): date.fromisoformat}.get(dtype, str)
    return pl.Series([None if text is None else read(text) for text in texts], dtype=dtype)


def _type_of(texts: set[str]) -> pl.DataType:
    if not texts or not all(_INTEGER.fullmatch(text) or _DATE.fullmatch(text) for text in texts):
        return pl.String()
    if all(_INTEGER.fullmatch(text) and -(1 << 63) <= int(text) < 1 << 63 for text in texts):
        return pl.Int64()
    try:
        for text in texts:
            date.fromisoformat(text)
    except ValueError:
        return pl.String()
    return pl.Date()


def _unescaped(text: str) -> str:
    try:
        return unquote(text, errors="strict")
    except UnicodeDecodeError:
        return text  # of somebody who doesn't escape


def _expect_columns(version: DatasetVersion, keys: list[str]) -> None:
    for key in keys:
        if key not in version.columns:
            near = close_names(key, version.columns)
            raise InvalidError(
                "partition_by", key, f"a column of {version}", f"Nearest: {', '.join(near)}." if near else ""
            )
    if len(set(keys)) == len(version.columns):
        raise InvalidError("partition_by", ", ".join(keys), "less than all columns", "The files would have none.")


def _hint(dtype: pl.DataType) -> str:
    return f"It is of type {shorten(str(dtype))}, whose values are no names."
