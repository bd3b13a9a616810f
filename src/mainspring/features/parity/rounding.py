"""How far a function's floats may be off by rounding: as far as they move when the numbers that it is given move a little.

What is computed in another order is nearly what exact arithmetic gives of numbers that are off in their last places (Higham,
*Accuracy and Stability of Numerical Algorithms*, chapter 1): so the offline path is run again over such. Moves of 32 bits count
only where moves too small to show in 32 bits change nothing.
"""

from __future__ import annotations

from collections.abc import Callable, Container, Sequence
from contextlib import suppress
from functools import cache
from typing import Any, NamedTuple, TypeVar

import numpy as np
import numpy.typing as npt
import polars as pl

from mainspring.errors import MainspringError
from mainspring.features.definitions.records import ViewRecord
from mainspring.streams.columns import OWN

_MOST, _FEW = 16, 64  # units in the last place, of so many numbers; of more, as the square root of their number
_FACTOR = 4  # OpenBLAS' ways to multiply are at most 1.4 times as far apart as eight moves, in 64 to 1,536 dimensions
Floats = npt.NDArray[np.floating[Any]]
_Source = TypeVar("_Source")
DOUBLE, SINGLE = 2.0**-52, 2.0**-23  # a unit in the last place of 1
WITHIN = 0.0  # a float of 64 bits moves among those that are the same in 32
REFUSED = (MainspringError, pl.exceptions.PolarsError, pl.exceptions.PanicException, OSError)
"""What is raised where a function of the project refuses what it is given, e.g. one that takes whole numbers."""


class Move(NamedTuple):
    """One way in which all numbers are off. Whole numbers are moved, too, as floats, if `with_whole`: a function may add
    them up as such. `unit` is the smallest by which a number is off, as a part of it.
    """

    seed: int
    with_whole: bool
    unit: float = DOUBLE

    def of_source(self, record: ViewRecord, source: pl.LazyFrame) -> pl.LazyFrame:
        """Rows of a view's source; its keys, times and whole numbers that are features stay."""
        stays = {key.name for key in record.keys} | {record.event_time, record.created_time, record.event_id, *OWN}
        schema = source.collect_schema()
        stays |= {field.name for field in record.fields if schema.get(field.name, pl.Null()).is_integer()}
        made = {name: dtype if name in stays else self._type(dtype) for name, dtype in schema.items()}
        return source.map_batches(
            lambda rows: self.of(rows, stays), schema=made, predicate_pushdown=False, projection_pushdown=False,
            slice_pushdown=False,
        )  # fmt: skip

    def of(self, frame: pl.DataFrame, stays: Container[str] = ()) -> pl.DataFrame:
        """The columns that don't stay, moved."""
        chance = np.random.default_rng(self.seed)
        columns = (each for each in frame.get_columns() if each.name not in stays)
        return frame.with_columns(_moved(each, chance, frame.width, self) for each in columns)

    def _type(self, dtype: pl.DataType) -> pl.DataType:
        return _moved(pl.Series([], dtype=dtype), np.random.default_rng(0), 1, self).dtype


MOVES = tuple(Move(seed, seed % 2 > 0, unit) for unit in (DOUBLE, SINGLE, WITHIN) for seed in range(8))
Moved = Callable[[float], Sequence[tuple[Move, pl.DataFrame]]]
"""What is expected, once for each move by units of this size of the numbers that it is computed of; empty if it can't be
computed so.
"""


def moved(sources: Sequence[_Source], made: Callable[[_Source], pl.DataFrame | None]) -> Moved:
    """What is made of each of these, one for each of `MOVES` or none, if anything can be; they are only asked when it is."""

    @cache
    def found(unit: float) -> list[tuple[Move, pl.DataFrame]]:
        frames = []
        for move, each in zip(MOVES, sources, strict=False):
            if move.unit == unit:
                with suppress(*REFUSED):
                    if (frame := made(each)) is not None:
                        frames.append((move, frame))
        return frames

    return found


