"""The parts of a table: which row goes where by the numbers of its key, and the cut itself. Pure, no per-row Python."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import polars as pl

from mainspring.data.splits.keys import Words, expect_no_nulls, fractions, hash_keys, hash_positions
from mainspring.data.splits.rule import require_columns, running
from mainspring.data.tables.frames import as_polars
from mainspring.errors import InvalidError, counted

Numbers = np.ndarray[Any, np.dtype[Any]]
Pairs = Sequence[tuple[str, float]]
_PLACE = "\0place"  # a name that no column has


def table_with(frame: Any, columns: Sequence[str]) -> pl.DataFrame:
    """A table as Polars; raises `NotFoundError` if it lacks one of the columns."""
    table = as_polars(frame)
    require_columns(table.columns, columns)
    return table


def cut(table: pl.DataFrame, numbers: Numbers | pl.Series, names: Sequence[str]) -> dict[str, pl.DataFrame]:
    """The rows of each part, by the number of its name."""
    number = numbers if isinstance(numbers, pl.Series) else pl.Series(numbers)
    return {name: table.filter(number == place) for place, name in enumerate(names)}


def cut_lazily(frame: pl.LazyFrame, numbers: Numbers, names: Sequence[str]) -> dict[str, pl.LazyFrame]:
    """The rows of each part as lazy frames, which read the table anew; its rows must always come in one order."""
    numbers = numbers.astype(np.min_scalar_type(len(names)))
    numbered = frame.with_row_index(_PLACE)

    def lying_in(place: int) -> pl.Expr:
        return pl.col(_PLACE).map_batches(
            lambda rows: pl.Series(numbers[rows.to_numpy()] == place), return_dtype=pl.Boolean, is_elementwise=True
        )

    return {name: numbered.filter(lying_in(place)).drop(_PLACE) for place, name in enumerate(names)}


def equal_shares(count: int) -> list[tuple[str, float]]:
    """So many parts of one size."""
    return [(f"fold_{number + 1}", 1 / count) for number in range(count)]


def by_hash(columns: Sequence[pl.Series], salt: str, shares: Pairs) -> Numbers:
    """The part of each row by its key alone: where the key's number lies among the running shares of 2⁶⁴."""
    numbers = hash_keys(columns, salt)
    part = np.zeros(len(numbers), np.uint32)
    for share in running(shares):
        part += numbers >= np.uint64(min(int(share * 2**64), 2**64 - 1))
    return part


def expect_keys(keys: pl.LazyFrame) -> None:
    """Go on only if every row has a key, of types that make one; raises `InvalidError`."""
    hash_keys(keys.head(1).collect().get_columns())
    expect_no_nulls(keys.null_count().collect(engine="streaming").row(0, named=True))


def by_position(rows: int, seed: int, shares: Pairs) -> Numbers:
    """The part of each row in a shuffle of the positions; sizes are exact to rounding."""
    ranks = np.empty(rows, np.int64)
    ranks[np.argsort(hash_positions(rows, f"rows {seed}"))] = np.arange(rows)
    part = np.zeros(rows, np.uint32)
    for share in running(shares):
        part += ranks >= round(share * rows)
    return part


def by_group(columns: Sequence[pl.Series], seed: int, shares: Pairs) -> Numbers:
    """The part of each row's group: groups in the order of their numbers, cut where the row counts come nearest.

    Raises:
        InvalidError: there are fewer groups than parts.
    """
    numbers = hash_keys(columns, f"groups {seed}")
    if not len(numbers):
        return np.zeros(0, np.uint32)
    # Two groups with one number would be one group, which breaks nothing.
    _, group, sizes = np.unique(numbers, return_inverse=True, return_counts=True)
    if len(sizes) < len(shares):
        names = ", ".join(column.name for column in columns)
        raise InvalidError(names, counted(len(sizes), "group"), f"a group for each of {len(shares)} parts")
    part = np.zeros(len(sizes), np.uint32)
    for border in _borders(np.cumsum(sizes), shares):
        part[border:] += 1
    spread: Numbers = part[group]
    return spread


def _borders(rows: Numbers, shares: Pairs) -> list[int]:
    """How many groups stand before each border, given the rows up to each group; no part is left without one."""
    borders: list[int] = []
    for place, share in enumerate(running(shares)):
        wanted = float(share * int(rows[-1]))
        border = int(np.searchsorted(rows, wanted))  # with the group here, rows are at least what is wanted
        before = rows[border - 1] if border else 0
        if border < len(rows) and rows[border] - wanted <= wanted - before:
            border += 1
        least, most = (borders[-1] + 1 if borders else 1), len(rows) - (len(shares) - 1 - place)
        borders.append(min(max(border, least), most))
    return borders


def by_stratum(table: pl.DataFrame, by: Sequence[str], key: Sequence[str], seed: int, shares: Pairs) -> Numbers:
    """The part of each row so that every stratum is cut by the shares, each part of it rounded up or down.

    Within a stratum rows stand in the order of their key's numbers, or of their positions'. Which way is rounded is drawn
    for each stratum, so that many small ones together keep the shares too.

    Raises:
        InvalidError: two rows have one key.
    """
    if key:
        if not table.select(key).is_unique().all():
            hint = "GroupSplit keeps rows of one key together."
            raise InvalidError("key", ", ".join(key), "a key of single rows", hint)
        order = hash_keys(table.select(key).get_columns(), f"rows {seed}")
    else:
        order = hash_positions(table.height, f"rows {seed}")
    stratum, sizes = strata_of(table, by)
    drawn = fractions(hash_positions(len(sizes), f"strata {seed}"))
    ranks = ranks_in(stratum, order, sizes)
    part = np.zeros(table.height, np.uint32)
    for share in running(shares):
        # Rounded first, so that 0.1 + 0.2 of ten rows are three.
        border = np.floor(np.round(float(share) * sizes, 6) + drawn)
        part += ranks >= border[stratum]
    return part


def strata_of(table: pl.DataFrame, by: Sequence[str]) -> tuple[Numbers, Numbers]:
    """The number of each row's stratum, in the order in which they appear, and how many rows each has."""
    keys = table.select(by)
    known = keys.unique(maintain_order=True).with_row_index(_PLACE)
    joined = keys.join(known, on=list(by), how="left", nulls_equal=True, maintain_order="left")
    stratum = joined.get_column(_PLACE).to_numpy()
    return stratum, np.bincount(stratum, minlength=known.height)


def ranks_in(stratum: Numbers, order: Words, sizes: Numbers) -> Numbers:
    """The place of each row within its stratum."""
    sorted_rows = np.lexsort((order, stratum))
    starts = np.cumsum(sizes) - sizes
    ranks = np.empty(len(stratum), np.int64)
    ranks[sorted_rows] = np.arange(len(stratum)) - starts[stratum[sorted_rows]]
    return ranks


def hashed_expression(key: Sequence[str], salt: str, shares: Pairs) -> pl.Expr:
    """The part of each row by its key, row by row, as a Polars expression."""

    def numbers(values: pl.Series) -> pl.Series:
        columns = values.struct.unnest().get_columns()
        try:
            return pl.Series(by_hash(columns, salt, shares), dtype=pl.UInt32)
        except InvalidError as error:
            raise pl.exceptions.ComputeError(str(error)) from error

    return pl.struct(key).map_batches(numbers, return_dtype=pl.UInt32, is_elementwise=True)
