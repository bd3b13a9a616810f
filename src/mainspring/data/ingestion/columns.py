"""Columns of the values that a database gives: each in a type of its own first, which keeps them, then in the decided one.

Polars rounds what it is given a type for, and decimals in lists even without: so the type that keeps all is found here.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from datetime import date, time, timedelta
from decimal import Decimal
from typing import Any

import numpy as np
import polars as pl

from mainspring.data.ingestion.conversion import MOST_DIGITS, Naming, brought, first_unfit
from mainspring.data.ingestion.kinds import ERRORS_OF_POLARS, is_exact, text_of
from mainspring.data.tables.nested import leaf_of
from mainspring.data.tables.type_names import name_of_type
from mainspring.errors import InvalidError, shorten

Value = Any  # of a column
_COLUMNAR = (bool, int, float, Decimal, str, bytes, date, time, timedelta)  # of which columns are made
_TOO_LARGE = "a number that a float holds exactly"
_TOO_LARGE_HINT = "In the query a cast to text keeps its digits, and one to a float rounds it."


class Column:
    """The values of one column. `told` is the type that the database says they have; `named` names a row for errors."""

    def __init__(self, name: str, values: Sequence[Value], told: pl.DataType | None, named: Naming) -> None:
        self.name, self.values, self.told, self.named = name, values, told, named

    def series(self, wanted: pl.DataType | None) -> pl.Series:
        """The values in their own type, or exactly in the one that is wanted.

        Raises:
            InvalidError: they are of several types, or there is one that the type can't hold; row and value are named.
        """
        kinds = {type(value) for value in self.values} - {type(None)}
        is_plain = kinds <= {int, float, str, bytes}  # as SQLite has them, whose types are those of values
        if Decimal in kinds and wanted is not None and wanted.is_float():
            return self._floats(wanted)
        if wanted is not None and leaf_of(wanted) == pl.String() and self._holds_decimals():
            return Column(self.name, [_texted(value) for value in self.values], None, self.named).series(wanted)
        by_digits = isinstance(wanted, pl.Decimal | pl.Float32 | pl.String) and bytes not in kinds
        if is_plain and by_digits and kinds & {int, float} and self.told is None:
            own = pl.Series(
                self.name, [None if value is None else text_of(value) for value in self.values], pl.String()
            )
        elif is_plain and self._holds_numbers(kinds, wanted):
            own = self._numbers()
        else:
            own = self._own()
        return own if wanted is None else brought(own, wanted, self.named)

    def _holds_numbers(self, kinds: set[type], wanted: pl.DataType | None) -> bool:
        """Whether whole numbers and others are one column of floats."""
        if int not in kinds:
            return False
        is_float = self.told == pl.Float64() or float in kinds or wanted == pl.Float64()
        return is_float and self.told in (None, pl.Float64())

    def _own(self) -> pl.Series:
        dtype = self._kept()
        self._expect_depth(dtype)
        try:
            found = pl.Series(self.name, self.values, dtype=dtype, strict=True)
        except (TypeError, OverflowError, *ERRORS_OF_POLARS) as error:
            self._expect_columnar()
            row = first_unfit(
                len(self.values), lambda rows: pl.Series(self.name, self.values[:rows], dtype=dtype, strict=True)
            )
            raise self._misfit(row, _of_one_type(dtype), "Cast it in the query.") from error
        if dtype is None and leaf_of(found.dtype) in (pl.Object(), pl.Time()):
            self._expect_columnar()
        return found

    def _kept(self) -> pl.DataType | None:
        """The type that keeps the values, as deep as they are: databases don't say how many dimensions an array has. So what
        lists hold that are all empty is left open.
        """
        dtype = self._decimals() or self.told
        if dtype is None or (self.told is not None and not isinstance(self.told, pl.List)):
            return dtype
        deepest, dtype = max(map(_depth, self.values), default=0), leaf_of(dtype)
        if self.told is not None and not any(self.values):
            return pl.List(pl.Null())
        for _ in range(deepest):
            dtype = pl.List(dtype)
        return dtype

    def _expect_depth(self, dtype: pl.DataType | None) -> None:
        """Refuse arrays of fewer dimensions than others: around texts Polars puts the lists that they lack."""
        depth = max(map(_depth, self.values), default=0)
        for row, value in enumerate(self.values if depth else ()):
            if next(_leaves(value), None) is not None and _depth(value) != depth:
                raise self._misfit(row, _of_one_type(dtype), "Cast it in the query.")

    def _expect_columnar(self) -> None:
        """Refuse values of which there are no columns, such as ranges, and times of day in a zone, which Polars would cut."""
        for row, value in enumerate(self.values):
            for each in _leaves(value):
                if not isinstance(each, _COLUMNAR) or (isinstance(each, time) and each.tzinfo):
                    expected = "a value of a type that columns have"
                    raise self._misfit(row, expected, "Cast it in the query, e.g. to text.", each)

    def _numbers(self) -> pl.Series:
        """Whole numbers and others as floats that hold them."""
        for row, value in enumerate(self.values):
            if isinstance(value, int) and not is_exact(value):
                raise self._misfit(row, _TOO_LARGE, _TOO_LARGE_HINT)
        return Column(
            self.name, [float(v) if isinstance(v, int) else v for v in self.values], pl.Float64(), self.named
        )._own()

    def _floats(self, wanted: pl.DataType) -> pl.Series:
        """Decimals as floats that are written with the same digits; NaN and the infinities are themselves."""
        kind = np.float32 if wanted == pl.Float32() else float
        found = [None if value is None else kind(value) for value in self.values]
        for row, (value, number) in enumerate(zip(self.values, found, strict=True)):
            if value is not None and value.is_finite() and Decimal(str(number)) != value:
                raise self._misfit(row, _TOO_LARGE, _TOO_LARGE_HINT)
        return pl.Series(self.name, found, dtype=wanted)

    def _decimals(self) -> pl.DataType | None:
        """The type that keeps all digits of decimals, also of those in lists; None if there are none."""
        if not self._holds_decimals():
            return None
        scale = whole = 0
        for row, value in enumerate(self.values):
            for each in _leaves(value) if isinstance(value, list) else () if value is None else (value,):
                if not each.is_finite():
                    is_alone = value is each
                    floats = f"types={{{self.name!r}: 'f64'}} reads it" if is_alone else "a cast to float8[] reads it"
                    hint = f"Make it null in the query; in a column of floats {floats}."
                    raise self._misfit(row, "a number that a decimal holds", hint, each)
                if self.told is not None:  # which the database holds them to
                    continue
                scale = max(scale, -int(each.as_tuple().exponent))
                whole = max(whole, each.adjusted() + 1)
                if whole + scale > MOST_DIGITS:
                    expected = f"a number of at most {MOST_DIGITS} digits, {scale} of them behind the point"
                    raise self._misfit(row, expected, "Round it in the query, or cast it to text.", each)
        return self.told or pl.Decimal(MOST_DIGITS, scale)

    def _holds_decimals(self) -> bool:
        return isinstance(next((each for value in self.values for each in _leaves(value)), None), Decimal)

    def _path(self, row: int) -> str:
        return f"{self.named(row)}, column `{self.name}`"

    def _misfit(self, row: int, expected: str, hint: str, value: Value = None) -> InvalidError:
        given = self.values[row] if value is None else value
        return InvalidError(self._path(row), shorten(str(given)), expected, hint)


def _leaves(value: Value) -> Iterator[Value]:
    """What lists hold, at any depth, without nulls."""
    if isinstance(value, list):
        for each in value:
            yield from _leaves(each)
    elif value is not None:
        yield value


def _texted(value: Value) -> Value:
    """A decimal, or each of lists of them, by its own digits, whatever others of its batch have."""
    if isinstance(value, list):
        return [_texted(each) for each in value]
    return format(value, "f") if isinstance(value, Decimal) else value


def _depth(value: Value) -> int:
    """How many lists stand around the first value, or null, of a list."""
    depth = 0
    while isinstance(value, list):
        depth, value = depth + 1, next((each for each in value if each is not None), None)
    return depth


def _of_one_type(dtype: pl.DataType | None) -> str:
    return f"values of one type{f', `{name_of_type(dtype)}`' if dtype is not None else ''}"
