"""What a function over columns makes of a single row: the bits that it makes of that row in a batch.

Polars reckons otherwise with a column of one value (see `data.validation.evaluation`), and the products of a matrix (OpenBLAS)
with a block of fewer than eight rows. So the row is given eight times, and what is made of it is taken once. Where that isn't
what the function makes of the row alone but for the bits of floats, the function looks at several rows, or counts them, and is
taken at its word.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

from mainspring.errors import InvalidError

if TYPE_CHECKING:
    import polars as pl


_DOUBLINGS = 3


def of_one_row(function: Callable[[pl.DataFrame], pl.DataFrame], row: pl.DataFrame) -> pl.DataFrame:
    """What a function gives for a frame of one row, which may be any number of rows.

    It is called with the row, and with it eight times; if these differ in the bits of floats alone, also with it sixteen times,
    for a sum differs then and a quotient doesn't.

    Raises as the function does of the row alone.
    """
    alone = function(row)
    found = _once(function, row, _DOUBLINGS)
    if found is None or not _differs_in_floats_alone(found, alone):
        return alone
    if found.equals(alone):
        return found
    again = _once(function, row, _DOUBLINGS + 1)
    return alone if again is None or not found.equals(again) else found


def _once(function: Callable[[pl.DataFrame], pl.DataFrame], row: pl.DataFrame, doublings: int) -> pl.DataFrame | None:
    """What it makes of each of several equal rows, one after the other or sorted; None if it isn't the same of each."""
    times = 2**doublings
    try:
        found = function(_doubled(row, doublings))
    except InvalidError:  # e.g. what expects that no row is there twice
        return None
    size, rest = divmod(found.height, times)
    if rest:
        return None
    if found[size:].equals(found[: found.height - size]):
        return found[:size]
    parts = [found[place::times] for place in range(times)]
    return parts[0] if all(part.equals(parts[0]) for part in parts[1:]) else None


def _doubled(row: pl.DataFrame, doublings: int) -> pl.DataFrame:
    """Of series: a column of a frame that is one value, repeated, Polars keeps as that value and reckons with it so."""
    import polars as pl

    columns = row.get_columns()
    for _ in range(doublings):
        columns = [each.append(each).rechunk() for each in columns]
    return pl.DataFrame(columns)


def _differs_in_floats_alone(one: pl.DataFrame, other: pl.DataFrame) -> bool:
    """Whether two frames are equal but for floats that both have, or values with floats inside of them."""
    if one.schema != other.schema or one.height != other.height:
        return False
    pairs = zip(one.get_columns(), other.get_columns(), strict=True)
    return all(
        first.is_null().equals(second.is_null()) if "Float" in repr(first.dtype) else first.equals(second)
        for first, second in pairs
    )