def allowed(expected: Floats, others: Sequence[Floats], scale: float) -> Floats:
    """How far numbers may be off, by what they were after each move.

    What a move changes by more than half the digits, of the number and of the `scale`, is no rounding: the function goes
    another way there, e.g. at a threshold. That counts as nothing.
    """
    most = half_the_digits(expected, scale)
    with np.errstate(invalid="ignore", over="ignore"):
        spread = np.zeros_like(expected)
        for other in others:
            off = np.abs(other - expected)
            spread = np.maximum(spread, np.where(off <= most, off, 0))
    return _FACTOR * spread


def half_the_digits(expected: Floats | np.float32, scale: float) -> Floats:
    """How far off is no rounding any more."""
    found: Floats = np.sqrt(np.finfo(expected.dtype).eps) * np.maximum(np.abs(expected), scale)
    return found


def _within(column: pl.Series, chance: np.random.Generator) -> pl.Series:
    """Other floats of 64 bits that are the same in 32."""
    numbers = column.to_numpy()
    with np.errstate(all="ignore"):
        short = numbers.astype(np.float32)
        other = short.astype(np.float64) + chance.uniform(-0.5, 0.5, len(column)) * np.spacing(np.abs(short))
        other = np.where(other.astype(np.float32) == short, other, short)
    made = pl.Series(column.name, np.where(np.isfinite(short) & (short != 0), other, numbers))
    return made if not column.null_count() else pl.select(pl.when(column.is_not_null()).then(made)).to_series()


def _moved(column: pl.Series, chance: np.random.Generator, width: int, move: Move) -> pl.Series:
    """A column whose floats are off, inside of lists, arrays and structs, too; `width` are added up at most."""
    dtype = column.dtype
    if move.with_whole and dtype.is_integer():
        column, dtype = column.cast(pl.Float64), pl.Float64()
    if dtype.is_float() and move.unit == WITHIN:
        return _within(column, chance) if dtype == pl.Float64() else column
    if dtype.is_float():
        unit = 2.0**-10 if dtype == pl.Float16() else SINGLE if dtype == pl.Float32() else move.unit
        most = round(_MOST * max(1, width / _FEW) ** 0.5)
        off = chance.integers(-most, most + 1, len(column)) * unit
        return (column.cast(pl.Float64) * pl.Series(1 + off, dtype=pl.Float64)).cast(dtype)
    if isinstance(dtype, pl.Struct):
        fields = [_moved(column.struct.field(field.name), chance, width, move) for field in dtype.fields]
        made = pl.DataFrame(fields).to_struct(column.name)
        return made if not column.null_count() else pl.select(pl.when(column.is_not_null()).then(made)).to_series()
    if isinstance(dtype, pl.List | pl.Array):
        return _of_lists(column, dtype, chance, width, move)
    return column


def _of_lists(
    column: pl.Series, dtype: pl.List | pl.Array, chance: np.random.Generator, width: int, move: Move
) -> pl.Series:
    inner: Any = dtype.inner
    lists = column.cast(pl.List(inner)) if isinstance(dtype, pl.Array) else column
    values = lists.drop_nulls().explode(empty_as_null=False)
    sizes = lists.list.len()
    longest = int(sizes.fill_null(0).to_numpy().max(initial=0))
    found = _moved(values, chance, max(width, longest), move)
    if found is values:
        return column
    rows = pl.Series(np.repeat(np.arange(len(lists)), sizes.fill_null(0).to_numpy()))
    grouped = pl.DataFrame({"row": rows, "value": found}).group_by("row", maintain_order=True).agg("value")
    every = pl.DataFrame({"row": pl.int_range(len(lists), eager=True)}).join(grouped, on="row", how="left")
    empty = pl.Series([[]], dtype=pl.List(found.dtype))
    told = every.select(pl.when(sizes == 0).then(pl.lit(empty).first()).otherwise(pl.col("value"))).to_series()
    made = pl.Array(found.dtype, dtype.size) if isinstance(dtype, pl.Array) else pl.List(found.dtype)
    return told.cast(made).alias(column.name)
