"""Values of JSON, held to the types that Polars gave their columns: of anything among texts it makes text, and it rounds
whole numbers among floats. Whether it comes to that depends on where blocks end, so both are refused, wherever they do.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from typing import Any, TypedDict

import msgspec
import polars as pl

from mainspring.errors import InvalidError

ERRORS_OF_POLARS = (pl.exceptions.PolarsError, pl.exceptions.PanicException)
"""All that reading may end with; a panic of its native code is no error by Python's classes."""

_EXACT = 1 << 53  # up to here each whole number is a float of its own


def is_exact(number: int) -> bool:
    """Whether a float holds a whole number as it is.

    >>> is_exact(2**53), is_exact(2**53 + 1), is_exact(10**20), is_exact(10**400)
    (True, False, True, False)
    """
    try:
        return int(float(number)) == number
    except OverflowError:
        return False


def holds_large(series: pl.Series) -> bool:
    """Whether there are floats that may have been whole numbers which they don't hold, within lists and structs too."""
    if isinstance(series.dtype, pl.Struct):
        return any(holds_large(series.struct.field(field.name)) for field in series.dtype.fields)
    if isinstance(series.dtype, pl.List):
        return holds_large(series.explode())
    return series.dtype.is_float() and bool((series.abs() >= _EXACT).any())


def expect_kinds(
    frame: pl.DataFrame,
    free: Collection[str],
    hold: Callable[[Any], object],
    rows: Callable[[], Iterable[tuple[str, Mapping[str, Any]]]],
) -> None:
    """Hold the rows of a frame to its types, except for the columns of which text may be made.

    `hold` decodes or converts the rows by the rules of msgspec to a type; `rows` gives them one by one, with their places.

    Raises:
        InvalidError: a value is no text as others of its column are, or a whole number that floats don't hold.
    """
    schema = {name: dtype for name, dtype in frame.schema.items() if name not in free}
    texts = _texts_of(schema)
    try:
        if texts is not None:
            hold(texts)
        is_suspect = any(holds_large(frame[name]) for name in schema)
    except msgspec.ValidationError:
        is_suspect = True
    if not is_suspect:
        return
    for where, row in rows():
        for path, value, expected in _odd(row, pl.Struct(schema), ""):
            name = path.partition(".")[0]
            raise InvalidError(
                f"{where}, column `{path}`", value, expected, f"types={{{name!r}: 'str'}} makes text of the column."
            )


def _texts_of(fields: Mapping[str, Any]) -> Any:
    """What msgspec holds rows to: text, where a column has text; None if there is none."""
    found = {name: inner for name, dtype in fields.items() if (inner := _text_of(dtype)) is not None}
    # Keys may be any text, which only this form allows; those that aren't named are passed over.
    return TypedDict("Row", found, total=False) if found else None  # type: ignore[operator]  # mypy wants it as a literal


def _text_of(dtype: Any) -> Any:
    if isinstance(dtype, pl.Struct):
        inner = _texts_of({field.name: field.dtype for field in dtype.fields})
    elif isinstance(dtype, pl.List):
        inner = _text_of(dtype.inner)
        inner = None if inner is None else list[inner]  # type: ignore[valid-type]  # made while it runs
    else:
        inner = str if dtype == pl.String() else None
    return None if inner is None else inner | None


def _odd(value: Any, dtype: Any, path: str) -> Iterator[tuple[str, Any, str]]:
    """The values that aren't what their type says, with their paths and what was expected."""
    if value is None:
        return
    if isinstance(dtype, pl.Struct) and isinstance(value, Mapping):
        for field in dtype.fields:
            yield from _odd(value.get(field.name), field.dtype, f"{path}.{field.name}" if path else field.name)
    elif isinstance(dtype, pl.List) and isinstance(value, list):
        for each in value:
            yield from _odd(each, dtype.inner, path)
    elif dtype == pl.String() and not isinstance(value, str):
        yield path, value, "text, as in other lines"
    elif dtype in (pl.Float64(), pl.Float32()) and isinstance(value, int) and not is_exact(value):
        yield path, value, "a number that a float holds exactly, as others of its column are no whole ones"
