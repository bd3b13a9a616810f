"""How intervals of an evaluation are made: resamples of its rows, the same for all metrics."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, get_args

import msgspec

from mainspring.errors import InvalidError
from mainspring.evaluation.given import count_of, number_of
from mainspring.stats import Interval, Statistic, bca_interval, jackknife, percentile_interval, resampled
from mainspring.stats.interval import Method

if TYPE_CHECKING:
    import polars as pl


class Bootstrap(msgspec.Struct, frozen=True):
    """Resampling of the rows of an evaluation; a ranking resamples its queries.

    `groups` names a column of `frame` whose rows stay together (the rows of one customer are not independent), `strata` one
    whose values keep their numbers of rows. `method` is "bca" (bias-corrected and accelerated) or "percentile".
    """

    resamples: int = 1_000
    level: float = 0.95
    method: Method = "bca"
    groups: str = ""
    strata: str = ""
    seed: int = 0

    def __post_init__(self) -> None:
        msgspec.structs.force_setattr(self, "resamples", count_of("resamples", self.resamples, 0))
        msgspec.structs.force_setattr(self, "seed", count_of("seed", self.seed, 0))
        if not 0 < number_of("level", self.level) < 1:
            raise InvalidError("level", self.level, "a share between 0 and 1, such as 0.95")
        if self.method not in (known := get_args(Method)):
            raise InvalidError("method", self.method, f"one of {', '.join(known)}")


class Codes(msgspec.Struct, frozen=True):
    """The groups and strata of rows as arrays."""

    groups: Any = None
    strata: Any = None

    def take(self, rows: Any) -> Codes:
        """Those of some rows."""
        return Codes(*(None if codes is None else codes[rows] for codes in (self.groups, self.strata)))


class Estimate(msgspec.Struct, frozen=True):
    """A value with its interval, and its resampled values where more is computed from them; None where not defined."""

    value: float | None
    interval: Interval | None = None
    resampled: Any = None


def bootstrap_of(given: int | Bootstrap) -> Bootstrap:
    """A number of resamples as a bootstrap."""
    return given if isinstance(given, Bootstrap) else Bootstrap(given)


def codes_of(bootstrap: Bootstrap, frame: pl.DataFrame | None, rows: int) -> Codes:
    """The groups and strata that a bootstrap names.

    Raises:
        NotFoundError: the table has no such column.
    """
    import numpy as np

    from mainspring.evaluation.scored import column_of

    found = [
        np.unique(column_of(frame, name, rows).astype(str), return_inverse=True)[1] if name else None
        for name in (bootstrap.groups, bootstrap.strata)
    ]
    return Codes(*found)


def estimated(statistics: Sequence[Statistic], bootstrap: Bootstrap, codes: Codes) -> list[Estimate]:
    """Each statistic with its interval; all see the same resamples. Fewer than two units tell nothing of how sure it is."""
    values = [statistic.value() for statistic in statistics]
    if not bootstrap.resamples or not values or not statistics[0].size:
        return [Estimate(defined(value)) for value in values]
    # The queries of a ranking are its units: rows have groups, queries don't.
    mine = codes if codes.groups is None or codes.groups.size == statistics[0].size else Codes()
    if not _vary(statistics[0].size, mine):
        return [Estimate(defined(value)) for value in values]
    drawn = resampled(statistics, bootstrap.resamples, groups=mine.groups, strata=mine.strata, seed=bootstrap.seed)
    if bootstrap.method == "bca":
        left_out = jackknife(statistics, groups=mine.groups, seed=bootstrap.seed)
        intervals = [
            bca_interval(drawn[:, at], value, left_out[:, at], bootstrap.level) for at, value in enumerate(values)
        ]
    else:
        intervals = [
            percentile_interval(drawn[:, at], bootstrap.level) if math.isfinite(value) else None
            for at, value in enumerate(values)
        ]
    return [
        Estimate(defined(value), interval, drawn[:, at])
        for at, (value, interval) in enumerate(zip(values, intervals, strict=True))
    ]


def _vary(units: int, codes: Codes) -> bool:
    """Whether resamples can differ: there are two rows or groups, or two rows in one of the strata."""
    import numpy as np

    if codes.groups is not None:
        return np.unique(codes.groups).size > 1
    return units > 1 if codes.strata is None else bool(np.unique(codes.strata).size < units)


def defined(value: float) -> float | None:
    """None for what is not a number."""
    return None if math.isnan(value) else float(value)
