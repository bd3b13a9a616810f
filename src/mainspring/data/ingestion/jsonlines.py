"""JSON lines, block by block: an object for each line; what a line doesn't have is null."""

from __future__ import annotations

import re
from collections.abc import Iterator
from functools import partial
from itertools import islice
from typing import Any, NamedTuple

import msgspec
import numpy as np
import polars as pl

from mainspring.data.ingestion.alignment import Naming
from mainspring.data.ingestion.kinds import ERRORS_OF_POLARS, expect_kinds
from mainspring.data.ingestion.source import Reading
from mainspring.data.ingestion.streams import Blocks
from mainspring.errors import InvalidError, shorten

_DEEPEST = 100  # levels; Polars takes seconds for the type of some more, minutes for that of a thousand
_STRING = re.compile(rb'"[^"\\]*(?:\\.[^"\\]*)*"')
_NO_BRACKETS = bytes(set(range(256)) - set(b"{[]}"))
_OPENING = np.frombuffer(b"{[", np.uint8)


class LinePosition(NamedTuple):
    """Where reading goes on: bytes of text, and lines."""

    text_bytes: int
    line: int


def json_frames(blocks: Blocks, reading: Reading) -> Iterator[tuple[pl.DataFrame, LinePosition, Naming]]:
    """The rows of each block, with the position behind it and where each row stood.

    Raises:
        InvalidError: a line holds no JSON object, or columns of it don't fit together; which, is named.
    """
    overrides = {name: dtype for name, dtype in reading.types.items() if dtype.is_numeric() and not dtype.is_decimal()}
    for block in blocks:
        line = blocks.line
        _expect_flat(block, blocks.uri, line)
        try:
            frame = _parsed(block, blocks.uri, line, overrides)
            _expect_kinds(frame, block, blocks.uri, line, reading)
        except (msgspec.MsgspecError, RecursionError, *ERRORS_OF_POLARS) as error:  # e.g. half a surrogate pair
            raise _misfit(block, blocks.uri, line, error) from error
        position = LinePosition(blocks.taken_bytes, line + block.count(b"\n"))
        yield frame, position, partial(_line_of, block, blocks.uri, line)


def _expect_flat(block: bytes, uri: str, line: int) -> None:
    """Refuse lines that are nested too deep; a line is looked into only if it has enough brackets for that."""
    if block.count(b"{") + block.count(b"[") - block.count(b"\n") < _DEEPEST:  # each line opens one
        return
    for number, text in enumerate(block.split(b"\n"), line + 1):
        if text.count(b"{") + text.count(b"[") > _DEEPEST and _depth(text) > _DEEPEST:
            told = shorten(text[:100].decode("utf-8", "replace"))
            raise InvalidError(f"{uri}, line {number}", told, f"a JSON object nested at most {_DEEPEST} levels deep")


def _depth(text: bytes) -> int:
    """How many brackets are open at once at most, those in strings aside."""
    signs = np.frombuffer(_STRING.sub(b"", text).translate(None, _NO_BRACKETS), np.uint8)
    return int(np.cumsum(np.isin(signs, _OPENING) * 2 - 1).max(initial=0))


def _parsed(block: bytes, uri: str, line: int, overrides: dict[str, pl.DataType]) -> pl.DataFrame:
    if not block.strip():
        return pl.DataFrame()
    try:
        frame = pl.read_ndjson(block, infer_schema_length=None)
        found = frame.schema
        present = {name: dtype for name, dtype in overrides.items() if name in found and found[name] != dtype}
        return pl.read_ndjson(block, infer_schema_length=None, schema_overrides=present) if present else frame
    except ERRORS_OF_POLARS as error:
        raise _misfit(block, uri, line, error) from error


def _expect_kinds(frame: pl.DataFrame, block: bytes, uri: str, line: int, reading: Reading) -> None:
    def hold(texts: Any) -> None:
        msgspec.json.Decoder(texts).decode_lines(block)

    free = [name for name, dtype in reading.types.items() if dtype == pl.String()]
    expect_kinds(frame, free, hold, lambda: _rows(block, uri, line))


def _rows(block: bytes, uri: str, line: int) -> Iterator[tuple[str, dict[str, Any]]]:
    for number, text in enumerate(block.split(b"\n"), line + 1):
        if text.strip():
            yield f"{uri}, line {number}", msgspec.json.decode(text)


def _line_of(block: bytes, uri: str, line: int, row: int) -> str:
    where, _ = next(islice(_rows(block, uri, line), row, None))
    return where


def _misfit(block: bytes, uri: str, line: int, error: Exception) -> InvalidError:
    for number, text in enumerate(block.split(b"\n"), line + 1):
        if not text.strip():
            continue
        try:
            msgspec.json.decode(text, type=dict[str, Any])
        except (msgspec.MsgspecError, RecursionError) as problem:
            return InvalidError(
                f"{uri}, line {number}", shorten(text.decode("utf-8", "replace")), f"a JSON object ({problem})"
            )
    return InvalidError(f"{uri}, lines from {line + 1}", shorten(str(error)), "JSON objects that make one table")
