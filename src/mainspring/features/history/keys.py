"""Keys of entities from two tables, made comparable: integers of any width, text, bytes and UUIDs."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from typing import cast

import polars as pl

from mainspring.errors import InvalidError
from mainspring.features.history.known import Whole
from mainspring.features.history.uuids import uuid_texts

_TEXT = (pl.String, pl.Categorical, pl.Enum)
_CLOSE = 1 << 30  # what numbers of keys may span: with places in as many rows they fit 63 bits
_EXACT = (pl.Binary, pl.Boolean, pl.Date)


def key_names(count: int, beside: Collection[str] = ()) -> list[str]:
    """What the columns of a key are called in between, so that they meet no name of those that are beside them.

    >>> key_names(2), key_names(2, beside=["key 1"])
    (['key 0', 'key 1'], ['_key 0', '_key 1'])
    """
    return unmet([f"key {number}" for number in range(count)], beside)


def unmet(names: list[str], beside: Collection[str]) -> list[str]:
    """Names with as many `_` before them as it takes that none of them is among others.

    >>> unmet(["row"], beside=["row", "_row"])
    ['__row']
    """
    return names if set(names).isdisjoint(beside) else unmet([f"_{name}" for name in names], beside)


def comparable_keys(
    rows: pl.DataFrame, history: pl.DataFrame, keys: Mapping[str, str]
) -> tuple[list[pl.Series], list[pl.Series]]:
    """The keys of both tables, column by column, in types that are equal; the history's are cast as little as can be.

    `keys` maps columns of the rows to those of the history. A number that the history's type can't hold is null, as it
    can't be there. Where one side holds UUID objects, both are read as UUIDs.

    Raises:
        InvalidError: two columns can't be compared, or a type makes no key.
    """
    pairs = [_pair(rows.get_column(left), history.get_column(right)) for left, right in keys.items()]
    names = key_names(len(keys))
    left, right = (
        [column.alias(name) for name, column in zip(names, side, strict=True)] for side in zip(*pairs, strict=True)
    )
    return left, right


def _pair(left: pl.Series, right: pl.Series) -> tuple[pl.Series, pl.Series]:
    if pl.Object in (left.dtype, right.dtype):
        left, right = _uuids(left), _uuids(right)
    left, right = _plain(left), _plain(right)
    given, wanted = left.dtype, right.dtype
    if given == pl.Null or wanted == pl.Null:  # a column of nulls alone fits any
        return (left.cast(wanted), right) if given == pl.Null else (left, right.cast(given))
    if given.is_integer() and wanted.is_integer():
        return left.cast(wanted, strict=False), right
    if given == wanted and (given == pl.String or given.base_type() in _EXACT):
        return left, right
    kinds = "Keys are integers, text, bytes, UUIDs, dates or booleans"
    if given == wanted:
        raise InvalidError(f"rows.{left.name}", str(given), "a type that can be a key", f"{kinds}.")
    raise InvalidError(
        f"rows.{left.name}",
        str(given),
        f"the type of the history's `{right.name}`, {wanted}",
        f"{kinds}, alike on both sides.",
    )


def _plain(column: pl.Series) -> pl.Series:
    return column.cast(pl.String) if column.dtype.base_type() in _TEXT else column


def _uuids(column: pl.Series) -> pl.Series:
    if column.dtype not in (*_TEXT, pl.Binary, pl.Object):
        return column
    try:
        return uuid_texts(column)
    except (ValueError, AttributeError, TypeError) as error:
        raise InvalidError(f"rows.{column.name}", column.dtype, "a key: an integer, text, bytes or a UUID") from error


def keyed(keys: Sequence[pl.Series], **others: pl.Series) -> pl.DataFrame:
    """The rows whose key has no null, with other columns beside."""
    frame = pl.DataFrame([*keys, *(column.alias(name) for name, column in others.items())])
    return frame.drop_nulls([column.name for column in keys if column.null_count()]) if _nulls(keys) else frame


def numbered(rows: pl.DataFrame, wanted: pl.DataFrame) -> tuple[Whole, Whole]:
    """A whole number from 0 for each key of the rows, which have no nulls, and for each wanted one.

    Equal keys have equal numbers. A key that no row has gets −1 or a number that no row has.
    """
    spread = _spread(rows)
    if spread is not None:
        return spread[0], _spread_over(wanted, *spread[1])
    (name,) = unmet(["number"], rows.columns)
    number = rows.unique().with_row_index(name)
    found = (side.join(number, on=rows.columns, how="left", maintain_order="left") for side in (rows, wanted))
    left, right = (side.get_column(name).cast(pl.Int64).fill_null(-1).to_numpy() for side in found)
    return left, right


def _spread(rows: pl.DataFrame) -> tuple[Whole, tuple[int, int]] | None:
    """Keys of one whole number that lie close together are numbers as they are, from the lowest on."""
    key = rows.to_series()
    if rows.width > 1 or not key.dtype.is_integer() or not len(key):
        return None
    low, high = cast(int, key.min()), cast(int, key.max())
    return (_spread_over(rows, low, high), (low, high)) if high - low < _CLOSE else None


def _spread_over(keys: pl.DataFrame, low: int, high: int) -> Whole:
    key = keys.to_series()
    wide = key if key.dtype in (pl.UInt64, pl.Int128, pl.UInt128) else key.cast(pl.Int64)
    within = pl.when(wide.is_between(low, high)).then(wide)
    return pl.select((within - pl.lit(low, wide.dtype)).cast(pl.Int64).fill_null(-1)).to_series().to_numpy()


def _nulls(keys: Sequence[pl.Series]) -> bool:
    return any(column.null_count() for column in keys)
