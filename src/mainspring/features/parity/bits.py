"""Whether served and recomputed values are the same bits: −0.0 is not 0.0, and a NaN is a NaN whatever it carries.

Of what functions of Python compute: whether they are the same but for rounding.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from datetime import UTC, datetime
from functools import cached_property
from typing import Any

import numpy as np
import numpy.typing as npt
import polars as pl

from mainspring.features.parity.past import Whole

Mask = npt.NDArray[np.bool_]

_NAN, _NULL = -1, -2  # as bits of floats: those of NaN that are taken for one another
_EXACT = (pl.String, pl.Boolean, pl.Binary)  # equal values are the same bits
_MOST_ULPS = 4
_BITS_OF: dict[type[pl.DataType], tuple[Any, Any]] = {
    pl.Float16: (np.float16, np.int16),
    pl.Float32: (np.float32, np.int32),
    pl.Float64: (np.float64, np.int64),
}


class Told:
    """The values of one feature as they were served, to be compared any number of times."""

    def __init__(self, values: Sequence[Any]) -> None:
        self.values = values

    def differing(self, expected: pl.Series) -> Whole:
        """The places at which other values differ.

        >>> Told([0.0, float("nan"), None, 1.5]).differing(pl.Series([-0.0, float("nan"), 0.0, 1.5])).tolist()
        [0, 2]
        >>> Told([1, None, 3]).differing(pl.Series([1, 2, 3])).tolist()
        [1]
        """
        if expected.dtype.is_float():
            return np.flatnonzero(self._bits != _bits(expected))
        if expected.dtype.is_integer() or isinstance(expected.dtype, _EXACT):
            told = pl.Series(expected.name, self.values, expected.dtype)
            return told.ne_missing(expected).arg_true().to_numpy().astype(np.int64)
        pairs = zip(self.values, expected.to_list(), strict=True)
        return np.array([place for place, (one, other) in enumerate(pairs) if not same(one, other)], np.int64)

    def beyond_rounding(self, expected: pl.Series) -> Whole:
        """The places at which other values differ by more than rounding.

        >>> Told([0.1 + 0.2, 0.3, None]).beyond_rounding(pl.Series([0.3, 0.4, None])).tolist()
        [1]
        """
        places = self.differing(expected)
        if not _has_floats(expected.dtype):
            return places
        others = expected.gather(places).to_list()
        pairs = zip(places.tolist(), others, strict=True)
        return np.array(
            [place for place, other in pairs if not rounded(self.values[place], other, expected.dtype)], np.int64
        )

    @cached_property
    def _bits(self) -> Whole:
        return _bits(pl.Series(self.values, dtype=pl.Float64))


class Served(dict[str, Told]):
    """The values of several features of the same reads, by feature; those that `may_round` agree if rounding is all."""

    def __init__(self, told: Iterable[tuple[str, Told]], *, may_round: bool = False) -> None:
        super().__init__(told)
        self.may_round = may_round

    def differs(self, expected: pl.DataFrame) -> Mask:
        """Where one of them differs."""
        found: Mask = ~np.all(list(self.agreeing(expected).values()), axis=0)
        return found

    def agreeing(self, expected: pl.DataFrame) -> dict[str, Mask]:
        """Where each is the same, of those that are expected."""
        found = {}
        for name, told in self.items():
            if name in expected.columns:
                other = expected.get_column(name)
                found[name] = np.ones(len(told.values), bool)
                found[name][told.beyond_rounding(other) if self.may_round else told.differing(other)] = False
        return found

    def wrong(self, expected: pl.DataFrame, among: Mask) -> dict[str, Whole]:
        """The places at which each differs, among some; without those that nowhere do."""
        found = {name: np.flatnonzero(~agrees & among) for name, agrees in self.agreeing(expected).items()}
        return {name: places for name, places in found.items() if len(places)}

    def rounded(self, expected: pl.DataFrame, among: Mask) -> dict[str, Whole]:
        """The places at which each is the same but for rounding, among some; without those that nowhere are."""
        found = {}
        for name, agrees in self.agreeing(expected).items() if self.may_round else ():
            exact = np.ones(len(agrees), bool)
            exact[self[name].differing(expected.get_column(name))] = False
            found[name] = np.flatnonzero(agrees & ~exact & among)
        return {name: places for name, places in found.items() if len(places)}

    def agrees(self, place: int, values: Sequence[Any], types: Sequence[pl.DataType]) -> bool:
        """Whether those of one read are these, of these types, in the order of the features."""
        pairs = zip(self.values(), values, types, strict=True)
        if not self.may_round:
            return all(same(told.values[place], value) for told, value, _ in pairs)
        return all(rounded(told.values[place], value, dtype) for told, value, dtype in pairs)

    def taken(self, places: Whole, names: Iterable[str] | None = None) -> Served:
        """Those of some reads, and some features."""
        wanted = self if names is None else names
        told = ((name, Told([self[name].values[place] for place in places.tolist()])) for name in wanted)
        return Served(told, may_round=self.may_round)


def same(one: Any, other: Any) -> bool:
    """Whether two values are the same bits.

    >>> same([1.0, {"a": float("nan")}], [1.0, {"a": float("nan")}]), same([0.0], [-0.0])
    (True, False)
    """
    if isinstance(one, float) and isinstance(other, float):
        return (one == other and math.copysign(1, one) == math.copysign(1, other)) or (one != one and other != other)
    if isinstance(one, list | tuple) and isinstance(other, list | tuple):
        return len(one) == len(other) and all(map(same, one, other))
    if isinstance(one, dict) and isinstance(other, dict):
        return one.keys() == other.keys() and all(same(one[name], other[name]) for name in one)
    if isinstance(one, datetime) and isinstance(other, datetime):
        if (one.tzinfo is None) != (other.tzinfo is None):
            return False
        # Between zones an hour that is told twice equals nothing (PEP 495), so both are told in one that has none.
        return one == other if one.tzinfo is None else one.astimezone(UTC) == other.astimezone(UTC)
    return type(one) is type(other) and bool(one == other)


def rounded(one: Any, other: Any, dtype: pl.DataType) -> bool:
    """Whether two values of a type are the same but for rounding: floats at most 4 units in the last place of theirs apart.

    >>> rounded([0.1 + 0.2, None], [0.3, None], pl.List(pl.Float64())), rounded(1.0, 1.0 + 2**-49, pl.Float64())
    (True, False)
    >>> rounded({"a": 1.0}, {"a": 1.0 + 2**-23}, pl.Struct({"a": pl.Float32()}))
    True
    """
    if one is None or other is None:
        return one is other
    if (kinds := _BITS_OF.get(dtype.base_type())) is not None:
        numbers = np.array([one, other], kinds[0])
        first, second = (_order(bits, 8 * numbers.itemsize) for bits in numbers.view(kinds[1]).tolist())
        return same(one, other) or (bool(np.isfinite(numbers).all()) and abs(first - second) <= _MOST_ULPS)
    if isinstance(dtype, pl.List | pl.Array):
        inner = _type(dtype.inner)
        return len(one) == len(other) and all(rounded(*pair, inner) for pair in zip(one, other, strict=True))
    if isinstance(dtype, pl.Struct):
        return all(rounded(one[field.name], other[field.name], _type(field.dtype)) for field in dtype.fields)
    return same(one, other)


def _order(bits: int, width: int) -> int:
    """The place of a float among all of its type, by its bits as a signed number of this width."""
    return bits if bits >= 0 else -(2 ** (width - 1)) - bits


def _type(dtype: Any) -> pl.DataType:
    return dtype if isinstance(dtype, pl.DataType) else dtype()


def _has_floats(dtype: pl.DataType) -> bool:
    return "Float" in repr(dtype)


def _bits(values: pl.Series) -> Whole:
    numbers = values.cast(pl.Float64).to_numpy(writable=True)  # a null is NaN
    bits = numbers.view(np.int64)
    bits[np.isnan(numbers)] = _NAN
    if values.null_count():
        bits[values.is_null().to_numpy()] = _NULL
    return bits
