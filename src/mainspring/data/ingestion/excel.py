"""Excel and OpenDocument sheets, by fastexcel. A sheet is read whole: the format holds a million rows at most."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from datetime import date
from pathlib import Path

import polars as pl

from mainspring.data.ingestion.formats import Options
from mainspring.data.ingestion.kinds import written
from mainspring.errors import InvalidError, MissingExtraError, close_names, listed, shorten

try:
    import fastexcel
except ImportError as error:
    raise MissingExtraError("fastexcel", "excel", "Reading an Excel file") from error


_NUMBER = "^-?[0-9]"
_NO_DAY = date(1899, 12, 31)
_MOST_WHOLE = 1 << 62  # well within 64 bits


def first_sheet(path: Path, uri: str) -> str:
    """The name of the sheet that is read where none is asked for; raises `InvalidError`."""
    with _mapped(uri):
        return str(fastexcel.read_excel(path).sheet_names[0])


def read_sheet(path: Path, uri: str, options: Options, types: Mapping[str, pl.DataType]) -> tuple[pl.DataFrame, str]:
    """One sheet, its first row being the header, and its name.

    All numbers of a sheet are floats; a column of whole ones is one of whole numbers. One of times that all have no day is one
    of times. Where text is decided on, a cell that holds something else is read as its text.

    Raises:
        InvalidError: it is no such file, or has no such sheet; the sheets are named.
    """
    with _mapped(uri):
        book = fastexcel.read_excel(path)
        names = book.sheet_names
        if options.sheet and options.sheet not in names:
            near = close_names(options.sheet, names) or names
            raise InvalidError(f"{uri}: sheet", options.sheet, "a sheet of it", f"There are {listed(near)}.")
        sheet = options.sheet or names[0]
        frame = _loaded(book, sheet)
        wanted = {name for name, dtype in frame.schema.items() if dtype != types.get(name, dtype) == pl.String()}
        if wanted:
            frame = _loaded(book, sheet, dict.fromkeys(wanted, "string"))
        frame = _with_digits(frame, book, sheet)
    frame = frame.with_columns(frame[name].cast(pl.Int64()) for name in frame.columns if _is_whole(frame[name]))
    clocks = [name for name in frame.columns if _is_of_clock(frame[name])]
    frame = frame.with_columns(pl.col(name).dt.time() for name in clocks)
    empty = [name for name in frame.columns if frame[name].null_count() == frame.height]
    return frame.with_columns(pl.lit(None).alias(name) for name in empty), sheet


def _loaded(
    book: fastexcel.ExcelReader, sheet: str, types: dict[str | int, fastexcel.DType] | None = None
) -> pl.DataFrame:
    return book.load_sheet(sheet, schema_sample_rows=None, dtypes=types).to_polars()


def _with_digits(frame: pl.DataFrame, book: fastexcel.ExcelReader, sheet: str) -> pl.DataFrame:
    """The frame with all digits of numbers in its columns of text, where fastexcel rounds to nine places."""
    names = [
        name for name, dtype in frame.schema.items() if dtype == pl.String() and frame[name].str.contains(_NUMBER).any()
    ]
    if not names:
        return frame
    numbers = _loaded(book, sheet, dict.fromkeys(names, "float"))
    others = _loaded(book, sheet, dict.fromkeys(names, "boolean"))  # which a text is none of, also one of digits
    return frame.with_columns(_with_numbers(frame[name], numbers[name], others[name].is_not_null()) for name in names)


def _with_numbers(texts: pl.Series, numbers: pl.Series, is_number: pl.Series) -> pl.Series:
    places = (is_number & texts.str.contains(_NUMBER).fill_null(value=False)).arg_true()
    return texts.scatter(places, [written(number) for number in numbers[places]]) if len(places) else texts


def _is_of_clock(column: pl.Series) -> bool:
    """Whether times are all of the day before the first that a sheet has: they were written without one."""
    return (
        isinstance(column.dtype, pl.Datetime)
        and bool((column.dt.date() == _NO_DAY).all())
        and column.null_count() < len(column)
    )


def _is_whole(column: pl.Series) -> bool:
    if not column.dtype.is_float():
        return False
    return bool(((column.round() == column) & (column.abs() <= _MOST_WHOLE)).all()) and column.null_count() < len(
        column
    )


@contextmanager
def _mapped(uri: str) -> Iterator[None]:
    try:
        yield
    except fastexcel.FastExcelError as error:
        raise InvalidError(uri, shorten(str(error)), "a spreadsheet that can be read") from error
