"""CSV and its relatives, block by block, every line held to the header's number of fields."""

from __future__ import annotations

import csv
import io
from collections import Counter
from collections.abc import Iterator
from functools import partial
from typing import NamedTuple

import polars as pl

from mainspring.data.ingestion import lines
from mainspring.data.ingestion.conversion import Naming
from mainspring.data.ingestion.formats import Options
from mainspring.data.ingestion.kinds import ERRORS_OF_POLARS, holds_large, is_exact
from mainspring.data.ingestion.parsing import parsed, passes_blanks
from mainspring.data.ingestion.source import Reading
from mainspring.data.ingestion.streams import Blocks
from mainspring.errors import InvalidError, listed, shorten

_DAY, _CLOCK = "[0-9]{4}-[0-9]{2}-[0-9]{2}", "[0-9]{2}:[0-9]{2}(:[0-9]{2}([.][0-9]{1,6})?)?"
_TIMES = (
    (f"^{_DAY}$", pl.Date()), (f"^{_DAY}[T ]{_CLOCK}$", pl.Datetime("us")),
    (f"^{_DAY}[T ]{_CLOCK}(Z|[+-][0-9]{{2}}:?[0-9]{{2}})$", pl.Datetime("us", "UTC")),
    ("^[0-9]{2}:[0-9]{2}:[0-9]{2}([.][0-9]{1,9})?$", pl.Time()),
)  # fmt: skip


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
        self._separator, self._quote = options.separator.encode(), options.quote.encode()

    def frames(self) -> Iterator[tuple[pl.DataFrame, Position, Naming]]:
        """The rows of each block, with the position behind it and where each row stood."""
        for block in self.blocks:
            line = self.blocks.line
            end = line + block.count(b"\n")
            if self.header is None:
                block, taken = self._take_header(block)
                line += taken
            if not self.header:
                self.header = None
                continue  # nothing but empty lines so far
            header = self.header
            try:
                frame = self._parsed(self._even(block, line), block, line)
            except ERRORS_OF_POLARS as error:
                raise self._malformed(block, line, error) from error
            yield frame, Position(self.blocks.taken_bytes, end, header), partial(self._line_of, block, line)

    @property
    def warning(self) -> str:
        """What a person should look at; empty if there is nothing."""
        hint = self._separator_hint()
        return (
            f"{self.blocks.uri} was read as one column, `{shorten((self.header or [''])[0])}`. {hint}" if hint else ""
        )

    def _take_header(self, block: bytes) -> tuple[bytes, int]:
        text = io.StringIO(block.decode(), newline="\n")
        reader = csv.reader(text, delimiter=self.options.separator, quotechar=self.options.quote or None)
        try:
            header = next((row for row in reader if row), [])
        except csv.Error as error:
            raise self._no_header(block, reader.line_num) from error
        where = f"{self.blocks.uri}, line {reader.line_num}"
        twice = [name for name, count in Counter(header).items() if count > 1]
        if twice:
            raise InvalidError(where, twice[0], "the name of one column alone")
        if not all(name.strip() for name in header):
            raise InvalidError(where, shorten(self.options.separator.join(header)), "a header that names each column")
        self.header = header
        split = block.split(b"\n", reader.line_num)
        return (split[reader.line_num] if len(split) > reader.line_num else b""), reader.line_num

    def _no_header(self, block: bytes, line: int) -> InvalidError:
        where, given = f"{self.blocks.uri}, line {max(line, 1)}", shorten(block[:100].decode("utf-8", "replace"))
        if b"\r" in block.partition(b"\n")[0].rstrip(b"\r"):
            expected = "text whose lines end with a line feed, with or without a carriage return before it"
            return InvalidError(where, given, expected, "tr '\\r' '\\n' makes such lines of those of old Macs.")
        return InvalidError(where, given, "the header of a CSV file", "Is a quote left open?")

    def _even(self, block: bytes, line: int) -> bytes:
        """The block without empty lines, all others with as many fields as the header; `ragged="pad"` fills short ones."""
        assert self.header is not None
        wanted = len(self.header)
        widths, is_empty = lines.widths(lines.bare(block, self._quote), self._separator)
        uneven = (widths != wanted) & ~is_empty
        if self.options.ragged == "pad":
            uneven &= widths > wanted
        if uneven.any():
            self._tell_uneven(block, line, wanted)
        return lines.without_empty(block, self._quote) if wanted > 1 and is_empty.any() else block

    def _tell_uneven(self, block: bytes, line: int, wanted: int) -> None:
        """Find the first line that is uneven, slowly and exactly, and say which."""
        for number, record in lines.records(block, self._quote, line):
            width = self._width(record)
            if width == wanted or (self.options.ragged == "pad" and width < wanted):
                continue
            pad = " ragged='pad' fills short lines with nulls." if width < wanted else ""
            raise InvalidError(
                f"{self.blocks.uri}, line {number}", shorten(record.decode().rstrip("\r")),
                f"a line of {wanted} fields, as the header has; it has {width}",
                self._separator_hint() or f"Is a quote missing, or the file cut off?{pad}",
            )  # fmt: skip

    def _separator_hint(self) -> str:
        """What separates the header, if that is one field by the separator at hand."""
        (name, *others), found = self.header or [""], self.options.separator
        counts = {each: name.count(each) for each in (";", "\t", "|", ",") if each != found}
        likely = max(counts, key=counts.__getitem__)
        return "" if others or not counts[likely] else f"The header has more fields with separator={likely!r}."

    def _width(self, record: bytes) -> int:
        text = io.StringIO(record.decode(), newline="\n")
        try:
            reader = csv.reader(
                text, delimiter=self.options.separator, quotechar=self.options.quote or None,
                quoting=csv.QUOTE_MINIMAL if self._quote else csv.QUOTE_NONE,
            )  # fmt: skip
            return len(next(reader, []))
        except csv.Error:  # a field of more characters than that reader takes
            return lines.bare(record, self._quote).count(self._separator) + 1

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
            seen = {name: _readable(dtype) for name, dtype in self._seen.items()}
            frame = self._read(data, readable | seen) if found is None else found
        except ERRORS_OF_POLARS:
            try:
                frame = self._read(data, readable)  # types seen so far may widen
            except ERRORS_OF_POLARS:  # what doesn't fit is named when the decided types are made of text
                frame = self._read(data, dict.fromkeys(readable, pl.String()))
                parsed_ones = [name for name, dtype in readable.items() if dtype != pl.String()]
                frame = frame.with_columns(pl.col(name).replace("", None) for name in parsed_ones)  # of empty quotes
        frame = self._without_nulls(frame, decided)
        self._expect_exact(frame, data, block, line)
        frame = self._with_times(self._with_codes(frame, data, even))
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
        types = {name: _readable(dtype) for name, dtype in self._seen.items()} | types
        unseen = [name for name in self.header if name not in types]
        if len(unseen) == len(self.header):
            return None
        frame = self._read(data, types, infer=False)
        return frame if all(frame[name].null_count() == frame.height for name in unseen) else None

    def _read(
        self, data: bytes, types: dict[str, pl.DataType], *, infer: bool = True, columns: list[str] | None = None
    ) -> pl.DataFrame:
        options = self.options
        return pl.read_csv(
            data, columns=columns, separator=options.separator, quote_char=options.quote or None, schema_overrides=types,
            null_values=list(options.null_values) or None, missing_columns="insert",
            infer_schema_length=None if infer else 0,
        )  # fmt: skip

    def _malformed(self, block: bytes, line: int, error: Exception) -> InvalidError:
        """The quote that is out of place, or what Polars says."""
        assert self.header is not None
        place = lines.stray_quote(block, self._separator, self._quote)
        if place is None:
            where = f"{self.blocks.uri}, lines from {line + 1}"
            return InvalidError(where, shorten(str(error)), f"CSV with the columns {listed(self.header)}")
        begin, number = block.rfind(b"\n", 0, place) + 1, line + block.count(b"\n", 0, place) + 1
        return InvalidError(
            f"{self.blocks.uri}, line {number}",
            shorten(block[begin:].partition(b"\n")[0].decode().rstrip("\r")),
            "a line whose quotes stand around whole fields, doubled within them",
            "Is a quote missing, or the file cut off? quote='' takes quotes for plain text.",
        )  # fmt: skip

    def _expect_exact(self, frame: pl.DataFrame, data: bytes, block: bytes, line: int) -> None:
        """Refuse whole numbers that were rounded because others of their column are none: two blocks would refuse them.

        Also numbers too large for a float, of which infinity was made.
        """
        large = [name for name in frame.columns if holds_large(frame[name])]
        as_text = self._read_text(data, large) if large else pl.DataFrame()
        for name in large:
            texts = as_text[name].str.strip_chars()
            whole = (texts.str.contains(r"^[+-]?\d{16,}$") & frame[name].is_not_null()).fill_null(value=False)
            whole |= (frame[name].is_infinite() & texts.str.contains(r"\d")).fill_null(value=False)
            for row in whole.arg_true():
                if frame[name].is_infinite()[row] or not is_exact(int(texts[row])):
                    raise InvalidError(
                        self._where(block, line, row, name), texts[row], "a number that a float holds exactly",
                        f"types={{{name!r}: 'str'}} keeps its digits.",
                    )  # fmt: skip

    def _with_codes(self, frame: pl.DataFrame, data: bytes, even: bytes) -> pl.DataFrame:
        """The frame with columns of text where numbers begin with zeros, as codes do, unless a type was decided."""
        assert self.header is not None
        open_ones = {name for name, dtype in frame.schema.items() if dtype.is_numeric()} - set(self.reading.types)
        places = lines.zero_led(even, self._separator, self._quote) if open_ones else set()
        led = [
            name for place, name in enumerate(self.header) if name in open_ones and (places is None or place in places)
        ]
        if not led:
            return frame
        texts = self._read_text(data, led)
        return frame.with_columns(texts[name] for name in led if texts[name].str.contains(r"^[+-]?0\d").any())

    def _without_nulls(self, frame: pl.DataFrame, decided: dict[str, pl.DataType]) -> pl.DataFrame:
        """The frame with nulls for texts that mean it, where blanks stand around them as they may around values."""
        if not self.options.null_values:
            return frame
        meant = [text.strip() for text in self.options.null_values]
        names = [name for name, dtype in decided.items() if passes_blanks(dtype) and frame.schema[name] == pl.String()]
        return frame.with_columns(
            pl.when(~pl.col(name).str.strip_chars().is_in(meant)).then(pl.col(name)) for name in names
        )

    def _with_times(self, frame: pl.DataFrame) -> pl.DataFrame:
        """The frame with the types of times for texts that are such, if they are looked for and nothing was decided."""
        texts = [
            name for name, dtype in frame.schema.items() if dtype == pl.String() and name not in self.reading.types
        ]
        return (
            frame.with_columns(_timed(frame[name], self._seen.get(name)) for name in texts)
            if self.options.dates
            else frame
        )

    def _read_text(self, data: bytes, names: list[str]) -> pl.DataFrame:
        return self._read(data, dict.fromkeys(names, pl.String()), infer=False, columns=names)

    def _where(self, block: bytes, line: int, row: int, name: str) -> str:
        return f"{self._line_of(block, line, row)}, column `{name}`"

    def _line_of(self, block: bytes, line: int, row: int) -> str:
        assert self.header is not None
        found = lines.records(block, self._quote, line, empty=len(self.header) == 1)
        number = next(number for at, (number, _) in enumerate(found) if at == row)
        return f"{self.blocks.uri}, line {number}"


def _readable(dtype: pl.DataType) -> pl.DataType:
    """The type that Polars reads a column as, from which the decided one is made afterwards."""
    return dtype if dtype.is_integer() or dtype.is_float() or dtype == pl.Boolean() else pl.String()


def _timed(texts: pl.Series, seen: pl.DataType | None) -> pl.Series:
    """Texts as the times that all of them are by ISO 8601, else as they are. Polars would take the day to come first, too.

    Behind times without a zone those with one are in UTC, and the other way round.
    """
    for expression, dtype in _TIMES:
        if texts.str.contains(expression).all() and texts.null_count() < len(texts):
            is_another = isinstance(dtype, pl.Datetime) and isinstance(seen, pl.Datetime)
            found = parsed(texts, seen if is_another and seen is not None else dtype, strict=False)
            return found if found.null_count() == texts.null_count() else texts
    return texts
