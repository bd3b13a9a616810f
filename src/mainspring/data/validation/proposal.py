"""A schema proposed from data: types, nulls, ranges with slack, small sets, shapes of texts, keys. A person edits it.

All rows are looked at, batch after batch: the table passes what is proposed, however large it is.
"""

from __future__ import annotations

import math
from typing import Any

import polars as pl

from mainspring.artifacts.table import schema_of
from mainspring.data.validation.checks import Check, check
from mainspring.data.validation.rows import Rows
from mainspring.data.validation.schema import Column, Schema
from mainspring.data.validation.shapes import Shapes
from mainspring.data.validation.validators import repeated_hashes
from mainspring.data.version import DatasetVersion

_MOST_CATEGORIES = 20
_FEWEST_ROWS_EACH = 5  # per category, on average: fewer are no set yet
_FEWEST_ROWS_OF_A_KEY = 20
_SLACK = 0.1
_GREATEST_WHOLE = 2**127 - 1  # that Polars compares with


def propose_schema(table: Any, *, name: str = "") -> Schema:
    """A schema that the table passes, as a start for a person's own.

    `table` is a frame or a dataset version; a large one is walked over in batches, in bounded memory. Numbers
    get the range seen with a tenth of slack (rounded outward, never past zero), unless they never repeat or never fall, as
    ids and counters whose next values are outside; texts with few distinct values their set,
    others their shape if they have one in common; whole numbers and texts that never repeat are proposed as unique.

    >>> frame = pl.DataFrame({"id": range(100), "carrier": ["UA", "AA"] * 50, "tail": [f"N{n}" for n in range(100, 200)]})
    >>> [one.name for one in propose_schema(frame).all_checks() if one.kind not in ("dtype", "not_null")]
    ['no columns but id, carrier, tail', 'id unique', 'carrier in [AA, UA]', 'tail matches ^[A-Z][0-9]{3}$', 'tail unique']
    """
    rows = Rows(table)
    columns = {column: _Seen(column, dtype) for column, dtype in rows.schema.items()}
    for batch in rows.batches():
        for values in batch.iter_columns():
            columns[values.name].take(values)
    keys = _keys(columns, rows)
    words = dict(schema_of(pl.DataFrame(schema=rows.schema)))
    proposed = tuple(seen.column(words[column], is_key=column in keys) for column, seen in columns.items())
    if isinstance(table, DatasetVersion) and not name:
        name = table.dataset
    return Schema(name=name, columns=proposed, other_columns=False)


def _keys(columns: dict[str, _Seen], rows: Rows) -> set[str]:
    """The columns that never repeat."""
    maybe = {name: seen for name, seen in columns.items() if seen.may_be_key}
    unsure = [name for name, seen in maybe.items() if not (rows.is_whole or seen.is_strict)]
    repeated: set[str] = set()
    if unsure:
        height = next(iter(columns.values())).height
        # Equal hashes of two values would take a check away, at worst: no table fails for it.
        for column, twice in repeated_hashes(rows, {name: pl.col(name) for name in unsure}, height):
            if len(twice):
                repeated.add(column)
    return maybe.keys() - repeated


