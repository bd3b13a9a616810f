"""Excel and OpenDocument sheets, by fastexcel. A sheet is read whole: the format holds a million rows at most."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import polars as pl

from mainspring.data.ingestion.formats import Options
from mainspring.errors import InvalidError, MissingExtraError, close_names, listed, shorten

try:
    import fastexcel
except ImportError as error:
    raise MissingExtraError("fastexcel", "excel", "Reading an Excel file") from error


def first_sheet(path: Path, uri: str) -> str:
    """The name of the sheet that is read where none is asked for; raises `InvalidError`."""
    with _mapped(uri):
        return str(fastexcel.read_excel(path).sheet_names[0])


def read_sheet(path: Path, uri: str, options: Options) -> tuple[pl.DataFrame, str]:
    """One sheet, its first row being the header, and its name.

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
        frame = book.load_sheet(sheet, schema_sample_rows=None).to_polars()
    empty = [name for name in frame.columns if frame[name].null_count() == frame.height]
    return frame.with_columns(pl.lit(None).alias(name) for name in empty), sheet


@contextmanager
def _mapped(uri: str) -> Iterator[None]:
    try:
        yield
    except fastexcel.FastExcelError as error:
        raise InvalidError(uri, shorten(str(error)), "a spreadsheet that can be read") from error
