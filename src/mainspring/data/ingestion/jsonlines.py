"""JSON lines, block by block: an object for each line; what a line doesn't have is null."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from decimal import Decimal
from functools import partial
from itertools import islice
from typing import Any, NamedTuple

import msgspec
import numpy as np
import polars as pl

from mainspring.data.ingestion.conversion import Naming
from mainspring.data.ingestion.kinds import (
    ERRORS_OF_POLARS,
    Types,
    expect_kinds,
    expect_one_kind,
    expect_shapes,
    has_decimal,
    has_float,
    has_text,
    holds_large,
    is_shaped,
    keyed,
    texted,
    texts_of,
    written,
)
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
    for block in blocks:
        line = blocks.line
        _expect_flat(block, blocks.uri, line)
        try:
            frame = _framed(block, blocks.uri, line, reading.types)
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


def _framed(block: bytes, uri: str, line: int, types: Types) -> pl.DataFrame:
    """The rows of a block; text is made only of what isn't text, or not of one kind, where a type was decided."""
    frame = _as_given(block, types)
    if frame is None:
        rows = texted([_with_digits(text, row, types) for _, text, row in _rows(block, uri, line)], types)
        try:
            frame = _parsed(b"".join(msgspec.json.encode(row) + b"\n" for row in rows), types)
        except ERRORS_OF_POLARS:
            placed = [(where, row) for (where, _, _), row in zip(_rows(block, uri, line), rows, strict=True)]
            expect_shapes(placed, types)
            expect_one_kind(placed, types)
            raise
    if not all(is_shaped(frame.schema[name], types[name]) for name in frame.columns if name in types):
        expect_shapes(((where, row) for where, _, row in _rows(block, uri, line)), types)

    def hold(texts: Any) -> None:
        msgspec.json.Decoder(texts).decode_lines(block)

    expect_kinds(frame, types, hold, lambda: ((where, row) for where, _, row in _rows(block, uri, line)))
    return frame


def _as_given(block: bytes, types: Types) -> pl.DataFrame | None:
    """The rows of a block as Polars reads them; None if text is to be made of some, or floats don't have their digits."""
    try:
        _expect_texts(block, {name: dtype for name, dtype in types.items() if has_text(dtype)})
        frame = _parsed(block, types)
        _expect_texts(block, {name: dtype for name, dtype in frame.schema.items() if has_decimal(types.get(name))})
        frame = _with_exact(frame, block, types)
    except (msgspec.ValidationError, *ERRORS_OF_POLARS):
        return None
    given = {name: types[name] for name in frame.columns if name in types and has_float(frame.schema[name])}
    is_short = any(
        has_decimal(dtype) or (dtype.is_integer() and holds_large(frame[name])) for name, dtype in given.items()
    )
    return None if is_short else frame


def _with_exact(frame: pl.DataFrame, block: bytes, types: Types) -> pl.DataFrame:
    """The frame with the texts of numbers, instead of the floats nearest to them, in columns where decimals are decided on."""
    names = [
        name for name, dtype in frame.schema.items() if dtype.is_float() and isinstance(types.get(name), pl.Decimal)
    ]
    if not names:
        return frame
    rows: list[dict[str, Any]] = msgspec.json.Decoder(keyed(dict.fromkeys(names, msgspec.Raw))).decode_lines(block)
    columns = [_digits(name, [row.get(name) for row in rows]) for name in names]
    # Of a name that stands twice, or of what Polars makes a number of, another value would come.
    is_same = len(rows) == frame.height and all(
        column.cast(pl.Float64(), strict=False).eq_missing(frame[column.name].cast(pl.Float64())).all()
        for column in columns
    )
    return frame.with_columns(columns) if is_same else frame


def _digits(name: str, values: list[msgspec.Raw | None]) -> pl.Series:
    texts = (
        pl.Series(name, [value and bytes(value) for value in values], pl.Binary())
        .cast(pl.String())
        .replace("null", None)
    )
    powers = texts.str.contains("[eE]").fill_null(value=False).arg_true()
    return texts.scatter(powers, [written(Decimal(text)) for text in texts[powers]]) if len(powers) else texts


def _expect_texts(block: bytes, types: Types) -> None:
    """Raise msgspec's error if a value is no text where one of these types has it."""
    texts = texts_of(types)
    if texts is not None:
        msgspec.json.Decoder(texts).decode_lines(block)


def _with_digits(text: bytes, row: dict[str, Any], types: Types) -> dict[str, Any]:
    """A row with numbers as they are written where decimals are decided on."""
    names = [name for name, dtype in types.items() if name in row and has_decimal(dtype)]
    if not names:
        return row
    exact = json.loads(text, object_pairs_hook=_first_values, parse_float=Decimal)
    return row | {name: exact[name] for name in names}


def _parsed(block: bytes, types: Types) -> pl.DataFrame:
    if not block.strip():
        return pl.DataFrame()
    frame = pl.read_ndjson(block, infer_schema_length=None)
    # Digits that a float of 64 bits holds are cut if it becomes one of 32; read as such they mean the nearest one.
    short = [name for name, dtype in frame.schema.items() if dtype == pl.Float64() and types.get(name) == pl.Float32()]
    overrides = dict.fromkeys(short, pl.Float32())
    return pl.read_ndjson(block, infer_schema_length=None, schema_overrides=overrides) if short else frame


def _rows(block: bytes, uri: str, line: int) -> Iterator[tuple[str, bytes, dict[str, Any]]]:
    """Each line that isn't empty: where it is, its text and its object."""
    for number, text in enumerate(block.split(b"\n"), line + 1):
        if text.strip():
            msgspec.json.decode(text, type=dict[str, Any])  # stricter than what keeps the first of two values of a name
            yield f"{uri}, line {number}", text, json.loads(text, object_pairs_hook=_first_values)


def _first_values(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for name, value in pairs:
        found.setdefault(name, value)
    return found


def _line_of(block: bytes, uri: str, line: int, row: int) -> str:
    where, _, _ = next(islice(_rows(block, uri, line), row, None))
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
