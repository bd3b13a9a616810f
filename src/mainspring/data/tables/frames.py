"""Tables of other libraries, handed in or asked for."""

from __future__ import annotations

from collections import Counter
from typing import Any

import polars as pl

from mainspring.errors import InvalidError, MissingExtraError, WrongTypeError


def as_polars(frame: Any, *, drop_index: bool = False) -> pl.DataFrame:
    """A Polars, pandas or Arrow table as a Polars frame; a lazy one is collected by the in-memory engine.

    With `drop_index` the index of a pandas frame is left out whatever it holds, for rows that go by their position.

    Raises:
        WrongTypeError: it is no table.
        InvalidError: it is a pandas frame whose index holds data, two columns have one name, or a column holds values of
            types that don't go together.
    """
    if isinstance(frame, pl.DataFrame):
        return frame
    if isinstance(frame, pl.LazyFrame):
        return frame.collect(engine="in-memory")
    origin = type(frame).__module__.partition(".")[0]
    try:
        if origin == "pandas" and hasattr(frame, "columns"):
            if not drop_index and type(frame.index).__name__ != "RangeIndex":
                raise InvalidError("index", type(frame.index).__name__, "a plain index", "Call reset_index() first.")
            _expect_names([str(name) for name in frame.columns])
            return pl.from_pandas(frame)
        if origin == "pyarrow" and hasattr(frame, "schema"):
            _expect_names(list(frame.schema.names))
            converted = pl.from_arrow(frame)
            return converted if isinstance(converted, pl.DataFrame) else converted.to_frame()
    except ImportError as error:
        raise MissingExtraError("pyarrow", "arrow", f"Taking a table of {origin}") from error
    except (ValueError, TypeError, OverflowError, pl.exceptions.PolarsError) as error:
        if isinstance(error, InvalidError):
            raise
        said = str(error).split("\n")[0]
        raise InvalidError("frame", said, f"a table of {origin} whose columns hold values of one type each") from error
    raise WrongTypeError("frame", frame, "a Polars, pandas or Arrow table")


def _expect_names(names: list[str]) -> None:
    if twice := [name for name, count in Counter(names).items() if count > 1]:
        raise InvalidError("columns", twice[0], "a different name for each column", "Rename one of them.")


def to_pandas(frame: pl.DataFrame) -> Any:
    """As pandas, with a plain index; raises `InvalidError` for a column whose type pandas lacks."""
    _expect_of_arrow(frame)
    try:
        return frame.to_pandas()
    except ImportError as error:
        raise MissingExtraError(error.name or "pandas", "pandas,arrow", "Giving a table to pandas") from error


def to_arrow(frame: pl.DataFrame) -> Any:
    """As Arrow; raises `InvalidError` for a column whose type Arrow lacks."""
    _expect_of_arrow(frame)
    try:
        return frame.to_arrow()
    except ImportError as error:
        raise MissingExtraError("pyarrow", "arrow", "Giving a table to Arrow") from error


def _expect_of_arrow(frame: pl.DataFrame) -> None:
    """Refuse integers of 128 bits, alone or nested: pyarrow would speak of a format string."""
    for name, kind in frame.schema.items():
        if "Int128" in str(kind):
            hint = "Cast it to `Int64`, `Decimal` or text first, or use `to_polars()`."
            raise InvalidError(f"column `{name}`", str(kind), "of a type that Arrow and pandas have", hint)