class _Seen:
    """What was seen of a column so far."""

    def __init__(self, name: str, dtype: pl.DataType) -> None:
        self.name, self.dtype = name, dtype
        self.height = self.nulls = 0
        self.is_finite = self.rises = self.falls = True
        self.never_repeats = dtype.is_integer() or dtype == pl.String  # within a batch
        self.is_strict = dtype.is_integer()  # monotone, and never repeats over batches either
        self.low: Any = None
        self.high: Any = None
        self.last: pl.Series | None = None
        self.distinct: pl.Series | None = pl.Series([], dtype=pl.String) if _is_text(dtype) else None
        self.shapes = Shapes()

    def take(self, values: pl.Series) -> None:
        """The next rows."""
        self.height += len(values)
        self.nulls += values.null_count()
        present = values.drop_nulls()
        if not len(present):
            return
        if _is_text(self.dtype):
            self._take_texts(present.cast(pl.String))
        elif self.never_repeats and not self.nulls:
            self.never_repeats = present.n_unique() == len(present)
        if self.dtype.is_numeric():
            self._take_numbers(present)

    def _take_texts(self, present: pl.Series) -> None:
        if self.never_repeats or self.distinct is not None or not self.shapes.are_too_many:
            found = present.unique()
            self.never_repeats = self.never_repeats and not self.nulls and len(found) == len(present)
            if self.distinct is not None:
                joined = pl.concat([self.distinct, found]).unique()
                self.distinct = joined if len(joined) <= _MOST_CATEGORIES else None
            self.shapes.take(found)

    def _take_numbers(self, present: pl.Series) -> None:
        with_last = present if self.last is None else pl.concat([self.last, present])
        self.last = present[-1:]
        self.rises = self.rises and with_last.is_sorted()
        self.falls = self.falls and with_last.is_sorted(descending=True)
        self.is_strict = self.never_repeats and self._is_monotone and self.is_strict and _ends_differ(with_last)
        if self.dtype.is_float():
            finite = present.filter(present.is_finite())
            self.is_finite = self.is_finite and len(finite) == len(present)
            present = finite
        if self.is_finite and (self.dtype.is_integer() or self.dtype.is_float()):
            low, high = present.min(), present.max()
            self.low = low if self.low is None else min(self.low, low)
            self.high = high if self.high is None else max(self.high, high)

    @property
    def may_be_key(self) -> bool:
        """Whether no batch speaks against it."""
        return self.never_repeats and not self.nulls and self.height >= _FEWEST_ROWS_OF_A_KEY

    @property
    def _is_monotone(self) -> bool:
        return self.dtype.is_numeric() and (self.rises or self.falls)

    def column(self, dtype: str, *, is_key: bool) -> Column:
        """What is proposed."""
        present = self.height - self.nulls
        is_counter = self._is_monotone and present >= _FEWEST_ROWS_OF_A_KEY
        checks = [one for one in (None if is_key or is_counter else self._range(), self._texts(present)) if one]
        if is_key:
            checks.append(check.unique(self.name))
        # Of a column without rows nothing is known: nulls are as likely as not.
        return Column(name=self.name, dtype=dtype, nullable=self.nulls > 0 or not self.height, checks=tuple(checks))

    def _range(self) -> Check | None:
        """The range of numbers, with slack; NaN and infinities are in none."""
        low, high = self.low, self.high
        if not self.is_finite or low is None or low == high:
            return None
        slack = _SLACK * (high - low)
        outer = [float(low) - slack, float(high) + slack]
        if low >= 0:
            outer[0] = max(outer[0], 0.0)
        if high <= 0:
            outer[1] = min(outer[1], 0.0)
        bounds = _rounded(outer[0], outer[1], whole=self.dtype.is_integer())
        if bounds is None or (self.dtype.is_integer() and max(map(abs, bounds)) > _GREATEST_WHOLE):
            return None
        # Of floats that are hardly apart rounding may cut one off.
        return check.between(self.name, min(bounds[0], low), max(bounds[1], high))

    def _texts(self, present: int) -> Check | None:
        """The set of values where they are few, else their shape."""
        if not _is_text(self.dtype) or not present:
            return None
        if self.distinct is not None and present >= _FEWEST_ROWS_EACH * len(self.distinct):
            return check.is_in(self.name, self.distinct.sort().to_list())
        pattern = self.shapes.pattern()
        return None if pattern is None else check.matches(self.name, pattern)


def _is_text(dtype: pl.DataType) -> bool:
    return dtype == pl.String or isinstance(dtype, pl.Categorical)


def _ends_differ(values: pl.Series) -> bool:
    """Whether the first two are no two of one value, where one stood at the end of the batch before."""
    return len(values) < 2 or values[0] != values[1]


def _rounded(low: float, high: float, *, whole: bool) -> tuple[float, float] | None:
    """Bounds rounded outward to two digits of their width; None if floats can't hold them."""
    width = high - low
    unit = 10.0 ** (math.floor(math.log10(width)) - 1) if 0 < width < math.inf else 0.0
    if not unit or math.isinf(math.ceil(high / unit) * unit) or math.isinf(math.floor(low / unit) * unit):
        return None
    if whole:
        step = max(int(unit), 1)
        return math.floor(low / step) * step, math.ceil(high / step) * step
    digits = max(0, -math.floor(math.log10(unit)))
    return round(math.floor(low / unit) * unit, digits), round(math.ceil(high / unit) * unit, digits)
