"""JSON lines, block by block: an object for each line; what a line doesn't have is null."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import NamedTuple

import msgspec
import polars as pl

from mainspring.data.ingestion.source import Reading
from mainspring.data.ingestion.streams import Blocks
from mainspring.errors import InvalidError, shorten


class LinePosition(NamedTuple):
    """Where reading goes on: bytes of text, and lines."""

    text_bytes: int
    line: int


def json_frames(blocks: Blocks, reading: Reading) -> Iterator[tuple[pl.DataFrame, LinePosition]]:
    """The rows of each block, with the position behind it.

    Raises:
        InvalidError: a line holds no JSON object, or columns of it don't fit together; which, is named.
    """
    overrides = {name: dtype for name, dtype in reading.types.items() if dtype.is_numeric() and not dtype.is_decimal()}
    for block in blocks:
        line = blocks.line
        frame = _parsed(block, blocks.uri, line, overrides)
        for name, dtype in frame.schema.items():
            if dtype == pl.String() and reading.types.get(name) != pl.String():
                _expect_text(block, name, blocks.uri, line)
        yield frame, LinePosition(blocks.taken_bytes, line + block.count(b"\n"))


def _parsed(block: bytes, uri: str, line: int, overrides: dict[str, pl.DataType]) -> pl.DataFrame:
    if not block.strip():
        return pl.DataFrame()
    try:
        frame = pl.read_ndjson(block, infer_schema_length=None)
        found = frame.schema
        present = {name: dtype for name, dtype in overrides.items() if name in found and found[name] != dtype}
        return pl.read_ndjson(block, infer_schema_length=None, schema_overrides=present) if present else frame
    except pl.exceptions.PolarsError as error:
        raise _misfit(block, uri, line, error) from error


def _expect_text(block: bytes, name: str, uri: str, line: int) -> None:
    """Refuse a column of texts among which there is something else: Polars would make text of it."""
    suspect = re.escape(msgspec.json.encode(name)) + rb"\s*:\s*[^\s\"n]"
    if not re.search(suspect, block):
        return
    for number, text in enumerate(block.split(b"\n"), line + 1):
        value = msgspec.json.decode(text).get(name) if text.strip() else None
        if value is not None and not isinstance(value, str):
            raise InvalidError(
                f"{uri}, line {number}, column `{name}`", value, "text, as in other lines",
                f"types={{{name!r}: 'str'}} makes text of it.",
            )  # fmt: skip


def _misfit(block: bytes, uri: str, line: int, error: Exception) -> InvalidError:
    for number, text in enumerate(block.split(b"\n"), line + 1):
        if not text.strip():
            continue
        try:
            msgspec.json.decode(text, type=dict[str, msgspec.Raw])
        except msgspec.MsgspecError as problem:
            return InvalidError(
                f"{uri}, line {number}", shorten(text.decode("utf-8", "replace")), f"a JSON object ({problem})"
            )
    return InvalidError(f"{uri}, lines from {line + 1}", shorten(str(error)), "JSON objects that make one table")
