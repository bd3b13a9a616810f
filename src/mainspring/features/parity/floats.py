"""Floats that differ as sums in another order do: by their last bits, or by just what another order gives."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

from mainspring.features.parity.bits import in_single, same

if TYPE_CHECKING:
    import polars as pl

_NEAR, _NEAR_SINGLE = 1e-9, 1e-5


def tolerance_of(expected: pl.Series) -> float:
    """By how much of their size floats of this feature differ at most in their last bits."""
    return _NEAR if in_single(expected) is None else _NEAR_SINGLE


def is_near(one: Any, other: Any, tolerance: float = _NEAR) -> bool:
    """Whether two values are the same but for the last bits of floats, inside of lists and structs, too.

    >>> is_near(0.1 + 0.2, 0.3), is_near(0.3, 0.4), is_near([1.0, 0.1 + 0.2], [1.0, 0.3]), is_near(None, 0.3)
    (True, False, True, False)
    >>> is_near({"a": [0.1 + 0.2]}, {"a": [0.3]}), is_near({"a": 0.3}, {"b": 0.3})
    (True, False)
    """
    if isinstance(one, float) and isinstance(other, float):
        return math.isclose(one, other, rel_tol=tolerance) or same(one, other)
    if isinstance(one, list) and isinstance(other, list):
        return len(one) == len(other) and all(is_near(*pair, tolerance) for pair in zip(one, other, strict=True))
    if isinstance(one, dict) and isinstance(other, dict):
        return one.keys() == other.keys() and all(is_near(one[name], other[name], tolerance) for name in one)
    return same(one, other)


def order_of(kind: str, values: Sequence[float], served: Any) -> str:
    """In which order a sum or mean of values that are given in theirs is what was served; empty if in none that is known.

    >>> order_of("sum", [0.1, 0.2, 0.3], 0.6)
    'from the last to the first'
    >>> order_of("sum", [0.1, 0.2, 0.3], 0.5)
    ''
    """
    divisor = len(values) if kind == "mean" else 1
    if not values or not isinstance(served, float):
        return ""
    for said, total in _ORDERS.items():
        if same(total(values) / divisor, served):
            return said
    return ""


def _one_by_one(values: Sequence[float]) -> float:
    total = values[0]
    for value in values[1:]:
        total += value
    return total


def _pairwise(values: Sequence[float]) -> float:
    if len(values) < 3:
        return _one_by_one(values)
    half = len(values) // 2
    return _pairwise(values[:half]) + _pairwise(values[half:])


def _exact(values: Sequence[float]) -> float:
    try:
        return math.fsum(values)
    except (OverflowError, ValueError):
        return math.nan


_ORDERS: dict[str, Callable[[Sequence[float]], float]] = {
    "one after the other": _one_by_one,
    "from the last to the first": lambda values: _one_by_one(values[::-1]),
    "in pairs": _pairwise,
    "from the least to the greatest": lambda values: _one_by_one(sorted(values)),
    "without any rounding": _exact,
}
