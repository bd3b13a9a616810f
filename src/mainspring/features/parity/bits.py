"""Whether served and recomputed values are the same bits: −0.0 is not 0.0, and a NaN is a NaN whatever it carries."""

from __future__ import annotations

import math
from collections.abc import Sequence
from datetime import datetime
from typing import Any

import numpy as np
import polars as pl

from mainspring.features.parity.past import Whole


def differing(served: Sequence[Any], expected: pl.Series) -> Whole:
    """The places at which values differ; the served ones are as Python has them.

    >>> differing([0.0, float("nan"), None, 1.5], pl.Series([-0.0, float("nan"), 0.0, 1.5])).tolist()
    [0, 2]
    """
    told = expected.to_list()
    if isinstance(expected.dtype, pl.Float32 | pl.Float64):
        return np.flatnonzero(_floats(served) != _floats(told))
    return np.array([n for n, (a, b) in enumerate(zip(served, told, strict=True)) if not same(a, b)], np.int64)


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
        return one == other and (one.tzinfo is None) == (other.tzinfo is None)
    return type(one) is type(other) and bool(one == other)


def _floats(values: Sequence[Any]) -> Whole:
    """The bits of floats; nulls and NaN have bits of their own."""
    array = np.array(values, np.float64)  # None is NaN
    bits = array.view(np.int64).copy()
    bits[np.isnan(array)] = -1
    nulls = np.array([value is None for value in values], bool)
    bits[nulls] = -2
    return bits
