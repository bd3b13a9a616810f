"""Whether served and recomputed values are the same bits: −0.0 is not 0.0, and a NaN is a NaN whatever it carries."""

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

    @cached_property
    def _bits(self) -> Whole:
        return _bits(pl.Series(self.values, dtype=pl.Float64))


class Served(dict[str, Told]):
    """The values of several features of the same reads, by feature."""

    def differs(self, expected: pl.DataFrame) -> Mask:
        """Where one of them differs."""
        found: Mask = ~np.all(list(self.agreeing(expected).values()), axis=0)
        return found

    def agreeing(self, expected: pl.DataFrame) -> dict[str, Mask]:
        """Where each is the same, of those that are expected."""
        found = {}
        for name, told in self.items():
            if name in expected.columns:
                found[name] = np.ones(len(told.values), bool)
                found[name][told.differing(expected.get_column(name))] = False
        return found

    def wrong(self, expected: pl.DataFrame, among: Mask) -> dict[str, Whole]:
        """The places at which each differs, among some; without those that nowhere do."""
        found = {name: np.flatnonzero(~agrees & among) for name, agrees in self.agreeing(expected).items()}
        return {name: places for name, places in found.items() if len(places)}

    def taken(self, places: Whole, names: Iterable[str] | None = None) -> Served:
        """Those of some reads, and some features."""
        return Served(
            (name, Told([self[name].values[place] for place in places.tolist()]))
            for name in (self if names is None else names)
        )


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


def _bits(values: pl.Series) -> Whole:
    numbers = values.cast(pl.Float64).to_numpy(writable=True)  # a null is NaN
    bits = numbers.view(np.int64)
    bits[np.isnan(numbers)] = _NAN
    if values.null_count():
        bits[values.is_null().to_numpy()] = _NULL
    return bits
