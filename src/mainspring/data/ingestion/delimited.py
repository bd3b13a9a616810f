"""CSV and its relatives, block by block, every line held to the header's number of fields."""

from __future__ import annotations

import csv
import io
import re
from collections import Counter
from collections.abc import Iterator
from typing import Any, NamedTuple

import numpy as np
import polars as pl

from mainspring.data.ingestion.alignment import parsed
from mainspring.data.ingestion.formats import Options
from mainspring.data.ingestion.source import Reading
from mainspring.data.ingestion.streams import Blocks
from mainspring.errors import InvalidError, listed, shorten

_NEWLINE = 10


class Position(NamedTuple):
    """Where reading goes on: bytes of text, lines, and the header."""

    text_bytes: int
    line: int
    header: list[str]


class Delimited:
    """One CSV file. Types that nobody decided are inferred where they aren't seen yet, and again where a block doesn't fit."""

    def __init__(
        self, blocks: Blocks, options: Options, reading: Reading, seen: dict[str, pl.DataType], header: list[str] | None
    ) -> None:
        self.blocks, self.options, self.reading = blocks, options, reading
        self.header = header
        self._seen = seen

    def frames(self) -> Iterator[tuple[pl.DataFrame, Position]]:
        """The rows of each block, with the position behind it."""
        for block in self.blocks:
            line = self.blocks.line
            end = line + block.count(b"\n")
            if self.header is None:
                block, taken = self._take_header(block)
                line += taken
            header = self.header
            assert header is not None
            frame = self._parsed(self._even(block, line), block, line)
            yield frame, Position(self.blocks.taken_bytes, end, header)

    def _take_header(self, block: bytes) -> tuple[bytes, int]:
        text = io.StringIO(block.decode(), newline="\n")
        reader = csv.reader(text, delimiter=self.options.separator, quotechar=self.options.quote or None)
        try:
            header = next((row for row in reader if row), [])
        except csv.Error as error:
            raise InvalidError(self.blocks.uri, str(error), "CSV with a header") from error
        where = f"{self.blocks.uri}, line {reader.line_num}"
        twice = [name for name, count in Counter(header).items() if count > 1]
        if twice:
            raise InvalidError(where, twice[0], "a column's name that is there once")
        if not all(name.strip() for name in header):
            raise InvalidError(where, shorten(self.options.separator.join(header)), "a header that names each column")
        self.header = header
        lines = block.split(b"\n", reader.line_num)
        return (lines[reader.line_num] if len(lines) > reader.line_num else b""), reader.line_num

    def _even(self, block: bytes, line: int) -> bytes:
        """The block without empty lines, all others with as many fields as the header; `ragged="pad"` fills short ones."""
        assert self.header is not None
        wanted = len(self.header)
        bare, quote = block, self.options.quote.encode()
        if quote and quote in block:
            q = re.escape(quote)
            bare = re.sub(q + b"[^" + q + b"]*" + q, b".", block)
        widths, is_empty = _widths(bare, self.options.separator.encode())
        uneven = (widths != wanted) & ~is_empty
        if self.options.ragged == "pad":
            uneven &= widths > wanted
        if uneven.any():
            self._tell_uneven(block, line, wanted)
        return _without_empty(block, quote) if wanted > 1 and is_empty.any() else block

    def _tell_uneven(self, block: bytes, line: int, wanted: int) -> None:
        """Find the first line that is uneven, slowly and exactly, and say which."""
        reader = self._reader(block)
        for row in reader:
            if not row or len(row) == wanted or (self.options.ragged == "pad" and len(row) < wanted):
                continue
            pad = " ragged='pad' fills short lines with nulls." if len(row) < wanted else ""
            raise InvalidError(
                f"{self.blocks.uri}, line {line + reader.line_num}", shorten(self.options.separator.join(row)),
                f"a line of {wanted} fields, as the header has; it has {len(row)}",
                f"Is a quote missing, or the file cut off?{pad}",
            )  # fmt: skip

    def _parsed(self, even: bytes, block: bytes, line: int) -> pl.DataFrame:
        assert self.header is not None
        header = self.header
        decided = {name: dtype for name, dtype in self.reading.types.items() if name in header}
        readable = {name: _readable(dtype) for name, dtype in decided.items()}
        text = io.StringIO()
        csv.writer(text, delimiter=self.options.separator, lineterminator="\n").writerow(header)
        data = text.getvalue().encode() + even
        try:
            found = self._read_seen(data, readable)
            frame = self._read(data, readable | self._seen) if found is None else found
        except pl.exceptions.PolarsError:
            try:
                frame = self._read(data, readable)  # types seen so far may widen
            except pl.exceptions.PolarsError as error:
                raise self._misfit(data, block, line, readable, error) from error
        empty = {name for name in header if name not in decided and frame[name].null_count() == frame.height}
        self._seen.update(
            (name, dtype) for name, dtype in frame.schema.items() if name not in decided and name not in empty
        )
        return frame.with_columns(pl.lit(None).alias(name) for name in header if name in empty) if empty else frame

    def _read_seen(self, data: bytes, types: dict[str, pl.DataType]) -> pl.DataFrame | None:
        """The block in the types seen so far; None if a column has values for the first time. Inferring takes ten times as
        long as reading, even for columns whose types are given.
        """
        assert self.header is not None
        types = {**self._seen, **types}
        unseen = [name for name in self.header if name not in types]
        if len(unseen) == len(self.header):
            return None
        frame = self._read(data, types, infer=False)
        return frame if all(frame[name].null_count() == frame.height for name in unseen) else None

    def _read(self, data: bytes, types: dict[str, pl.DataType], *, infer: bool = True) -> pl.DataFrame:
        options = self.options
        return pl.read_csv(
            data, separator=options.separator, quote_char=options.quote or None, schema_overrides=types,
            null_values=list(options.null_values) or None, missing_columns="insert",
            infer_schema_length=None if infer else 0, try_parse_dates=options.dates,
        )  # fmt: skip

    def _misfit(
        self, data: bytes, block: bytes, line: int, types: dict[str, pl.DataType], error: Exception
    ) -> InvalidError:
        """The value that can't be read as its column's type, with its line."""
        assert self.header is not None
        as_text = self._read(data, dict.fromkeys(self.header, pl.String()), infer=False)
        for name, dtype in types.items():
            if dtype == pl.String():
                continue
            read = parsed(as_text[name].str.strip_chars(), dtype, strict=False)
            wrong = (read.is_null() & as_text[name].is_not_null()).arg_true()
            if len(wrong):
                row = int(wrong[0])
                where = f"{self.blocks.uri}, line {self._line_of(block, line, row)}, column `{name}`"
                expected = f"a value of the column's type, `{str(dtype).lower()}`"
                return InvalidError(where, as_text[name][row], expected, "null_values=[…] names texts that mean null.")
        return InvalidError(self.blocks.uri, shorten(str(error)), f"CSV with the columns {listed(self.header)}")

    def _line_of(self, block: bytes, line: int, row: int) -> int:
        reader = self._reader(block)
        for number, _ in enumerate(each for each in reader if each):
            if number == row:
                break
        return line + int(reader.line_num)

    def _reader(self, block: bytes) -> Any:
        return csv.reader(
            io.StringIO(block.decode(), newline="\n"), delimiter=self.options.separator, quotechar=self.options.quote or None,
            quoting=csv.QUOTE_MINIMAL if self.options.quote else csv.QUOTE_NONE,
        )  # fmt: skip


