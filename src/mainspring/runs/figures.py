"""Figures and tables as the bytes of a file, in the format that its name ends in."""

from __future__ import annotations

import io
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import PurePosixPath
from typing import Any

from mainspring.errors import InvalidError, WrongTypeError

_IMAGES = (".png", ".svg", ".pdf", ".jpg", ".jpeg")
_PAGES = (".html", ".json")
_TABLES = (".csv", ".json", ".parquet")


def holds_figure(value: object) -> bool:
    """Whether a value is a figure of Matplotlib or Plotly, axes of one, or a dict or list with one inside."""
    if isinstance(value, dict | list | tuple):
        return any(holds_figure(each) for each in (value.values() if isinstance(value, dict) else value))
    return (
        hasattr(value, "savefig")
        or (hasattr(value, "get_figure") and hasattr(value, "plot"))
        or (hasattr(value, "to_html") and hasattr(value, "to_plotly_json"))
    )


def figure_bytes(figure: Any, path: str) -> bytes:
    """A figure of Matplotlib as an image, of Plotly as a page that needs no network, or as JSON."""
    suffix = PurePosixPath(path).suffix.lower()
    if hasattr(figure, "savefig"):
        _expect(path, suffix, _IMAGES, "Matplotlib")
        image = io.BytesIO()
        figure.savefig(image, format=suffix[1:])
        return image.getvalue()
    if hasattr(figure, "to_html") and hasattr(figure, "to_plotly_json"):
        _expect(path, suffix, _PAGES, "Plotly")
        text: str = figure.to_json() if suffix == ".json" else figure.to_html(include_plotlyjs=True)
        return text.encode()
    raise WrongTypeError(f"figure `{path}`", figure, "a figure of Matplotlib or Plotly")


def table_bytes(table: Any, path: str) -> bytes:
    """A table by its rows, as Polars writes it.

    Raises:
        WrongTypeError, InvalidError: as `log_table`.
    """
    import polars as pl

    suffix = PurePosixPath(path).suffix.lower()
    _expect(path, suffix, _TABLES, "a table")
    if hasattr(table, "collect"):
        table = table.collect()
    if not isinstance(table, pl.DataFrame):
        is_frame = hasattr(table, "columns") and hasattr(table, "dtypes")
        if not is_frame and not isinstance(table, Mapping | list | tuple):
            raise WrongTypeError(f"table `{path}`", table, "a frame, a dict of columns or a list of rows")
        with _naming(path, "one whose columns are equally long and have a type each"):
            table = pl.from_pandas(table) if is_frame else pl.DataFrame(table)
    nested = [name for name, kind in table.schema.items() if kind.is_nested()]
    if nested and suffix == ".csv":
        raise InvalidError(f"table `{path}`", nested[0], "a column of single values", "`.json` and `.parquet` take it.")
    written = io.BytesIO()
    with _naming(path, f"one that a `{suffix}` holds"):
        {".csv": table.write_csv, ".json": table.write_json, ".parquet": table.write_parquet}[suffix](written)
    return written.getvalue()


@contextmanager
def _naming(path: str, expected: str) -> Iterator[None]:
    """Say of which table it is what Polars refuses."""
    from polars.exceptions import PolarsError

    try:
        yield
    except (PolarsError, TypeError, ValueError, OverflowError) as error:
        reason = str(error).partition("\n")[0]
        raise InvalidError("table", path, expected, f"{type(error).__name__}: {reason}") from error


def _expect(path: str, suffix: str, known: tuple[str, ...], what: str) -> None:
    if suffix not in known:
        raise InvalidError("path of a file", path, f"one for {what}", f"It ends in one of {', '.join(known)}.")
