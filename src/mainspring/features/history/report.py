"""What a point-in-time join found: counts that add up over parts, so that they are the same however the work is cut."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import msgspec
import numpy as np

from mainspring.features.history.known import Whole

_QUANTILES = {"p05": 0.05, "p25": 0.25, "p50": 0.5, "p75": 0.75, "p95": 0.95}
_EXACT_BITS = 8
_BINS = (64 - _EXACT_BITS + 1) << (_EXACT_BITS - 1)


class AgeSummary(msgspec.Struct, frozen=True):
    """How old values were at their instants, in microseconds. Quantiles are at most 0.8 % too low, the ends exact."""

    min_us: int
    quantiles_us: Mapping[str, int]
    max_us: int


class GuardReport(msgspec.Struct, frozen=True, kw_only=True):
    """What was not seen because it was created only after the instant of its row.

    `possible` is False if leaks can't be told, and `why` says why not: the history has no created time, or its rows are
    made of several of the source, of which one may be newer than the time of what is made. `changed` rows would have had a
    value of a row not known yet: for `replaced` of them an older one was taken, `lost` have none.
    """

    possible: bool
    on: bool
    why: str = ""
    changed: int = 0
    replaced: int = 0
    lost: int = 0


class JoinReport(msgspec.Struct, frozen=True, kw_only=True):
    """Of how many rows a value was found; those without are `unknown` (no row by then) or `outside_ttl` (too old).

    `nulls` counts, by column, the found rows whose value is null. `age` is of the found rows; None if there are none.
    """

    rows: int
    found: int
    unknown: int
    outside_ttl: int
    nulls: Mapping[str, int]
    age: AgeSummary | None
    guard: GuardReport

    @property
    def coverage(self) -> float | None:
        """The share of rows for which a value was found; None of no rows."""
        return self.found / self.rows if self.rows else None


class Tally:
    """Adds up what parts of a join found, in bounded memory."""

    def __init__(self, *, guard_on: bool, blind: str = "") -> None:
        self.guard = GuardReport(possible=not blind, on=guard_on, why=blind)
        self.rows = self.found = self.outside = 0
        self.nulls: dict[str, int] = {}
        self._bins: np.ndarray[Any, np.dtype[np.int64]] = np.zeros(_BINS, np.int64)
        self._ends: tuple[int, int] | None = None

    def add_rows(
        self, rows: int, *, found: int, nulls: Mapping[str, int], outside: int = 0, ages: Whole | None = None
    ) -> None:
        """Count rows; `ages` are those of the found ones, if they have any."""
        self.rows += rows
        self.found += found
        self.outside += outside
        for name, count in nulls.items():
            self.nulls[name] = self.nulls.get(name, 0) + count
        if ages is not None and len(ages):
            self._bins += np.bincount(_bin_of(ages), minlength=_BINS)
            ends = (int(ages.min()), int(ages.max()))
            self._ends = ends if self._ends is None else (min(ends[0], self._ends[0]), max(ends[1], self._ends[1]))

    def add_guarded(self, changed: int, replaced: int) -> None:
        """Count rows that the guard changed, and those of them that have another value."""
        now = self.guard
        self.guard = msgspec.structs.replace(
            now, changed=now.changed + changed, replaced=now.replaced + replaced, lost=now.lost + changed - replaced
        )

    def report(self) -> JoinReport:
        """What was counted."""
        unknown = self.rows - self.found - self.outside
        return JoinReport(
            rows=self.rows, found=self.found, unknown=unknown, outside_ttl=self.outside, nulls=dict(self.nulls),
            age=self._age(), guard=self.guard,
        )  # fmt: skip

    def _age(self) -> AgeSummary | None:
        if self._ends is None:
            return None
        low, high = self._ends
        upto = np.cumsum(self._bins)
        ranks = {name: max(int(np.ceil(share * self.found)), 1) for name, share in _QUANTILES.items()}
        bins = {name: int(np.searchsorted(upto, rank)) for name, rank in ranks.items()}
        return AgeSummary(low, {name: min(max(_lowest(place), low), high) for name, place in bins.items()}, high)


def _bin_of(ages: Whole) -> Whole:
    """The bin of each age: its leading 8 bits and how far they are shifted, so that bins are 1/128 wide at most."""
    shift = np.maximum(np.frexp(ages.astype(np.float64))[1].astype(np.int64) - _EXACT_BITS, 0)
    return (shift << (_EXACT_BITS - 1)) + (ages >> shift)


def _lowest(place: int) -> int:
    shift = max((place >> (_EXACT_BITS - 1)) - 1, 0)
    return (place - (shift << (_EXACT_BITS - 1))) << shift