def _readable(dtype: pl.DataType) -> pl.DataType:
    """The type that Polars reads a column as, from which the decided one is made afterwards."""
    return dtype if dtype.is_integer() or dtype.is_float() or dtype in (pl.Date, pl.Boolean) else pl.String()


def _widths(block: bytes, separator: bytes) -> tuple[np.ndarray, np.ndarray]:
    """The number of fields of each line, and whether it is empty."""
    data = np.frombuffer(block, np.uint8)
    ends = np.flatnonzero(data == _NEWLINE)
    if len(data) and (not len(ends) or ends[-1] != len(data) - 1):
        ends = np.append(ends, len(data))
    starts = np.concatenate([[0], ends[:-1] + 1]) if len(ends) else ends
    marks = np.flatnonzero(data == separator[0])
    widths = np.searchsorted(marks, ends) - np.searchsorted(marks, starts) + 1
    length = ends - starts
    is_return = np.zeros(len(ends), bool)
    one = length == 1
    is_return[one] = data[starts[one]] == 13
    return widths, (length == 0) | is_return


def _without_empty(block: bytes, quote: bytes) -> bytes:
    """The block without lines that hold nothing; those within quotes stay."""
    if not quote or quote not in block:
        return re.sub(rb"(?m)^\r?\n", b"", block)
    kept, is_open = [], False
    for line in block.split(b"\n"):
        if is_open or line.strip(b"\r"):
            kept.append(line)
        is_open ^= line.count(quote) % 2 == 1
    return b"\n".join(kept) + b"\n"
