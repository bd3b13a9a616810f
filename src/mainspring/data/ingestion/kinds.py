"""Values of JSON, held to the types that Polars gave their columns: of anything among texts it makes text, and it rounds
whole numbers among floats. Whether it comes to that depends on where blocks end, so both are refused, wherever they do.
Where text is decided on, text is made of whatever comes, by one rule for all sources.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from decimal import Decimal
from typing import Any, TypedDict

import msgspec
import polars as pl

from mainspring.data.tables.type_names import name_of_type
from mainspring.errors import InvalidError, shorten

ERRORS_OF_POLARS = (pl.exceptions.PolarsError, pl.exceptions.PanicException)
"""All that reading may end with; a panic of its native code is no error by Python's classes."""

Types = Mapping[str, pl.DataType]
_KINDS = {
    bool: "true or false", int: "a number", float: "a number", str: "text", list: "a list", dict: "an object",
}  # fmt: skip
_TEXT = "text, as in other lines"
HINT = "Cast it in the source, or declare another type."
_CAST = "Make it of one kind in the source."
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


def text_of(value: Any) -> Any:
    """A value of JSON as text: numbers in decimal without an exponent, lists and objects as JSON; times and such as they are.

    >>> text_of(5), text_of(2.50), text_of(1e20), text_of(True), text_of({"a": [1]})
    ('5', '2.5', '100000000000000000000', 'true', '{"a":[1]}')
    """
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, int | float | Decimal):
        return format(Decimal(str(value)), "f")
    return msgspec.json.encode(value).decode() if isinstance(value, dict | list) else value


def written(value: Any) -> Any:
    """As text that is parsed again: `text_of`, but of a whole number without what is behind its point.

    >>> written(5.0), written(1.5e-10), written(1e23), written("5.0")
    ('5', '0.00000000015', '100000000000000000000000', '5.0')
    """
    text = text_of(value)
    return text.removesuffix(".0") if isinstance(value, float) else text


def texted(rows: list[dict[str, Any]], types: Types) -> list[dict[str, Any]]:
    """Rows with texts where the decided types have text or decimals, and in a column of several kinds, which is to be parsed.

    Whole numbers and others are of several kinds where whole ones are decided on, which floats may not hold.
    """
    for name, dtype in types.items():
        if has_text(dtype) or has_decimal(dtype):
            rows = [{**row, name: _texted(row[name], dtype)} if name in row else row for row in rows]
        elif not dtype.is_nested() and _is_mixed((row.get(name) for row in rows), dtype):
            rows = [{**row, name: written(row[name])} if row.get(name) is not None else row for row in rows]
    return rows


def _is_mixed(values: Iterable[Any], dtype: pl.DataType) -> bool:
    kinds = {type(value) if dtype.is_integer() else _kind_of(value) for value in values if value is not None}
    return len(kinds) > 1


def _texted(value: Any, dtype: Any) -> Any:
    if value is None:
        return None
    if isinstance(dtype, pl.Struct) and isinstance(value, Mapping):
        return {**value, **{f.name: _texted(value[f.name], f.dtype) for f in dtype.fields if f.name in value}}
    if isinstance(dtype, pl.List) and isinstance(value, list):
        return [_texted(each, dtype.inner) for each in value]
    if isinstance(dtype, pl.Decimal):
        return written(value)
    if dtype == pl.String():
        return text_of(value)
    return float(value) if isinstance(value, Decimal) else value  # beside decimals in one struct


def has_text(dtype: Any) -> bool:
    """Whether there is text in a type, as deep as it is."""
    return _text_of(dtype) is not None


def has_decimal(dtype: Any) -> bool:
    """Whether there are decimals in a type, as deep as it is.

    >>> has_decimal(pl.List(pl.Struct({"x": pl.Decimal(10, 2)}))), has_decimal(pl.Float64())
    (True, False)
    """
    return any(isinstance(leaf, pl.Decimal) for leaf in _leaves(dtype))


def has_float(dtype: Any) -> bool:
    """Whether there are floats in a type, as deep as it is."""
    return any(leaf.is_float() for leaf in _leaves(dtype))


def _leaves(dtype: Any) -> Iterator[pl.DataType]:
    if isinstance(dtype, pl.Struct):
        for field in dtype.fields:
            yield from _leaves(field.dtype)
    elif isinstance(dtype, pl.List):
        yield from _leaves(dtype.inner)
    else:
        yield dtype


def expect_one_kind(rows: Iterable[tuple[str, Mapping[str, Any]]], types: Types) -> None:
    """Refuse the first value that is of another kind than those before it, by its row and column."""
    kinds: dict[str, str] = {}
    for where, row in rows:
        for path, value in _parts_of(row, ""):
            kind = _kind_of(value)
            if kinds.setdefault(path, kind) != kind:
                name = path.partition(".")[0].partition("[")[0]
                hint = _CAST if name in types else f"types={{{name!r}: 'str'}} makes text of the column."
                place = f"{where}, column `{path.replace('[]', '')}`"
                raise InvalidError(place, text_of(value), f"{kinds[path]}, as in the rows before", hint)


