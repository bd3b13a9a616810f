"""Distribution functions that the standard library lacks."""

from __future__ import annotations

import math

_STEPS = 300
_TINY = 1e-300


def student_t_tail(t: float, degrees: float) -> float:
    """The two-sided tail of Student's t: the probability of a value at least as far from 0.

    By the regularised incomplete beta function, *Numerical Recipes* 6.4 (continued fraction by Lentz's method).

    >>> round(student_t_tail(2.228, 10), 3)
    0.05
    """
    if math.isnan(t):
        return math.nan
    return _incomplete_beta(degrees / (degrees + t * t), degrees / 2, 0.5)


def _incomplete_beta(x: float, a: float, b: float) -> float:
    if x <= 0 or x >= 1:
        return 0.0 if x <= 0 else 1.0
    front = math.exp(math.lgamma(a + b) - math.lgamma(a) - math.lgamma(b) + a * math.log(x) + b * math.log1p(-x))
    if x < (a + 1) / (a + b + 2):  # where the fraction converges fast
        return front * _fraction(x, a, b) / a
    return 1 - front * _fraction(1 - x, b, a) / b


def _fraction(x: float, a: float, b: float) -> float:
    c, d = 1.0, 1 / _away(1 - (a + b) * x / (a + 1))
    result = d
    for m in range(1, _STEPS):
        for numerator in (
            m * (b - m) * x / ((a + 2 * m - 1) * (a + 2 * m)),
            -(a + m) * (a + b + m) * x / ((a + 2 * m) * (a + 2 * m + 1)),
        ):
            d = 1 / _away(1 + numerator * d)
            c = _away(1 + numerator / c)
            result *= c * d
        if abs(c * d - 1) < 1e-15:
            break
    return result


def _away(value: float) -> float:
    """A denominator that is not 0."""
    return value if abs(value) > _TINY else _TINY