def is_shaped(given: Any, wanted: Any) -> bool:
    """Whether a type has lists and structs where another has them, or no values.

    >>> is_shaped(pl.List(pl.String()), pl.List(pl.Int8())), is_shaped(pl.String(), pl.List(pl.Int8()))
    (True, False)
    """
    if given == pl.Null():
        return True
    if isinstance(wanted, pl.List | pl.Array):
        return isinstance(given, pl.List | pl.Array) and is_shaped(given.inner, wanted.inner)
    if isinstance(wanted, pl.Struct):
        kinds = {field.name: field.dtype for field in wanted.fields}
        return isinstance(given, pl.Struct) and all(
            field.name not in kinds or is_shaped(field.dtype, kinds[field.name]) for field in given.fields
        )
    return True


def expect_shapes(rows: Iterable[tuple[str, Mapping[str, Any]]], types: Types) -> None:
    """Refuse the first value that is no list, or no object, where its decided type has them."""
    nested = {name: dtype for name, dtype in types.items() if dtype.is_nested()}
    for where, row in rows if nested else ():
        for name, dtype in nested.items():
            for value, expected in _unshaped(row.get(name), dtype):
                shown = f"its type, `{name_of_type(expected)}`"
                raise InvalidError(f"{where}, column `{name}`", shorten(str(text_of(value))), shown, HINT)


def _unshaped(value: Any, dtype: Any) -> Iterator[tuple[Any, Any]]:
    if value is None:
        return
    if isinstance(dtype, pl.Struct):
        if not isinstance(value, Mapping):
            yield value, dtype
            return
        for field in dtype.fields:
            yield from _unshaped(value.get(field.name), field.dtype)
    elif isinstance(dtype, pl.List | pl.Array):
        if not isinstance(value, list):
            yield value, dtype
            return
        for each in value:
            yield from _unshaped(each, dtype.inner)


def _parts_of(value: Any, path: str) -> Iterator[tuple[str, Any]]:
    """What a value holds, with its path; without nulls."""
    if isinstance(value, Mapping):
        parts = [(f"{path}.{name}" if path else name, each) for name, each in value.items()]
    else:
        parts = [(f"{path}[]", each) for each in value] if isinstance(value, list) else []
    for inner, each in parts:
        if each is not None:
            yield inner, each
            yield from _parts_of(each, inner)


def _kind_of(value: Any) -> str:
    return _KINDS.get(type(value), f"a {type(value).__name__}")


def expect_kinds(
    frame: pl.DataFrame,
    decided: Collection[str],
    hold: Callable[[Any], object],
    rows: Callable[[], Iterable[tuple[str, Mapping[str, Any]]]],
) -> None:
    """Hold the rows of a frame to its types; those of columns that are decided are held to them later.

    `hold` decodes or converts the rows by the rules of msgspec to a type; `rows` gives them one by one, with their places.

    Raises:
        InvalidError: a value is no text as others of its column are, or a whole number that floats don't hold.
    """
    texts = texts_of(frame.schema, free=decided)
    try:
        if texts is not None:
            hold(texts)
        is_suspect = any(holds_large(frame[name]) for name in frame.columns)
    except msgspec.ValidationError:
        is_suspect = True
    if not is_suspect:
        return
    for where, row in rows():
        for path, value, expected in _odd(row, pl.Struct(frame.schema), ""):
            name = path.partition(".")[0]
            if name in decided and expected == _TEXT:
                continue
            raise InvalidError(
                f"{where}, column `{path}`", value, expected, f"types={{{name!r}: 'str'}} makes text of the column."
            )


def texts_of(fields: Mapping[str, Any], free: Collection[str] = ()) -> Any:
    """What msgspec holds rows to: text, where a column has text, of `free` ones whatever can be decoded; None if none has."""
    found = {
        name: Any if name in free else inner for name, dtype in fields.items() if (inner := _text_of(dtype)) is not None
    }
    return keyed(found) if found else None


def keyed(kinds: dict[str, Any]) -> Any:
    """What msgspec holds objects to by keys, which may be any text; those that aren't named are passed over."""
    return TypedDict("Row", kinds, total=False)  # type: ignore[operator]  # mypy wants it as a literal


def _text_of(dtype: Any) -> Any:
    if isinstance(dtype, pl.Struct):
        inner = texts_of({field.name: field.dtype for field in dtype.fields})
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
        yield path, value, _TEXT
    elif dtype in (pl.Float64(), pl.Float32()) and isinstance(value, int) and not is_exact(value):
        yield path, value, "a number that a float holds exactly, as others of its column are no whole ones"
